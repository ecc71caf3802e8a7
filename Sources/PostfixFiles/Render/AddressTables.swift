// The tables that say where an address leads: aliases(5), virtual(5), transport(5), the mailboxes of virtual(8), and the
// lists of recipients that Postfix knows.
//
// With UNIX accounts the names of the local domains are local(8)'s, in `aliases`. With virtual accounts they are
// addresses like all others, in `virtual`; but only local(8) writes to files, runs commands and reads lists, so an alias that
// leads to one gets to it by `transport`, and is in `aliases` with these targets alone.
//
// A key or a target that a table's syntax would take for something else is left out, with a note: a mail address
// must never become a command.

internal import MailSyntax
internal import Manifest

/// Where a name that all local domains share leads.
private struct LocalEntry {
    let name: String
    let comment: String
    var addresses: [String]
    /// Files, commands and lists in files, as aliases(5) writes them.
    var deliveries: [String] = []
}

extension RenderPlan {
    /// In the order of `Table.Name`.
    mutating func tables(_ secrets: SecretReader) -> [Table] {
        let entries = localEntries()
        var tables = [aliases(entries), virtual(entries), transport(entries), senderRoutes(), relayRecipients(), localRecipients(), mailboxTransport()].compactMap { $0 }
        if options.accounts == .virtual { tables.append(mailboxes()) }
        tables += rewritingTables()
        tables += [senderLogins(), certificates(), relayClients(), tlsPolicy(), relayPassword(secrets)].compactMap { $0 }
        let order = Dictionary(uniqueKeysWithValues: Table.Name.allCases.enumerated().map { ($1, $0) })
        return tables.sorted { order[$0.name]! < order[$1.name]! }
    }

    // MARK: Names of the local domains

    /// Aliases, forwards, and the postmaster where there is none.
    private mutating func localEntries() -> [LocalEntry] {
        var entries: [LocalEntry] = []
        let forwarding = Dictionary(
            system.users.filter { !$0.forward.isEmpty }.map { (lowercasedASCII($0.name.value), $0) }, uniquingKeysWith: { first, _ in first })
        let loops = options.accounts == .unix ? ForwardLoops(self) : nil
        for alias in system.aliases {
            let name = alias.name.value
            var targets: [String] = []
            let deliveries = alias.targets.compactMap { delivery($0.value) }
            for target in alias.targets where delivery(target.value) == nil {
                if localKey(of: target.value) != lowercasedASCII(name) {
                    targets += self.target(target, of: "aliases.\(name)")
                } else if let user = forwarding[lowercasedASCII(name)] {
                    // Its own name in an alias is the user's mailbox to Postfix too; a forward has to be spelled out here.
                    targets += forwardTargets(of: user, loops)
                } else {
                    targets.append(self.name(name))
                }
            }
            add(name, targets, deliveries, from: "aliases.\(name)", at: alias.name.position, to: &entries)
        }
        let aliasNames = Set(system.aliases.map { lowercasedASCII($0.name.value) })
        for user in system.users where !user.forward.isEmpty && !aliasNames.contains(lowercasedASCII(user.name.value)) {
            let position = user.forward.first?.position ?? user.name.position
            add(user.name.value, forwardTargets(of: user, loops), from: "users.\(user.name.value).forward", at: position, to: &entries)
        }
        if let user = standInPostmaster {
            entries.append(LocalEntry(name: "postmaster", comment: "No postmaster is named: the first user", addresses: [name(user.name.value)]))
        }
        return entries
    }

    private mutating func forwardTargets(of user: MailSystem.User, _ loops: ForwardLoops?) -> [String] {
        let name = user.name.value
        let path = "users.\(name).forward"
        var targets = user.keepCopy ? [self.name(name)] : []
        for target in user.forward {
            let key = localKey(of: target.value)
            if key == lowercasedASCII(name) {
                targets.append(self.name(name))
            } else if let key, let loops, loops.isClosed(by: key, of: user) {
                note(path, at: target.position, "left out \(self.address(target.value)): it leads back to \(name), a loop to Postfix")
            } else {
                targets += self.target(target, of: path)
            }
        }
        return targets
    }

