// main.cf (postconf(5)).
//
// Parameters stand in groups under the manifest line that set them. Where Postfix's default differs from what Valija
// does, the parameter is written; where both agree, it is not.

internal import MailSyntax
internal import Manifest

/// The groups of main.cf while they are gathered.
struct ParameterGroups {
    private(set) var groups: [ParameterGroup] = []

    mutating func add(_ comment: String, _ parameters: KeyValuePairs<String, String>) {
        add(comment, parameters.map { Parameter($0.key, $0.value) })
    }

    mutating func add(_ comment: String, _ parameters: [Parameter]) {
        if !parameters.isEmpty { groups.append(ParameterGroup(comment: comment, parameters: parameters)) }
    }
}

extension RenderPlan {
    func mainCF(_ groups: [ParameterGroup]) -> RenderedFile {
        var text = header
        for group in groups {
            text += "\n# \(group.comment)\n"
            for parameter in group.parameters { text += parameter.value.isEmpty ? "\(parameter.name) =\n" : "\(parameter.name) = \(parameter.value)\n" }
        }
        return RenderedFile(name: "main.cf", content: text)
    }

    /// `tables` are the names of those that exist.
    mutating func mainGroups(tables: Set<Table.Name>) -> [ParameterGroup] {
        var groups = ParameterGroups()
        addFixedGroup(to: &groups)
        groups.add(system.rule(system.hostname.position, "hostname"), ["myhostname": system.hostname.value.text])
        groups.add(system.rule(system.origin.position, "origin"), ["myorigin": system.origin.value.text])
        addLocalDomains(to: &groups, tables)
        addOtherDomains(to: &groups, tables)
        groups.add(
            system.rule(system.networks.position, "networks"),
            ["mynetworks": system.networks.value.map(network).joined(separator: ", ")])
        addRelayhost(to: &groups, tables)
        if let position = system.dns.validation.position {
            groups.add(system.rule(position, "dns.dnssec"), ["smtp_dns_support_level": system.dns.validation.value == .none ? "enabled" : "dnssec"])
        }
        addEncryption(to: &groups, tables)
        addLogins(to: &groups)
        addServerRules(to: &groups)
        if let delimiter = system.addressExtension.value {
            // Extensions end where an address is found: `info+x` leads to what `info` leads to, without the `+x`.
            groups.add(
                system.rule(system.addressExtension.position, "address_extension"),
                ["recipient_delimiter": literal(String(delimiter)), "propagate_unmatched_extensions": propagatedExtensions])
        }
        addRewriting(to: &groups, tables)
        addLimits(to: &groups)
        addMailboxes(to: &groups, tables)
        addQueue(to: &groups)
        addReports(to: &groups)
        addDelivery(to: &groups, tables)
        return groups.groups
    }

    private func addFixedGroup(to groups: inout ParameterGroups) {
        groups.add(
            "Always so",
            [
                "compatibility_level": "3.6",
                "append_dot_mydomain": "no",
                "biff": "no",
                "smtputf8_enable": "yes",
                // The manifest is all there is: no routing inside local parts, no other forward files and owners, and
                // a domain does not speak for its subdomains.
                "allow_percent_hack": "no",
                "swap_bangpath": "no",
                "forward_path": system.localDelivery.forwardPath.value.joined(separator: ", "),
                "owner_request_special": hasOwners ? "yes" : "no",
                "parent_domain_matches_subdomains": "",
                // HELO comes first, and paths stand in angle brackets (RFC 5321 §4.1.4, §4.1.2).
                "smtpd_helo_required": "yes",
                "strict_rfc821_envelopes": "yes",
                // No open relay, and no smuggling of messages past bare line feeds, from trusted clients neither.
                "smtpd_relay_restrictions": system.tls.relayClients.value.isEmpty
                    ? "permit_mynetworks, reject_unauth_destination" : "permit_mynetworks, permit_tls_clientcerts, reject_unauth_destination",
                "smtpd_forbid_bare_newline": "reject",
                "smtpd_forbid_bare_newline_exclusions": "",
                // The header of a message is its author's, whoever hands it in; 100 hops are allowed (RFC 5321 §6.3), and Postfix
                // refuses at its limit; a name may begin with a dash.
                "local_header_rewrite_clients": headerClients,
                "hopcount_limit": "101",
                "allow_min_user": "yes",
                // Who may relay may ask for VERP; Postfix lets nobody, unless it is told.
                "smtpd_authorized_verp_clients": "$mynetworks",
            ])
    }

