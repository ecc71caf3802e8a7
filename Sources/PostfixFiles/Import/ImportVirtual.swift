// virtual_alias_maps (virtual(5)) and virtual_mailbox_maps (VIRTUAL_README): addresses of virtual domains, more names
// in the local ones, and mailboxes whose owners have no account.

internal import MailSyntax
internal import Manifest

struct VirtualMailbox {
    let address: Address
    /// Below virtual_mailbox_base, without the slash at its end.
    let path: String
    let isMaildir: Bool
    /// Of the manifest.
    var user: String
    let place: Place
}

/// A name in the local domains and what it leads to.
struct NamedEntry {
    let name: String
    let targets: [TargetList.Item]
    let place: Place
    /// virtual_alias_maps or alias_maps.
    let parameter: String
}

extension Importer {
    // MARK: Mailboxes

    mutating func importVirtualMailboxes() {
        let (table, _) = table(list("virtual_mailbox_maps"), of: "virtual_mailbox_maps")
        var paths: [String: String] = [:]  // to the name of its user
        var taken: Set<String> = []
        for entry in table.entries {
            guard let address = Address(entry.key) else {
                // A domain's own line, of `virtual_mailbox_domains = $virtual_mailbox_maps`.
                if entry.key.contains("@") {
                    note(entry.place, entry.key, .unsupported, "a mailbox for every other address: make a user for it, and name it as \"*\" of the domain")
                }
                continue
            }
            guard classes[address.domain.key] == .virtualMailbox else {
                note(entry.place, entry.key, .harmless, "its domain is none of virtual_mailbox_domains, so nothing comes here")
                continue
            }
            let isMaildir = entry.value.hasSuffix("/")
            let path = String(entry.value.split(separator: "/").joined(separator: "/"))
            let user: String
            if let known = paths[path] {
                user = known
            } else {
                let wanted = address.localPart
                let other = "\(wanted).\(address.domain.key)"
                user = taken.contains(lowercasedASCII(wanted)) ? other : wanted
                if user == other { note(entry.place, entry.key, .changed, "the user is \(other), because \(wanted) is one of another domain") }
                guard MailSystem.flaw(in: user, as: .userName) == nil, taken.insert(lowercasedASCII(user)).inserted else {
                    note(entry.place, entry.key, .unsupported, "left out: \(user) cannot name a user")
                    continue
                }
                paths[path] = user
            }
            mailboxes.append(VirtualMailbox(address: address, path: path, isMaildir: isMaildir, user: user, place: entry.place))
        }
        if isSet("virtual_mailbox_domains") { note("virtual_mailbox_domains", .translated, "domains") }
        note("virtual_mailbox_maps", .translated, "users, and where their addresses are in domains.NAME.addresses")
    }

    // MARK: Aliases

    mutating func importVirtualAliases() {
        let (table, isWhole) = table(list("virtual_alias_maps"), of: "virtual_alias_maps")
        let isMap = list("virtual_alias_domains").contains { LookupTable.Reference($0) != nil }
        decideMailboxDomains(table)
        for domain in virtualDomains + mailboxDomains { spaces[domain.value.key] = AddressSpace() }
        for entry in table.entries {
            // A domain's own line.
            if isMap, !entry.key.contains("@"), classes[lowercasedASCII(entry.key)] == .virtualAlias { continue }
            importVirtualAlias(entry)
        }
        if isWhole { note("virtual_alias_maps", .translated, "domains.NAME.addresses, and aliases in the local domains") }
        for mailbox in mailboxes where !isLocal(mailbox.address.domain) {
            // An alias of the same address comes first.
            _ = spaces[mailbox.address.domain.key]?.add(AddressSpace.Entry(
                localPart: mailbox.address.localPart, targets: [.mailbox(mailbox.user)], place: mailbox.place))
        }
    }

    /// A virtual mailbox domain is what a manifest calls local where no other is: if it is alone, or if the others only
    /// repeat its names, as `render` writes them.
    private mutating func decideMailboxDomains(_ table: LookupTable) {
        guard localDomains.isEmpty, !mailboxDomains.isEmpty else { return }
        let owners = Set(mailboxes.map(\.address.domain.key))
        let home = mailboxDomains.first { $0.value == system.origin.value } ?? mailboxDomains.first { owners.contains($0.value.key) } ?? mailboxDomains[0]
        let others = Set(mailboxDomains.map(\.value.key)).subtracting([home.value.key])
        guard owners.isDisjoint(with: others) else { return }
        if !others.isEmpty {
            var names: [String: Set<String>] = [:]
            for entry in table.entries {
                guard let address = Address(entry.key) else {
                    if entry.key.hasPrefix("@"), others.contains(lowercasedASCII(String(entry.key.dropFirst()))) { return }
                    continue
                }
                guard others.contains(address.domain.key) || address.domain == home.value else { continue }
                if address.domain != home.value, !repeats(entry, address, home.value) { return }
                names[address.domain.key, default: []].insert(address.localKey)
            }
            let own = names[home.value.key] ?? []
            guard others.allSatisfy({ names[$0] == own }) else { return }
        }
        mailboxDomainsAreLocal = true
    }

