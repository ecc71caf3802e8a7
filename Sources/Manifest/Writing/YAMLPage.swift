// YAML text in the block style of a configuration file that people keep. Whatever is written is read back as the same
// text: plain where no reader of YAML 1.1 sees anything else in it, in double quotes otherwise.

internal import MailSyntax

indirect enum YAMLItem {
    /// A number, a size, a word of the schema: written as it is.
    case plain(String)
    /// A text, in quotes if it needs them.
    case text(String)
    /// In quotes anyway, because people expect them there.
    case quoted(String)
    case list([YAMLItem])
    /// Entries without a value are left out.
    case mapping([(key: String, value: YAMLItem?)])
}

struct YAMLPage {
    private(set) var text = ""
    /// Lists that end before this column stand on one line.
    private static let width = 110

    mutating func comment(_ line: String) {
        // A line end would end the comment.
        let clean = String(String.UnicodeScalarView(line.unicodeScalars.map { isPrintable($0) ? $0 : "?" }))
        text += clean.isEmpty ? "#\n" : "# \(clean)\n"
    }

    mutating func entry(_ key: String, _ item: YAMLItem, indent: Int = 0) {
        let margin = String(repeating: " ", count: indent)
        let start = "\(margin)\(YAMLPage.scalar(key)):"
        switch item {
        case .plain, .text, .quoted: text += "\(start) \(YAMLPage.flow(item))\n"
        case .list(let items):
            let line = "\(start) \(YAMLPage.flow(item))"
            if line.unicodeScalars.count <= YAMLPage.width {
                text += line + "\n"
            } else {
                text += start + "\n"
                for item in items { text += "\(margin)  - \(YAMLPage.flow(item))\n" }
            }
        case .mapping(let entries):
            let entries = entries.filter { $0.value != nil }
            if entries.isEmpty {
                text += "\(start) {}\n"
            } else if entries.count == 1, indent > 0, entries[0].value!.isScalar {
                text += "\(start) {\(YAMLPage.scalar(entries[0].key)): \(YAMLPage.flow(entries[0].value!))}\n"
            } else {
                text += start + "\n"
                for (key, value) in entries { entry(key, value!, indent: indent + 2) }
            }
        }
    }

    /// An entry of the top level with an empty line before it; an empty mapping is left out.
    mutating func section(_ key: String, _ item: YAMLItem) {
        if case .mapping(let entries) = item, entries.allSatisfy({ $0.value == nil }) { return }
        text += "\n"
        entry(key, item)
    }

    /// A section whose keys the user names.
    mutating func mapping(_ key: String, of entries: [(String, YAMLItem)]) {
        guard !entries.isEmpty else { return }
        text += "\n\(key):\n"
        for (name, item) in entries { entry(name, item, indent: 2) }
    }

    private static func flow(_ item: YAMLItem) -> String {
        switch item {
        case .plain(let text): text
        case .text(let text): scalar(text)
        case .quoted(let text): quote(text)
        case .list(let items): "[\(items.map(flow).joined(separator: ", "))]"
        case .mapping(let entries):
            "{\(entries.compactMap { key, value in value.map { "\(scalar(key)): \(flow($0))" } }.joined(separator: ", "))}"
        }
    }

    private static func scalar(_ text: String) -> String { isPlain(text) ? text : quote(text) }

    /// True if no reader can take the text for anything but itself, in a flow list as well.
    private static func isPlain(_ text: String) -> Bool {
        guard let first = text.unicodeScalars.first, text.unicodeScalars.last != " ", !isTruthWord(text) else { return false }
        guard isWordScalar(first) || first == "/" else { return false }
        guard text.unicodeScalars.allSatisfy({ isWordScalar($0) || "/@+-.=% ".unicodeScalars.contains($0) }) else { return false }
        switch lowercasedASCII(text) {
        // YAML 1.1's other words: <https://yaml.org/type/bool.html>, <https://yaml.org/type/null.html>.
        case "y", "n", "null": return false
        default: break
        }
        // Numbers and dates: digits with marks between them; a network is none.
        let looksLikeNumber = first.properties.numericType != nil || first.isASCII && ("0"..."9").contains(first)
        return !looksLikeNumber || text.unicodeScalars.contains { $0 == "/" || $0 == "@" } || text.split(separator: ".").count > 2
    }

    private static func isWordScalar(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_": true
        default: scalar.value >= 0xA1 && isPrintable(scalar)
        }
    }

    private static func quote(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case _ where !isPrintable(scalar):
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}

extension YAMLItem {
    fileprivate var isScalar: Bool {
        switch self {
        case .plain, .text, .quoted: true
        case .list, .mapping: false
        }
    }
}
