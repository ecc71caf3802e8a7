// Who is who in a manifest: the look-ups of the design's address resolution over a decoded `MailSystem`. Built once, in
// time linear to it. It answers where a target leads by one step; `Routing` has the expansion itself.

package import MailSyntax

struct AddressBook {
    /// A point of the graph of targets: an alias, a user, or an address of a virtual domain.
    enum Node: Hashable {
        case alias(Int)
        case user(Int)
        case virtual(Int)
    }

    enum Step {
        case to(Node)
        /// Leaves what this manifest describes.
        case outside
        case nowhere(reason: Reason)
    }

    enum Reason {
        case noSuchName
        case noSuchAddress(Domain)
        case noSuchRecipient(Domain)
    }

    private enum Place {
        case local
        case virtual([String: Int], catchAll: Int?)
        case relay(Set<String>?)
    }

    let system: MailSystem
    /// Of all virtual domains, catch-alls too; `domain` for names in messages.
    private(set) var virtualAddresses: [(address: MailSystem.VirtualAddress, domain: Domain)] = []
    private var aliases: [String: Int] = [:]
    private var users: [String: Int] = [:]
    private var places: [String: Place] = [:]
    private let separator: Character?

    init(_ system: MailSystem) {
        self.system = system
        separator = system.addressExtension.value
        aliases.reserveCapacity(system.aliases.count)
        users.reserveCapacity(system.users.count)
        for (index, alias) in system.aliases.enumerated() { aliases[lowercasedASCII(alias.name.value)] = index }
        for (index, user) in system.users.enumerated() { users[lowercasedASCII(user.name.value)] = index }
        for domain in system.domains {
            switch domain.kind {
            case .local: places[domain.name.value.key] = .local
            case .virtual(let addresses, let catchAll):
                var table: [String: Int] = [:]
                for address in addresses {
                    table[lowercasedASCII(address.localPart.value)] = virtualAddresses.count
                    virtualAddresses.append((address, domain.name.value))
                }
                if let catchAll { virtualAddresses.append((catchAll, domain.name.value)) }
                places[domain.name.value.key] = .virtual(table, catchAll: catchAll == nil ? nil : virtualAddresses.count - 1)
            case .relay(_, let recipients):
                places[domain.name.value.key] = .relay(recipients.map { Set($0.map { lowercasedASCII($0.value) }) })
            }
        }
    }

    /// Where `target` leads from `origin`. An alias that lists its own name means the user of that name, and so does
    /// a user who forwards to their own name. `origin` nil: from outside.
    func step(_ target: MailSystem.Target, from origin: Node?) -> Step {
        switch target {
        case .name(let name): return local(name, from: origin) ?? .nowhere(reason: .noSuchName)
        case .file, .command, .include: return .outside
        case .address(let address):
            switch places[address.domain.key] {
            case nil: return .outside
            case .local: return local(address.localPart, from: origin) ?? .nowhere(reason: .noSuchAddress(address.domain))
            case .virtual(let table, let catchAll):
                let found = look(up: address.localPart) { table[$0] } ?? catchAll
                return found.map { .to(.virtual($0)) } ?? .nowhere(reason: .noSuchAddress(address.domain))
            case .relay(let recipients):
                guard let recipients else { return .outside }
                return look(up: address.localPart) { recipients.contains($0) ? true : nil } == true
                    ? .outside : .nowhere(reason: .noSuchRecipient(address.domain))
            }
        }
    }

    private func local(_ name: String, from origin: Node?) -> Step? {
        look(up: name) { key -> Step? in
            if case .user(let index) = origin, users[key] == index { return .to(.user(index)) }
            if let alias = aliases[key], origin != .alias(alias) { return .to(.alias(alias)) }
            return users[key].map { .to(.user($0)) }
        }
    }

    /// By the whole name, then without the extension.
    private func look<Found>(up name: String, _ find: (String) -> Found?) -> Found? {
        let key = lowercasedASCII(name)
        if let found = find(key) { return found }
        guard let separator, let cut = key.firstIndex(of: separator), cut != key.startIndex else { return nil }
        return find(String(key[..<cut]))
    }

    func user(named name: String) -> Int? { users[lowercasedASCII(name)] }

    /// Who is named postmaster; else the first user gets that mail.
    var postmaster: Node? { namedPostmaster ?? (system.users.isEmpty ? nil : .user(0)) }

    var namedPostmaster: Node? { aliases["postmaster"].map(Node.alias) ?? users["postmaster"].map(Node.user) }

    /// What a message calls the node.
    func name(of node: Node) -> String {
        switch node {
        case .alias(let index): system.aliases[index].name.value
        case .user(let index): system.users[index].name.value
        case .virtual(let index): "\(virtualAddresses[index].address.localPart.value)@\(virtualAddresses[index].domain)"
        }
    }

    /// For messages: whom a node leads to by its first step, a user by name.
    func recipients(of node: Node) -> String {
        let shown = 3
        guard case .alias = node else { return name(of: node) }
        let targets = targets(of: node).map { "\($0.value)" }
        return targets.prefix(shown).joined(separator: ", ") + (targets.count > shown ? ", …" : "")
    }

    func targets(of node: Node) -> Targets {
        switch node {
        case .alias(let index): system.aliases[index].targets
        case .user(let index): system.users[index].forward
        case .virtual(let index): virtualAddresses[index].address.targets
        }
    }

    /// In the order of the manifest within each kind.
    var nodes: [Node] {
        system.aliases.indices.map(Node.alias) + virtualAddresses.indices.map(Node.virtual) + system.users.indices.map(Node.user)
    }

    /// The place of a node in `nodes`.
    func ordinal(of node: Node) -> Int {
        switch node {
        case .alias(let index): index
        case .virtual(let index): system.aliases.count + index
        case .user(let index): system.aliases.count + virtualAddresses.count + index
        }
    }

    var allNames: [String] { system.users.map(\.name.value) + system.aliases.map(\.name.value) }

    /// The names of a domain of ours, for suggestions.
    func names(in domain: Domain) -> [String] {
        switch places[domain.key] {
        case .virtual(let table, _): table.keys.sorted()
        case .relay(let recipients): recipients.map { $0.sorted() } ?? []
        default: allNames
        }
    }

    /// True if mail that reaches the user ends in the mailbox too: nothing forwards it, or a copy is kept.
    func keepsMail(_ index: Int) -> Bool {
        let user = system.users[index]
        guard !user.forward.isEmpty, !user.keepCopy else { return true }
        return user.forward.contains { target in
            if case .to(.user(index)) = step(target.value, from: .user(index)) { true } else { false }
        }
    }
}

extension MailSystem {
    /// The name in a domain of ours that is nearest to one that does not exist there; nil if none is near.
    package func nearestName(to name: String, in domain: Domain) -> String? {
        var suggestions = Suggestions()
        return suggestions.nearest(to: name, among: AddressBook(self).names(in: domain))
    }
}
