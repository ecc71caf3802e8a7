// Who has a mailbox, why, and by which password; and the names that lead to them (aliases(5)).

internal import MailSyntax
internal import Manifest

extension Importer {
    // MARK: Accounts

    mutating func importUsers() {
        importVirtualUsers()
        if let path = options.users {
            importDovecot(path)
        } else {
            readAccounts()
            importRecipientTables()
            if !knowsRecipients {
                for account in accounts where account.isPerson && !mailboxDomainsAreLocal && hasUnixDelivery {
                    addUser(account.name, account.place, "an account with id \(account.userID!) and a login shell")
                }
            }
        }
        readRenderedLogins()
        attachAccounts()
    }

    /// Where `render` puts the hashes for Postfix's logins.
    private mutating func readRenderedLogins() {
        guard options.users == nil, case .success(let bytes) = source.read("\(source.directory)/dovecot-users") else { return }
        accounts = AccountFiles.dovecot(bytes, file: "\(source.directory)/dovecot-users").accounts + accounts
    }

    /// True if local(8) delivers to accounts: there is a domain for them.
    private var hasUnixDelivery: Bool { !localDomains.isEmpty }

    private mutating func importVirtualUsers() {
        for mailbox in mailboxes {
            addUser(mailbox.user, mailbox.place, "virtual_mailbox_maps names a mailbox, \(mailbox.path)")
            if let number = userNumbers[lowercasedASCII(mailbox.user)] {
                system.users[number].format = located(mailbox.isMaildir ? .maildir : .mbox, mailbox.place)
            }
        }
        if !mailboxes.isEmpty, mailboxDomainsAreLocal { knowsAccounts = true }
    }

    private mutating func importDovecot(_ path: String) {
        guard case .success(let bytes) = source.read(path) else { return note(path, nil, "--users", .unsupported, "the file cannot be read") }
        let (found, flaws) = AccountFiles.dovecot(bytes, file: path)
        for flaw in flaws { note(path, flaw.line, "users", .unsupported, flaw.text) }
        accounts = found
        knowsAccounts = true
        note(path, nil, "users", .note, "\(found.count) users")
        for account in found {
            if let domain = account.domain, let mailbox = mailboxes.first(where: { $0.address == Address(localPart: account.name, domain: domain) }) {
                accounts.append(Account(renaming: account, to: mailbox.user))
            } else if let domain = account.domain, mailboxes.isEmpty, classes[domain.key] == .virtualMailbox, !mailboxDomainsAreLocal {
                _ = spaces[domain.key]?.add(AddressSpace.Entry(localPart: account.name, targets: [.mailbox(account.name)], place: account.place))
                addUser(account.name, account.place, "the list of users names it")
            } else {
                addUser(account.name, account.place, "the list of users names it")
            }
        }
    }

    /// passwd(5) of the machine that the configuration is of, never of another one.
    private mutating func readAccounts() {
        let file: (path: String, content: Result<[UInt8], ImportSource.Failure>)
        if let path = options.passwd { file = (path, source.read(path)) } else { file = source.find("/etc/passwd") }
        switch file.content {
        case .success(let bytes):
            accounts = AccountFiles.passwd(bytes, file: file.path)
            knowsAccounts = true
        case .failure(let failure):
            if options.passwd != nil { note(file.path, nil, "--passwd", .unsupported, "\(failure)") }
            return
        }
        let shadow = options.shadow.map { ($0, source.read($0)) } ?? source.find("/etc/shadow")
        switch shadow.1 {
        case .success(let bytes):
            let hashes = AccountFiles.shadow(bytes, file: shadow.0)
            for index in accounts.indices where accounts[index].password == "x" {
                if let found = hashes[accounts[index].name] { accounts[index].password = found.hash }
            }
        case .failure(let failure):
            if options.shadow != nil { note(shadow.0, nil, "--shadow", .unsupported, "\(failure)") }
        }
        note(file.path, nil, "accounts", .note, "\(accounts.count) accounts, of which \(accounts.count { $0.isPerson }) are people's")
    }

