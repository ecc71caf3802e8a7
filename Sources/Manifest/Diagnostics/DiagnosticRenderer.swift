// Shows diagnostics as compilers do: place, message, code, the source line, a caret, a hint. Editors and CI read the first line.
//
//     mail.yaml:12:9: error: alias target "alise" is neither a user nor an alias [dangling-target]
//       12 |   root: alise
//          |         ^~~~~
//          = hint: did you mean "alice"?

// What may be a secret is never shown: a value after a key such as `password` becomes stars.

package struct DiagnosticRenderer: Sendable {
    /// Longer lines are shown in part, around the caret: a minified file must not fill the screen.
    static let longestLine = 160
    /// A line of a million octets is not looked at.
    static let longestSourceLine = 1 << 20

    private let source: [UInt8]
    private let lineStarts: [Int]
    private let colours: Bool

    /// `source`: the file as it was read, empty if it could not be.
    package init(source: [UInt8], colours: Bool = false) {
        self.source = source
        self.colours = colours
        lineStarts = SourceText.lineStarts(in: source)
    }

    /// Several lines, with a line end after the last.
    package func render(_ diagnostic: Diagnostic) -> String {
        var text = "\(bold)\(printable(diagnostic.file)):"
        if let position = diagnostic.position { text += "\(position.line):\(position.column):" }
        let colour = diagnostic.severity == .error ? red : yellow
        text += "\(plain) \(colour)\(diagnostic.severity.rawValue):\(plain) \(bold)\(diagnostic.message)\(plain) [\(diagnostic.code.rawValue)\(diagnostic.isStrict ? ", --strict" : "")]\n"
        var margin = "  "
        if let position = diagnostic.position, let line = line(position.line) {
            margin = String(repeating: " ", count: String(position.line).count + 3)
            let (shown, shownTo) = withoutSecrets(line, number: position.line)
            let isHidden = position.column > shownTo + 1
            let (excerpt, caret) = excerpt(
                of: shown, at: isHidden ? shownTo + 1 : position.column, to: isHidden ? nil : diagnostic.endColumn)
            text += "\(blue)  \(position.line) |\(plain) \(excerpt)\n"
            text += "\(blue)\(margin)|\(plain) \(colour)\(caret)\(plain)\n"
        }
        if let hint = diagnostic.hint { text += "\(blue)\(margin)=\(plain) hint: \(printable(hint))\n" }
        return text
    }

    /// The line without its end, control characters and tabs made harmless; nil beyond the file.
    private func line(_ number: Int) -> [Unicode.Scalar]? {
        guard number >= 1, number <= lineStarts.count else { return nil }
        let start = lineStarts[number - 1]
        let end = number < lineStarts.count ? lineStarts[number] : source.count
        guard end - start <= DiagnosticRenderer.longestSourceLine else { return nil }
        // Repairing keeps one scalar for each bad octet sequence, so that the line can be shown at all.
        let scalars = String(decoding: source[start..<end], as: UTF8.self).unicodeScalars.filter { $0 != "\n" && $0 != "\r" }
        return scalars.map { $0 == "\t" ? " " : isPrintable($0) ? $0 : "\u{FFFD}" }
    }

    /// Stars from where a secret may begin to the end of the line. `{file: …}` and `{env: …}` are none, and stay.
    private func withoutSecrets(_ line: [Unicode.Scalar], number: Int) -> (line: [Unicode.Scalar], shownTo: Int) {
        var start = nil as Int?
        if number > 1, let before = self.line(number - 1), let value = DiagnosticRenderer.secret(in: before), before[value...].count <= 2 {
            // The key ends the line before (`password:`, `password: |`): all of this line is its value.
            start = line.firstIndex { $0 != " " }
        }
        if start == nil, let value = DiagnosticRenderer.secret(in: line), value < line.count, line[value] != "{" { start = value }
        guard let start else { return (line, line.count) }
        return (line[..<start] + Array(repeating: "*", count: 8), start)
    }

    /// Where the value of a key that may hold a secret begins, the end of the line if it is on the next.
    private static func secret(in line: [Unicode.Scalar]) -> Int? {
        for colon in line.indices where line[colon] == ":" || line[colon] == "=" {
            let name = line[..<colon].reversed().drop { $0 == " " || $0 == "\"" || $0 == "'" }.prefix { $0.properties.isAlphabetic || $0 == "_" || $0 == "-" }
            guard Secret.mayBeHeld(by: String(String.UnicodeScalarView(name.reversed()))) else { continue }
            return line[(colon + 1)...].firstIndex { $0 != " " } ?? line.count
        }
        return nil
    }

    private func excerpt(of line: [Unicode.Scalar], at column: Int, to endColumn: Int?) -> (excerpt: String, caret: String) {
        var first = 0
        var last = line.count
        if line.count > DiagnosticRenderer.longestLine {
            first = max(0, min(column - 1 - DiagnosticRenderer.longestLine / 2, line.count - DiagnosticRenderer.longestLine))
            last = first + DiagnosticRenderer.longestLine
        }
        var shown = String(String.UnicodeScalarView(line[first..<last]))
        var indent = max(0, column - 1 - first)
        if first > 0 {
            shown = "…" + shown
            indent += 1
        }
        if last < line.count { shown += "…" }
        let width = max(1, min(endColumn ?? column + 1, last + 1) - column)
        return (shown, String(repeating: " ", count: indent) + "^" + String(repeating: "~", count: width - 1))
    }

    private func printable(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { isPrintable($0) ? $0 : "\u{FFFD}" }))
    }

    private var bold: String { colours ? "\u{1B}[1m" : "" }
    private var red: String { colours ? "\u{1B}[1;31m" : "" }
    private var yellow: String { colours ? "\u{1B}[1;33m" : "" }
    private var blue: String { colours ? "\u{1B}[1;34m" : "" }
    private var plain: String { colours ? "\u{1B}[0m" : "" }
}
