// One of two manifests that are compared: its router, its names, and its values as text.

internal import MailSyntax
internal import Manifest
internal import Routing

/// A value of a manifest beside its full name. Secrets are told apart and not shown.
struct Value: Equatable, Sendable {
    let name: String
    let shown: String?
    private let secret: Secret?

    init(_ name: String, _ shown: String?, secret: Secret? = nil) {
        self.name = name
        self.shown = shown
        self.secret = secret
    }
}

struct Side: Sendable {
    let system: MailSystem
    let router: Router
    let domains: [String: MailSystem.MailDomain]
    /// Of users and aliases, in lower case.
    let localNames: Set<String>
    private let users: Set<String>

    init(_ system: MailSystem) {
        self.system = system
        router = Router(routerConfiguration(system))
        domains = Dictionary(system.domains.map { ($0.name.value.key, $0) }, uniquingKeysWith: { first, _ in first })
        localNames = Set(system.users.map { lowercasedASCII($0.name.value) } + system.aliases.map { lowercasedASCII($0.name.value) })
        users = Set(system.users.map(\.name.value))
    }

    /// The local parts that the manifest names in a domain.
    func names(in domain: MailSystem.MailDomain?) -> [String] {
        switch domain?.kind {
        case nil: []
        case .local: Array(localNames)
        case .virtual(let addresses, _): addresses.map { lowercasedASCII($0.localPart.value) }
        case .relay(_, let recipients): (recipients ?? []).map { lowercasedASCII($0.value) }
        }
    }

    /// Where mail from a stranger ends; nil: it is not accepted.
    func ends(_ address: Address) -> String? {
        switch router.route(address) {
        case .deliver(let destinations, _): destinations.map(\.description).sorted().joined(separator: ", ")
        case .relay: "passed on"
        case .unknown, .outside: nil
        }
    }

    func place(_ recipient: ManifestComparison.Queued) -> String {
        guard let user = recipient.user else { return router.nextHop(for: recipient.address).description }
        if user.hasPrefix("/") { return user.hasPrefix("/command:") ? "commands" : "mailboxes" }
        return users.contains(user) ? system.mailboxes.via.map { "\($0.value)" } ?? "mailboxes" : "returned: no user \(user)"
    }

    var logins: Set<String> { Set(system.users.filter { $0.password != nil }.map(\.name.value)) }

    var listeners: [String] {
        let services: [(String, Located<[Endpoint]>)] = [
            ("smtp", system.listen.smtp), ("submission", system.listen.submission), ("submissions", system.listen.submissions), ("health", system.listen.health),
        ]
        return services.flatMap { name, endpoints in endpoints.value.map { "\(name) \($0)" } }
            + system.listen.lmtp.value.map { "lmtp \($0)" }
    }

    /// All that is no address, client or listener. A test sees to it that no key is left out.
    var values: [Value] { serverValues + smtpdValues + outwardValues + rewritingValues + domainValues + userValues }