    /// "mail.yaml:5 domains.example.org, …"
    private func lines(_ domains: [MailSystem.MailDomain], else text: String) -> String {
        domains.isEmpty ? text : domains.map { system.rule($0.name.position, "domains.\($0.name.value)") }.joined(separator: ", ")
    }

    private func list(_ domains: [Domain]) -> String { domains.map(\.text).joined(separator: ", ") }

    private func addLocalDomains(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        let isStandIn = system.localDomains.isEmpty && home != nil
        let comment = lines(
            system.localDomains, else: isStandIn ? "No domain is local; users and aliases need one to live in" : "No domain is local")
        let recipients = reference(.localRecipients)
        switch options.accounts {
        case .unix:
            groups.add(comment, ["mydestination": list(homeDomains)])
            groups.add(usersAndAliases, aliasParameters(tables) + [Parameter("local_recipient_maps", "\(recipients) $alias_maps")])
        case .virtual:
            groups.add(
                comment,
                [
                    "mydestination": "", "virtual_mailbox_domains": list(homeDomains),
                    // Two ways to a mailbox are one copy, whatever address each began with.
                    "enable_original_recipient": "no",
                ])
            groups.add(
                usersAndAliases,
                [Parameter("virtual_mailbox_maps", reference(.mailboxes))] + aliasParameters(tables) + [Parameter("local_recipient_maps", recipients)])
        }
    }

    /// Set in any case: the defaults are the host's own /etc/aliases, and files and commands wherever an alias names one.
    private func aliasParameters(_ tables: Set<Table.Name>) -> [Parameter] {
        let aliases = tables.contains(.aliases) ? reference(.aliases) : ""
        let targets = system.aliases.flatMap(\.targets)
        let hasFile = targets.contains { if case .file = $0.value { true } else { false } }
        let hasCommand = targets.contains { if case .command = $0.value { true } else { false } }
        return [
            Parameter("alias_maps", aliases), Parameter("alias_database", usesAliasSyntax ? aliases : ""),
            Parameter("allow_mail_to_files", sources(system.localDelivery.files, isUsed: hasFile)),
            Parameter("allow_mail_to_commands", sources(system.localDelivery.commands, isUsed: hasCommand)),
        ]
    }

    private func addOtherDomains(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        if tables.contains(.virtual) {
            let comment = options.accounts == .unix ? "No domain is virtual; the table redirects postmaster" : "No domain is virtual; the table is that of the local names"
            var parameters = [
                Parameter("virtual_alias_domains", list(system.virtualDomains.map(\.name.value))), Parameter("virtual_alias_maps", reference(.virtual)),
            ]
            // postconf(5): one address leads to 1000 at most.
            if let most = largestExpansion, most > 1000 { parameters.append(Parameter("virtual_alias_expansion_limit", String(most))) }
            groups.add(lines(system.virtualDomains, else: comment), parameters)
        }
        if !system.relayDomains.isEmpty {
            var parameters = [Parameter("relay_domains", list(system.relayDomains.map(\.name.value)))]
            if tables.contains(.relayRecipients) { parameters.append(Parameter("relay_recipient_maps", reference(.relayRecipients))) }
            groups.add(lines(system.relayDomains, else: ""), parameters)
        }
        if tables.contains(.transport) {
            let routes = system.routes.first.map { system.rule($0.pattern.position, "routes") }
            let comment = lines(system.relayDomains.filter(\.hasNextHop), else: routes ?? "Aliases that lead to files, commands and lists")
            groups.add(comment, ["transport_maps": reference(.transport)])
        }
    }

