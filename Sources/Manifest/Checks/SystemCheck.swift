// What values must not say together, and what is allowed but deserves a warning.

internal import MailSyntax

enum SystemCheck {
    /// RFC 5321 §4.5.3.1.7 and §4.5.3.1.8: what every server has to take at least.
    private static let leastMessageSize = 65_536
    private static let leastRecipients = 100

    static func run(_ system: MailSystem, _ book: AddressBook, _ findings: inout Findings) {
        checkLimits(system, &findings)
        checkQueue(system.queue, &findings)
        checkListen(system.listen, &findings)
        checkTLS(system, &findings)
        checkOutgoingTLS(system, &findings)
        checkLogins(system, &findings)
        guard findings.knowsAllNames else { return }
        checkPostmaster(system, book, &findings)
        checkReports(system.reports, book, &findings)
        checkLocalDomains(system, &findings)
    }

    private static func checkLimits(_ system: MailSystem, _ findings: inout Findings) {
        let limits = system.limits
        // Otherwise mail is accepted that fits into no mailbox; Postfix refuses such a configuration too.
        if limits.mailboxSize.value != 0, limits.mailboxSize.value < limits.messageSize.value {
            findings.error(
                .conflictingValues, "a mailbox of \(limits.mailboxSize.value) octets cannot take a message of \(limits.messageSize.value)",
                at: (limits.mailboxSize.span ?? limits.messageSize.span), hint: "mailbox_size has to be 0 or at least message_size")
        }
        if limits.messageSize.value < leastMessageSize {
            findings.warning(
                .belowStandard, "RFC 5321 §4.5.3.1.7 wants messages of \(leastMessageSize) octets to be taken", at: limits.messageSize.span)
        }
        if limits.timeout.value < .seconds(300) {
            findings.warning(
                .belowStandard, "RFC 5321 §4.5.3.2.7 wants clients to have 5 minutes for a command", at: limits.timeout.span)
        }
        if limits.recipientsPerMessage.value < leastRecipients {
            findings.warning(
                .belowStandard, "RFC 5321 §4.5.3.1.8 wants \(leastRecipients) recipients of a message to be taken", at: limits.recipientsPerMessage.span)
        }
    }

    private static func checkQueue(_ queue: MailSystem.Queue, _ findings: inout Findings) {
        if queue.retryMinimum.value > queue.retryMaximum.value {
            findings.error(
                .conflictingValues, "retry.minimum is longer than retry.maximum", at: queue.retryMinimum.span ?? queue.retryMaximum.span,
                hint: queue.retryMinimum.position == nil || queue.retryMaximum.position == nil ? "the defaults are 5m and 4h" : nil)
        }
    }

    /// A notice to nobody would be lost, and nobody would know.
    private static func checkReports(_ reports: MailSystem.Reports, _ book: AddressBook, _ findings: inout Findings) {
        for target in [reports.bounceNotice, reports.doubleBounceNotice, reports.delayNotice].compactMap({ $0 }) {
            // Postmaster is always there, and may be the first user.
            if case .name(let name) = target.value, lowercasedASCII(name) == "postmaster" { continue }
            if case .nowhere = book.step(target.value, from: nil) {
                findings.error(.danglingTarget, "\(quoted(target.value.word)) leads nowhere", at: target.span, hint: "name a user, an alias or a whole address")
            }
        }
    }

    private static func checkTLS(_ system: MailSystem, _ findings: inout Findings) {
        // Logins need encryption, whatever the level is elsewhere (RFC 8314 §3.3).
        guard system.tls.level.value == .none, system.listen.submission.value.isEmpty, system.listen.submissions.value.isEmpty else { return }
        if let span = system.tls.certificate?.span ?? (system.tls.isSelfSigned.value ? system.tls.isSelfSigned.span : nil) ?? system.tls.certificates.first?.domain.span {
            findings.warning(.noEffect, "a certificate has no effect without encryption", at: span, hint: "add: level: may")
        }
    }

    private static func checkOutgoingTLS(_ system: MailSystem, _ findings: inout Findings) {
        let outgoing = system.tls.outgoing
        let relay = system.relayhost?.value
        // RFC 7672 §2.1: only what DNSSEC vouches for counts.
        let levels = [outgoing.level] + outgoing.destinations.map(\.level) + [relay?.tls].compactMap { $0 }
        if system.dns.validation.value == .none, let dane = levels.first(where: { $0.value == .dane }) {
            findings.error(
                .conflictingValues, "dane needs DNSSEC, and dns.dnssec is none", at: dane.span ?? system.dns.validation.span,
                hint: "leave dnssec out, or choose another level")
        }
        if let relay, let level = relay.tls, level.value == .verify, case .address(let address) = relay.hop.host {
            let entry = outgoing.destinations.first { $0.pattern.value == .hop(relay.hop) }
            if entry?.names.isEmpty != false {
                findings.error(
                    .missingKey, "a certificate is for names, and \(address) is an address", at: level.span,
                    hint: "say which: tls: {outgoing: {destinations: {\"\(relay.hop)\": {level: verify, names: [mx.example.net]}}}}")
            }
        }
    }