    private var serverValues: [Value] {
        let (limits, queue, reports, relayhost) = (system.limits, system.queue, system.reports, system.relayhost?.value)
        return [
            Value("hostname", "\(system.hostname.value)"), Value("origin", "\(system.origin.value)"),
            Value("address_extension", system.addressExtension.value.map { "\($0)" }),
            Value("relayhost", relayhost.map { "\($0.hop)" }), Value("relayhost.username", relayhost?.username?.value),
            Value("relayhost.password", nil, secret: relayhost?.password?.value), Value("relayhost.tls", relayhost?.tls?.value.rawValue),
            Value("relayhost.implicit_tls", relayhost?.implicitTLS.map { "\($0.value)" }),
            Value("directories", system.directories.value.map { describe($0.value) }.joined(separator: ", ")),
            Value("submission.tls_auth_only", "\(system.submission.tlsAuthOnly.value)"),
            Value("submission.recipients_per_message", number(system.submission.recipientsPerMessage)),
            Value("submission.message_rate", number(system.submission.messageRate)), Value("submission.recipient_rate", number(system.submission.recipientRate)),
            Value("submission.hide_client", "\(system.submission.hideClient.value)"),
            Value("dns.resolvers", system.dns.resolvers.value.map(\.description).joined(separator: ", ")),
            Value("dns.dnssec", system.dns.validation.value.rawValue), Value("dns.trust_anchor", system.dns.trustAnchor?.value),
            Value("dns.domains_insecure", list(system.dns.insecureDomains.value.map(\.text))),
            Value("tls.level", system.tls.level.value.rawValue), Value("tls.certificate", system.tls.certificate.map { list($0.value.all.map(\.chain.value)) } ?? nil),
            Value("tls.key", system.tls.certificate.map { list($0.value.all.map(\.key.value)) } ?? nil),
            Value(
                "tls.certificates",
                list(system.tls.certificates.map { entry in
                    "\(entry.domain.value): " + entry.certificate.all.map { "\($0.chain.value), \($0.key.value)" }.joined(separator: ", ")
                })),
            Value("tls.requiretls", "\(system.tls.requireTLS.value)"),
            Value("tls.relay_clientcerts", list(system.tls.relayClients.value.map(\.value))),
            Value("limits.message_size", size(limits.messageSize.value)), Value("limits.mailbox_size", size(limits.mailboxSize.value)),
            Value("limits.recipients_per_message", "\(limits.recipientsPerMessage.value)"),
            Value("limits.connections_per_client", "\(limits.connectionsPerClient.value)"),
            Value("limits.connection_rate", number(limits.connectionRate)), Value("limits.message_rate", number(limits.messageRate)),
            Value("limits.recipient_rate", number(limits.recipientRate)), Value("limits.error_rate", number(limits.errorRate)),
            Value("limits.exempt", list(limits.exempt.value.map(\.description))), Value("limits.connections", "\(limits.connections.value)"),
            Value("limits.messages_per_connection", number(limits.messagesPerConnection)), Value("limits.timeout", time(limits.timeout.value)),
            Value("mailboxes.via", system.mailboxes.via.map { "\($0.value)" }),
            Value("mailboxes.format", system.mailboxes.format.value.rawValue), Value("mailboxes.directory", system.mailboxes.directory.value),
            Value("queue.directory", queue.directory.value), Value("queue.retry.minimum", time(queue.retryMinimum.value)),
            Value("queue.retry.maximum", time(queue.retryMaximum.value)), Value("queue.lifetime", time(queue.lifetime.value)),
            Value("queue.bounce_lifetime", time(queue.bounceLifetime.value)), Value("queue.minimum_free", size(queue.minimumFree.value)),
            Value("reports.delay_warning", reports.delayWarning.map { time($0.value) }), Value("reports.returned_size", size(reports.returnedSize.value)),
            Value("reports.bounce_notice", reports.bounceNotice.map { $0.value.word }),
            Value("reports.double_bounce_notice", reports.doubleBounceNotice.map { $0.value.word }),
            Value("reports.delay_notice", reports.delayNotice.map { $0.value.word }),
            Value("reports.verp_delimiters", reports.verpDelimiters.value.delimiters),
            Value("logging.level", system.logging.level.value.rawValue), Value("logging.format", system.logging.format.value.rawValue),
        ]
    }

