// The manifest's keys: the top level and the sections of the server as a whole. Domains, users and aliases are in
// `AddressKeys.swift`. Each key is declared once, beside the code that reads it.

internal import MailSyntax

enum ManifestSchema {
    enum Version: String, CaseIterable, Sendable { case v1 = "valija/v1" }

    static let apiVersion = Key(
        "apiVersion", .choice(Version.self), isRequired: true, example: "valija/v1", "The version of this format.")
    static let hostname = Key(
        "hostname", .hostname, isRequired: true, example: "mx.example.org", postfix: "myhostname",
        "The server's fully qualified name: what it says in its greeting, in EHLO and in the trace headers.")
    static let origin = Key(
        "origin", .domain, defaultNote: "the hostname", example: "example.org", postfix: "myorigin", "The domain that bare addresses get.")
    static let domains = Key(
        "domains", DomainKeys.table, default: "{}", example: "{example.org: {}}", postfix: "mydestination", "The domains that this server takes mail for.")
    static let users = Key("users", UserKeys.table, example: "{alice: {quota: 2GiB}}", "Who has a mailbox here.")
    static let aliases = Key(
        "aliases", AliasKeys.table, example: "{root: alice, sales: [alice, bob]}", postfix: "alias_maps",
        "More names in the local domains, and where each leads: to users, other aliases, or addresses.")
    static let addressExtension = Key(
        "address_extension", .extensionSeparator, defaultNote: "none", example: "\"+\"", postfix: "recipient_delimiter",
        "The character that ends a name and begins its extension: with `+`, alice+lists@example.org reaches alice.")
    static let networks = Key(
        "networks", .networks, default: "[127.0.0.0/8, \"::1/128\"]", example: "[127.0.0.0/8, 192.0.2.0/24]", postfix: "mynetworks",
        "Clients that may send mail to anywhere without a login.")
    static let directories = Key(
        "directories", DirectoryKeys.list, default: "[manifest]", example: "[manifest, {passwd_file: /etc/dovecot/users}]",
        "Where the passwords of those who log in are looked up, in this order: `manifest` is `users` here, the others are files, which are read again when they change.")
    static let submission = Key(
        "submission", SubmissionKeys.syntax, default: "{}", example: "{hide_client: true}", "What `listen.submission` and `listen.submissions` do with users' mail.")
    static let relayhost = Key(
        "relayhost", RelayhostKeys.syntax, defaultNote: "none: by MX records", example: "\"[smtp.example.net]:587\"", postfix: "relayhost",
        "The server that gets all mail to the outside.")
    static let dns = Key("dns", DNSKeys.syntax, default: "{}", example: "{resolvers: [192.0.2.53]}", "How names are looked up.")
    static let tls = Key("tls", TLSKeys.syntax, default: "{}", example: "{level: none}", "Encryption of connections.")
    static let rewriting = Key(
        "rewriting", RewritingKeys.syntax, default: "{}", example: "{canonical: {ajones: alice}}", "Addresses that become others on their way, and copies.")
    static let localDelivery = Key(
        "local_delivery", LocalDeliveryKeys.syntax, default: "{}", example: "{allow_mail_to_commands: [alias]}",
        "Delivery to files, commands and lists, and users' own forward files.")
    static let limits = Key("limits", LimitKeys.syntax, default: "{}", example: "{message_size: 25MiB}", "How much is too much.")
    static let mailboxes = Key("mailboxes", MailboxKeys.syntax, default: "{}", example: "{format: mbox}", "Where and how mail is kept.")
    static let listen = Key(
        "listen", ListenKeys.syntax, default: "{}", example: "{smtp: [\"0.0.0.0:25\"]}", postfix: "inet_interfaces",
        "The addresses that each service listens at; an empty list turns it off.")
    static let delivery = Key("delivery", DeliveryKeys.syntax, default: "{}", example: "{concurrency: 10}", "How other servers are treated that mail goes to.")
    static let queue = Key("queue", QueueKeys.syntax, default: "{}", example: "{lifetime: 3d}", "Mail on its way.")
    static let reports = Key(
        "reports", ReportKeys.syntax, default: "{}", example: "{delay_warning: 4h}",
        "What senders, and the postmaster, are told about mail that waits or could not be delivered.")
    static let logging = Key("logging", LoggingKeys.syntax, default: "{}", example: "{level: debug}", "What is logged, and how.")
    static let smtpd = Key(
        "smtpd", SMTPDKeys.syntax, default: "{}", example: "{restrictions: [reject_unknown_client_hostname]}",
        "How the SMTP server treats those who connect to it.")
    static let tests = Key(
        "tests", TestKeys.list, default: "[]", example: "[{rcpt: sales@example.org, reaches: [alice]}]",
        "What must be true of this file; `check` tries it out, and `serve` does not start where it is not so.")

