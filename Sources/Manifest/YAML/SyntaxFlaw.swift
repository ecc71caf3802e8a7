// libyaml's complaints in words that help whoever writes a manifest.

internal import CYAML

struct SyntaxFlaw {
    let message: String
    let span: Span
    let hint: String?

    /// `line` gives a line of the source by number.
    init(_ parser: yaml_parser_t, line: (Int) -> String) {
        let problem = parser.problem.map { String(cString: $0) } ?? "not YAML"
        let context = parser.context.map { String(cString: $0) } ?? ""
        let here = Span(parser.problem_mark, parser.problem_mark)
        let begin = Span(parser.context_mark, parser.context_mark)
        let text = line(here.start.line)
        let character = text.unicodeScalars.dropFirst(here.start.column - 1).first ?? " "
        let bracketed = "a value that begins with [ or { needs quotes, as \"[host]:25\" does"

        (message, span, hint) =
            switch problem {
            case "found character that cannot start any token" where character == "\t":
                ("a tab where YAML wants spaces", here, "indent with spaces")
            case "found character that cannot start any token":
                ("an unquoted value cannot begin with \(quoted(String(character)))", here, "put it in quotes")
            case "did not find expected alphabetic or numeric character" where context.contains("alias"):
                ("an unquoted * begins a reference to an anchor", begin, "put it in quotes: \"*\"")
            case "did not find expected alphabetic or numeric character":
                ("an unquoted & begins an anchor", begin, "put it in quotes")
            case "did not find expected comment or line break":
                ("an unquoted | or > begins a text of several lines", begin, "put it in quotes: \"|command\"")
            case "found unexpected end of stream", "found unexpected document indicator":
                ("the quotes that open here are never closed", begin, nil)
            case "found unknown escape character":
                ("no such escape in double quotes", here, "in single quotes a backslash is a backslash")
            case "mapping values are not allowed in this context":
                ("a \": \" where no key can stand", here, "is the line above indented as it should be? a value that contains \": \" needs quotes")
            case "could not find expected ':'":
                ("a key needs \": \" after it", begin, nil)
            case "did not find expected key" where text.contains("]:") || text.contains("} "):
                ("more text after a closed list or mapping", here, bracketed)
            case "did not find expected key":
                ("the indentation does not fit", here, "the keys of one mapping begin in the same column")
            case "did not find expected '-' indicator":
                ("a list item needs \"- \" here", here, "the items of one list begin in the same column")
            case "did not find expected ',' or ']'":
                ("the list that opens at line \(begin.start.line) needs \",\" or \"]\" here", here, nil)
            case "did not find expected ',' or '}'":
                ("the mapping that opens at line \(begin.start.line) needs \",\" or \"}\" here", here, nil)
            case "block sequence entries are not allowed in this context":
                ("a list item cannot begin here", here, "begin the list on a line of its own")
            case "did not find expected node content" where text.contains("[:"): ("a value is missing here", here, bracketed)
            case "did not find expected node content": ("a value is missing here", here, nil)
            case "did not find expected <document start>":
                ("more text after the end of the manifest", here, "the keys of one mapping begin in the same column")
            default: ("\(context.isEmpty ? "" : "\(context): ")\(problem)", here, nil)
            }
    }
}