    private var rewritingValues: [Value] {
        let (rewriting, local) = (system.rewriting, system.localDelivery)
        func table(_ name: String, _ entries: [MailSystem.Rewriting.Entry]) -> [Value] {
            entries.map { Value("rewriting.\(name).\($0.pattern.value)", "\($0.result.value)") }
        }
        func classes(_ name: String, _ classes: Located<[MailSystem.Rewriting.Class]>) -> Value {
            Value("rewriting.\(name)", list(classes.value.map(\.rawValue)))
        }
        return table("canonical", rewriting.canonical.entries) + table("sender_canonical", rewriting.senderCanonical.entries)
            + table("recipient_canonical", rewriting.recipientCanonical.entries) + table("generic", rewriting.generic)
            + table("sender_bcc", rewriting.senderBCC) + table("recipient_bcc", rewriting.recipientBCC) + [
                classes("canonical_classes", rewriting.canonical.classes), classes("sender_canonical_classes", rewriting.senderCanonical.classes),
                classes("recipient_canonical_classes", rewriting.recipientCanonical.classes),
                classes("masquerade_classes", rewriting.masqueradeClasses),
                // In their order, of which the first that fits counts.
                Value(
                    "rewriting.masquerade_domains",
                    rewriting.masqueradeDomains.isEmpty
                        ? nil : rewriting.masqueradeDomains.map { ($0.value.isExempt ? "!" : "") + $0.value.domain.text }.joined(separator: ", ")),
                Value("rewriting.masquerade_exceptions", list(rewriting.masqueradeExceptions.map(\.value))),
                Value("rewriting.propagate_extensions", list(rewriting.extended.value.map(\.rawValue))),
                Value("rewriting.local_header_clients", list(rewriting.clients.value.map(\.rawValue))),
                Value("rewriting.remote_header_domain", rewriting.remoteHeaderDomain.map { "\($0.value)" }),
                Value("rewriting.always_add_missing_headers", "\(rewriting.alwaysAddsMissingHeaders.value)"),
                Value("rewriting.always_bcc", rewriting.alwaysBCC.map { "\($0.value)" }),
                Value("rewriting.srs.domain", rewriting.srs.map { "\($0.domain.value)" }),
                Value("local_delivery.allow_mail_to_commands", list(local.commands.value.map(\.rawValue))),
                Value("local_delivery.allow_mail_to_files", list(local.files.value.map(\.rawValue))),
                Value("local_delivery.command_time_limit", time(local.commandTimeLimit.value)),
                Value("local_delivery.command_concurrency", "\(local.commandConcurrency.value)"),
                Value("local_delivery.forward_path", local.forwardPath.value.isEmpty ? nil : local.forwardPath.value.joined(separator: ", ")),
            ] + (rewriting.srs?.secrets ?? []).enumerated().map { Value("rewriting.srs.secret\($0 == 0 ? "" : " \($0 + 1)")", "(a secret)", secret: $1.value) }
    }

    private var smtpdValues: [Value] {
        let (smtpd, listen) = (system.smtpd, system.listen)
        return [
            Value("smtpd.lookup_names", "\(smtpd.lookUpNames.value)"), Value("smtpd.restrictions", list(smtpd.restrictions.value.map(\.rawValue))),
            Value("smtpd.expn", "\(smtpd.expn.value)"), Value("smtpd.etrn_domains", smtpd.etrnDomains.map { list($0.value.map(\.text)) ?? "none" }),
            Value("smtpd.xclient", list(smtpd.xclient.value.map(\.description))), Value("smtpd.xforward", list(smtpd.xforward.value.map(\.description))),
            Value("listen.proxy_protocol", list(listen.proxyProtocol.value.map(\.description))),
            Value("listen.proxies", list(listen.proxies.value.map(\.description))),
            Value("listen.lmtp.mode", list(listen.lmtp.value.compactMap { if case .unix(let path, let mode) = $0 { "\(path): 0\(String(mode, radix: 8))" } else { nil } })),
        ]
    }

