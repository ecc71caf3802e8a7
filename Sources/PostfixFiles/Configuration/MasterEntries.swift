// master.cf as it is written (master(5)): a line for each service, with the command's arguments taken apart. Pure.
//
//     name type private unprivileged chroot wakeup process_limit command [-o name=value | -o { name = value }]… [argument]…

package struct MasterEntries: Sendable {
    package struct Entry: Hashable, Sendable {
        /// The eight columns, the last of them the command's name.
        package let columns: [String]
        /// What follows, in the form to which Postfix brings it: `-o` and its value apart, without the braces around it.
        package let arguments: [String]

        package var name: String { columns[0] }
        package var type: String { columns[1] }
        package var command: String { columns[7] }

        /// The `-o name=value` of the command, in their order.
        package var overrides: [(name: String, value: String)] {
            var overrides: [(name: String, value: String)] = []
            var index = 0
            while index < arguments.count, arguments[index].hasPrefix("-"), arguments[index] != "--" {
                if arguments[index] == "-o", index + 1 < arguments.count {
                    let parts = arguments[index + 1].split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    overrides.append((String(parts[0]), parts.count > 1 ? String(parts[1]) : ""))
                    index += 1
                }
                index += 1
            }
            return overrides
        }
    }

    /// The names of the columns, as postconf(1) has them.
    package static let columnNames = ["service", "type", "private", "unprivileged", "chroot", "wakeup", "process_limit", "command"]

    package private(set) var entries: [Entry] = []
    package private(set) var complaints: [String] = []

    package struct Flaw: Error, Hashable, Sendable {
        package let text: String
    }

    package init(_ text: [UInt8], name: String) throws(Flaw) {
        let lines = LogicalLines(text, name: name)
        complaints = lines.complaints
        for line in lines.lines {
            let words = MasterEntries.words(String(decoding: line.text, as: UTF8.self))
            guard words.count >= MasterEntries.columnNames.count else {
                throw Flaw(text: "\(name), line \(line.number): bad field count: \"\(String(decoding: line.text, as: UTF8.self))\"")
            }
            entries.append(Entry(columns: Array(words[..<8]), arguments: MasterEntries.normalized(words[8...])))
        }
    }

    /// Splits at white space, but not within braces that begin a word.
    private static func words(_ text: String) -> [String] {
        var words: [String] = []
        var word: [UInt8] = []
        var depth = 0
        func end() {
            if !word.isEmpty { words.append(String(decoding: word, as: UTF8.self)) }
            word = []
        }
        for byte in text.utf8 {
            if byte == UInt8(ascii: "{"), depth > 0 || word.isEmpty { depth += 1 }
            if byte == UInt8(ascii: "}"), depth > 0 { depth -= 1 }
            if depth == 0, isBlank(byte) { end() } else { word.append(byte) }
        }
        end()
        return words
    }

    private static func normalized(_ words: ArraySlice<String>) -> [String] {
        var result: [String] = []
        var rest = words
        while let word = rest.first, word.hasPrefix("-"), word != "--" {
            rest = rest.dropFirst()
            // Flags in front of an `o` are options of their own.
            let letters = word.dropFirst()
            guard let place = letters.firstIndex(of: "o") else {
                result.append(word)
                continue
            }
            if place > letters.startIndex { result.append("-" + letters[..<place]) }
            var value = String(letters[letters.index(after: place)...])
            if value.isEmpty {
                guard let next = rest.popFirst() else {
                    result.append("-o")
                    break
                }
                value = next
            }
            result += ["-o", value.hasPrefix("{") ? assignment(unbraced(value)) : value]
        }
        return result + rest.map { $0.hasPrefix("{") ? unbraced($0) : $0 }
    }

    private static func unbraced(_ word: String) -> String {
        guard word.hasPrefix("{"), word.hasSuffix("}"), word.count > 1 else { return word }
        return trimmed(word.dropFirst().dropLast())
    }

    /// `name = value` as `name=value`.
    private static func assignment(_ text: String) -> String {
        guard let equals = text.firstIndex(of: "=") else { return text }
        return trimmed(text[..<equals]) + "=" + trimmed(text[text.index(after: equals)...])
    }

    private static func trimmed(_ text: Substring) -> String { String(decoding: PostfixFiles.trimmed(Array(text.utf8)[...]), as: UTF8.self) }
}