    static let root = Syntax<MailSystem>.section([
        apiVersion, hostname, origin, domains, users, aliases, addressExtension, networks, directories, submission, relayhost, RouteKeys.routes,
        RouteKeys.senderRoutes, dns, tls, rewriting, limits, mailboxes, localDelivery, listen, smtpd, queue, delivery, reports, logging, tests,
    ]) { section, findings in
        _ = section.optional(apiVersion, &findings)
        // A stand-in where the name is missing or wrong: the finding forbids that anyone sees it.
        let hostname = section.optional(hostname, &findings) ?? Located(Domain(valid: "localhost"))
        let users = section.optional(users, &findings)
        let aliases = section.optional(aliases, &findings)
        findings.knowsAllNames = (users != nil || section.position(of: Self.users) == nil) && (aliases != nil || section.position(of: Self.aliases) == nil)
        let domains = section.value(domains, &findings).value
        let routes = section.value(RouteKeys.routes, &findings).value
        RouteKeys.refuseOwnDomains(routes, domains, &findings)
        return MailSystem(
            file: findings.file,
            hostname: hostname,
            origin: section.optional(origin, &findings) ?? Located(hostname.value),
            domains: domains,
            users: users?.value ?? [],
            aliases: aliases?.value ?? [],
            addressExtension: addressExtension(section, &findings),
            networks: section.value(networks, &findings),
            directories: section.value(directories, &findings),
            submission: section.value(submission, &findings).value,
            relayhost: section.optional(relayhost, &findings),
            dns: section.value(dns, &findings).value,
            routes: routes,
            senderRoutes: section.value(RouteKeys.senderRoutes, &findings).value,
            tls: section.value(tls, &findings).value,
            rewriting: section.value(rewriting, &findings).value,
            limits: section.value(limits, &findings).value,
            mailboxes: section.value(mailboxes, &findings).value,
            localDelivery: section.value(localDelivery, &findings).value,
            listen: section.value(listen, &findings).value,
            queue: section.value(queue, &findings).value,
            reports: section.value(reports, &findings).value,
            delivery: section.value(delivery, &findings).value,
            logging: section.value(logging, &findings).value,
            smtpd: section.value(smtpd, &findings).value,
            tests: section.value(tests, &findings).value)
    }

    private static func addressExtension(_ section: Section, _ findings: inout Findings) -> Located<Character?> {
        guard let separator = section.optional(addressExtension, &findings) else { return Located(nil) }
        return Located(separator.value, at: separator.position, endColumn: separator.endColumn)
    }
}

extension Syntax where Value == Character {
    /// Any character that an atom may hold and that no name needs: all but letters, digits, and the dot.
    static var extensionSeparator: Syntax {
        .word(
            Word(
                name: "character", noun: "one character", forms: "one character of - + = _ # ! % & ~, in quotes",
                json: [("type", .string("string")), ("enum", .array("-+=_#!%&~".map { .string(String($0)) }))])
        ) { text throws(Flaw) in
            guard text.count == 1, let first = text.first, "-+=_#!%&~".contains(first) else { throw Flaw("\(quoted(text)) cannot begin an extension") }
            return first
        }
    }
}

enum RelayhostKeys {
    static let host = Key(
        "host", .nextHop, isRequired: true, example: "\"[smtp.example.net]:587\"", postfix: "relayhost",
        "The relay: `[host]:port` is this very host, `domain:port` stands for the hosts of its MX records.")
    static let username = Key(
        "username", .text, example: "example", postfix: "smtp_sasl_password_maps", "The name to log in with; goes with `password`.")
    static let password = Key(
        "password", Secret.syntax, example: "{file: /run/secrets/relay}", postfix: "smtp_sasl_password_maps",
        "The password to log in with, itself and not a hash of it.")
    static let tls = Key(
        "tls", .choice(MailSystem.OutgoingLevel.self), defaultNote: "as `tls.outgoing` says; with a login at least `encrypt`", example: "verify",
        postfix: "smtp_tls_policy_maps", "Whether the connection to the relay is encrypted, and what its certificate must be: the levels of `tls.outgoing`.")
    static let implicitTLS = Key(
        "implicit_tls", .truth, defaultNote: "true with port 465, else false", example: "true", postfix: "smtp_tls_wrappermode",
        "The relay speaks TLS from the first octet (RFC 8314) instead of after STARTTLS.")