    /// `name@other name`: the same name in the home domain.
    private func repeats(_ entry: LookupTable.Entry, _ address: Address, _ home: Domain) -> Bool {
        let items = TargetList.parse(entry.value, .addresses)
        guard items.count == 1, case .address(let bare) = items[0], lowercasedASCII(bare.localPart) == address.localKey else { return false }
        return bare.domain.map { $0 == home } ?? (system.origin.value == home)
    }

    private mutating func importVirtualAlias(_ entry: LookupTable.Entry) {
        let items = TargetList.parse(entry.value, .addresses)
        let parameter = "virtual_alias_maps"
        guard entry.key.contains("@") else {
            guard let bare = BareAddress(entry.key), bare.domain == nil else {
                return note(entry.place, entry.key, .unsupported, "left out: it is no address")
            }
            localEntries.append(NamedEntry(name: bare.localPart, targets: items, place: entry.place, parameter: parameter))
            return
        }
        if entry.key.hasPrefix("@") { return importCatchAll(entry, String(entry.key.dropFirst()), items) }
        guard let address = Address(entry.key) else { return note(entry.place, entry.key, .unsupported, "left out: it is no address") }
        if isLocal(address.domain) { return importLocalName(entry, address, items) }
        switch classes[address.domain.key] {
        case .virtualAlias, .virtualMailbox:
            if isStandIn(address, items), spaces[address.domain.key]?.catchAll == nil { return }
            guard MailSystem.flaw(in: address.localPart, as: .virtualLocalPart) == nil, address.localPart != "*" else {
                return note(entry.place, entry.key, .unsupported, "left out: an address of a manifest is a plain name")
            }
            if spaces[address.domain.key]?.add(AddressSpace.Entry(localPart: address.localPart, targets: items, place: entry.place)) != true {
                note(entry.place, entry.key, .harmless, "it stands here a second time, and the first counts")
            }
        default:
            // Every domain of a manifest takes mail for postmaster, and so does the bare name.
            if isStandIn(address, items) { return }
            let whose = classes[address.domain.key] == .relay ? "a relay domain" : "a domain of others"
            note(entry.place, entry.key, .unsupported, "it changed the recipient of mail to \(whose): make the domain a virtual one with all of its addresses")
        }
    }

    /// `postmaster@… postmaster`, which a manifest needs not say.
    private func isStandIn(_ address: Address, _ items: [TargetList.Item]) -> Bool {
        guard address.localKey == "postmaster", items.count == 1, case .address(let bare) = items[0], lowercasedASCII(bare.localPart) == "postmaster" else { return false }
        return isLocal(bare.domain ?? system.origin.value)
    }

    /// In one of several local domains: to a manifest they all have the same names.
    private mutating func importLocalName(_ entry: LookupTable.Entry, _ address: Address, _ items: [TargetList.Item]) {
        let home = mailboxDomainsAreLocal ? mailboxDomains : localDomains
        let named = home.filter { !Importer.isLoopback($0.value) }
        if mailboxDomainsAreLocal, address.domain != homeDomain, repeats(entry, address, homeDomain) { return }
        if named.count > 1, !mailboxDomainsAreLocal {
            note(entry.place, entry.key, .changed, "an alias, which a manifest has in every local domain; make \(address.domain) a virtual domain if it is to have names of its own")
        }
        localEntries.append(NamedEntry(name: address.localPart, targets: items, place: entry.place, parameter: "virtual_alias_maps"))
    }

