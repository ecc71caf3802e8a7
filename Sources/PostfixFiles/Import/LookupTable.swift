// Postfix's lookup tables (DATABASE_README) as far as they are text: the sources of indexed files, `texthash:`,
// `inline:` and `static:`. What asks a server or a program cannot be read, and the caller hears which it was.

internal import MailSyntax

/// Where an entry stands, for the report.
struct Place: Hashable, Sendable {
    let file: String
    let line: Int?
}

struct LookupTable: Sendable {
    struct Entry: Sendable {
        /// As written.
        let key: String
        let value: String
        let place: Place
    }

    var entries: [Entry] = []

    /// `type:name` as it stands in main.cf.
    struct Reference: Hashable, Sendable {
        let type: String
        let name: String

        /// Nil: not of the form `type:name`.
        init?(_ text: String) {
            guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { return nil }
            let type = lowercasedASCII(String(text[..<colon]))
            let name = String(text[text.utf8.index(after: colon)...])
            guard !type.isEmpty, type.utf8.allSatisfy({ $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "z") || $0 == UInt8(ascii: "-") || $0 >= 0x30 && $0 <= 0x39 }) else {
                return nil
            }
            // proxymap(8) stands between, no more.
            if type == "proxy", let inner = Reference(name) { self = inner } else { (self.type, self.name) = (type, name) }
        }

        var text: String { "\(type):\(name)" }
        /// Types that postmap(1) makes of a text file beside them, and the one that is that file.
        var isTextFile: Bool { ["texthash", "hash", "btree", "lmdb", "cdb", "dbm", "sdbm"].contains(type) }
    }

    /// The source of a table. Postfix leaves out the lines that it complains of.
    static func parse(_ bytes: [UInt8], file: String, syntax: TableText.Syntax = .map) -> (table: LookupTable, complaints: [String]) {
        let text = TableText(bytes, name: file, syntax: syntax)
        var table = LookupTable()
        table.entries.reserveCapacity(text.entries.count)
        for entry in text.entries where !entry.key.contains(0) && !entry.value.contains(0) {
            table.entries.append(Entry(
                key: String(decoding: entry.key, as: UTF8.self), value: String(decoding: entry.value, as: UTF8.self),
                place: Place(file: file, line: entry.line)))
        }
        var complaints = text.complaints
        let withNUL = text.entries.count - table.entries.count
        if withNUL > 0 { complaints.append("\(file): \(withNUL) lines contain a NUL octet and are left out") }
        return (table, complaints)
    }

    /// `{ key = value, { key = value } }` of an `inline:` table.
    static func inline(_ text: String, place: Place) -> LookupTable? {
        guard let inner = ConfigurationText.braced(text) else { return nil }
        var table = LookupTable()
        for item in ConfigurationText.list(inner) {
            guard let (key, value) = ConfigurationText.setting((ConfigurationText.braced(item) ?? item)[...]) else { return nil }
            table.entries.append(Entry(key: key, value: value, place: place))
        }
        return table
    }
}

/// Lists of targets: aliases(5), and the values of virtual(5).
enum TargetList {
    enum Item: Hashable, Sendable {
        case address(BareAddress)
        /// `\name`: the mailbox, whatever aliases say.
        case mailbox(String)
        case file(String)
        case command(String)
        case include(String)
        case nonsense(String)
    }

    enum Syntax {
        /// aliases(5): files, commands and lists too.
        case deliveries
        /// virtual(5): addresses alone, whatever they begin with.
        case addresses
    }

    /// Commas and blanks outside of quotes separate.
    static func parse(_ text: String, _ syntax: Syntax) -> [Item] { split(text).map { item($0, syntax) } }

    private static func split(_ text: String) -> [String] {
        var items: [String] = []
        var item: [UInt8] = []
        var (isQuoted, isEscaped, brackets) = (false, false, 0)
        for octet in text.utf8 {
            let isLiteral = isEscaped
            isEscaped = false
            if !isLiteral {
                if octet == UInt8(ascii: "\\") { isEscaped = true }
                if octet == UInt8(ascii: "\"") { isQuoted.toggle() }
                if !isQuoted, octet == UInt8(ascii: "<") || octet == UInt8(ascii: "[") { brackets += 1 }
                if !isQuoted, octet == UInt8(ascii: ">") || octet == UInt8(ascii: "]") { brackets = max(0, brackets - 1) }
            }
            if !isQuoted, !isLiteral, brackets == 0, octet == UInt8(ascii: ",") || isBlank(octet) {
                if !item.isEmpty { items.append(String(decoding: item, as: UTF8.self)) }
                item = []
            } else {
                item.append(octet)
            }
        }
        if !item.isEmpty { items.append(String(decoding: item, as: UTF8.self)) }
        return items
    }

    private static func item(_ text: String, _ syntax: Syntax) -> Item {
        if case .deliveries = syntax, let item = delivery(text) { return item }
        let inner = text.hasPrefix("<") && text.hasSuffix(">") ? String(text.dropFirst().dropLast()) : text
        return BareAddress(inner).map(Item.address) ?? .nonsense(text)
    }

    private static func delivery(_ text: String) -> Item? {
        let whole = unquoted(text) ?? text
        if whole.hasPrefix("|") { return .command(String(ConfigurationText.trimmed(whole.dropFirst()))) }
        if whole.hasPrefix("/") { return .file(whole) }
        if lowercasedASCII(String(whole.prefix(9))) == ":include:" { return .include(unquoted(String(whole.dropFirst(9))) ?? String(whole.dropFirst(9))) }
        if text.hasPrefix("\\"), let bare = BareAddress(String(text.dropFirst())), bare.domain == nil { return .mailbox(bare.localPart) }
        return nil
    }

    /// The text inside of quotes that stand around all of it.
    static func unquoted(_ text: String) -> String? {
        guard text.utf8.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") else { return nil }
        var result: [UInt8] = []
        var isEscaped = false
        for octet in text.utf8.dropFirst().dropLast() {
            if !isEscaped, octet == UInt8(ascii: "\\") {
                isEscaped = true
            } else if !isEscaped, octet == UInt8(ascii: "\"") {
                return nil
            } else {
                result.append(octet)
                isEscaped = false
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}
