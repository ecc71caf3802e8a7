// The text of a list in a file (`:include:`) or of a user's forward file, as aliases(5) and local(8) have it: targets separated
// by commas and line ends, `#` before comments, quotes around what holds blanks or commas. Pure.

internal import MailSyntax

package struct TargetList: Sendable {
    package private(set) var targets: [Router.Target] = []
    /// Entries that are none.
    package private(set) var flaws: [String] = []

    /// Octets: what is longer is no list that somebody keeps by hand, and none that one message should go to.
    package static let longest = 4 << 20

    package init(_ text: String) {
        for line in text.split(whereSeparator: \.isNewline) {
            let line = TargetList.trimmed(line)
            if line.isEmpty || line.utf8.first == UInt8(ascii: "#") { continue }
            for entry in TargetList.entries(line) { add(entry) }
        }
    }

    private mutating func add(_ entry: Substring) {
        let text = TargetList.unquoted(entry) ?? String(entry)
        if text.hasPrefix("|") {
            let command = String(text.dropFirst())
            // `|"command with blanks"`
            let bare = TargetList.trimmed(Substring(TargetList.unquoted(TargetList.trimmed(Substring(command))) ?? command))
            bare.isEmpty ? flaws.append(String(entry)) : targets.append(.command(String(bare)))
        } else if text.hasPrefix("/") {
            targets.append(.file(text))
        } else if lowercasedASCII(text).hasPrefix(":include:") {
            let path = String(text.dropFirst(9))
            if path.hasPrefix("/") { targets.append(.include(path)) } else { flaws.append(String(entry)) }
        } else if text.hasPrefix("\\") {
            // Postfix and sendmail: that name itself, whatever it forwards.
            addAddresses(String(text.dropFirst()), entry)
        } else {
            addAddresses(String(entry), entry)
        }
    }

    private mutating func addAddresses(_ text: String, _ entry: Substring) {
        let (addresses, flaws) = AddressList.parse(text)
        targets += addresses.map { bare in bare.domain.map { .address(Address(localPart: bare.localPart, domain: $0)) } ?? .name(bare.localPart) }
        self.flaws += flaws
        if addresses.isEmpty, flaws.isEmpty { self.flaws.append(String(entry)) }
    }

    /// Commas count outside of quotes, comments and angle brackets; a command without quotes takes the rest of its line.
    private static func entries(_ line: Substring) -> [Substring] {
        var entries: [Substring] = []
        var (start, index) = (line.startIndex, line.startIndex)
        var (isQuoted, isEscaped, depth) = (false, false, 0)
        while index < line.endIndex {
            let character = line[index]
            if isEscaped {
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if !isQuoted {
                if character == "|", trimmed(line[start..<index]).isEmpty, trimmed(line[line.index(after: index)...]).first != "\"" { break }
                if character == "(" || character == "<" { depth += 1 }
                if character == ")" || character == ">" { depth -= 1 }
                if character == ",", depth <= 0 {
                    entries.append(trimmed(line[start..<index]))
                    start = line.index(after: index)
                }
            }
            index = line.index(after: index)
        }
        entries.append(trimmed(line[start...]))
        return entries.filter { !$0.isEmpty }
    }

    /// What stands between the quotes around the whole; nil: there are none.
    private static func unquoted(_ text: Substring) -> String? {
        guard text.count > 1, text.first == "\"", text.last == "\"" else { return nil }
        var result = ""
        var isEscaped = false
        for character in text.dropFirst().dropLast() {
            if !isEscaped, character == "\\" { isEscaped = true; continue }
            // Quotes within: not one pair around the whole, as in `"a"@b, "c"`.
            if !isEscaped, character == "\"" { return nil }
            result.append(character)
            isEscaped = false
        }
        return result
    }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while let first = text.first, first == " " || first == "\t" || first == "\r" { text.removeFirst() }
        while let last = text.last, last == " " || last == "\t" || last == "\r" { text.removeLast() }
        return text
    }
}