    // MARK: local_recipient_maps

    private mutating func importRecipientTables() {
        let references = list("local_recipient_maps")
        let aliases = Set(list("alias_maps"))
        let tables = references.filter { !aliases.contains($0) && LookupTable.Reference($0)?.type != "unix" }
        if isSet("local_recipient_maps"), references.isEmpty {
            note("local_recipient_maps", .changed, "mail for every name was taken, and bounced later; a manifest refuses unknown names at once")
            return
        }
        guard !tables.isEmpty else { return note("local_recipient_maps", .translated, "users and aliases") }
        let (table, isWhole) = table(tables, of: "local_recipient_maps")
        knowsRecipients = isWhole && !references.contains { LookupTable.Reference($0)?.type == "unix" }
        if isWhole { knowsAccounts = true }
        for entry in table.entries {
            guard let bare = BareAddress(entry.key) else {
                note(entry.place, entry.key, .unsupported, "left out: a local recipient of a manifest is a name")
                continue
            }
            if let domain = bare.domain, !isLocal(domain) { continue }
            addUser(bare.localPart, entry.place, "local_recipient_maps names it")
        }
        if isWhole { note("local_recipient_maps", .translated, "users") }
    }

    /// A user of the manifest, once.
    mutating func addUser(_ name: String, _ place: Place, _ reason: String) {
        let key = lowercasedASCII(name)
        guard userNumbers[key] == nil else { return }
        if let flaw = MailSystem.flaw(in: name, as: .userName) { return note(place, name, .unsupported, "left out: \(flaw)") }
        userNumbers[key] = system.users.count
        system.users.append(MailSystem.User(name: located(name, place)))
        note(place, name, .note, "a user: \(reason)")
    }

    /// Names and hashes from the account of each user.
    private mutating func attachAccounts() {
        accountsByName = Dictionary(accounts.map { (lowercasedASCII($0.name), $0) }, uniquingKeysWith: { first, later in first.password.hasPrefix("$") || first.password.hasPrefix("{") ? first : later })
        for number in system.users.indices { attach(accountsByName[lowercasedASCII(system.users[number].name.value)], to: number) }
    }

    private mutating func attach(_ account: Account?, to number: Int) {
        let name = system.users[number].name.value
        guard let account, attached.insert(lowercasedASCII(name)).inserted else { return }
        if let fullName = account.fullName, MailSystem.flaw(in: fullName, as: .text) == nil { system.users[number].fullName = fullName }
        if let quota = account.quota { system.users[number].quota = located(quota, account.place) }
        switch AccountFiles.hash(account.password) {
        case .crypt(let hash): system.users[number].password = located(Secret.literal(hash), account.place)
        case .none(let why): note(account.place, name, .note, "no login: \(why)")
        }
        if let home = account.home, !home.isEmpty, !value("forward_path").isEmpty {
            let path = "\(source.root)\(home)/.forward"
            if source.isInPlace, case .success = source.read(path) {
                note(path, nil, name, .unsupported, "a file by which this user's mail goes on: write its targets under users.\(name).forward")
            }
        }
    }

    // MARK: Aliases

    mutating func importAliases() {
        readAliases()
        noteDeliveries()
        var entries: [String: NamedEntry] = [:]
        var order: [String] = []
        for entry in localEntries {
            let key = lowercasedASCII(entry.name)
            guard let first = entries[key] else {
                entries[key] = entry
                order.append(key)
                continue
            }
            if first.parameter != entry.parameter, first.targets.contains(where: { isSelf($0, key) }) {
                // Rewritten to itself and more, then delivered by the alias of that name.
                let targets = first.targets.filter { !isSelf($0, key) } + entry.targets
                entries[key] = NamedEntry(name: first.name, targets: targets, place: entry.place, parameter: entry.parameter)
            } else {
                note(entry.place, entry.name, .harmless, "it is named before, and the first counts")
            }
        }
        // Users whom only aliases name come before it is said what an alias is.
        let names = Set(order)
        for key in order { findUsers(entries[key]!, names) }
        for key in order { importAlias(entries[key]!, key) }
        for key in spaces.keys.sorted() {
            for entry in spaces[key]!.entries + [spaces[key]!.catchAll].compactMap({ $0 }) {
                for item in entry.targets { findUser(item, names, entry.place, "\(entry.localPart)@\(key)") }
            }
        }
        attachAccounts()
        allowDeliveries()
        noteOwners(names)
        note("alias_maps", .translated, "aliases, and users.NAME.forward for those of users")
    }

