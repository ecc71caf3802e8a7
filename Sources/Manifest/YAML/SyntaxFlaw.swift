// libyaml's complaints in words that help whoever writes a manifest.

internal import CYAML
internal import MailSyntax

struct SyntaxFlaw {
    let message: String
    let span: Span
    let hint: String?

    /// A text in quotes: where it opens, and the place after it.
    struct Quote {
        let start: Span
        let end: SourcePosition
        let isSingle: Bool
    }

    /// `line` gives a line of the source by number; `quote` is the last one before the flaw.
    init(_ parser: yaml_parser_t, after quote: Quote?, line: @escaping (Int) -> String) {
        let problem = parser.problem.map { String(cString: $0) } ?? "not YAML"
        let context = parser.context.map { String(cString: $0) } ?? ""
        let scene = Scene(
            here: Span(parser.problem_mark, parser.problem_mark), begin: Span(parser.context_mark, parser.context_mark), context: context, line: line)
        let flaw = quote.flatMap(scene.afterQuote) ?? scene.explain(problem)
        (message, span) = (flaw.message, flaw.span)
        let shown = line(flaw.span.start.line)
        hint = Slips.hint(for: String(shown.drop { $0 == " " })) ?? flaw.hint
    }
}

private struct Scene {
    typealias Words = (message: String, span: Span, hint: String?)

    let here: Span
    /// Of the construct in which it went wrong.
    let begin: Span
    let context: String
    let line: (Int) -> String

    private var text: String { line(here.start.line) }
    private var character: Unicode.Scalar { text.unicodeScalars.dropFirst(here.start.column - 1).first ?? " " }

    /// Most flaws behind quotes are flaws of the quotes.
    func afterQuote(_ quote: SyntaxFlaw.Quote) -> Words? {
        guard quote.end.line == here.start.line, quote.end.column <= here.start.column else { return nil }
        if quote.end.line > quote.start.start.line {
            // One that was forgotten: the next one closes it.
            return (
                "the quotes that open here end at line \(quote.end.line), and more text follows there", quote.start,
                "is a quote missing at the end of line \(quote.start.start.line)?"
            )
        }
        let between = text.unicodeScalars.dropFirst(quote.end.column - 1).prefix(here.start.column - quote.end.column)
        guard between.allSatisfy({ $0 == " " }), !",]}:#\n\r\"'".unicodeScalars.contains(character) else { return nil }
        return (
            "more text after the closing quote", here,
            quote.isSingle
                ? "an apostrophe within single quotes is written twice: 'O''Hara'; double quotes take it as it is: \"O'Hara\""
                : "put the quotes around all of it; a quote within double quotes is written \\\""
        )
    }

    func explain(_ problem: String) -> Words {
        switch problem {
        case "found character that cannot start any token" where character == "\t":
            ("a tab where YAML wants spaces", here, "indent with spaces")
        case "found character that cannot start any token":
            ("an unquoted value cannot begin with \(quoted(String(character)))", here, "put it in quotes\(character == "@" ? atSign : "")")
        case "did not find expected alphabetic or numeric character" where context.includes("alias"):
            ("an unquoted * begins a reference to an anchor", begin, "put it in quotes: \"*\"")
        case "did not find expected alphabetic or numeric character": ("an unquoted & begins an anchor", begin, "put it in quotes")
        case "did not find expected comment or line break":
            ("an unquoted | or > begins a text of several lines", begin, "put it in quotes: \"|command\"")
        case "found unexpected end of stream", "found unexpected document indicator":
            ("the quotes that open here are never closed", begin, "is a quote missing at the end of line \(begin.start.line)?")
        case "found unknown escape character": ("no such escape in double quotes", here, "in single quotes a backslash is a backslash")
        case "mapping values are not allowed in this context":
            (
                "a \": \" where no key can stand", here,
                Slips.hint(for: line(here.start.line - 1))
                    ?? "is the line above indented as it should be? a value that contains \": \" needs quotes"
            )
        case "could not find expected ':'": ("a key needs \": \" after it", begin, nil)
        case "did not find expected key" where text.includes("]:") || text.includes("} "): ("more text after a closed list or mapping", here, bracketed)
        case "did not find expected key" where character == "-":
            ("the indentation does not fit", here, "the items of one list begin in the same column")
        case "did not find expected key": ("the indentation does not fit", here, "the keys of one mapping begin in the same column")
        case "did not find expected '-' indicator": ("a list item needs \"- \" here", here, "the items of one list begin in the same column")
        case "did not find expected ',' or ']'": ("the list that opens at line \(begin.start.line) needs \",\" or \"]\" here", here, flowHint("]"))
        case "did not find expected ',' or '}'": ("the mapping that opens at line \(begin.start.line) needs \",\" or \"}\" here", here, flowHint("}"))
        case "block sequence entries are not allowed in this context": ("a list item cannot begin here", here, "begin the list on a line of its own")
        case "did not find expected node content" where text.includes("[:"): ("a value is missing here", here, bracketed)
        case "did not find expected node content": ("a value is missing here", here, nil)
        case "did not find expected <document start>": ("more text after the end of the manifest", here, endHint)
        case "found incompatible YAML document": ("the file asks for another version of YAML", here, "remove the line that begins with %YAML")
        default: ("\(context.isEmpty ? "" : "\(context): ")\(problem)", here, nil)
        }
    }

    private var bracketed: String { "a value that begins with [ or { needs quotes, as \"[host]:25\" does" }
    private var atSign: String { "; every other address of a virtual domain is \"*\"" }

    private func flowHint(_ closing: String) -> String? {
        guard here.start.line > begin.start.line else { return character == ":" ? "a value that contains \": \" needs quotes" : nil }
        let opening = line(begin.start.line)
        if opening.includes(" #") { return "a # after a space begins a comment, up to the end of line \(begin.start.line): a value that contains it needs quotes" }
        return "is \(closing) missing at the end of line \(here.start.line - 1)?"
    }

    private var endHint: String {
        if character == "}" || character == "]" { return "there is one \(character) too many" }
        if line(here.start.line - 1).hasPrefix("...") { return "remove the line \"...\", which ends a document" }
        return "the keys of one mapping begin in the same column"
    }
}
