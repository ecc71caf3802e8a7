// Which domains there are, and of which class (ADDRESS_CLASS_README): local, virtual alias, virtual mailbox, relay. And the
// names of the server itself.

internal import MailSyntax
internal import Manifest

enum DomainClass: String {
    case local = "mydestination"
    case virtualAlias = "virtual_alias_domains"
    case virtualMailbox = "virtual_mailbox_domains"
    case relay = "relay_domains"
}

/// The addresses of one domain, as they are found.
struct AddressSpace {
    struct Entry {
        let localPart: String
        let targets: [TargetList.Item]
        let place: Place
    }

    private(set) var entries: [Entry] = []
    private var numbers: [String: Int] = [:]
    var catchAll: Entry?

    /// False if the address is there already: Postfix takes the first.
    mutating func add(_ entry: Entry) -> Bool {
        let key = lowercasedASCII(entry.localPart)
        guard numbers[key] == nil else { return false }
        numbers[key] = entries.count
        entries.append(entry)
        return true
    }

    subscript(localPart: String) -> Entry? { numbers[lowercasedASCII(localPart)].map { entries[$0] } }
}

extension Importer {
    // MARK: The server's names

    mutating func importIdentity() {
        var hostname = value("myhostname")
        if !hostname.contains("."), !hostname.isEmpty { hostname += "." + value("mydomain") }
        if let flaw = MailSystem.flaw(in: hostname, as: .hostname) {
            noteDefault("myhostname", .changed, "\(flaw); the manifest says localhost.localdomain: write the name that the DNS has for this server")
            hostname = "localhost.localdomain"
        } else if isSet("myhostname") {
            note("myhostname", .translated, "hostname: \(hostname)")
        } else {
            noteDefault("myhostname", .note, "hostname: \(hostname), which is this machine's name")
        }
        system.hostname = located(Domain(valid: hostname), place(of: "myhostname"))
        importOrigin()
        importExtension()
    }

    /// A name, or a file that holds it, as Debian's /etc/mailname.
    private mutating func importOrigin() {
        var origin = value("myorigin")
        if origin.hasPrefix("/") {
            let file = readFile(origin, subject: "myorigin", place: place(of: "myorigin"))
            let words = file.map { ConfigurationText.list(String(decoding: $0.bytes, as: UTF8.self)) } ?? []
            origin = words.first ?? system.hostname.value.text
        }
        if MailSystem.flaw(in: origin, as: .domain) != nil {
            note("myorigin", .changed, "\(origin) is no domain; the manifest takes the hostname")
            origin = system.hostname.value.text
        }
        system.origin = located(Domain(valid: origin), place(of: "myorigin"))
        note("myorigin", .translated, "origin: \(origin)")
    }

    private mutating func importExtension() {
        let delimiters = value("recipient_delimiter")
        guard let first = delimiters.first else { return note("recipient_delimiter", .standard, "addresses have no extensions") }
        guard "-+=_#!%&~".contains(first) else {
            return note("recipient_delimiter", .unsupported, "\(delimiters) cannot begin an extension in a manifest: use +")
        }
        system.addressExtension = located(first, place(of: "recipient_delimiter"))
        if delimiters.count > 1 {
            note("recipient_delimiter", .changed, "address_extension: \(first); a manifest has one character, and the others begin no extension any more")
        } else {
            note("recipient_delimiter", .translated, "address_extension: \(first)")
        }
    }

    // MARK: Lists of domains

    mutating func importDomainLists() {
        localDomains = domains(.local)
        virtualDomains = domains(.virtualAlias)
        mailboxDomains = domains(.virtualMailbox)
        // Before compatibility level 2 Postfix relays for mydestination and its subdomains by default; the former is local anyway.
        if isSet("relay_domains") { relayDomains = domains(.relay) }
        if isSet("mydestination") { note("mydestination", .translated, "domains, of kind local") }
        if !relayDomains.isEmpty, list("parent_domain_matches_subdomains").contains("relay_domains") {
            note(
                "relay_domains", .changed, "domains, of kind relay; Postfix takes mail for their subdomains too, the manifest does not: list each one that is in use")
        } else {
            note("relay_domains", .translated, "domains, of kind relay")
        }
        note("virtual_alias_domains", .translated, "domains, of kind virtual")
    }