    /// Whether aliases may lead to files and commands; where not, those are left out.
    private mutating func noteDeliveries() {
        for (parameter, what) in [("allow_mail_to_commands", "a command"), ("allow_mail_to_files", "a file")] {
            guard isSet(parameter) else { continue }
            if list(parameter).contains("alias") {
                note(parameter, .translated, "aliases may lead to \(what)")
                continue
            }
            note(parameter, .translated, "no alias leads to \(what)")
            localEntries = localEntries.map { entry in
                let allowed = entry.targets.filter { item in
                    switch item {
                    case .command: parameter != "allow_mail_to_commands"
                    case .file: parameter != "allow_mail_to_files"
                    default: true
                    }
                }
                return NamedEntry(name: entry.name, targets: allowed, place: entry.place, parameter: entry.parameter)
            }
        }
    }

    /// What the aliases that are left ask for was allowed: a manifest has to say so of commands.
    private mutating func allowDeliveries() {
        let targets = system.aliases.flatMap(\.targets)
        if targets.contains(where: { if case .command = $0.value { true } else { false } }) {
            system.localDelivery.commands = Located(sources("allow_mail_to_commands"))
        }
        if targets.contains(where: { if case .file = $0.value { true } else { false } }) {
            system.localDelivery.files = Located(sources("allow_mail_to_files"))
        }
    }

    /// Aliases in any case: what they might not, they do not ask for any more.
    private mutating func sources(_ parameter: String) -> [MailSystem.LocalDelivery.Source] {
        let words = isSet(parameter) ? list(parameter) : []
        return [.alias] + (words.contains("include") ? [.include] : [])
    }

    private mutating func readAliases() {
        let references = list("alias_maps")
        for text in references {
            guard let reference = LookupTable.Reference(text) else { continue }
            // The default names it everywhere, and few have it.
            if !isSet("alias_maps"), reference.type == "nis" { continue }
            // postalias(1) reads aliases(5); what is read as it is has postmap(1)'s syntax.
            guard reference.isTextFile, reference.type != "texthash" else {
                for entry in table([text], of: "alias_maps").table.entries {
                    localEntries.append(NamedEntry(
                        name: TargetList.unquoted(entry.key) ?? entry.key, targets: TargetList.parse(entry.value, .deliveries), place: entry.place, parameter: "alias_maps"))
                }
                continue
            }
            if !isSet("alias_maps"), source.find(reference.name).content == .failure(.missing) { continue }
            guard let (path, bytes) = readFile(reference.name, subject: "alias_maps", place: place(of: "alias_maps")) else { continue }
            let (table, complaints) = LookupTable.parse(bytes, file: path, syntax: .aliases)
            for complaint in complaints { note(path, nil, "alias_maps", .unsupported, "\(complaint): mend the line") }
            note(path, nil, "alias_maps", .note, "\(text), \(table.entries.count) entries")
            localEntries += table.entries.map { NamedEntry(name: $0.key, targets: TargetList.parse($0.value, .deliveries), place: $0.place, parameter: "alias_maps") }
        }
    }

    /// The name itself, in whatever way it is written.
    private func isSelf(_ item: TargetList.Item, _ key: String) -> Bool {
        switch item {
        case .mailbox(let name): lowercasedASCII(name) == key
        case .address(let bare): lowercasedASCII(bare.localPart) == key && isLocal(bare.domain ?? system.origin.value)
        default: false
        }
    }

