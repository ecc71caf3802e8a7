// The keys of `dns`: who is asked for names, and what is believed.

internal import MailSyntax

enum DNSKeys {
    static let resolvers = Key(
        "resolvers", Syntax<[Located<MailSystem.DNS.Resolver>]>.oneOrMany(of: .resolver), default: "system", example: "[192.0.2.53, \"127.0.0.1:5353\"]",
        "Who is asked: addresses of resolvers; `system` is those of /etc/resolv.conf; with `recursion` this server asks the name servers of the world itself.")
    static let dnssec = Key(
        "dnssec", .choice(MailSystem.DNS.Validation.self), default: "may", example: "always", postfix: "smtp_dns_support_level",
        "Whether signatures are validated: never; where the resolvers pass them on; or always, and what cannot be validated is not believed.")
    static let trustAnchor = Key(
        "trust_anchor", .path, defaultNote: "the root's keys", example: "/etc/valija/anchor.key",
        "A file of DS or DNSKEY records that signatures have to lead to; what lies under none of them is not validated.")
    static let domainsInsecure = Key(
        "domains_insecure", Syntax<[Domain]>.listOfValues(.domain) { "\($0)" }, default: "[]", example: "[corp.example]",
        "Domains whose answers are believed without signatures, such as internal views of signed domains; what lies under them too.")

    static let syntax = Syntax<MailSystem.DNS>.section([resolvers, dnssec, trustAnchor, domainsInsecure]) { section, findings in
        let resolvers = section.value(resolvers, &findings)
        let words = resolvers.value.filter { if case .server = $0.value { false } else { true } }
        if let word = words.first, resolvers.value.count > 1 {
            findings.error(
                .conflictingValues, "\(word.value) stands alone, or it is addresses that are asked", at: Span(start: word.position ?? section.span.start, endColumn: word.endColumn),
                hint: "write the addresses alone, or the word alone")
        }
        let dnssec = section.value(dnssec, &findings)
        let anchor = section.optional(trustAnchor, &findings)
        if dnssec.value == .none, let anchor, let span = section.position(of: trustAnchor) {
            findings.warning(.noEffect, "\(anchor.value) has no effect: nothing is validated", at: span, hint: "leave dnssec out, or the trust anchor")
        }
        let insecure = section.value(domainsInsecure, &findings)
        if dnssec.value == .none, !insecure.value.isEmpty, let span = section.position(of: domainsInsecure) {
            findings.warning(.noEffect, "domains_insecure has no effect: nothing is validated", at: span, hint: "leave dnssec out, or the domains")
        }
        return MailSystem.DNS(
            resolvers: Located(resolvers.value.map(\.value), at: resolvers.position, endColumn: resolvers.endColumn), validation: dnssec, trustAnchor: anchor,
            insecureDomains: insecure)
    }
}

extension Syntax where Value == MailSystem.DNS.Resolver {
    static var resolver: Syntax { .word(
        Word(
            name: "resolver", noun: "a resolver", forms: "an address, one with a port such as \"127.0.0.1:5353\" or \"[::1]:5353\", or one of the words system and recursion",
            json: [("type", .string("string"))])
    ) { text throws(Flaw) in
        guard let resolver = MailSystem.DNS.Resolver(text) else { throw Flaw("\(quoted(text)) is not a resolver") }
        return resolver
    } }
}
