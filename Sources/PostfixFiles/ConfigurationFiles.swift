// main.cf (postconf(5)) and master.cf (master(5)).
//
// Parameters are written as `postconf -n` shows them, in groups under the manifest line that set them. Where Postfix's
// default differs from what Valija does, the parameter is written; where both agree, it is not.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    /// `maps` are the names of the tables that exist.
    func mainCF(maps: Set<String>) -> RenderedFile {
        var file = MainFile(text: header)
        addFixedGroup(to: &file)
        file.group(system.rule(system.hostname.position, "hostname"), ["myhostname": system.hostname.value.text])
        file.group(system.rule(system.origin.position, "origin"), ["myorigin": system.origin.value.text])
        addDomains(to: &file, maps: maps)
        file.group(
            system.rule(system.networks.position, "networks"),
            ["mynetworks": system.networks.value.map(network).joined(separator: ", ")])
        if let relayhost = system.relayhost {
            file.group(system.rule(relayhost.position, "relayhost"), ["relayhost": relayhost.value.hop.description])
        }
        if let delimiter = system.addressExtension.value {
            // Extensions end where an address is found: `info+x` leads to what `info` leads to, without the `+x`.
            file.group(
                system.rule(system.addressExtension.position, "address_extension"),
                ["recipient_delimiter": literal(String(delimiter)), "propagate_unmatched_extensions": ""])
        }
        addLimits(to: &file)
        addMailboxesAndQueue(to: &file)
        if !notes.isEmpty { file.text += "\n# What Postfix does not do of \(system.fileName), or does otherwise:\n" }
        for note in notes { file.text += "# - \(note.position.map { "line \($0.line), " } ?? "")\(note.path): \(note.text)\n" }
        return RenderedFile(name: "main.cf", content: file.text)
    }

    private func addFixedGroup(to file: inout MainFile) {
        file.group(
            "Always so",
            [
                "compatibility_level": "3.6",
                "append_dot_mydomain": "no",
                "biff": "no",
                "smtputf8_enable": "yes",
                // The manifest is all there is: no routing inside local parts, no ~/.forward, no special names, and
                // a domain does not speak for its subdomains.
                "allow_percent_hack": "no",
                "swap_bangpath": "no",
                "forward_path": "",
                "owner_request_special": "no",
                "parent_domain_matches_subdomains": "",
                // HELO comes first, and paths stand in angle brackets (RFC 5321 §4.1.4, §4.1.2).
                "smtpd_helo_required": "yes",
                "strict_rfc821_envelopes": "yes",
                // No open relay, and no smuggling of messages past bare line feeds, from trusted clients neither.
                "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
                "smtpd_forbid_bare_newline": "reject",
                "smtpd_forbid_bare_newline_exclusions": "",
            ])
    }

    private func addDomains(to file: inout MainFile, maps: Set<String>) {
        func lines(_ domains: [MailSystem.MailDomain], else text: String) -> String {
            domains.isEmpty ? text : domains.map { system.rule($0.name.position, "domains.\($0.name.value)") }.joined(separator: ", ")
        }
        func names(_ domains: [MailSystem.MailDomain]) -> String { domains.map(\.name.value.text).joined(separator: ", ") }

        let local = system.localDomains
        let isStandIn = local.isEmpty && home != nil
        file.group(
            lines(local, else: isStandIn ? "No domain is local; users and aliases need one to live in" : "No domain is local"),
            ["mydestination": isStandIn ? home!.text : names(local)])
        // Set in any case: the defaults are the host's own /etc/aliases and accounts.
        let aliases = maps.contains("aliases") ? "$default_database_type:$config_directory/aliases" : ""
        file.group(
            usersAndAliases,
            [
                "alias_maps": aliases, "alias_database": aliases,
                "local_recipient_maps": "texthash:$config_directory/local_recipients $alias_maps",
            ])
        if maps.contains("virtual") {
            file.group(
                lines(system.virtualDomains, else: "No domain is virtual; the table redirects postmaster"),
                ["virtual_alias_domains": names(system.virtualDomains), "virtual_alias_maps": "texthash:$config_directory/virtual"])
        }
        if !system.relayDomains.isEmpty {
            var parameters: Parameters = ["relay_domains": names(system.relayDomains)]
            if maps.contains("relay_recipients") { parameters.append("relay_recipient_maps", "texthash:$config_directory/relay_recipients") }
            if maps.contains("transport") { parameters.append("transport_maps", "texthash:$config_directory/transport") }
            file.group(lines(system.relayDomains, else: ""), parameters)
        }
    }

    /// Users and aliases stand together under their first lines.
    private var usersAndAliases: String {
        let users = system.users.first.map { system.rule($0.name.position, "users") }
        let aliases = system.aliases.first.map { system.rule($0.name.position, "aliases") }
        let named = [users, aliases].compactMap { $0 }
        return named.isEmpty ? "There are no users and no aliases" : named.joined(separator: ", ")
    }

    private func addLimits(to file: inout MainFile) {
        let limits = system.limits
        file.group(system.rule(limits.messageSize.position, "limits.message_size"), ["message_size_limit": String(limits.messageSize.value)])
        file.group(system.rule(limits.mailboxSize.position, "limits.mailbox_size"), ["mailbox_size_limit": String(limits.mailboxSize.value)])
        file.group(
            system.rule(limits.recipientsPerMessage.position, "limits.recipients_per_message"),
            ["smtpd_recipient_limit": String(limits.recipientsPerMessage.value)])
        file.group(
            system.rule(limits.connectionsPerClient.position, "limits.connections_per_client"),
            [
                "smtpd_client_connection_count_limit": String(limits.connectionsPerClient.value),
                // The limit is for trusted clients too.
                "smtpd_client_event_limit_exceptions": "",
            ])
    }

    private func addMailboxesAndQueue(to file: inout MainFile) {
        let mailboxes = system.mailboxes
        let isDefault = mailboxes.format.position == nil && mailboxes.directory.position == nil
        let position = isDefault ? nil : [mailboxes.format.position, mailboxes.directory.position].compactMap { $0 }.min()
        // local(8): a slash at the end makes Maildir of it.
        let directory = mailboxes.directory.value.hasSuffix("/") ? String(mailboxes.directory.value.dropLast()) : mailboxes.directory.value
        file.group(
            system.rule(position, "mailboxes"),
            ["mail_spool_directory": literal(mailboxes.format.value == .maildir ? directory + "/" : directory)])
        let queue = system.queue
        file.group(system.rule(queue.lifetime.position, "queue.lifetime"), ["maximal_queue_lifetime": queue.lifetime.value.postfixTime])
        file.group(system.rule(queue.bounceLifetime.position, "queue.bounce_lifetime"), ["bounce_queue_lifetime": queue.bounceLifetime.value.postfixTime])
        var retry: Parameters = [
            "minimal_backoff_time": queue.retryMinimum.value.postfixTime, "maximal_backoff_time": queue.retryMaximum.value.postfixTime,
        ]
        // postconf(5) queue_run_delay, 300s: the queue is looked through no more often than that.
        if queue.retryMinimum.value < .seconds(300) { retry.append("queue_run_delay", queue.retryMinimum.value.postfixTime) }
        file.group(system.rule([queue.retryMinimum.position, queue.retryMaximum.position].compactMap { $0 }.min(), "queue.retry"), retry)
        file.group(system.rule(queue.minimumFree.position, "queue.minimum_free"), ["queue_minfree": String(queue.minimumFree.value)])
    }

    /// postconf(5): `$` begins the name of a parameter, `$$` is a dollar sign.
    private func literal(_ text: String) -> String { text.map { $0 == "$" ? "$$" : String($0) }.joined() }

    /// postconf(5) mynetworks: IPv6 addresses in brackets, the prefix length outside.
    private func network(_ network: Network) -> String {
        guard network.base.isV6 else { return network.description }
        return "[\(network.base)]/\(network.prefixLength)"
    }

    func masterCF() -> RenderedFile {
        var text = header
        text += "#\n# service type  private unpriv  chroot  wakeup  maxproc command\n"
        text += "\n# \(system.rule(system.listen.smtp.position, "listen.smtp"))\n"
        for endpoint in system.listen.smtp.value { text += "\(endpoint) inet n - n - - smtpd\n" }
        text += """

            # The services that Postfix itself needs
            pickup    unix  n       -       n       60      1       pickup
            cleanup   unix  n       -       n       -       0       cleanup
            qmgr      unix  n       -       n       300     1       qmgr
            tlsmgr    unix  -       -       n       1000?   1       tlsmgr
            rewrite   unix  -       -       n       -       -       trivial-rewrite
            bounce    unix  -       -       n       -       0       bounce
            defer     unix  -       -       n       -       0       bounce
            trace     unix  -       -       n       -       0       bounce
            verify    unix  -       -       n       -       1       verify
            flush     unix  n       -       n       1000?   0       flush
            proxymap  unix  -       -       n       -       -       proxymap
            smtp      unix  -       -       n       -       -       smtp
            relay     unix  -       -       n       -       -       smtp
            showq     unix  n       -       n       -       -       showq
            error     unix  -       -       n       -       -       error
            retry     unix  -       -       n       -       -       error
            discard   unix  -       -       n       -       -       discard
            local     unix  -       n       n       -       -       local
            anvil     unix  -       -       n       -       1       anvil
            scache    unix  -       -       n       -       1       scache
            postlog   unix-dgram n  -       n       -       1       postlogd

            """
        return RenderedFile(name: "master.cf", content: text)
    }
}

/// Parameters in the order in which they are written.
private struct Parameters: ExpressibleByDictionaryLiteral {
    private(set) var pairs: [(name: String, value: String)]

    init(dictionaryLiteral elements: (String, String)...) { pairs = elements.map { (name: $0.0, value: $0.1) } }

    mutating func append(_ name: String, _ value: String) { pairs.append((name: name, value: value)) }
}

private struct MainFile {
    var text: String

    mutating func group(_ comment: String, _ parameters: Parameters) {
        text += "\n# \(comment)\n"
        for (name, value) in parameters.pairs { text += value.isEmpty ? "\(name) =\n" : "\(name) = \(value)\n" }
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
