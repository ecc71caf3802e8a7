// main.cf and master.cf as import reads them (postconf(5), master(5)): with the number of each line, and past what is wrong,
// which is said; Postfix's own commands stop there (`MainSettings`, `MasterEntries`). And lists with braces.

struct TextLine: Sendable {
    /// Of its first line, from 1.
    let number: Int
    let text: Substring
}

/// Something that cannot be read as what it should be.
struct TextFlaw: Hashable, Sendable {
    /// Nil where the text says it.
    let line: Int?
    let text: String
}

enum ConfigurationText {
    /// Octets; no person's line is longer, and a value is copied whenever something refers to it.
    static let longestLine = 1 << 20

    /// Lines that no person writes are left out: a NUL would end them for Postfix, and a value without end has no use.
    static func logicalLines(_ bytes: [UInt8], file: String) -> (lines: [TextLine], flaws: [TextFlaw]) {
        let logical = LogicalLines(bytes, name: file)
        var lines: [TextLine] = []
        var flaws = logical.complaints.map { TextFlaw(line: nil, text: $0) }
        lines.reserveCapacity(logical.lines.count)
        for line in logical.lines {
            if line.text.count > longestLine {
                flaws.append(TextFlaw(line: line.number, text: "the line is longer than \(longestLine) octets"))
            } else if line.text.contains(0) {
                flaws.append(TextFlaw(line: line.number, text: "the line contains a NUL octet"))
            } else {
                lines.append(TextLine(number: line.number, text: String(decoding: line.text, as: UTF8.self)[...]))
            }
        }
        return (lines, flaws)
    }

    /// `name = value` of main.cf; nil with Postfix's word for what is missing.
    static func setting(_ text: Substring) -> (name: String, value: String)? {
        guard let equals = text.utf8.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        let name = trimmed(text[..<equals])
        guard !name.isEmpty, !name.utf8.contains(where: isBlank) else { return nil }
        return (String(name), String(trimmed(text[text.utf8.index(after: equals)...])))
    }

    /// Elements of a list, which commas and blanks separate; `{ a, b }` is one, without its braces where `isStripping`.
    static func list(_ text: some StringProtocol, separators: String = ", \t\r\n") -> [String] {
        let separators = Set(separators.utf8)
        var items: [String] = []
        var item: [UInt8] = []
        var level = 0
        for octet in text.utf8 {
            if octet == UInt8(ascii: "{") { level += 1 }
            if octet == UInt8(ascii: "}"), level > 0 { level -= 1 }
            if level == 0, separators.contains(octet) {
                if !item.isEmpty { items.append(String(decoding: item, as: UTF8.self)) }
                item = []
            } else {
                item.append(octet)
            }
        }
        if !item.isEmpty { items.append(String(decoding: item, as: UTF8.self)) }
        return items
    }

    /// What stands in `{ … }`, without blanks around it; nil if that is not what the text is.
    static func braced(_ text: String) -> String? {
        guard text.hasPrefix("{"), text.hasSuffix("}"), text.utf8.count >= 2 else { return nil }
        return String(trimmed(text.dropFirst().dropLast()))
    }

    static func trimmed(_ text: Substring) -> Substring {
        var bytes = text.utf8.drop(while: isBlank)
        while let last = bytes.last, isBlank(last) { bytes.removeLast() }
        return Substring(bytes)
    }
}

/// main.cf as it stands.
struct MainFile: Sendable {
    struct Setting: Sendable {
        let name: String
        let value: String
        let line: Int
    }

    private(set) var settings: [Setting] = []
    private(set) var flaws: [TextFlaw]

    init(_ bytes: [UInt8], file: String) {
        let text = ConfigurationText.logicalLines(bytes, file: file)
        flaws = text.flaws
        for line in text.lines {
            if let (name, value) = ConfigurationText.setting(line.text) {
                settings.append(Setting(name: name, value: value, line: line.number))
            } else {
                flaws.append(TextFlaw(line: line.number, text: "no `name = value`: \(line.text.prefix(60))"))
            }
        }
    }
}

/// A service of master.cf.
struct MasterService: Sendable {
    let line: Int
    let name: String
    /// `inet`, `unix`, `fifo`, `pass`, `unix-dgram`.
    let type: String
    /// The program, the first word of the command.
    let program: String
    /// `-o name=value`, in order.
    let options: [(name: String, value: String)]
    /// The other words after the program.
    let arguments: [String]
}

struct MasterFile: Sendable {
    private(set) var services: [MasterService] = []
    private(set) var flaws: [TextFlaw]

    init(_ bytes: [UInt8], file: String) {
        let text = ConfigurationText.logicalLines(bytes, file: file)
        flaws = text.flaws
        for line in text.lines {
            let fields = ConfigurationText.list(line.text, separators: " \t\r\n")
            guard fields.count >= 8 else {
                flaws.append(TextFlaw(line: line.number, text: "a service needs eight fields: \(line.text.prefix(60))"))
                continue
            }
            services.append(service(fields, line: line.number))
        }
    }

    private mutating func service(_ fields: [String], line: Int) -> MasterService {
        var options: [(name: String, value: String)] = []
        var arguments: [String] = []
        var rest = fields[8...]
        while let word = rest.popFirst() {
            // `-oname=value` is one word, `-o name=value` and `-o { name = value }` are two.
            guard word.hasPrefix("-o") else {
                arguments.append(ConfigurationText.braced(word) ?? word)
                continue
            }
            let option = word.utf8.count > 2 ? String(word.dropFirst(2)) : rest.popFirst() ?? ""
            if let (name, value) = ConfigurationText.setting((ConfigurationText.braced(option) ?? option)[...]) {
                options.append((name: name, value: value))
            } else {
                flaws.append(TextFlaw(line: line, text: "-o without name=value: \(option.prefix(60))"))
            }
        }
        return MasterService(line: line, name: fields[0], type: fields[1], program: fields[7], options: options, arguments: arguments)
    }
}