    private mutating func findUsers(_ entry: NamedEntry, _ names: Set<String>) {
        let key = lowercasedASCII(entry.name)
        for item in entry.targets {
            // An alias that names itself means the mailbox of that name.
            if isSelf(item, key) {
                if locallyDelivered.contains(key), entry.parameter == "alias_maps" { continue }
                findMailbox(entry.name, entry.place, entry.name)
            } else {
                findUser(item, names, entry.place, entry.name)
            }
        }
    }

    private mutating func findUser(_ item: TargetList.Item, _ names: Set<String>, _ place: Place, _ subject: String) {
        switch item {
        case .mailbox(let name): findMailbox(name, place, subject)
        case .address(let bare):
            let domain = bare.domain ?? system.origin.value
            guard isLocal(domain) else { return }
            let key = lowercasedASCII(bare.localPart)
            guard !names.contains(key), !names.contains(base(key)) else { return }
            findMailbox(bare.localPart, place, subject)
        case .file, .command, .include, .nonsense: break
        }
    }

    /// The user of this name, where nothing speaks against there being one.
    private mutating func findMailbox(_ name: String, _ place: Place, _ subject: String) {
        let key = lowercasedASCII(name)
        guard userNumbers[key] == nil, userNumbers[base(key)] == nil else { return }
        if let account = accountsByName[key] ?? accountsByName[base(key)] {
            addUser(account.name, place, "mail to \(subject) comes to this account")
        } else if !knowsAccounts {
            addUser(name, place, "mail to \(subject) comes here, and no list of accounts says otherwise")
        }
    }

    /// Without its extension.
    private func base(_ name: String) -> String {
        guard let delimiter = system.addressExtension.value, let end = name.firstIndex(of: delimiter), end != name.startIndex else { return name }
        return String(name[..<end])
    }

    private mutating func importAlias(_ entry: NamedEntry, _ key: String) {
        var targets: [Located<MailSystem.Target>] = []
        var namesItself = false
        for item in entry.targets {
            if isSelf(item, key) {
                namesItself = true
            } else if let target = target(item, subject: entry.name, place: entry.place) {
                targets.append(located(target, entry.place))
            }
        }
        let isDirect = targets.allSatisfy {
            switch $0.value {
            case .name, .address: true
            case .file, .command, .include: false
            }
        }
        if let number = userNumbers[key], isDirect {
            guard !targets.isEmpty else { return }
            system.users[number].forward = targets
            system.users[number].keepCopy = namesItself
            return
        }
        if namesItself, userNumbers[key] != nil { targets.insert(located(.name(entry.name), entry.place), at: 0) }
        if let flaw = MailSystem.flaw(in: entry.name, as: .aliasName) {
            return note(entry.place, entry.name, .unsupported, "left out: \(flaw)")
        }
        guard !targets.isEmpty else { return note(entry.place, entry.name, .unsupported, "left out: it leads nowhere") }
        system.aliases.append(MailSystem.Alias(name: located(entry.name, entry.place), targets: targets))
    }

    /// local(8): `owner-NAME` is the envelope sender of what the alias NAME sends on.
    private mutating func noteOwners(_ names: Set<String>) {
        guard !isYes("owner_request_special") else { return }
        for alias in system.aliases {
            let name = lowercasedASCII(alias.name.value)
            guard name.hasPrefix("owner-"), names.contains(String(name.dropFirst(6))) else { continue }
            let place = places[alias.name.position!.line - 1]
            note(place, alias.name.value, .changed, "an alias; here it is also the sender of what \(name.dropFirst(6)) sends on, which owner_request_special = no had kept from it")
        }
    }
}

extension Account {
    init(renaming account: Account, to name: String) {
        self.init(
            name: name, domain: nil, userID: account.userID, fullName: account.fullName, home: account.home, shell: account.shell, password: account.password,
            quota: account.quota, place: account.place)
    }
}