    private mutating func importCatchAll(_ entry: LookupTable.Entry, _ name: String, _ items: [TargetList.Item]) {
        guard MailSystem.flaw(in: name, as: .domain) == nil, let kind = classes[lowercasedASCII(name)], kind == .virtualAlias || kind == .virtualMailbox else {
            return note(entry.place, entry.key, .unsupported, "a catch-all of a domain that is not virtual: make the domain a virtual one with all of its addresses")
        }
        let domain = Domain(valid: name)
        if case .nonsense(let target)? = items.first, items.count == 1, target.hasPrefix("@") {
            let other = Domain(valid: String(target.dropFirst()))
            guard isLocal(other), spaces[domain.key]?.entries.isEmpty == true else {
                return note(
                    entry.place, entry.key, .unsupported, "each address led to the same name at \(other): write the addresses that are in use into domains.\(name).addresses")
            }
            // The same names as the local domains: that is what a manifest calls local.
            classes[domain.key] = .local
            virtualDomains.removeAll { $0.value == domain }
            mailboxDomains.removeAll { $0.value == domain }
            localDomains.append(located(domain, entry.place))
            return
        }
        spaces[domain.key]?.catchAll = AddressSpace.Entry(localPart: "*", targets: items, place: entry.place)
    }

    /// Where bare names live.
    var homeDomain: Domain {
        let candidates = (mailboxDomainsAreLocal ? mailboxDomains : localDomains).map(\.value)
        if candidates.contains(system.origin.value) { return system.origin.value }
        if mailboxDomainsAreLocal { return mailboxes.first?.address.domain ?? candidates[0] }
        return candidates.first ?? system.origin.value
    }

    static func isLoopback(_ domain: Domain) -> Bool { domain.key == "localhost" || domain.key.hasPrefix("localhost.") }

    // MARK: The domains of the manifest

    /// Once users and aliases are known: the domains in the order of Postfix's classes, which is that of `render`.
    mutating func finishDomains() {
        let relays = system.domains
        system.domains = (localDomains + (mailboxDomainsAreLocal ? mailboxDomains : [])).map { MailSystem.MailDomain(name: $0, kind: .local) }
        for domain in virtualDomains + (mailboxDomainsAreLocal ? [] : mailboxDomains) {
            let space = spaces[domain.value.key] ?? AddressSpace()
            let addresses = space.entries.compactMap { virtualAddress($0, in: domain.value) }
            let catchAll = space.catchAll.flatMap { virtualAddress($0, in: domain.value) }
            system.domains.append(MailSystem.MailDomain(name: domain, kind: .virtual(addresses: addresses, catchAll: catchAll)))
        }
        system.domains += relays
    }

    private mutating func virtualAddress(_ entry: AddressSpace.Entry, in domain: Domain) -> MailSystem.VirtualAddress? {
        let subject = "\(entry.localPart == "*" ? "" : entry.localPart)@\(domain)"
        var targets: [Located<MailSystem.Target>] = []
        for item in entry.targets {
            // `info@shop.example info@shop.example` ends the look-up in Postfix: there the mailbox is meant.
            guard let target = target(item, subject: subject, place: entry.place) else { continue }
            switch target {
            case .name, .address: targets.append(located(target, entry.place))
            case .file, .command, .include:
                note(entry.place, subject, .unsupported, "only an alias may lead to a file or a command: left out")
            }
        }
        return targets.isEmpty ? nil : MailSystem.VirtualAddress(localPart: located(entry.localPart, entry.place), targets: targets)
    }

    /// A target as the manifest has it; nil, with a word in the report, where it has none.
    mutating func target(_ item: TargetList.Item, subject: String, place: Place) -> MailSystem.Target? {
        let target: MailSystem.Target
        switch item {
        case .mailbox(let name): target = .name(name)
        case .file(let path): target = .file(path)
        case .command(let command): target = .command(command)
        case .include(let path): target = .include(path)
        case .address(let bare):
            let domain = bare.domain ?? system.origin.value
            if bare.domain == nil, isLocal(domain) || classes[domain.key] == nil && domain == system.hostname.value && localDomains.isEmpty {
                target = .name(bare.localPart)
            } else if Importer.isLoopback(domain), isLocal(domain) {
                target = .name(bare.localPart)
            } else {
                target = .address(Address(localPart: bare.localPart, domain: domain))
            }
        case .nonsense(let text):
            note(place, subject, .unsupported, "left out \(text): it is no target")
            return nil
        }
        let word = target.word
        if let flaw = MailSystem.flaw(in: word, as: .aliasTarget) {
            note(place, subject, .unsupported, "left out \(word): \(flaw)")
            return nil
        }
        if case .name(let name) = target, name.hasPrefix("|") || name.hasPrefix("/") {
            note(place, subject, .unsupported, "left out \(name): in a manifest it would be a file or a command")
            return nil
        }
        return target
    }
}
