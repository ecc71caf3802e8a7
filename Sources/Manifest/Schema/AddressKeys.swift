// The keys of domains, users, aliases, and of the addresses to listen at.

internal import MailSyntax

typealias Targets = [Located<MailSystem.Target>]

enum DomainKeys {
    enum Kind: String, CaseIterable, Sendable { case local, virtual, relay }

    static let kind = Key(
        "kind", .choice(Kind.self), default: "local", example: "virtual", postfix: "mydestination, virtual_alias_domains, relay_domains",
        "`local`: every user and alias exists in it. `virtual`: has `addresses` of its own. `relay`: accepted and passed on.")
    static let addresses = Key(
        "addresses", addressTable, example: "{info: [alice, bob], \"*\": alice}", postfix: "virtual_alias_maps",
        "Of a virtual domain: each address and where it leads; `\"*\"` is every other address.")
    static let via = Key(
        "via", .nextHop, defaultNote: "by MX records", example: "\"[192.0.2.25]:25\"", postfix: "transport_maps",
        "Of a relay domain: the host that gets its mail.")
    static let recipients = Key(
        "recipients", Syntax<[Located<String>]>.list(of: .aliasName), defaultNote: "every address", example: "[office, warehouse]",
        postfix: "relay_recipient_maps", "Of a relay domain: the addresses that exist, each without its domain.")

    private static let addressTable = Syntax<[MailSystem.VirtualAddress]>.addresses
    /// A domain of which nothing is known: every address in it may exist.
    private static let unreadable = MailSystem.MailDomain.Kind.relay(via: nil, recipients: nil)

    /// All keys are read whatever the kind is, so that nothing wrong in them goes unseen.
    private static let section = Syntax<MailSystem.MailDomain.Kind>.section([kind, addresses, via, recipients]) { section, findings in
        let kind = section.optional(kind, &findings)
        let addresses = section.optional(addresses, &findings)?.value ?? []
        let via = section.optional(via, &findings)
        let recipients = section.optional(recipients, &findings)?.value
        refuseDuplicates(recipients ?? [], &findings)
        // A kind that could not be read says nothing about what goes with it.
        guard kind != nil || section.position(of: Self.kind) == nil else { return unreadable }
        refuseMisplaced(in: section, kind?.value ?? .local, &findings)
        switch kind?.value ?? .local {
        case .local: return .local
        case .relay: return .relay(via: via, recipients: recipients)
        case .virtual:
            if section.position(of: Self.addresses) == nil {
                let hint = "name each address and its targets, or \"*\" for all of them"
                findings.error(.missingKey, "a virtual domain needs \"addresses\"", at: kind?.span, hint: hint)
            }
            return .virtual(addresses: addresses.filter { $0.localPart.value != "*" }, catchAll: addresses.first { $0.localPart.value == "*" })
        }
    }

    static let table = Syntax<[(name: Located<Domain>, entry: MailSystem.MailDomain.Kind)]>
        .table(of: .domain, key: \.key, duplicate: .overlappingDomains, orElse: unreadable, section)
        .then { table, _, _ in table.map { MailSystem.MailDomain(name: $0.name, kind: $0.entry) } }

    /// Keys of one kind of domain that stand at another.
    private static func refuseMisplaced(in section: Section, _ kind: Kind, _ findings: inout Findings) {
        let owners: [(key: any Declared, owner: Kind)] = [(addresses, .virtual), (via, .relay), (recipients, .relay)]
        for (key, owner) in owners where owner != kind {
            guard let span = section.position(of: key) else { continue }
            let name = key.declaration.name
            findings.error(
                .misplacedKey, "\(quoted(name)) belongs to a domain of kind \(owner.rawValue), and this one is \(kind.rawValue)", at: span,
                hint: section.position(of: Self.kind) == nil ? "add: kind: \(owner.rawValue)" : nil)
        }
    }