    private mutating func domains(_ kind: DomainClass) -> [Located<Domain>] {
        let parameter = kind.rawValue
        var found: [Located<Domain>] = []
        for element in list(parameter) {
            if let reference = LookupTable.Reference(element), !element.hasPrefix("[") {
                let table = table([element], of: parameter).table
                let isAlsoAddresses = kind != .relay && kind != .local && isAddressTable(reference)
                for entry in table.entries where !entry.key.contains("@") && (!isAlsoAddresses || marksDomain(entry, in: table)) {
                    add(entry.key, entry.place, kind, &found)
                }
            } else if element.hasPrefix("/") {
                guard let (path, bytes) = readFile(element, subject: parameter, place: place(of: parameter)) else { continue }
                for line in ConfigurationText.logicalLines(bytes, file: path).lines {
                    for word in ConfigurationText.list(line.text) { add(word, Place(file: path, line: line.number), kind, &found) }
                }
            } else {
                add(element, place(of: parameter), kind, &found)
            }
        }
        return found
    }

    private mutating func add(_ text: String, _ place: Place, _ kind: DomainClass, _ found: inout [Located<Domain>]) {
        if let flaw = MailSystem.flaw(in: text, as: .domain) {
            let why = text.hasPrefix(".") ? "the subdomains of a domain: list each one that is in use"
                : text.hasPrefix("!") ? "an exception: leave the domain out of the list instead"
                : text.hasPrefix("[") ? "an address instead of a domain: mail to it is refused now" : flaw
            return note(place, text, .unsupported, "left out of \(kind.rawValue): \(why)")
        }
        let domain = Domain(valid: text)
        if let other = classes[domain.key] {
            // Postfix warns of it too; the classes are asked in this order.
            if other != kind { note(place, text, .harmless, "it stands in \(other.rawValue) as well, which comes first") }
            return
        }
        classes[domain.key] = kind
        found.append(located(domain, place))
    }

    /// True if the table's keys are addresses first: `virtual_alias_domains = $virtual_alias_maps`.
    private mutating func isAddressTable(_ reference: LookupTable.Reference) -> Bool {
        for parameter in ["virtual_alias_maps", "virtual_mailbox_maps"] {
            if list(parameter).contains(where: { LookupTable.Reference($0) == reference }) { return true }
        }
        return false
    }

    /// virtual(5): a line `domain anything` makes the domain a virtual one; a line `user target` looks the same.
    private mutating func marksDomain(_ entry: LookupTable.Entry, in table: LookupTable) -> Bool {
        guard entry.key.contains("."), MailSystem.flaw(in: entry.key, as: .domain) == nil else { return false }
        if domainsWithAddresses.table != table.entries.count {
            domainsWithAddresses = (table.entries.count, Set(table.entries.compactMap { entry in
                entry.key.lastIndex(of: "@").map { lowercasedASCII(String(entry.key[entry.key.index(after: $0)...])) }
            }))
        }
        if domainsWithAddresses.domains.contains(lowercasedASCII(entry.key)) { return true }
        return ["anything", "any", "ok", "dummy", "virtual", "domain", "x", "1", "-"].contains(lowercasedASCII(entry.value))
    }

    // MARK: Relay domains

    mutating func importRelayDomains() {
        let hasRecipients = !list("relay_recipient_maps").isEmpty
        let (table, isWhole) = table(list("relay_recipient_maps"), of: "relay_recipient_maps")
        var recipients: [String: [Located<String>]] = [:]
        var open: Set<String> = []
        for entry in table.entries {
            guard let at = entry.key.lastIndex(of: "@") else { continue }
            let domain = lowercasedASCII(String(entry.key[entry.key.index(after: at)...]))
            guard classes[domain] == .relay else { continue }
            if at == entry.key.startIndex {
                open.insert(domain)
            } else if let address = Address(entry.key), MailSystem.flaw(in: address.localPart, as: .aliasName) == nil {
                recipients[domain, default: []].append(located(address.localPart, entry.place))
            } else {
                note(entry.place, entry.key, .unsupported, "left out: a recipient of a manifest is a plain name")
            }
        }
        if isSet("relay_recipient_maps") {
            if isWhole {
                note("relay_recipient_maps", .translated, "domains.NAME.recipients")
            } else {
                note("relay_recipient_maps", .changed, "not all of it could be read, so every address of the relay domains is accepted now: write their recipients")
            }
        }
        let hops = relayHops()
        for domain in relayDomains {
            var list: [Located<String>]?
            if hasRecipients, isWhole, !open.contains(domain.value.key) {
                var seen: Set<String> = []
                list = (recipients[domain.value.key] ?? []).filter { seen.insert(lowercasedASCII($0.value)).inserted }
            }
            system.domains.append(MailSystem.MailDomain(name: domain, kind: .relay(via: hops[domain.value.key], recipients: list)))
        }
    }