    /// Addresses that one address may lead to, counted with all that come up on the way; nil: none does.
    private var largestExpansion: Int? {
        var count = 0
        for domain in system.virtualDomains {
            guard case .virtual(let addresses, let catchAll) = domain.kind else { continue }
            count += addresses.reduce(catchAll?.targets.count ?? 0) { $0 + $1.targets.count }
        }
        if options.accounts == .virtual {
            count += system.aliases.reduce(0) { $0 + $1.targets.count } + system.users.reduce(0) { $0 + $1.forward.count + 1 }
        }
        return count > 0 ? count : nil
    }

    /// Users and aliases stand together under their first lines.
    private var usersAndAliases: String {
        let users = system.users.first.map { system.rule($0.name.position, "users") }
        let aliases = system.aliases.first.map { system.rule($0.name.position, "aliases") }
        let named = [users, aliases].compactMap { $0 }
        return named.isEmpty ? "There are no users and no aliases" : named.joined(separator: ", ")
    }

    private func addLimits(to groups: inout ParameterGroups) {
        let limits = system.limits
        groups.add(system.rule(limits.messageSize.position, "limits.message_size"), ["message_size_limit": String(limits.messageSize.value)])
        let mailboxLimit = options.accounts == .unix ? "mailbox_size_limit" : "virtual_mailbox_limit"
        groups.add(system.rule(limits.mailboxSize.position, "limits.mailbox_size"), [mailboxLimit: String(limits.mailboxSize.value)])
        groups.add(
            system.rule(limits.recipientsPerMessage.position, "limits.recipients_per_message"),
            ["smtpd_recipient_limit": String(limits.recipientsPerMessage.value)])
        groups.add(
            system.rule(limits.connectionsPerClient.position, "limits.connections_per_client"),
            [
                "smtpd_client_connection_count_limit": String(limits.connectionsPerClient.value),
                // The limits are for trusted clients too, unless the manifest exempts them.
                "smtpd_client_event_limit_exceptions": limits.exempt.value.map(network).joined(separator: ", "),
            ])
        if let position = limits.timeout.position {
            groups.add(system.rule(position, "limits.timeout"), ["smtpd_timeout": limits.timeout.value.postfixTime])
        }
        if let position = limits.connections.position {
            groups.add(system.rule(position, "limits.connections"), ["default_process_limit": String(limits.connections.value)])
        }
        // anvil(8) counts by the minute.
        for (path, parameter, limit) in [
            ("connection_rate", "smtpd_client_connection_rate_limit", limits.connectionRate),
            ("message_rate", "smtpd_client_message_rate_limit", limits.messageRate),
            ("recipient_rate", "smtpd_client_recipient_rate_limit", limits.recipientRate),
        ] {
            if let limit { groups.add(system.rule(limit.position, "limits.\(path)"), [parameter: String(limit.value)]) }
        }
    }

    private func addMailboxes(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        let mailboxes = system.mailboxes
        let position = [mailboxes.format.position, mailboxes.directory.position, mailboxes.via?.position].compactMap { $0 }.min()
        let comment = system.rule(position, "mailboxes")
        let directory = literal(mailboxDirectory)
        switch options.accounts {
        case .unix:
            var parameters = [Parameter("mail_spool_directory", mailboxes.format.value == .maildir ? directory + "/" : directory)]
            if tables.contains(.mailboxTransport) { parameters.append(Parameter("mailbox_transport_maps", reference(.mailboxTransport))) }
            if let via = mailboxes.via { parameters.append(Parameter("mailbox_transport", via.value.transport(smtp: "smtp"))) }
            groups.add(comment, parameters)
        case .virtual:
            let owner = options.owner
            var parameters = [
                Parameter("virtual_mailbox_base", directory), Parameter("virtual_uid_maps", "static:\(owner.user)"),
                Parameter("virtual_gid_maps", "static:\(owner.group)"),
            ]
            // postconf(5) virtual_minimum_uid: 100.
            if owner.user < 100 { parameters.append(Parameter("virtual_minimum_uid", String(owner.user))) }
            if let via = mailboxes.via { parameters.append(Parameter("virtual_transport", via.value.transport(smtp: "smtp"))) }
            groups.add(comment, parameters)
        }
    }