    private static func refuseDuplicates(_ names: [Located<String>], _ findings: inout Findings) {
        var seen: Set<String> = []
        for name in names where !seen.insert(lowercasedASCII(name.value)).inserted {
            findings.error(.duplicateEntry, "\(quoted(name.value)) stands twice", at: name.span)
        }
    }
}

extension Syntax where Value == [MailSystem.VirtualAddress] {
    fileprivate static var addresses: Syntax {
        Syntax<[(name: Located<String>, entry: Targets)]>
            .table(of: .virtualLocalPart, key: lowercasedASCII, orElse: [], .oneOrMany(of: .target))
            .then { table, _, _ in table.map { MailSystem.VirtualAddress(localPart: $0.name, targets: $0.entry) } }
    }
}

enum UserKeys {
    static let name = Key("name", .text, example: "Alice Example", "The person's name.")
    static let password = Key(
        "password", Secret.syntax, defaultNote: "no login", example: "{file: /run/secrets/alice}",
        "The hash of the password to log in with, at `listen.submission` and `listen.submissions`: of crypt(3), with a `{SCHEME}` as Dovecot has it, or SCRAM keys; `valija password` makes them.")
    static let quota = Key(
        "quota", .size(from: 1), defaultNote: "`limits.mailbox_size`", example: "2GiB", "The size that this mailbox may grow to.")
    static let sendAs = Key(
        "send_as", Syntax<[Located<Address>]>.list(of: .address), defaultNote: "none", example: "[sales@example.org]", postfix: "smtpd_sender_login_maps",
        "Sender addresses that this user may use after a login, besides those that lead to this mailbox alone.")
    static let forward = Key(
        "forward", Syntax<Targets>.oneOrMany(of: .target), defaultNote: "none", example: "[bob@mobile.example]", postfix: "forward_path",
        "Where this user's mail goes instead; naming the user itself keeps a copy.")
    static let keepCopy = Key("keep_copy", .truth, default: "false", example: "true", "With `forward`: the mailbox gets a copy too.")
    static let mailbox = Key("mailbox", MailboxKeys.ofUser, default: "{}", example: "{format: mbox}", "How this mailbox is kept.")

    static let section = Syntax<MailSystem.User>.section([name, password, quota, sendAs, forward, keepCopy, mailbox]) { section, findings in
        let forward = section.optional(forward, &findings)?.value ?? []
        if let span = section.position(of: keepCopy), section.position(of: Self.forward) == nil {
            findings.warning(.noEffect, "\"keep_copy\" has no effect without \"forward\"", at: span)
        }
        return MailSystem.User(
            name: Located(""), fullName: section.optional(name, &findings)?.value, password: section.optional(password, &findings),
            sendAs: section.optional(sendAs, &findings)?.value ?? [], quota: section.optional(quota, &findings), forward: forward,
            keepCopy: section.value(keepCopy, &findings).value, format: section.value(mailbox, &findings).value)
    }

    private static let unreadable = MailSystem.User(
        name: Located(""), fullName: nil, password: nil, sendAs: [], quota: nil, forward: [], keepCopy: false, format: nil)

    static let table = Syntax<[(name: Located<String>, entry: MailSystem.User)]>
        .table(of: .userName, key: lowercasedASCII, orElse: unreadable, section)
        .then { table, _, _ in
            table.map { name, user in
                var user = user
                user.name = name
                return user
            }
        }
}

extension MailboxKeys {
    static let formatOfUser = Key(
        "format", .choice(MailSystem.MailboxFormat.self), defaultNote: "`mailboxes.format`", example: "mbox", "How this mailbox is kept.")
    static let directoryOfUser = PlannedKey(
        "directory", Syntax<String>.path.form, postfix: "virtual_mailbox_maps", advice: "for now every mailbox lies in mailboxes.directory; leave the key out",
        "Where this mailbox lies.")
    static let ofUser = Syntax<Located<MailSystem.MailboxFormat>?>.section([formatOfUser, directoryOfUser]) { section, findings in
        section.optional(formatOfUser, &findings)
    }
}