    /// transport(5) for relay domains; whatever else the table routes is said.
    private mutating func relayHops() -> [String: Located<NextHop>] {
        var hops: [String: Located<NextHop>] = [:]
        let (table, _) = table(list("transport_maps"), of: "transport_maps")
        for entry in table.entries { importTransport(entry, &hops) }
        note("transport_maps", .translated, "domains.NAME.via, for the domains of kind relay; routes, for the outside")
        guard isSet("relay_transport") else { return hops }
        let all = value("relay_transport")
        switch transport(all) {
        case .mail(let hop):
            note("relay_transport", .translated, hop == nil ? "domains of kind relay go by their MX records" : "domains.NAME.via")
            guard let hop else { break }
            for domain in relayDomains where hops[domain.value.key] == nil { hops[domain.value.key] = located(hop, place(of: "relay_transport")) }
        case .other(let why): note("relay_transport", .unsupported, "\(all): \(why)")
        }
        return hops
    }

    private mutating func importTransport(_ entry: LookupTable.Entry, _ hops: inout [String: Located<NextHop>]) {
        let transport = transport(entry.value)
        let key = lowercasedASCII(entry.key)
        if key == "*" {
            guard case .mail(let hop?) = transport, system.relayhost == nil, value("relayhost").isEmpty else {
                return note(entry.place, "*", .unsupported, "it sent all mail by \(entry.value): name one relayhost")
            }
            system.relayhost = located(MailSystem.Relayhost(hop: hop), entry.place)
            return note(entry.place, "*", .translated, "relayhost: \(hop)")
        }
        // Of a rendering with virtual accounts: aliases that lead to files and commands.
        if let address = Address(key), case .other = transport, ["local", "local:"].contains(entry.value), isLocal(address.domain) {
            locallyDelivered.insert(address.localKey)
            return
        }
        let domain = key.contains("@") ? key[key.index(after: key.lastIndex(of: "@")!)...] : key.hasPrefix(".") ? "" : key[...]
        guard let kind = classes[String(domain)] else {
            guard case .mail(let hop) = transport else {
                if case .other(let why) = transport { note(entry.place, entry.key, .unsupported, "\(entry.value): \(why)") }
                return
            }
            return importRoute(entry, hop)
        }
        guard !key.contains("@") else {
            return note(entry.place, entry.key, .unsupported, "mail to it went by \(entry.value): a manifest routes a domain of its own as a whole")
        }
        switch (kind, transport) {
        case (.relay, .mail(let hop)): if let hop, hops[key] == nil { hops[key] = located(hop, entry.place) }
        case (_, .other(let why)): note(entry.place, entry.key, .unsupported, "\(entry.value): \(why)")
        case (_, .mail): note(entry.place, entry.key, .unsupported, "mail to a domain of this server went on by \(entry.value): make it a domain of kind relay")
        }
    }

    enum Transport {
        /// By SMTP; nil: by MX records.
        case mail(NextHop?)
        case other(String)
    }

    /// `transport:nexthop` (transport(5)).
    func transport(_ text: String) -> Transport {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        let (name, hop) = parts.count == 2 && !text.hasPrefix("[") ? (parts[0], parts[1]) : ("", text)
        switch name {
        case "", "smtp", "relay":
            guard !hop.isEmpty else { return .mail(nil) }
            return nextHop(hop).map { .mail($0) } ?? .other("the next hop is not one that a manifest can name; write it as [host]:port")
        case "lmtp": return lmtpHop(hop).map { .mail($0) } ?? .other("the LMTP server is not one that a manifest can name; write it as lmtp:[host]:port")
        case "local", "virtual": return .other("delivery on this server; make it a local or a virtual domain")
        case "error", "discard", "retry": return .other("a way to refuse or drop mail; leave the address out, so that it is refused")
        default: return .other("a delivery program of master.cf; there is no such thing in a manifest")
        }
    }

    /// With a service's name for the port, which `NextHop` does not know.
    func nextHop(_ text: String) -> NextHop? {
        var text = text
        if let colon = text.lastIndex(of: ":"), !text.hasSuffix("]"), !text.hasPrefix("lmtp:unix:"), let port = Importer.ports[lowercasedASCII(String(text[text.index(after: colon)...]))] {
            text = "\(text[..<colon]):\(port)"
        }
        guard MailSystem.flaw(in: text, as: .nextHop) == nil else { return nil }
        return NextHop(text)
    }

    /// postconf(5) known_tcp_ports, and services(5).
    static let ports: [String: UInt16] = ["smtp": 25, "submission": 587, "submissions": 465, "smtps": 465, "lmtp": 24]

    func isLocal(_ domain: Domain) -> Bool {
        switch classes[domain.key] {
        case .local: true
        case .virtualMailbox: mailboxDomainsAreLocal
        default: false
        }
    }
}