    /// Without a target the name has nobody behind it, and its line would be a syntax error.
    private func add(
        _ name: String, _ addresses: [String], _ deliveries: [String] = [], from path: String, at position: SourcePosition?, to entries: inout [LocalEntry]
    ) {
        guard !addresses.isEmpty || !deliveries.isEmpty else { return }
        var seen: Set<String> = []
        entries.append(
            LocalEntry(
                name: name, comment: system.rule(position, path), addresses: addresses.filter { seen.insert($0).inserted },
                deliveries: deliveries.filter { seen.insert($0).inserted }))
    }

    private func address(_ target: MailSystem.Target) -> String {
        switch target {
        case .name(let name): self.name(name)
        case .address(let address): address.description
        case .file, .command, .include: delivery(target)!
        }
    }

    /// Nil if mail goes on to an address.
    private func delivery(_ target: MailSystem.Target) -> String? {
        /// aliases(5): double quotes, with a backslash before such and itself.
        func quoted(_ text: String) -> String { "\"" + text.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined() + "\"" }
        func isPlain(_ text: String) -> Bool { text.utf8.allSatisfy { isAtext($0) || $0 == UInt8(ascii: ".") } }
        switch target {
        case .name, .address: return nil
        case .file(let path): return isPlain(path) ? path : quoted(path)
        case .command(let command): return quoted("|\(command)")
        case .include(let path): return isPlain(path) ? ":include:\(path)" : quoted(":include:\(path)")
        }
    }

    /// Empty where aliases(5) would take the address for a file, a command or an include, quoted or not.
    private mutating func target(_ target: Located<MailSystem.Target>, of path: String) -> [String] {
        guard options.accounts == .unix else { return [address(target.value)] }
        let localPart = switch target.value {
        case .name(let name): name
        case .address(let address): address.localPart
        case .file, .command, .include: ""
        }
        let isDangerous = ["/", "|", "~", "\\", ":include:"].contains { lowercasedASCII(localPart).hasPrefix($0) }
        guard !isDangerous else {
            note(path, at: target.position, "left out \(address(target.value)): in an alias Postfix takes it for a file or a command, not for an address")
            return []
        }
        return [address(target.value)]
    }

    private mutating func aliases(_ entries: [LocalEntry]) -> Table? {
        var table = Table(.aliases)
        for entry in entries {
            let targets = options.accounts == .unix ? entry.addresses + entry.deliveries : entry.deliveries
            guard !targets.isEmpty else { continue }
            guard !isComment(entry.name, in: .aliases) else {
                noteComment(entry.name, path: "aliases.\(entry.name)", at: system.aliases.first { $0.name.value == entry.name }?.name.position)
                continue
            }
            table.comment(entry.comment)
            table.add(entry.name, targets.joined(separator: ", "))
        }
        return table.isEmpty ? nil : table
    }

    private mutating func noteComment(_ key: String, path: String, at position: SourcePosition?) {
        note(path, at: position, "left out \(key): a line that begins with # is a comment to Postfix")
    }

    // MARK: virtual

    private mutating func virtual(_ entries: [LocalEntry]) -> Table? {
        var table = Table(.virtual)
        if options.accounts == .virtual { addLocalNames(entries, to: &table) }
        for domain in system.virtualDomains {
            guard case .virtual(let addresses, let catchAll) = domain.kind else { continue }
            let path = "domains.\(domain.name.value)"
            table.comment(system.rule(domain.name.position, path))
            for address in addresses {
                guard let key = key(address.localPart, in: domain, path: "\(path).addresses") else { continue }
                table.add(key, targets(address.targets))
            }
            if let catchAll { table.add("@\(domain.name.value)", targets(catchAll.targets)) }
            if catchAll == nil, !addresses.contains(where: { lowercasedASCII($0.localPart.value) == "postmaster" }) {
                addPostmaster(of: domain.name.value, to: &table)
            }
        }
        for domain in system.relayDomains {
            guard case .relay(_, let recipients?) = domain.kind else { continue }
            if hasPostmaster, !recipients.contains(where: { lowercasedASCII($0.value) == "postmaster" }) {
                table.comment("\(system.rule(domain.name.position, "domains.\(domain.name.value)")): its recipients name no postmaster")
                addPostmaster(of: domain.name.value, to: &table)
            }
        }
        // The bare postmaster that SMTP demands (RFC 5321 §4.5.1) gets myorigin from Postfix.
        if hasPostmaster, !system.domains.contains(where: { $0.name.value == system.origin.value }) {
            table.comment("\(system.rule(system.origin.position, "origin")): none of the domains, and bare names get it")
            addPostmaster(of: system.origin.value, to: &table)
        }
        return table.isEmpty ? nil : table
    }