enum AliasKeys {
    static let table = Syntax<[(name: Located<String>, entry: Targets)]>
        .table(of: .aliasName, key: lowercasedASCII, orElse: [], .oneOrMany(of: .aliasTarget))
        .then { table, _, _ in table.map { MailSystem.Alias(name: $0.name, targets: $0.entry) } }
}

enum ListenKeys {
    static let smtp = Key(
        "smtp", .endpoints, default: "[\"0.0.0.0:25\", \"[::]:25\"]", example: "[\"0.0.0.0:25\"]", postfix: "master.cf: smtp inet",
        "Mail from other servers and from clients in `networks`; `0.0.0.0` is every IPv4 address, `[::]` every IPv6 address.")
    static let health = Key(
        "health", .endpoints, default: "[\"0.0.0.0:8080\"]", example: "[\"127.0.0.1:8080\"]", "`/livez`, `/readyz` and `/metrics` over HTTP.")

    static let submission = Key(
        "submission", .endpoints, default: "[]", example: "[\"0.0.0.0:587\"]", postfix: "master.cf: submission inet",
        "Mail from users, with a login after STARTTLS (RFC 6409).")
    static let submissions = Key(
        "submissions", .endpoints, default: "[]", example: "[\"0.0.0.0:465\"]", postfix: "master.cf: submissions inet",
        "Mail from users, with a login, in TLS from the start (RFC 8314).")

    static let lmtp = Key(
        "lmtp", LMTPKeys.sockets, default: "[]", example: "[\"127.0.0.1:24\", {path: /run/valija/lmtp}]",
        "Mail by LMTP (RFC 2033), from programs that keep a queue of their own; at addresses, and at Unix sockets with `path` and `mode`.")
    static let proxyProtocol = Key(
        "proxy_protocol", .endpoints, default: "[]", example: "[\"0.0.0.0:25\"]", postfix: "smtpd_upstream_proxy_protocol",
        "Those of the other addresses at which a load balancer says first for whom it speaks (PROXY protocol, version 1 or 2).")
    static let proxies = Key(
        "proxies", .networks, default: "[]", example: "[192.0.2.20]",
        "The load balancers that are believed there; without them, whoever can connect.")

    static let later: [PlannedKey] = [
        planned("pop3", 110, "Mailbox access by POP3 with STLS."),
        planned("pop3s", 995, "Mailbox access by POP3 in TLS."),
        planned("imap", 143, "Mailbox access by IMAP with STARTTLS."),
        planned("imaps", 993, "Mailbox access by IMAP in TLS."),
    ]

    private static func planned(_ name: String, _ port: Int, _ meaning: String) -> PlannedKey {
        PlannedKey(
            name, Syntax<[Endpoint]>.endpoints.form, example: "[\"0.0.0.0:\(port)\"]", advice: "this version has no such service; leave the key out", meaning)
    }

    static let syntax = Syntax<MailSystem.Listen>.section([smtp, submission, submissions, lmtp, health, proxyProtocol, proxies] + later) { section, findings in
        MailSystem.Listen(
            smtp: section.value(smtp, &findings), submission: section.value(submission, &findings), submissions: section.value(submissions, &findings),
            health: section.value(health, &findings), lmtp: section.value(lmtp, &findings), proxyProtocol: section.value(proxyProtocol, &findings),
            proxies: section.value(proxies, &findings))
    }
}

extension Syntax where Value == [Endpoint] {
    /// A socket address can be listened at once.
    fileprivate static var endpoints: Syntax {
        Syntax<[Located<Endpoint>]>.list(of: .endpoint).then { list, _, findings in
            var seen: Set<Endpoint> = []
            for endpoint in list where !seen.insert(endpoint.value).inserted {
                findings.error(.duplicateEntry, "\(endpoint.value) stands twice", at: endpoint.span)
            }
            return list.map(\.value)
        }
    }
}
