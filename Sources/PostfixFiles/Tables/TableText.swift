// A table as people write it: `key white-space value` for postmap(1) and texthash:, `name: value` for postalias(1).
//
// Lines that are neither are left out with a complaint, in Postfix's words; nothing else is judged. Keys are as
// written: what folds them is `TableKey`. Pure.

package struct TableText: Sendable {
    package enum Syntax: Sendable {
        /// The source of postmap(1).
        case map
        /// The same text read as it is (`texthash:`): the complaint about a line without value is worded otherwise.
        case textHash
        /// aliases(5): the source of postalias(1).
        case aliases
    }

    package struct Entry: Hashable, Sendable {
        package let key: [UInt8]
        package let value: [UInt8]
        /// From 1.
        package let line: Int

        package init(key: [UInt8], value: [UInt8], line: Int) {
            self.key = key
            self.value = value
            self.line = line
        }
    }

    package private(set) var entries: [Entry] = []
    package private(set) var complaints: [String] = []

    /// - Parameter name: of the file, for complaints.
    /// - Parameter refusesOtherThanUTF8: what Postfix does with `smtputf8_enable`; `-u` turns it off.
    package init(_ text: [UInt8], name: String, syntax: Syntax, refusesOtherThanUTF8: Bool = true) {
        let lines = LogicalLines(text, name: name)
        complaints = lines.complaints
        for line in lines.lines {
            if refusesOtherThanUTF8, !line.text.allSatisfy({ $0 < 0x80 }), String(validating: line.text, as: UTF8.self) == nil {
                complain(name, line, "non-UTF-8 input \"\(String(decoding: line.text, as: UTF8.self))\" -- ignoring this line")
                continue
            }
            switch syntax {
            case .map, .textHash: takeMapLine(line, name, syntax)
            case .aliases: takeAliasLine(line, name)
            }
        }
    }

    private mutating func complain(_ name: String, _ line: LogicalLines.Line, _ text: String) {
        complaints.append("\(name), line \(line.number): \(text)")
    }

    /// The key ends at the first white space that is neither quoted nor escaped, and keeps its quotes.
    private mutating func takeMapLine(_ line: LogicalLines.Line, _ name: String, _ syntax: Syntax) {
        let text = line.text
        var isQuoted = false
        var end = text.startIndex
        while end < text.endIndex {
            if text[end] == UInt8(ascii: "\\") {
                end += 1
            } else if text[end] == UInt8(ascii: "\"") {
                isQuoted.toggle()
            } else if isBlank(text[end]), !isQuoted {
                break
            }
            end += 1
        }
        end = min(end, text.endIndex)
        guard !isQuoted else {
            return complain(name, line, "unbalanced '\"' in '\(String(decoding: text, as: UTF8.self))' -- ignoring this line")
        }
        let key = text[..<end]
        let value = trimmed(text[end...])
        guard !key.isEmpty, !value.isEmpty else {
            return complain(name, line, "expected format: key whitespace value\(syntax == .textHash ? " -- ignoring this line" : "")")
        }
        if key.last == UInt8(ascii: ":") { complain(name, line, "record is in \"key: value\" format; is this an alias file?") }
        entries.append(Entry(key: Array(key), value: Array(value), line: line.number))
    }

    /// The name without its quotes, for that is how local(8) looks it up; the value in the form in which it is read again.
    private mutating func takeAliasLine(_ line: LogicalLines.Line, _ name: String) {
        let tokens = AliasToken.scan(line.text)
        guard !tokens.isEmpty else { return }
        guard let colon = tokens.firstIndex(of: .mark(UInt8(ascii: ":"))), colon > 0, colon + 1 < tokens.count,
            !tokens[..<colon].contains(.mark(UInt8(ascii: ",")))
        else { return complain(name, line, "need name:value pair") }
        guard !tokens[..<colon].contains(.mark(UInt8(ascii: "@"))), !tokens[..<colon].contains(.mark(UInt8(ascii: "%"))) else {
            return complain(name, line, "name must be local")
        }
        let key = AliasToken.joined(tokens[..<colon]) { $0.plain }
        let value = AliasToken.joined(tokens[(colon + 1)...]) { $0.quoted }
        entries.append(Entry(key: key, value: value, line: line.number))
    }
}

/// The words of an alias line, by the lexical rules of RFC 5322 §3.2 with `|`, `%` and `!` added.
enum AliasToken: Hashable {
    case atom([UInt8])
    /// The text between the quotes, without escapes.
    case string([UInt8])
    /// The text between the brackets.
    case literal([UInt8])
    /// With its parentheses.
    case comment([UInt8])
    /// A character with a meaning of its own.
    case mark(UInt8)