    /// The names of the local domains as addresses: in the home domain where each leads, in every other that they are
    /// the same as at home. cleanup(8) then knows of two ways to a mailbox that they are one, and delivers once.
    private mutating func addLocalNames(_ entries: [LocalEntry], to table: inout Table) {
        guard let home else { return }
        func key(_ name: String, _ domain: Domain) -> String? {
            let address = Address(localPart: name, domain: domain).description
            return isComment(address, in: .virtual) ? nil : address
        }
        var names: [String] = []
        for entry in entries {
            guard let address = key(entry.name, home) else {
                noteComment("\(entry.name)@\(home)", path: "aliases.\(entry.name)", at: system.aliases.first { $0.name.value == entry.name }?.name.position)
                continue
            }
            table.comment(entry.comment)
            table.add(address, ((entry.deliveries.isEmpty ? [] : [name(entry.name)]) + entry.addresses).joined(separator: ", "))
            names.append(entry.name)
        }
        let leading = Set(entries.map { lowercasedASCII($0.name) })
        let users = system.users.map(\.name.value).filter { !leading.contains(lowercasedASCII($0)) && key($0, home) != nil }
        if system.addressExtension.value != nil, !users.isEmpty {
            // A user's name may hold the delimiter, and two extensions are one mailbox: both want the name itself as a key.
            table.comment("\(system.rule(system.addressExtension.position, "address_extension")): each user without it")
            for user in users { table.add(key(user, home)!, name(user)) }
        }
        for domain in system.localDomains where domain.name.value != home {
            table.comment("\(system.rule(domain.name.position, "domains.\(domain.name.value)")): the names of \(home)")
            for name in names + users { table.add(key(name, domain.name.value)!, self.name(name)) }
        }
    }

    private var hasPostmaster: Bool { !system.users.isEmpty || names.contains("postmaster") }

    /// The local postmaster stands in for that of `domain`, where there is one.
    private func addPostmaster(of domain: Domain, to table: inout Table) {
        if hasPostmaster { table.add("postmaster@\(domain)", name("postmaster")) }
    }

    private func targets(_ targets: [Located<MailSystem.Target>]) -> String {
        targets.map { address($0.value) }.joined(separator: ", ")
    }

    /// An address as a table's key: Postfix looks for the quoted form where quotes are needed. Nil where the line
    /// would be a comment to it.
    private mutating func key(_ localPart: Located<String>, in domain: MailSystem.MailDomain, path: String) -> String? {
        let address = Address(localPart: localPart.value, domain: domain.name.value).description
        guard !isComment(address, in: .virtual) else {
            noteComment(address, path: path, at: localPart.position)
            return nil
        }
        return address
    }

    // MARK: Mailboxes

    /// virtual(8): a path below virtual_mailbox_base, with a slash at its end for a Maildir.
    private mutating func mailboxes() -> Table {
        var table = Table(.mailboxes)
        guard let home, let first = system.users.first else { return table }
        table.comment(system.rule(first.name.position, "users"))
        for user in system.users {
            let key = Address(localPart: user.name.value, domain: home).description
            if isComment(key, in: .mailboxes) {
                noteComment(key, path: "users.\(user.name.value)", at: user.name.position)
            } else {
                // virtual(8) looks for the name in lower case and does not fold what it reads.
                table.add(lowercasedASCII(key), format(of: user) == .maildir ? "\(user.name.value)/" : user.name.value)
            }
        }
        return table
    }