    static let syntax = Syntax<MailSystem.Relayhost>.either(
        Syntax<NextHop>.nextHop.then { hop, _, _ in MailSystem.Relayhost(hop: hop) },
        orMapping: Syntax<MailSystem.Relayhost?>.section([host, username, password, tls, implicitTLS]) { section, findings in
            let hop = section.optional(host, &findings)?.value
            let username = section.optional(username, &findings)
            let password = section.optional(password, &findings)
            let level = section.optional(tls, &findings)
            switch (section.position(of: Self.username), section.position(of: Self.password)) {
            case (let span?, nil): findings.error(.missingKey, "a login needs a password", at: span, hint: "add: password: {file: /run/secrets/relay}")
            case (nil, let span?): findings.error(.missingKey, "a login needs a username", at: span, hint: "add: username: NAME")
            default: break
            }
            let isImplicit = section.optional(implicitTLS, &findings)
            if isImplicit?.value == true, level?.value == MailSystem.OutgoingLevel.none {
                findings.error(
                    .conflictingValues, "TLS from the first octet, and none at all", at: isImplicit?.span, hint: "leave out implicit_tls, or tls: none")
            }
            if let hop, hop.dialect == .lmtp, let span = section.position(of: tls) ?? section.position(of: implicitTLS) {
                findings.warning(.noEffect, "mail goes to an LMTP server without TLS", at: span)
            }
            return hop.map { MailSystem.Relayhost(hop: $0, username: username, password: password, tls: level, implicitTLS: isImplicit) }
        }.then { relayhost, _, _ in relayhost })
}

enum MailboxKeys {
    static let format = Key(
        "format", .choice(MailSystem.MailboxFormat.self), default: "maildir", example: "mbox", postfix: "home_mailbox",
        "How a mailbox is kept: a file for each message, or one file.")
    static let directory = Key(
        "directory", .path, default: "/var/mail", example: "/var/mail", postfix: "mail_spool_directory", "Where the mailboxes lie, each named after its user.")

    static let via = Key(
        "via", .lmtpHop, defaultNote: "none: they are here", example: "lmtp:unix:/run/dovecot/lmtp", postfix: "mailbox_transport, virtual_transport",
        "The LMTP server that keeps the mailboxes, such as Dovecot: `lmtp:unix:/path` or `lmtp:[host]:port`.")

    static let syntax = Syntax<MailSystem.Mailboxes>.section([format, directory, via]) { section, findings in
        MailSystem.Mailboxes(
            format: section.value(format, &findings), directory: section.value(directory, &findings), via: section.optional(via, &findings))
    }
}

enum QueueKeys {
    static let directory = Key(
        "directory", .path, default: "/var/spool/valija", example: "/var/spool/valija", postfix: "queue_directory",
        "Where accepted mail waits until it is delivered; must survive a restart.")
    static let retry = Key(
        "retry", RetryKeys.syntax, default: "{}", example: "{minimum: 5m, maximum: 4h}",
        "When a delivery that failed for now is tried again.")
    static let lifetime = Key(
        "lifetime", .duration(), default: "5d", example: "3d", postfix: "maximal_queue_lifetime", "How long delivery is tried before the sender gets a report.")
    static let bounceLifetime = Key(
        "bounce_lifetime", .duration(), default: "5d", example: "1d", postfix: "bounce_queue_lifetime",
        "How long delivery of such a report is tried before it is dropped.")
    static let minimumFree = Key(
        "minimum_free", .size(from: 0), default: "100MiB", example: "1GiB", postfix: "queue_minfree",
        "Free space that has to be left on the queue's file system; below it new mail gets 452 4.3.1.")

    static let syntax = Syntax<MailSystem.Queue>.section([directory, retry, lifetime, bounceLifetime, minimumFree]) { section, findings in
        let retry = section.value(retry, &findings).value
        return MailSystem.Queue(
            directory: section.value(directory, &findings), retryMinimum: retry.minimum, retryMaximum: retry.maximum,
            lifetime: section.value(lifetime, &findings), bounceLifetime: section.value(bounceLifetime, &findings),
            minimumFree: section.value(minimumFree, &findings))
    }
}

enum RetryKeys {
    struct Retry: Sendable {
        let minimum: Located<Duration>
        let maximum: Located<Duration>
    }

    static let minimum = Key(
        "minimum", .duration(), default: "5m", example: "5m", postfix: "minimal_backoff_time", "The first wait; each further one is longer.")
    static let maximum = Key("maximum", .duration(), default: "4h", example: "4h", postfix: "maximal_backoff_time", "The longest wait.")

    static let syntax = Syntax<Retry>.section([minimum, maximum]) { section, findings in
        Retry(minimum: section.value(minimum, &findings), maximum: section.value(maximum, &findings))
    }
}

enum LoggingKeys {
    static let level = Key("level", .choice(MailSystem.Logging.Level.self), default: "info", example: "debug", "The least important events that are logged.")
    static let format = Key(
        "format", .choice(MailSystem.Logging.Format.self), default: "json",
        example: "json", postfix: "maillog_file", "How a log line is written.")

    static let syntax = Syntax<MailSystem.Logging>.section([level, format]) { section, findings in
        MailSystem.Logging(level: section.value(level, &findings), format: section.value(format, &findings))
    }
}
