// Collects what is wrong with one manifest: errors and warnings of all phases in one run, in the order of the file.

/// A stretch of one line: where it starts and, if known, the column after its end.
struct Span: Hashable, Sendable {
    let start: SourcePosition
    let endColumn: Int?
}

struct Findings {
    /// Enough for any file that a person repairs; a generated one with more faults has one cause. Bounds memory and output.
    static let most = 1000

    let file: String
    /// Mistaken names that get a "did you mean", within a bound of work for the whole run.
    var suggestions = Suggestions()
    private(set) var diagnostics: [Diagnostic] = []
    private var suppressed = 0
    private(set) var hasErrors = false
    /// False where users or aliases could not be read at all: then nothing can be said about what is not among them.
    var knowsAllNames = true

    init(file: String) { self.file = file }

    mutating func error(_ code: Diagnostic.Code, _ message: String, at span: Span?, hint: String? = nil) {
        add(Diagnostic(code, .error, message, file: file, at: span?.start, endColumn: span?.endColumn, hint: hint))
    }

    mutating func warning(_ code: Diagnostic.Code, _ message: String, at span: Span?, hint: String? = nil) {
        add(Diagnostic(code, .warning, message, file: file, at: span?.start, endColumn: span?.endColumn, hint: hint))
    }

    /// What `render` writes and `serve` does not do yet.
    mutating func notServed(_ what: String, at span: Span?, _ advice: String) {
        warning(.notServedYet, "\(what) is rendered, but this version does not serve it yet", at: span, hint: advice)
    }

    mutating func add(_ diagnostic: Diagnostic) {
        hasErrors = hasErrors || diagnostic.severity == .error
        if diagnostics.count < Findings.most { diagnostics.append(diagnostic) } else { suppressed += 1 }
    }

    /// By position; what concerns the whole file comes first, and what was found first precedes at the same place.
    func inOrder() -> [Diagnostic] {
        let start = SourcePosition(line: 0, column: 0)
        var sorted = diagnostics.enumerated().sorted { a, b in
            (a.element.position ?? start, a.offset) < (b.element.position ?? start, b.offset)
        }.map(\.element)
        if suppressed > 0 {
            sorted.append(Diagnostic(.tooManyFindings, .error, "and \(suppressed) more", file: file))
        }
        return sorted
    }
}

extension Located {
    /// Where the value stands, for findings; nil for a default.
    var span: Span? { position.map { Span(start: $0, endColumn: endColumn) } }
}

/// A name from a manifest in double quotes, as messages show it: what is not printable is escaped, what is very long is cut.
func quoted(_ text: String) -> String {
    let longest = 80
    var result = "\""
    for scalar in text.unicodeScalars.prefix(longest) {
        switch scalar {
        case "\n": result += "\\n"
        case "\t": result += "\\t"
        default:
            if isPrintable(scalar) { result.unicodeScalars.append(scalar) } else { result += "\\u{\(String(scalar.value, radix: 16))}" }
        }
    }
    return result + (text.unicodeScalars.count > longest ? "…\"" : "\"")
}

/// False for what could disturb a terminal or mislead a reader: controls, and the marks that reorder text.
func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0..<0x20, 0x7F..<0xA0, 0x200B...0x200F, 0x2028...0x202E, 0x2060...0x2069, 0xFEFF, 0xFFFE, 0xFFFF: false
    default: true
    }
}
