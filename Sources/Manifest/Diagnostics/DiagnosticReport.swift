// Diagnostics for machines: a JSON array, and the workflow commands that GitHub shows beside the lines of a change.

package enum DiagnosticReport {
    /// An array of objects: `file`, `line`, `column`, `end_column`, `severity`, `code`, `message`, `hint`; what is unknown is null.
    package static func json(_ diagnostics: [Diagnostic]) -> String {
        JSON.array(
            diagnostics.map { diagnostic in
                .object([
                    ("file", .string(diagnostic.file)),
                    ("line", diagnostic.position.map { .int($0.line) } ?? .null),
                    ("column", diagnostic.position.map { .int($0.column) } ?? .null),
                    ("end_column", diagnostic.endColumn.map(JSON.int) ?? .null),
                    ("severity", .string(diagnostic.severity.rawValue)),
                    ("code", .string(diagnostic.code.rawValue)),
                    ("message", .string(diagnostic.message)),
                    ("hint", diagnostic.hint.map(JSON.string) ?? .null),
                ])
            }
        ).text
    }

    /// `::error file=mail.yaml,line=12,col=9,title=dangling-target::…`, a line for each.
    package static func github(_ diagnostics: [Diagnostic]) -> String {
        diagnostics.map { diagnostic in
            var properties = ["file=\(escaped(diagnostic.file, property: true))"]
            if let position = diagnostic.position { properties += ["line=\(position.line)", "col=\(position.column)"] }
            if let end = diagnostic.endColumn { properties.append("endColumn=\(end)") }
            properties.append("title=\(diagnostic.code.rawValue)")
            let text = diagnostic.message + (diagnostic.hint.map { " (hint: \($0))" } ?? "")
            return "::\(diagnostic.severity.rawValue) \(properties.joined(separator: ","))::\(escaped(text, property: false))\n"
        }.joined()
    }

    /// The commands' own escapes: what would end a value or the line.
    private static func escaped(_ text: String, property: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "%": result += "%25"
            case "\r": result += "%0D"
            case "\n": result += "%0A"
            case ":" where property: result += "%3A"
            case "," where property: result += "%2C"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