    private static func checkLogins(_ system: MailSystem, _ findings: inout Findings) {
        let (listen, directories) = (system.listen, system.directories)
        var seen: Set<MailSystem.Directory> = []
        for directory in directories.value where !seen.insert(directory.value).inserted {
            findings.error(.duplicateEntry, "this directory stands twice", at: directory.span)
        }
        if !seen.contains(.manifest), let user = system.users.first(where: { $0.password != nil }) {
            findings.warning(
                .noEffect, "the password of \(quoted(user.name.value)) has no effect: \"directories\" does not name the manifest", at: user.password?.span,
                hint: "add it: directories: [manifest, …]")
        }
        let services: [(String, Located<[Endpoint]>)] = [("submission", listen.submission), ("submissions", listen.submissions)]
        guard let (name, service) = services.first(where: { !$0.1.value.isEmpty }) else { return }
        if seen == [.manifest], !system.users.contains(where: { $0.password != nil }), !findings.hasErrors {
            findings.warning(
                .noEffect, "nobody can send mail at listen.\(name): no user has a password", at: service.span,
                hint: "make a hash: valija password; or say where passwords are: directories")
        }
        if system.tls.certificate == nil, !system.tls.isSelfSigned.value, system.tls.level.value == .none, system.submission.tlsAuthOnly.value {
            findings.warning(
                .noCertificate, "the server makes a certificate of its own for listen.\(name), which others cannot verify", at: service.span,
                hint: "add tls: {certificate: PATH, key: PATH}; or tls: {certificate: self-signed}, if that is meant")
        }
    }

    private static func checkListen(_ listen: MailSystem.Listen, _ findings: inout Findings) {
        let lmtp = listen.lmtp.value.compactMap { if case .inet(let endpoint) = $0 { endpoint } else { nil } }
        let services: [(String, [Endpoint], Span?)] = [
            ("smtp", listen.smtp.value, listen.smtp.span), ("submission", listen.submission.value, listen.submission.span),
            ("submissions", listen.submissions.value, listen.submissions.span), ("lmtp", lmtp, listen.lmtp.span),
            ("health", listen.health.value, listen.health.span),
        ]
        var owners: [Endpoint: (name: String, span: Span?)] = [:]
        for (name, endpoints, span) in services {
            for endpoint in endpoints {
                if let owner = owners[endpoint], owner.name != name {
                    findings.error(.duplicateEntry, "\(owner.name) and \(name) cannot both listen at \(endpoint)", at: span ?? owner.span)
                } else {
                    owners[endpoint] = (name, span)
                }
            }
        }
        checkProxies(listen, owners.mapValues(\.name), &findings)
    }

    private static func checkProxies(_ listen: MailSystem.Listen, _ owners: [Endpoint: String], _ findings: inout Findings) {
        for endpoint in listen.proxyProtocol.value where owners[endpoint] == nil || owners[endpoint] == "health" {
            findings.error(
                .conflictingValues, "nothing that takes mail listens at \(endpoint)", at: listen.proxyProtocol.span,
                hint: "proxy_protocol names addresses of smtp, submission, submissions or lmtp")
        }
        if listen.proxyProtocol.value.isEmpty, let span = listen.proxies.span {
            findings.warning(.noEffect, "proxies have no effect without proxy_protocol", at: span)
        }
        if !listen.proxyProtocol.value.isEmpty, listen.proxies.value.isEmpty {
            findings.warning(
                .wideNetwork, "whoever can connect there can claim to be any client, also one of networks", at: listen.proxyProtocol.span,
                hint: "name the load balancers: proxies: [192.0.2.20]")
        }
    }

    /// RFC 5321 §4.5.1: a server that takes mail must take it for postmaster.
    private static func checkPostmaster(_ system: MailSystem, _ book: AddressBook, _ findings: inout Findings) {
        if let node = book.namedPostmaster {
            // An address that could not be read may be the one.
            for domain in system.domains where !findings.hasErrors {
                guard case .virtual(let addresses, catchAll: nil) = domain.kind else { continue }
                guard !addresses.contains(where: { lowercasedASCII($0.localPart.value) == "postmaster" }) else { continue }
                findings.warning(
                    .noPostmaster, "\(domain.name.value) names no postmaster; that mail goes to the server's: \(book.recipients(of: node))", at: domain.name.span,
                    hint: "say so under its addresses: postmaster: postmaster")
            }
        } else if let first = system.users.first {
            findings.warning(
                .noPostmaster, "nobody is named postmaster; \(quoted(first.name.value)), the first user, gets that mail", at: first.name.span,
                hint: "say who it is under aliases: postmaster: \(first.name.value)")
        } else {
            findings.warning(
                .noPostmaster, "nobody is named postmaster, and there is no user to get that mail", at: nil,
                hint: "name someone under aliases: postmaster: you@example.net")
        }
    }

    private static func checkLocalDomains(_ system: MailSystem, _ findings: inout Findings) {
        guard system.users.isEmpty, system.aliases.isEmpty else { return }
        for domain in system.domains {
            guard case .local = domain.kind else { continue }
            findings.warning(.noRecipients, "no address exists at \(domain.name.value): there are no users and no aliases", at: domain.name.span)
        }
    }
}
