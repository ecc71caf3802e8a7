// The keys of `rewriting`: tables of addresses, masquerading, copies, SRS. Names and defaults are Postfix's.

internal import MailSyntax

enum RewritingKeys {
    typealias Rewriting = MailSystem.Rewriting

    private static let table = Syntax<[Rewriting.Entry]>.rewrites(to: .rewritten)
    private static let copies = Syntax<[Rewriting.Entry]>.rewrites(to: .copied)
    private static let classes = Syntax<[Rewriting.Class]>.words(.choice(Rewriting.Class.self))

    static let canonical = Key(
        "canonical", table, default: "{}", example: "{\"@old.example\": \"@example.org\", ajones: alice.jones}", postfix: "canonical_maps",
        "Addresses that become others when mail comes in: looked up as `user@domain`, as `user` in the origin and the local domains, as `@domain`.")
    static let canonicalClasses = Key(
        "canonical_classes", classes, default: "[envelope_sender, envelope_recipient, header_sender, header_recipient]",
        example: "[envelope_sender, header_sender]", postfix: "canonical_classes", "Where `canonical` applies.")
    static let senderCanonical = Key(
        "sender_canonical", table, default: "{}", example: "{ajones: alice.jones@example.org}", postfix: "sender_canonical_maps",
        "As `canonical`, for senders alone, and before it.")
    static let senderCanonicalClasses = Key(
        "sender_canonical_classes", classes, default: "[envelope_sender, header_sender]", example: "[header_sender]",
        postfix: "sender_canonical_classes", "Where `sender_canonical` applies.")
    static let recipientCanonical = Key(
        "recipient_canonical", table, default: "{}", example: "{\"@old.example\": \"@example.org\"}", postfix: "recipient_canonical_maps",
        "As `canonical`, for recipients alone, and before it.")
    static let recipientCanonicalClasses = Key(
        "recipient_canonical_classes", classes, default: "[envelope_recipient, header_recipient]", example: "[envelope_recipient]",
        postfix: "recipient_canonical_classes", "Where `recipient_canonical` applies.")
    static let generic = Key(
        "generic", table, default: "{}", example: "{\"@host.internal\": office@example.org}", postfix: "smtp_generic_maps",
        "Addresses that become others when mail goes out by SMTP, in envelope and header: for names that are not valid outside.")
    static let extended = Key(
        "propagate_extensions", Syntax<[Rewriting.Extended]>.words(.choice(Rewriting.Extended.self)), default: "[canonical]", example: "[canonical, generic]",
        postfix: "propagate_unmatched_extensions", "Tables whose results get the extension that the address had beyond the entry.")
    static let masqueradeDomains = Key(
        "masquerade_domains", Syntax<[Located<Rewriting.Masquerade>]>.list(of: .masquerade), default: "[]", example: "[\"!mail.example.org\", example.org]",
        postfix: "masquerade_domains", "Domains whose subdomains are hidden: host.example.org becomes example.org; with `!` a domain is left alone. The first that fits counts.")
    static let masqueradeExceptions = Key(
        "masquerade_exceptions", Syntax<[Located<String>]>.list(of: .aliasName), default: "[]", example: "[root]", postfix: "masquerade_exceptions",
        "Names whose addresses keep their subdomain.")
    static let masqueradeClasses = Key(
        "masquerade_classes", classes, default: "[envelope_sender, header_sender, header_recipient]", example: "[envelope_sender, header_sender]",
        postfix: "masquerade_classes", "Where `masquerade_domains` applies.")
    static let clients = Key(
        "local_header_clients", Syntax<[Rewriting.Client]>.words(.choice(Rewriting.Client.self)), default: "[submission]", example: "[submission, networks]",
        postfix: "local_header_rewrite_clients",
        "Whose mail has its header rewritten and completed: `submission` is what comes in at `listen.submission` and `listen.submissions` and by the `sendmail` command, `logins` whoever logged in, `own` this host's addresses, `networks` those of `networks`.")
    static let remoteHeaderDomain = Key(
        "remote_header_domain", .domain, defaultNote: "none: the header of other mail stays as it is", example: "domain.invalid",
        postfix: "remote_header_rewrite_domain", "The domain that bare addresses get in the header of all other mail, which then is rewritten too.")
    static let alwaysAddsMissing = Key(
        "always_add_missing_headers", .truth, default: "false", example: "true", postfix: "always_add_missing_headers",
        "Whether a missing From, Date or Message-ID is added to all mail, and not only for `local_header_clients`.")
    static let senderBCC = Key(
        "sender_bcc", copies, default: "{}", example: "{alice@example.org: archive}", postfix: "sender_bcc_maps",
        "Who gets a copy of mail from an address; looked up as in `canonical`.")
    static let recipientBCC = Key(
        "recipient_bcc", copies, default: "{}", example: "{\"@example.org\": archive@example.net}", postfix: "recipient_bcc_maps",
        "Who gets a copy of mail to an address; looked up as in `canonical`.")
    static let alwaysBCC = Key(
        "always_bcc", .copied, defaultNote: "none", example: "archive@example.org", postfix: "always_bcc", "Who gets a copy of every message that comes in.")
    static let srs = Key(
        "srs", SRSKeys.syntax, defaultNote: "none: the sender stays", example: "{domain: example.org, secret: {file: /run/secrets/srs}}",
        "Forwarded mail goes out with a sender of this server's, from which a bounce finds the way back (SRS).")

