// Collects what is wrong with one manifest: errors and warnings of all phases in one run, in the order of the file.

/// A stretch of one line: where it starts and, if known, the column after its end. Each node of a manifest has one, so it is small.
struct Span: Hashable, Sendable {
    private let line: UInt32
    private let column: UInt32
    /// 0: not known.
    private let end: UInt32

    /// A manifest has fewer than 2³² octets, and so of lines and columns.
    init(start: SourcePosition, endColumn: Int?) {
        line = UInt32(clamping: start.line)
        column = UInt32(clamping: start.column)
        end = UInt32(clamping: endColumn ?? 0)
    }

    var start: SourcePosition { SourcePosition(line: Int(line), column: Int(column)) }
    var endColumn: Int? { end == 0 ? nil : Int(end) }
}

struct Findings {
    /// Enough for any file that a person repairs; a generated one with more faults has one cause. Bounds memory and output.
    static let most = 1000

    let file: String
    /// Mistaken names that get a "did you mean", within a bound of work for the whole run.
    var suggestions = Suggestions()
    private(set) var diagnostics: [Diagnostic] = []
    /// What a reference to an anchor repeats is wrong where it was written, once.
    private var seen: Set<Diagnostic> = []
    private var suppressed = 0
    private(set) var hasErrors = false
    /// False where users or aliases could not be read at all: then nothing can be said about what is not among them.
    var knowsAllNames = true

    init(file: String) { self.file = file }

    /// True once nothing more is kept: then words for a finding are not worth the search for them.
    var isFull: Bool { diagnostics.count >= Findings.most }

    mutating func error(_ code: Diagnostic.Code, _ message: String, at span: Span?, hint: String? = nil) {
        add(Diagnostic(code, .error, message, file: file, at: span?.start, endColumn: span?.endColumn, hint: hint))
    }

    mutating func warning(_ code: Diagnostic.Code, _ message: String, at span: Span?, hint: String? = nil) {
        add(Diagnostic(code, .warning, message, file: file, at: span?.start, endColumn: span?.endColumn, hint: hint))
    }

    mutating func add(_ diagnostic: Diagnostic) {
        hasErrors = hasErrors || diagnostic.severity == .error
        guard diagnostics.count < Findings.most else {
            suppressed += 1
            return
        }
        if diagnostic.position == nil || seen.insert(diagnostic).inserted { diagnostics.append(diagnostic) }
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
/// `password:hunter2`, which is one word to YAML, keeps its secret.
func quoted(_ text: String) -> String {
    let longest = 80
    if let end = text.firstIndex(where: { $0 == ":" || $0 == "=" }), Secret.mayBeHeld(by: String(text[..<end].filter { $0 != " " })) {
        return "\"\(text[...end])…\""
    }
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