    /// Users whose mailbox is of the other format go to a second local(8), which knows that one only.
    private func mailboxTransport() -> Table? {
        guard options.accounts == .unix else { return nil }
        var table = Table(.mailboxTransport)
        for user in usersOfOtherFormat where !isComment(user.name.value, in: .mailboxTransport) {
            table.comment(system.rule(user.format?.position, "users.\(user.name.value).mailbox.format"))
            table.add(lowercasedASCII(user.name.value), "\(otherLocalService):")
        }
        return table.isEmpty ? nil : table
    }

    var usersOfOtherFormat: [MailSystem.User] { system.users.filter { format(of: $0) != system.mailboxes.format.value } }

    var otherLocalService: String { system.mailboxes.format.value == .maildir ? "local-mbox" : "local-maildir" }

    // MARK: Relay domains and local recipients

    private func transport(_ entries: [LocalEntry]) -> Table? {
        var table = Table(.transport)
        if options.accounts == .virtual, let home {
            for entry in entries where !entry.deliveries.isEmpty {
                let address = Address(localPart: entry.name, domain: home).description
                guard !isComment(address, in: .transport) else { continue }
                table.comment("\(entry.comment), by local(8)")
                table.add(address, "local:")
            }
        }
        for domain in system.relayDomains {
            guard case .relay(let via?, _) = domain.kind else { continue }
            table.comment(system.rule(via.position, "domains.\(domain.name.value).via"))
            table.add(domain.name.value.text, via.value.transport(smtp: "relay"))
        }
        for route in system.routes {
            table.comment(system.rule(route.pattern.position, "routes.\(route.pattern.value)"))
            table.add(route.pattern.value.description, route.hop.value?.transport(smtp: "smtp") ?? "smtp:")
        }
        return table.isEmpty ? nil : table
    }

    /// sender_dependent_relayhost_maps. It names hosts alone; a sender's mail by MX records is said by its own domain in Postfix.
    private mutating func senderRoutes() -> Table? {
        var table = Table(.senderRoutes)
        for route in system.senderRoutes {
            let path = "sender_routes.\(route.pattern.value)"
            guard let hop = route.hop.value else {
                if system.relayhost != nil { note(path, at: route.pattern.position, "Postfix sends this mail by the relayhost too") }
                continue
            }
            guard hop.dialect == .smtp else {
                note(path, at: route.pattern.position, "Postfix sends a sender's mail by SMTP only")
                continue
            }
            table.comment(system.rule(route.pattern.position, path))
            if case .domain(let domain) = route.pattern.value { table.add("@\(domain.key)", hop.description) } else { table.add(route.pattern.value.description, hop.description) }
        }
        return table.isEmpty ? nil : table
    }

    private mutating func relayRecipients() -> Table? {
        var table = Table(.relayRecipients)
        var isNeeded = false
        for domain in system.relayDomains {
            guard case .relay(_, let recipients) = domain.kind else { continue }
            table.comment(system.rule(domain.name.position, "domains.\(domain.name.value)"))
            guard let recipients else {
                table.add("@\(domain.name.value)", "OK")
                continue
            }
            isNeeded = true
            for recipient in recipients {
                guard let key = key(recipient, in: domain, path: "domains.\(domain.name.value).recipients") else { continue }
                table.add(key, "OK")
            }
        }
        return isNeeded ? table : nil
    }

    /// Without this list Postfix takes mail for every UNIX account, or, told of none, for everybody; and it has a local
    /// domain in any case, its own addresses in brackets.
    private mutating func localRecipients() -> Table {
        var table = Table(.localRecipients)
        guard options.accounts == .unix else { return table }
        if let first = system.users.first { table.comment("\(system.rule(first.name.position, "users")); aliases are in their own file") }
        for user in system.users {
            let key = Address(localPart: user.name.value, domain: system.origin.value).quotedLocalPart
            if isComment(key, in: .localRecipients) {
                noteComment(key, path: "users.\(key)", at: user.name.position)
            } else {
                table.add(key, "OK")
            }
        }
        return table
    }
}
