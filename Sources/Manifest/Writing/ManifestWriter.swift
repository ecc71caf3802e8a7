// A `MailSystem` as the text of a manifest: what the reader reads back to the same system. Only what differs from the
// default is written, in the order of the schema, in the style of the examples: lists on one line where they fit,
// quotes where YAML or a person could take a word for something else. One thing has no text: an alias that leads to a user
// whose name begins with `|` or `/`, because there that is a command or a file.

internal import MailSyntax

package enum ManifestWriter {
    /// `heading`: lines of a comment at the top, without their `#`.
    package static func text(of system: MailSystem, heading: [String] = []) -> String {
        var page = YAMLPage()
        for line in heading { page.comment(line) }
        page.entry("apiVersion", .plain(ManifestSchema.Version.v1.rawValue))
        page.entry("hostname", .text(system.hostname.value.text))
        if system.origin.value != system.hostname.value { page.entry("origin", .text(system.origin.value.text)) }
        page.mapping("domains", of: system.domains.map { ($0.name.value.text, domain($0.kind)) })
        page.mapping("users", of: system.users.map { ($0.name.value, user($0)) })
        page.mapping("aliases", of: system.aliases.map { ($0.name.value, targets($0.targets)) })
        if let character = system.addressExtension.value { page.section("address_extension", .quoted(String(character))) }
        writeServer(system, to: &page)
        if !system.tests.isEmpty { page.section("tests", .list(system.tests.map(test))) }
        return page.text
    }

    private static func test(_ test: MailSystem.Test) -> YAMLItem {
        func bare(_ address: BareAddress) -> YAMLItem {
            let name = Address(localPart: address.localPart, domain: Domain(valid: "localhost")).quotedLocalPart
            return .text(address.domain.map { "\(name)@\($0)" } ?? name)
        }
        var entries: [(key: String, value: YAMLItem?)] = [
            ("client", test.client.map { .text($0.value.description) }), ("login", test.login.map { .text($0.value) }),
            ("from", test.sender.map { sender in sender.value.map(bare) ?? .quoted("<>") }), ("rcpt", test.recipient.map { bare($0.value) }),
        ]
        switch test.expectation.value {
        case .reaches(let targets): entries.append(("reaches", self.targets(targets)))
        case .via(let hop): entries.append(("via", .text(self.hop(hop))))
        case .refused(.anyhow): entries.append(("refused", .plain("true")))
        case .refused(.code(let code)): entries.append(("refused", .plain(String(code))))
        case .refused(.enhanced(let code)): entries.append(("refused", .plain(code.description)))
        }
        return .mapping(entries)
    }

    /// The keys of the server as a whole, but for those that say what the default says.
    private static func writeServer(_ system: MailSystem, to page: inout YAMLPage) {
        let defaults = MailSystem.defaults
        if system.networks.value != defaults.networks.value { page.section("networks", .list(system.networks.value.map { .text($0.description) })) }
        let directories = system.directories.value.map(\.value)
        if directories != defaults.directories.value.map(\.value) { page.section("directories", .list(directories.map(directory))) }
        page.section("submission", submission(system.submission, defaults.submission))
        if let relayhost = system.relayhost?.value { page.section("relayhost", self.relayhost(relayhost)) }
        page.section("routes", routes(system.routes) { $0.description })
        page.section("sender_routes", routes(system.senderRoutes) { pattern in
            if case .domain(let domain) = pattern { "@\(domain)" } else { pattern.description }
        })
        page.section("dns", .mapping([
            ("resolvers", unless(system.dns.resolvers.value, defaults.dns.resolvers.value) { .list($0.map { .text($0.description) }) }),
            ("dnssec", unless(system.dns.validation.value, defaults.dns.validation.value) { .text($0.rawValue) }),
            ("trust_anchor", system.dns.trustAnchor.map { .text($0.value) }),
            ("domains_insecure", unless(system.dns.insecureDomains.value, defaults.dns.insecureDomains.value) { .list($0.map { .text($0.text) }) }),
        ]))
        page.section("tls", tls(system.tls, defaults.tls))
        page.section("rewriting", rewriting(system.rewriting, defaults.rewriting))
        page.section("limits", limits(system.limits, defaults.limits))
        let (mailboxes, noMailboxes) = (system.mailboxes, defaults.mailboxes)
        page.section("mailboxes", .mapping([
            ("format", unless(mailboxes.format.value, noMailboxes.format.value) { .text($0.rawValue) }),
            ("directory", unless(mailboxes.directory.value, noMailboxes.directory.value) { .text($0) }),
            ("via", mailboxes.via.map { .text(hop($0.value)) }),
        ]))
        page.section("local_delivery", localDelivery(system.localDelivery, defaults.localDelivery))
        let (listen, noListen) = (system.listen, defaults.listen)
        page.section("listen", .mapping([
            ("smtp", unless(listen.smtp.value, noListen.smtp.value, endpoints)),
            ("submission", unless(listen.submission.value, noListen.submission.value, endpoints)),
            ("submissions", unless(listen.submissions.value, noListen.submissions.value, endpoints)),
            ("lmtp", unless(listen.lmtp.value, noListen.lmtp.value) { .list($0.map(lmtpSocket)) }),
            ("health", unless(listen.health.value, noListen.health.value, endpoints)),
            ("proxy_protocol", unless(listen.proxyProtocol.value, noListen.proxyProtocol.value, endpoints)),
            ("proxies", unless(listen.proxies.value, noListen.proxies.value, networks)),
        ]))
        page.section("smtpd", smtpd(system.smtpd, defaults.smtpd))
        page.section("queue", queue(system.queue, defaults.queue))
        page.section("delivery", delivery(system.delivery, defaults.delivery))
        page.section("reports", reports(system.reports, defaults.reports))
        let (logging, noLogging) = (system.logging, defaults.logging)
        page.section("logging", .mapping([
            ("level", unless(logging.level.value, noLogging.level.value) { .text($0.rawValue) }),
            ("format", unless(logging.format.value, noLogging.format.value) { .text($0.rawValue) }),
        ]))
    }

    private static func domain(_ kind: MailSystem.MailDomain.Kind) -> YAMLItem {
        switch kind {
        case .local: return .mapping([])
        case .virtual(let addresses, let catchAll):
            let entries = (addresses + [catchAll].compactMap { $0 }).map { ($0.localPart.value, Optional(targets($0.targets))) }
            return .mapping([("kind", .plain("virtual")), ("addresses", .mapping(entries))])
        case .relay(let via, let recipients):
            return .mapping([
                ("kind", .plain("relay")), ("via", via.map { .text(hop($0.value)) }),
                ("recipients", recipients.map { .list($0.map { .text($0.value) }) }),
            ])
        }
    }

    private static func user(_ user: MailSystem.User) -> YAMLItem {
        .mapping([
            ("name", user.fullName.map { .text($0) }),
            ("password", user.password.map { secret($0.value) }),
            ("quota", user.quota.map { .plain(size($0.value)) }),
            ("send_as", user.sendAs.isEmpty ? nil : .list(user.sendAs.map { .text($0.value.description) })),
            ("forward", user.forward.isEmpty ? nil : .list(user.forward.map { target($0.value) })),
            ("keep_copy", user.keepCopy ? .plain("true") : nil),
            ("mailbox", user.format.map { .mapping([("format", .text($0.value.rawValue))]) }),
        ])
    }

    private static func targets(_ targets: [Located<MailSystem.Target>]) -> YAMLItem {
        targets.count == 1 ? target(targets[0].value) : .list(targets.map { target($0.value) })
    }

    private static func target(_ target: MailSystem.Target) -> YAMLItem {
        switch target {
        case .name, .address, .file: .text(target.word)
        case .command, .include: .quoted(target.word)
        }
    }

    private static func directory(_ directory: MailSystem.Directory) -> YAMLItem {
        switch directory {
        case .manifest: return .plain("manifest")
        case .passwdFile(let path): return .mapping([("passwd_file", .text(path))])
        case .system(let passwd, let shadow, let userIDs):
            return .mapping([
                ("system", .text(passwd)), ("shadow", shadow == "/etc/shadow" ? nil : .text(shadow)),
                ("user_ids", userIDs == 1000...59_999 ? nil : .plain("\(userIDs.lowerBound)-\(userIDs.upperBound)")),
            ])
        }
    }

    private static func submission(_ submission: MailSystem.Submission, _ fallback: MailSystem.Submission) -> YAMLItem {
        func truth(_ value: Bool) -> YAMLItem { .plain(value ? "true" : "false") }
        return .mapping([
            ("tls_auth_only", unless(submission.tlsAuthOnly.value, fallback.tlsAuthOnly.value, truth)),
            ("recipients_per_message", submission.recipientsPerMessage.map { .plain(String($0.value)) }),
            ("message_rate", submission.messageRate.map { .plain(String($0.value)) }),
            ("recipient_rate", submission.recipientRate.map { .plain(String($0.value)) }),
            ("hide_client", unless(submission.hideClient.value, fallback.hideClient.value, truth)),
        ])
    }

    private static func relayhost(_ relayhost: MailSystem.Relayhost) -> YAMLItem {
        guard relayhost.username != nil || relayhost.password != nil || relayhost.tls != nil || relayhost.implicitTLS != nil else { return .text(hop(relayhost.hop)) }
        return .mapping([
            ("host", .text(hop(relayhost.hop))), ("username", relayhost.username.map { .text($0.value) }),
            ("password", relayhost.password.map { secret($0.value) }), ("tls", relayhost.tls.map { .text($0.value.rawValue) }),
            ("implicit_tls", relayhost.implicitTLS.map { .plain("\($0.value)") }),
        ])
    }

    private static func tls(_ tls: MailSystem.TLS, _ fallback: MailSystem.TLS) -> YAMLItem {
        let certificates = tls.certificates.map { domain, certificate in
            (domain.value.text, Optional(YAMLItem.mapping([("certificate", paths(certificate) { $0.chain }), ("key", paths(certificate) { $0.key })])))
        }
        return .mapping([
            ("level", unless(tls.level.value, fallback.level.value) { .text($0.rawValue) }),
            ("certificate", tls.isSelfSigned.value ? .text(TLSKeys.selfSigned) : tls.certificate.map { paths($0.value) { $0.chain } }),
            ("key", tls.certificate.map { paths($0.value) { $0.key } }),
            ("certificates", certificates.isEmpty ? nil : .mapping(certificates)),
            ("requiretls", tls.requireTLS.value ? nil : .plain("false")),
            ("relay_clientcerts", tls.relayClients.value.isEmpty ? nil : .list(tls.relayClients.value.map { .quoted($0.value) })),
            ("outgoing", outgoing(tls.outgoing, fallback.outgoing)),
        ])
    }

    private static func outgoing(_ outgoing: MailSystem.OutgoingTLS, _ fallback: MailSystem.OutgoingTLS) -> YAMLItem? {
        let destinations = outgoing.destinations.map { destination in
            let level = YAMLItem.text(destination.level.value.rawValue)
            let names = destination.names.isEmpty ? level : YAMLItem.mapping([("level", level), ("names", .list(destination.names.map { .text($0.value) }))])
            return (destination.pattern.value.description, Optional(names))
        }
        let entries: [(key: String, value: YAMLItem?)] = [
            ("level", unless(outgoing.level.value, fallback.level.value) { .text($0.rawValue) }), ("trust_store", outgoing.trustStore.map { .text($0.value) }),
            ("destinations", destinations.isEmpty ? nil : .mapping(destinations)),
        ]
        return entries.allSatisfy { $0.value == nil } ? nil : .mapping(entries)
    }

    private static func paths(_ certificate: MailSystem.Certificate, _ path: (MailSystem.Certificate) -> Located<String>) -> YAMLItem {
        let items = certificate.all.map { YAMLItem.text(path($0).value) }
        return items.count == 1 ? items[0] : .list(items)
    }

    private static func limits(_ limits: MailSystem.Limits, _ fallback: MailSystem.Limits) -> YAMLItem {
        func number(_ value: Int) -> YAMLItem { .plain(String(value)) }
        return .mapping([
            ("message_size", unless(limits.messageSize.value, fallback.messageSize.value) { .plain(size($0)) }),
            ("mailbox_size", unless(limits.mailboxSize.value, fallback.mailboxSize.value) { .plain(size($0)) }),
            ("recipients_per_message", unless(limits.recipientsPerMessage.value, fallback.recipientsPerMessage.value, number)),
            ("connections_per_client", unless(limits.connectionsPerClient.value, fallback.connectionsPerClient.value, number)),
            ("connection_rate", limits.connectionRate.map { number($0.value) }),
            ("message_rate", limits.messageRate.map { number($0.value) }),
            ("recipient_rate", limits.recipientRate.map { number($0.value) }),
            ("error_rate", limits.errorRate.map { number($0.value) }),
            ("exempt", unless(limits.exempt.value, fallback.exempt.value) { .list($0.map { .text($0.description) }) }),
            ("connections", unless(limits.connections.value, fallback.connections.value, number)),
            ("messages_per_connection", limits.messagesPerConnection.map { number($0.value) }),
            ("timeout", unless(limits.timeout.value, fallback.timeout.value) { .plain(duration($0)) }),
        ])
    }

    private static func smtpd(_ smtpd: MailSystem.SMTPD, _ fallback: MailSystem.SMTPD) -> YAMLItem {
        .mapping([
            ("lookup_names", unless(smtpd.lookUpNames.value, fallback.lookUpNames.value) { .plain("\($0)") }),
            ("restrictions", unless(smtpd.restrictions.value, fallback.restrictions.value) { .list($0.map { .text($0.rawValue) }) }),
            ("expn", unless(smtpd.expn.value, fallback.expn.value) { .plain("\($0)") }),
            ("etrn_domains", smtpd.etrnDomains.map { .list($0.value.map { .text($0.text) }) }),
            ("xclient", unless(smtpd.xclient.value, fallback.xclient.value, networks)),
            ("xforward", unless(smtpd.xforward.value, fallback.xforward.value, networks)),
        ])
    }

    private static func networks(_ networks: [Network]) -> YAMLItem { .list(networks.map { .text($0.description) }) }

    private static func lmtpSocket(_ socket: MailSystem.LMTPSocket) -> YAMLItem {
        switch socket {
        case .inet(let endpoint): return .quoted(endpoint.description)
        case .unix(let path, let mode):
            let digits = String(mode, radix: 8)
            let text = String(repeating: "0", count: max(0, 4 - digits.count)) + digits
            return .mapping([("path", .text(path)), ("mode", mode == MailSystem.LMTPSocket.defaultMode ? nil : .quoted(text))])
        }
    }

    private static func queue(_ queue: MailSystem.Queue, _ fallback: MailSystem.Queue) -> YAMLItem {
        func time(_ value: Duration) -> YAMLItem { .plain(duration(value)) }
        let retry: [(String, YAMLItem?)] = [
            ("minimum", unless(queue.retryMinimum.value, fallback.retryMinimum.value, time)),
            ("maximum", unless(queue.retryMaximum.value, fallback.retryMaximum.value, time)),
        ]
        return .mapping([
            ("directory", unless(queue.directory.value, fallback.directory.value) { .text($0) }),
            ("retry", retry.allSatisfy { $0.1 == nil } ? nil : .mapping(retry)),
            ("lifetime", unless(queue.lifetime.value, fallback.lifetime.value, time)),
            ("bounce_lifetime", unless(queue.bounceLifetime.value, fallback.bounceLifetime.value, time)),
            ("minimum_free", unless(queue.minimumFree.value, fallback.minimumFree.value) { .plain(size($0)) }),
        ])
    }

    private static func reports(_ reports: MailSystem.Reports, _ fallback: MailSystem.Reports) -> YAMLItem {
        func person(_ target: Located<MailSystem.Target>?) -> YAMLItem? { target.map { targets([$0]) } }
        return .mapping([
            ("delay_warning", reports.delayWarning.map { .plain(duration($0.value)) }),
            ("returned_size", unless(reports.returnedSize.value, fallback.returnedSize.value) { .plain(size($0)) }),
            ("bounce_notice", person(reports.bounceNotice)),
            ("double_bounce_notice", person(reports.doubleBounceNotice)),
            ("delay_notice", person(reports.delayNotice)),
            ("verp_delimiters", unless(reports.verpDelimiters.value, fallback.verpDelimiters.value) { .quoted($0.delimiters) }),
        ])
    }

    private static func routes(_ routes: [MailSystem.MailRoute], _ name: (MailSystem.RoutePattern) -> String) -> YAMLItem {
        .mapping(routes.map { route in (name(route.pattern.value), route.hop.value.map { .text(hop($0)) } ?? .plain("mx")) })
    }

    private static func delivery(_ delivery: MailSystem.Delivery, _ fallback: MailSystem.Delivery) -> YAMLItem {
        func time(_ value: Duration) -> YAMLItem { .plain(duration(value)) }
        func number(_ value: Int) -> YAMLItem { .plain(String(value)) }
        let (times, usual) = (delivery.timeouts, fallback.timeouts)
        let timeouts: [(String, YAMLItem?)] = [
            ("connect", unless(times.connect.value, usual.connect.value, time)), ("helo", unless(times.hello.value, usual.hello.value, time)),
            ("mail", unless(times.mail.value, usual.mail.value, time)), ("rcpt", unless(times.recipient.value, usual.recipient.value, time)),
            ("data_init", unless(times.data.value, usual.data.value, time)), ("data_xfer", unless(times.block.value, usual.block.value, time)),
            ("data_done", unless(times.endOfData.value, usual.endOfData.value, time)),
        ]
        return .mapping([
            ("concurrency", unless(delivery.concurrency.value, fallback.concurrency.value, number)),
            ("initial_concurrency", unless(delivery.initialConcurrency.value, fallback.initialConcurrency.value, number)),
            ("rate_delay", delivery.rateDelay.map { time($0.value) }),
            ("recipients_per_message", unless(delivery.recipientsPerMessage.value, fallback.recipientsPerMessage.value, number)),
            ("mx_address_limit", unless(delivery.addressLimit.value, fallback.addressLimit.value, number)),
            ("mx_session_limit", unless(delivery.sessionLimit.value, fallback.sessionLimit.value, number)),
            ("fallback_relay", delivery.fallbackRelays.isEmpty ? nil : .list(delivery.fallbackRelays.map { .text(hop($0.value)) })),
            ("timeouts", timeouts.allSatisfy { $0.1 == nil } ? nil : .mapping(timeouts)),
        ])
    }

    // MARK: Values

    static func unless<Value: Equatable>(_ value: Value, _ fallback: Value, _ item: (Value) -> YAMLItem) -> YAMLItem? {
        value == fallback ? nil : item(value)
    }

    private static func endpoints(_ endpoints: [Endpoint]) -> YAMLItem { .list(endpoints.map { .quoted($0.description) }) }

    static func secret(_ secret: Secret) -> YAMLItem {
        switch secret {
        case .literal(let text): .quoted(text)
        case .file(let path): .mapping([("file", .text(path))])
        case .environment(let name): .mapping([("env", .text(name))])
        }
    }

    /// Without the port that everybody expects.
    private static func hop(_ hop: NextHop) -> String {
        let text = hop.description
        let usual = hop.dialect == .lmtp ? NextHop.lmtpPort : NextHop.smtpPort
        return hop.port == usual ? String(text.dropLast(3)) : text
    }

    /// In the largest unit that divides it, binary before decimal; a number of octets that no unit makes shorter stays one.
    private static func size(_ octets: Int) -> String {
        let units = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("TB", 1_000_000_000_000), ("GB", 1_000_000_000), ("MB", 1_000_000)]
        for (unit, size) in units where octets >= size && octets % size == 0 { return "\(octets / size)\(unit)" }
        return String(octets)
    }

    static func duration(_ duration: Duration) -> String {
        let seconds = duration.components.seconds
        for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] as [(String, Int64)] where seconds > 0 && seconds % length == 0 {
            return "\(seconds / length)\(unit)"
        }
        return "\(seconds)s"
    }
}

extension MailSystem.Target {
    /// As a manifest has it. An address that begins as a file or a command does is told from them by its quotes.
    package var word: String {
        switch self {
        case .name(let name): return name
        case .file(let path): return path
        case .command(let command): return "|\(command)"
        case .include(let path): return ":include:\(path)"
        case .address(let address):
            let text = address.description
            return text.hasPrefix("/") || text.hasPrefix("|") ? "\"\(address.localPart)\"@\(address.domain)" : text
        }
    }
}