    private static let marks = Set("|%!()<>@,;:\\\".[]".utf8)

    static func scan(_ text: ArraySlice<UInt8>) -> [AliasToken] {
        var scanner = Scanner(rest: text)
        var tokens: [AliasToken] = []
        while let token = scanner.next() { tokens.append(token) }
        return tokens
    }

    /// With one space after a comma, before an angle bracket, and between words.
    static func joined(_ tokens: ArraySlice<AliasToken>, _ text: (AliasToken) -> [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for index in tokens.indices {
            let token = tokens[index]
            result += text(token)
            let next = index + 1 < tokens.endIndex ? tokens[index + 1] : nil
            let isComma = token == .mark(UInt8(ascii: ","))
            let isApart = next.map { $0 == .mark(UInt8(ascii: "<")) || (!token.isMark && !$0.isMark) } ?? false
            if isComma || isApart { result.append(UInt8(ascii: " ")) }
        }
        return result
    }

    private var isMark: Bool { if case .mark = self { true } else { false } }

    /// As a name that is looked up.
    var plain: [UInt8] {
        switch self {
        case .atom(let text), .string(let text), .comment(let text): text
        case .literal(let text): [UInt8(ascii: "[")] + text + [UInt8(ascii: "]")]
        case .mark(let mark): [mark]
        }
    }

    /// As text that is read again.
    var quoted: [UInt8] {
        func escaped(_ text: [UInt8], _ special: String) -> [UInt8] {
            let special = Set(special.utf8)
            return text.flatMap { special.contains($0) ? [UInt8(ascii: "\\"), $0] : [$0] }
        }
        return switch self {
        case .string(let text): [UInt8(ascii: "\"")] + escaped(text, "\"\\\r\n") + [UInt8(ascii: "\"")]
        case .literal(let text): [UInt8(ascii: "[")] + escaped(text, "\\\r\n") + [UInt8(ascii: "]")]
        default: plain
        }
    }

    private struct Scanner {
        var rest: ArraySlice<UInt8>

        mutating func next() -> AliasToken? {
            rest = rest.drop(while: isLinearSpace)
            guard let first = rest.first else { return nil }
            switch first {
            case UInt8(ascii: "("): return .comment(comment())
            case UInt8(ascii: "["):
                rest = rest.dropFirst()
                return .literal(upTo(UInt8(ascii: "]")))
            case UInt8(ascii: "\""):
                rest = rest.dropFirst()
                return .string(upTo(UInt8(ascii: "\"")))
            case let mark where mark != UInt8(ascii: "\\") && AliasToken.marks.contains(mark):
                rest = rest.dropFirst()
                return .mark(mark)
            default:
                let text = collect { isLinearSpace($0) || AliasToken.marks.contains($0) }
                // An escape made something of it that has to be quoted from now on.
                let isOdd = text.contains { $0 <= 0x20 || $0 == 0x7F || AliasToken.marks.contains($0) }
                return isOdd ? .string(text) : .atom(text)
            }
        }

        private mutating func upTo(_ end: UInt8) -> [UInt8] {
            let text = collect { $0 == end }
            rest = rest.dropFirst()
            return text
        }

        /// A backslash takes the meaning from what follows it.
        private mutating func collect(until isEnd: (UInt8) -> Bool) -> [UInt8] {
            var text: [UInt8] = []
            while var byte = rest.first {
                if byte == UInt8(ascii: "\\") {
                    rest = rest.dropFirst()
                    guard let escaped = rest.first else { break }
                    byte = escaped
                } else if isEnd(byte) {
                    break
                }
                text.append(isLinearSpace(byte) ? UInt8(ascii: " ") : byte)
                rest = rest.dropFirst()
            }
            return text
        }

        /// Comments nest; an escape in one stays as it is.
        private mutating func comment() -> [UInt8] {
            var depth = 0
            var isEscaped = false
            for index in rest.indices {
                let byte = rest[index]
                if isEscaped {
                    isEscaped = false
                    continue
                }
                if byte == UInt8(ascii: "\\") { isEscaped = true }
                if byte == UInt8(ascii: "(") { depth += 1 }
                if byte == UInt8(ascii: ")") { depth -= 1 }
                if depth == 0 {
                    defer { rest = rest[(index + 1)...] }
                    return Array(rest[...index])
                }
            }
            defer { rest = rest[rest.endIndex...] }
            return Array(rest)
        }
    }
}

private func isLinearSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }
