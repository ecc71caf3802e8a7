// The keys of `tls.outgoing`: what is asked of the servers that mail goes to.

internal import MailSyntax

enum OutgoingTLSKeys {
    static let level = Key(
        "level", .choice(MailSystem.OutgoingLevel.self), default: "may", example: "dane", postfix: "smtp_tls_security_level",
        "Whether connections to other servers are encrypted: never; where the server can; always; always and with a certificate that the trust store vouches for; or as the destination's DNS says (DANE, RFC 7672).")
    static let trustStore = Key(
        "trust_store", .path, defaultNote: "where systems have it", example: "/etc/ssl/certs/ca-certificates.crt", postfix: "smtp_tls_CAfile, smtp_tls_CApath",
        "The certificate authorities that `verify` believes: a file of certificates in PEM, or a directory of them as c_rehash(1) makes it.")
    static let destinations = Key(
        "destinations", table, default: "{}", example: "{bank.example: verify, \"[192.0.2.25]\": none}", postfix: "smtp_tls_policy_maps",
        "Levels of single destinations: a domain, `.domain` for its subdomains, or a next hop as `routes`, `sender_routes` or `relayhost` have it.")

    static let destinationLevel = Key(
        "level", .choice(MailSystem.OutgoingLevel.self), isRequired: true, example: "verify", "What is asked of the servers of this destination.")
    private static let nameList = Syntax<[Located<String>]>.list(of: .certificateName).then { names, node, findings -> [Located<String>]? in
        if case .sequence(let items) = node.content, items.isEmpty {
            findings.error(.invalidValue, "no certificate has one of no names", at: node.span, hint: "name one, or leave names out")
        }
        return names
    }
    static let names = Key(
        "names", nameList, defaultNote: "the destination, and all names under it; of a host in brackets, that host", example: "[mx.partner.example, .partner.example]",
        "With `verify`: names of which the certificate must have one; `.domain` stands for all names under it.")

    private struct Entry: Sendable {
        var level: Located<MailSystem.OutgoingLevel>
        var names: [Located<String>]
    }

    private static let entry = Syntax<Entry?>.either(
        Syntax<MailSystem.OutgoingLevel>.choice(MailSystem.OutgoingLevel.self).then { level, node, _ in
            Entry(level: Located(level, at: node.span.start, endColumn: node.span.endColumn), names: [])
        },
        orMapping: Syntax<Entry?>.section([destinationLevel, names]) { section, findings in
            guard let level = section.optional(destinationLevel, &findings) else { return nil }
            let names = section.optional(names, &findings)
            if level.value != .verify, let span = section.position(of: Self.names) {
                findings.warning(.noEffect, "names have no effect: level \(level.value.rawValue) does not look at them", at: span, hint: "level: verify")
            }
            return Entry(level: level, names: names?.value ?? [])
        })

    private static let table: Syntax<[MailSystem.TLSDestination]> = Syntax<[(name: Located<MailSystem.TLSPattern>, entry: Entry?)]>
        .table(of: .tlsPattern, key: \.description, orElse: nil, entry)
        .then { table, _, findings -> [MailSystem.TLSDestination]? in
            table.compactMap { name, entry -> MailSystem.TLSDestination? in
                guard let entry else { return nil }
                if entry.level.value == .verify, entry.names.isEmpty, case .hop(let hop) = name.value, case .address(let address) = hop.host {
                    findings.error(
                        .missingKey, "a certificate is for names, and \(address) is an address", at: name.span,
                        hint: "say which: {level: verify, names: [mx.example.net]}")
                }
                return MailSystem.TLSDestination(pattern: name, level: entry.level, names: entry.names)
            }
        }

    static let syntax = Syntax<MailSystem.OutgoingTLS>.section([level, trustStore, destinations]) { section, findings in
        MailSystem.OutgoingTLS(
            level: section.value(level, &findings), trustStore: section.optional(trustStore, &findings),
            destinations: section.value(destinations, &findings).value)
    }
}

extension Syntax where Value == MailSystem.TLSPattern {
    static var tlsPattern: Syntax { .word(
        Word(
            name: "destination", noun: "a destination", forms: "example.net, .example.net for its subdomains, or a next hop: \"[host]:port\", domain:port",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        if text.hasPrefix(".") {
            guard let domain = Domain(String(text.dropFirst())), domain.literal == nil else { throw Flaw("\(quoted(text)) is not a domain") }
            return .subdomains(of: domain)
        }
        guard let hop = NextHop(text) else {
            throw Flaw("\(quoted(text)) is not a destination", hint: IPAddress(text) != nil ? "write an address in brackets: \"[\(text)]\"" : nil)
        }
        if case .mailExchangers(let domain) = hop.host, let address = IPAddress(domain.text) {
            throw Flaw("\(quoted(text)) is an address, and addresses have no MX records", hint: "did you mean \"[\(address)]:\(hop.port)\"?")
        }
        guard hop.dialect == .smtp else { throw Flaw("\(quoted(text)) is an LMTP server, and mail goes there without TLS") }
        return .hop(hop)
    } }
}

extension Syntax where Value == String {
    /// RFC 6125: a name, or with a dot before it all names under it.
    static var certificateName: Syntax { .word(
        Word(
            name: "certificate name", noun: "a name of a certificate", forms: "mx.example.net, or .example.net for all names under it",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        guard let domain = Domain(text.hasPrefix(".") ? String(text.dropFirst()) : text), domain.literal == nil, IPAddress(text) == nil else {
            throw Flaw("\(quoted(text)) is not a name of a certificate")
        }
        return text.hasPrefix(".") ? ".\(domain.key)" : domain.key
    } }
}