    static let keys: [any Declared] = [
        canonical, canonicalClasses, senderCanonical, senderCanonicalClasses, recipientCanonical, recipientCanonicalClasses, generic, extended,
        masqueradeDomains, masqueradeExceptions, masqueradeClasses, clients, remoteHeaderDomain, alwaysAddsMissing, senderBCC, recipientBCC, alwaysBCC, srs,
    ]

    static let syntax = Syntax<Rewriting>.section(keys) { section, findings in
        func table(_ entries: Key<[Rewriting.Entry]>, _ classes: Key<[Rewriting.Class]>) -> Rewriting.Table {
            Rewriting.Table(entries: section.value(entries, &findings).value, classes: section.value(classes, &findings))
        }
        return Rewriting(
            canonical: table(canonical, canonicalClasses), senderCanonical: table(senderCanonical, senderCanonicalClasses),
            recipientCanonical: table(recipientCanonical, recipientCanonicalClasses), generic: section.value(generic, &findings).value,
            extended: section.value(extended, &findings), masqueradeDomains: section.value(masqueradeDomains, &findings).value,
            masqueradeExceptions: section.value(masqueradeExceptions, &findings).value, masqueradeClasses: section.value(masqueradeClasses, &findings),
            clients: section.value(clients, &findings), remoteHeaderDomain: section.optional(remoteHeaderDomain, &findings),
            alwaysAddsMissingHeaders: section.value(alwaysAddsMissing, &findings), senderBCC: section.value(senderBCC, &findings).value,
            recipientBCC: section.value(recipientBCC, &findings).value, alwaysBCC: section.optional(alwaysBCC, &findings),
            srs: section.optional(srs, &findings)?.value)
    }
}

enum SRSKeys {
    static let domain = Key(
        "domain", .domain, isRequired: true, example: "example.org",
        "The domain of rewritten senders: one whose mail comes to this server; addresses in it that begin with SRS0= or SRS1= are taken for such.")
    static let secret = Key(
        "secret", Syntax<[Located<Secret>]>.oneOrMany(of: Secret.syntax), isRequired: true, example: "{file: /run/secrets/srs}",
        "What signs them; of several the first, while all are accepted, so that it can be changed.")

    private static let section = Syntax<MailSystem.Rewriting.SenderRewriting?>.section([domain, secret]) { section, findings in
        guard let domain = section.optional(domain, &findings), let secrets = section.optional(secret, &findings) else { return nil }
        return MailSystem.Rewriting.SenderRewriting(domain: domain, secrets: secrets.value)
    }
    static let syntax = section.then { srs, _, _ in srs }
}

enum LocalDeliveryKeys {
    typealias Source = MailSystem.LocalDelivery.Source
    private static let sources = Syntax<[Source]>.words(.choice(Source.self))