    private func addQueue(to groups: inout ParameterGroups) {
        let queue = system.queue
        groups.add(system.rule(queue.lifetime.position, "queue.lifetime"), ["maximal_queue_lifetime": queue.lifetime.value.postfixTime])
        groups.add(system.rule(queue.bounceLifetime.position, "queue.bounce_lifetime"), ["bounce_queue_lifetime": queue.bounceLifetime.value.postfixTime])
        var retry = [
            Parameter("minimal_backoff_time", queue.retryMinimum.value.postfixTime), Parameter("maximal_backoff_time", queue.retryMaximum.value.postfixTime),
        ]
        // postconf(5) queue_run_delay, 300s: the queue is looked through no more often than that.
        if queue.retryMinimum.value < .seconds(300) { retry.append(Parameter("queue_run_delay", queue.retryMinimum.value.postfixTime)) }
        groups.add(system.rule([queue.retryMinimum.position, queue.retryMaximum.position].compactMap { $0 }.min(), "queue.retry"), retry)
        groups.add(system.rule(queue.minimumFree.position, "queue.minimum_free"), ["queue_minfree": String(queue.minimumFree.value)])
    }

    /// What differs from Postfix's defaults, which are the manifest's.
    private func addDelivery(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        if tables.contains(.senderRoutes), let first = system.senderRoutes.first {
            groups.add(system.rule(first.pattern.position, "sender_routes"), ["sender_dependent_relayhost_maps": reference(.senderRoutes)])
        }
        let (delivery, times) = (system.delivery, system.delivery.timeouts)
        for (path, parameter, number) in [
            ("concurrency", "default_destination_concurrency_limit", delivery.concurrency),
            ("initial_concurrency", "initial_destination_concurrency", delivery.initialConcurrency),
            ("recipients_per_message", "default_destination_recipient_limit", delivery.recipientsPerMessage),
            ("mx_address_limit", "smtp_mx_address_limit", delivery.addressLimit), ("mx_session_limit", "smtp_mx_session_limit", delivery.sessionLimit),
        ] where number.position != nil {
            groups.add(system.rule(number.position, "delivery.\(path)"), [parameter: String(number.value)])
        }
        if let delay = delivery.rateDelay {
            groups.add(system.rule(delay.position, "delivery.rate_delay"), ["default_destination_rate_delay": delay.value.postfixTime])
        }
        let fallbacks = delivery.fallbackRelays.filter { $0.value.dialect == .smtp }
        if let first = fallbacks.first {
            groups.add(
                system.rule(first.position, "delivery.fallback_relay"),
                ["smtp_fallback_relay": fallbacks.map(\.value.description).joined(separator: ", ")])
        }
        for (path, parameter, time) in [
            ("connect", "connect", times.connect), ("helo", "helo", times.hello), ("mail", "mail", times.mail), ("rcpt", "rcpt", times.recipient),
            ("data_init", "data_init", times.data), ("data_xfer", "data_xfer", times.block), ("data_done", "data_done", times.endOfData),
        ] where time.position != nil {
            let value = time.value.postfixTime
            groups.add(system.rule(time.position, "delivery.timeouts.\(path)"), ["smtp_\(parameter)_timeout": value, "lmtp_\(parameter == "helo" ? "lhlo" : parameter)_timeout": value])
        }
    }

    /// postconf(5) mynetworks: IPv6 addresses in brackets, the prefix length outside.
    func network(_ network: Network) -> String {
        guard network.base.isV6 else { return network.description }
        return "[\(network.base)]/\(network.prefixLength)"
    }
}

extension MailSystem.MailDomain {
    fileprivate var hasNextHop: Bool {
        if case .relay(via: .some, _) = kind { true } else { false }
    }
}

extension Duration {
    /// postconf(5): a number and s, m, h or d, in the largest unit that divides it. Fractions of a second round up.
    var postfixTime: String {
        let seconds = components.seconds + (components.attoseconds > 0 ? 1 : 0)
        for (unit, length) in [("d", 86_400), ("h", 3600), ("m", 60)] as [(String, Int64)] where seconds > 0 && seconds % length == 0 {
            return "\(seconds / length)\(unit)"
        }
        return "\(seconds)s"
    }
}