    private var outwardValues: [Value] {
        let (delivery, timeouts) = (system.delivery, system.delivery.timeouts)
        let routes = [("routes", system.routes), ("sender_routes", system.senderRoutes)].flatMap { key, routes in
            routes.map { Value("\(key).\($0.pattern.value)", $0.hop.value.map { "\($0)" } ?? "MX records") }
        }
        let outgoing = system.tls.outgoing
        let levels = outgoing.destinations.map { entry in
            Value("tls.outgoing.destinations.\(entry.pattern.value)", ([entry.level.value.rawValue] + entry.names.map(\.value)).joined(separator: ", "))
        }
        return routes + levels + [
            Value("tls.outgoing.level", outgoing.level.value.rawValue), Value("tls.outgoing.trust_store", outgoing.trustStore?.value),
            Value("delivery.concurrency", "\(delivery.concurrency.value)"),
            Value("delivery.initial_concurrency", "\(delivery.initialConcurrency.value)"),
            Value("delivery.rate_delay", delivery.rateDelay.map { time($0.value) }),
            Value("delivery.recipients_per_message", "\(delivery.recipientsPerMessage.value)"),
            Value("delivery.mx_address_limit", "\(delivery.addressLimit.value)"), Value("delivery.mx_session_limit", "\(delivery.sessionLimit.value)"),
            Value("delivery.fallback_relay", delivery.fallbackRelays.isEmpty ? nil : delivery.fallbackRelays.map { "\($0.value)" }.joined(separator: ", ")),
            Value("delivery.timeouts.connect", time(timeouts.connect.value)), Value("delivery.timeouts.helo", time(timeouts.hello.value)),
            Value("delivery.timeouts.mail", time(timeouts.mail.value)), Value("delivery.timeouts.rcpt", time(timeouts.recipient.value)),
            Value("delivery.timeouts.data_init", time(timeouts.data.value)), Value("delivery.timeouts.data_xfer", time(timeouts.block.value)),
            Value("delivery.timeouts.data_done", time(timeouts.endOfData.value)),
        ]
    }

    private var domainValues: [Value] {
        system.domains.flatMap { domain -> [Value] in
            let name = "domains.\(domain.name.value)"
            return switch domain.kind {
            case .local: [Value("\(name).kind", "local")]
            case .virtual: [Value("\(name).kind", "virtual")]
            case .relay(let via, _): [Value("\(name).kind", "relay"), Value("\(name).via", via.map { "\($0.value)" } ?? "MX records")]
            }
        }
    }

    /// Those that are set.
    private var userValues: [Value] {
        system.users.flatMap { user -> [Value] in
            let name = "users.\(user.name.value)"
            var values: [Value] = []
            if let quota = user.quota { values.append(Value("\(name).quota", size(quota.value))) }
            if let format = user.format { values.append(Value("\(name).mailbox.format", format.value.rawValue)) }
            if let fullName = user.fullName { values.append(Value("\(name).name", fullName)) }
            if !user.sendAs.isEmpty { values.append(Value("\(name).send_as", list(user.sendAs.map { "\($0.value)" }))) }
            if let password = user.password { values.append(Value("\(name).password", "(a secret)", secret: password.value)) }
            return values
        }
    }
}

private func describe(_ directory: MailSystem.Directory) -> String {
    switch directory {
    case .manifest: "manifest"
    case .passwdFile(let path): "passwd_file \(path)"
    case .system(let passwd, let shadow, let userIDs): "system \(passwd), shadow \(shadow), user_ids \(userIDs.lowerBound)-\(userIDs.upperBound)"
    }
}

private func list(_ items: [String]) -> String? { items.isEmpty ? nil : items.sorted().joined(separator: ", ") }

private func number(_ value: Located<Int>?) -> String? { value.map { "\($0.value)" } }

/// As a manifest may write it: `25MiB`, `1000`.
private func size(_ octets: Int) -> String {
    for (unit, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)]
    where octets > 0 && octets % factor == 0 {
        return "\(octets / factor)\(unit)"
    }
    return "\(octets)"
}

private func time(_ duration: Duration) -> String {
    let seconds = duration.components.seconds
    for (unit, factor) in [("d", 86_400), ("h", 3600), ("m", 60)] as [(String, Int64)] where seconds > 0 && seconds % factor == 0 {
        return "\(seconds / factor)\(unit)"
    }
    return "\(seconds)s"
}