    static let commands = Key(
        "allow_mail_to_commands", sources, default: "[]", example: "[alias]", postfix: "allow_mail_to_commands",
        "Who may have mail given to a command: aliases, the lists that they include, users' forward files. None, unless it is said.")
    static let files = Key(
        "allow_mail_to_files", sources, default: "[alias]", example: "[alias, include]", postfix: "allow_mail_to_files",
        "Who may have mail appended to a file: aliases, the lists that they include, users' forward files.")
    static let timeLimit = Key(
        "command_time_limit", .duration(), default: "1000s", example: "1m", postfix: "command_time_limit",
        "How long a command may run; then it is killed, and the mail goes back.")
    static let concurrency = Key(
        "command_concurrency", .integer(1...100), default: "2", example: "4", postfix: "local_destination_concurrency_limit",
        "How many commands run at a time.")
    static let forwardPath = Key(
        "forward_path", Syntax<[String]>.words(.path), default: "[]", example: "[/home/$user/.forward]", postfix: "forward_path",
        "Files in which users say where their mail goes, the first that exists; `$user` stands for the user's name, `$extension` for the extension of the address. None: users have no such files.")

    static let syntax = Syntax<MailSystem.LocalDelivery>.section([commands, files, timeLimit, concurrency, forwardPath]) { section, findings in
        MailSystem.LocalDelivery(
            commands: section.value(commands, &findings), files: section.value(files, &findings), commandTimeLimit: section.value(timeLimit, &findings),
            commandConcurrency: section.value(concurrency, &findings), forwardPath: section.value(forwardPath, &findings))
    }
}

extension Syntax {
    /// A list whose entries need no place of their own.
    fileprivate static func words<Element>(_ element: Syntax<Element>) -> Syntax where Value == [Element] {
        Syntax<[Located<Element>]>.list(of: element).then { list, _, _ in list.map(\.value) }
    }
}

extension Syntax where Value == [MailSystem.Rewriting.Entry] {
    fileprivate static func rewrites(to result: Syntax<MailSystem.Rewriting.Pattern>) -> Syntax {
        // A stand-in for a result that is wrong: what was found keeps it from being used.
        let unreadable = Located(MailSystem.Rewriting.Pattern.name("postmaster"))
        let located = Syntax<Located<MailSystem.Rewriting.Pattern>>(form: result.form) { node, findings in result.located(node, &findings) }
        return Syntax<[(name: Located<MailSystem.Rewriting.Pattern>, entry: Located<MailSystem.Rewriting.Pattern>)]>
            .table(of: .rewritten, key: \.key, orElse: unreadable, located)
            .then { table, _, _ in table.map { MailSystem.Rewriting.Entry(pattern: $0.name, result: $0.entry) } }
    }
}

extension Syntax where Value == MailSystem.Rewriting.Pattern {
    /// A key or a result of a table: `user@domain`, `user` or `@domain`.
    fileprivate static var rewritten: Syntax { pattern(takesDomain: true) }
    /// Who gets a copy: one address.
    fileprivate static var copied: Syntax { pattern(takesDomain: false) }

    private static func pattern(takesDomain: Bool) -> Syntax {
        let forms = takesDomain ? "user@example.org, user, or \"@example.org\" for every address of the domain" : "a whole address, or the name of a user or alias"
        let word = Word(
            name: takesDomain ? "address pattern" : "address or name", noun: takesDomain ? "an address, a name or a domain" : "an address or a name", forms: forms,
            json: [("type", .array([.string("string"), .string("number")]))])
        return .word(word, isText: true) { text throws(Flaw) in
            if text.hasPrefix("@") {
                guard takesDomain, let domain = Domain(String(text.dropFirst())), domain.literal == nil else {
                    throw Flaw("\(quoted(text)) is not \(takesDomain ? "the @ and a domain" : "an address")")
                }
                return .domain(domain)
            }
            guard let bare = BareAddress(text) else { throw Flaw("\(quoted(text)) is not an address") }
            return bare.domain.map { .address(Address(localPart: bare.localPart, domain: $0)) } ?? .name(bare.localPart)
        }
    }
}

extension Syntax where Value == MailSystem.Rewriting.Masquerade {
    fileprivate static var masquerade: Syntax { .word(
        Word(
            name: "masqueraded domain", noun: "a domain", forms: "example.org, or \"!mail.example.org\" for one that is left alone",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        let isExempt = text.hasPrefix("!")
        guard let domain = Domain(isExempt ? String(text.dropFirst()) : text), domain.literal == nil else { throw Flaw("\(quoted(text)) is not a domain") }
        return MailSystem.Rewriting.Masquerade(domain: domain, isExempt: isExempt)
    } }
}
