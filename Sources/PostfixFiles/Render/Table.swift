// A look-up table of Postfix and its file: postmap(1)'s syntax (`key value`) or, for aliases that postalias(1) makes,
// aliases(5)'s (`key: value`). Keys compare without case: postmap, postalias and texthash fold them.

internal import MailSyntax

struct Table {
    /// The raw value is the name of the file.
    enum Name: String, CaseIterable, Sendable {
        case aliases, virtual, transport
        case senderRoutes = "sender_relayhost"
        case mailboxes = "virtual_mailboxes"
        case mailboxTransport = "mailbox_transport"
        case relayRecipients = "relay_recipients"
        case localRecipients = "local_recipients"
        case senderLogins = "sender_logins"
        case certificates = "tls_certificates"
        case relayClients = "relay_clientcerts"
        case tlsPolicy = "tls_policy"
        case relayPassword = "sasl_passwd"
        case canonical
        case senderCanonical = "sender_canonical"
        case recipientCanonical = "recipient_canonical"
        case generic
        case senderBCC = "sender_bcc"
        case recipientBCC = "recipient_bcc"
    }

    enum Line {
        case comment(String)
        case record(key: String, value: String)
        /// The place of a secret that could not be read.
        case blank(key: String, value: String)
    }

    let name: Name
    private(set) var lines: [Line] = []

    init(_ name: Name) { self.name = name }

    var isEmpty: Bool { lines.isEmpty }

    mutating func comment(_ text: String) { lines.append(.comment(text)) }

    mutating func leaveBlank(_ key: String, _ value: String) { lines.append(.blank(key: key, value: value)) }

    var isComplete: Bool { !lines.contains { if case .blank = $0 { true } else { false } } }

    mutating func add(_ key: String, _ value: String) { lines.append(.record(key: key, value: value)) }
}

extension RenderPlan {
    /// How main.cf names the table. `$config_directory` lets the files be anywhere.
    func reference(_ name: Table.Name) -> String { "\(options.maps.rawValue):$config_directory/\(name.rawValue)" }

    func file(_ table: Table) -> RenderedFile {
        var text = header
        let isAliases = table.name == .aliases && usesAliasSyntax
        for line in table.lines {
            switch line {
            case .comment(let comment): text += "\n# \(comment)\n"
            case .blank(let key, let value): text += "# \(key)\t\(value)\n"
            case .record(let key, let value): text += isAliases ? "\(aliasName(key)): \(value)\n" : "\(key)\t\(value)\n"
            }
        }
        // postmap(1) gives the database the mode of the table; that of the certificates holds their private keys.
        let isSecret = table.name == .relayPassword
        return RenderedFile(
            name: table.name.rawValue, content: text, mode: isSecret || table.name == .certificates ? 0o600 : 0o644, isSecret: isSecret,
            isComplete: table.isComplete)
    }

    /// postalias(1) reads aliases(5); texthash reads postmap's syntax whatever the table is for.
    var usesAliasSyntax: Bool { options.maps != .texthash }

    /// True if Postfix would take a line with this key for a comment. aliases(5) has quotes against that, postmap(1) has not.
    func isComment(_ key: String, in name: Table.Name) -> Bool { key.hasPrefix("#") && !(name == .aliases && usesAliasSyntax) }

    /// A name of a manifest is a Dot-string, and of what that may hold only `#` means something to aliases(5).
    private func aliasName(_ name: String) -> String { name.contains("#") ? "\"\(name)\"" : name }

    /// Makes every table that is not read as it is.
    func makefile(_ tables: [Table]) -> RenderedFile {
        let suffix = options.maps == .hash ? "db" : "lmdb"
        var text = header + "# Makes the tables that Postfix reads of those that are text; to be run after each render.\n\n"
        text += "all: \(tables.map { "\($0.name.rawValue).\(suffix)" }.joined(separator: " "))\n"
        for table in tables { text += "\n\(table.name.rawValue).\(suffix): \(table.name.rawValue)\n\t\(makeCommand(table))\n" }
        return RenderedFile(name: "Makefile", content: text)
    }

    /// Run in the directory of the files.
    func makeCommand(_ table: Table) -> String {
        let command = switch table.name {
        case .aliases: "postalias"
        // The values are names of files, whose content goes into the table.
        case .certificates: "postmap -F"
        default: "postmap"
        }
        return "\(command) -c . \(options.maps.rawValue):\(table.name.rawValue)"
    }
}
