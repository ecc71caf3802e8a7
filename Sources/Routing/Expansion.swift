// What an alias, a virtual address or a user's `forward` leads to in the end: a set, in the manifest's order.
//
// Depth first with a stack of its own, so that a chain of any length costs memory in proportion and never the thread's
// stack. Every entry is opened once at most, which bounds the work by the size of the manifest and ends every loop.

internal import MailSyntax

struct Expansion {
    private let tables: RoutingTables
    private var destinations: [Destination] = []
    private var mailboxes: Set<Int> = []
    private var remotes: Set<Address> = []
    private var others: Set<Destination> = []
    private var states: [Match: State] = [:]
    private var open: [Frame] = []

    private enum State { case open, done }

    private struct Frame {
        let match: Match
        let targets: [Router.Target]
        var next = 0
    }

    init(of tables: RoutingTables) { self.tables = tables }

    mutating func expand(_ match: Match) -> [Destination] {
        enter(match)
        while let last = open.indices.last {
            guard open[last].next < open[last].targets.count else {
                states[open.removeLast().match] = .done
                continue
            }
            let target = open[last].targets[open[last].next]
            open[last].next += 1
            switch target {
            case .name(let name): enter(tables.match(name: name))
            case .address(let address): enter(tables.match(address), for: address)
            case .file(let path): add(.file(path))
            case .command(let command): add(.command(command))
            case .include(let path): add(.list(file: path))
            }
        }
        return destinations
    }

    private mutating func enter(_ match: Match, for address: Address? = nil) {
        switch match {
        case .user(let number):
            enter(user: number)
        case .alias(let number):
            // An alias that lists its own name means the user of that name, as it does to sendmail and Postfix.
            if open.last?.match == match {
                if let user = tables.user(ofAlias: number) { enter(user: user) }
            } else {
                push(match, tables.aliases[number].targets)
            }
        case .virtual(let domain, let entry):
            guard case .virtual(let entries, let catchAll) = tables.domains[domain].kind else { return }
            push(match, (entry.map { entries[$0] } ?? catchAll)?.targets ?? [])
        case .relay, .outside:
            if let address, remotes.insert(address).inserted { destinations.append(.remote(address)) }
        case .nobody:
            break
        }
    }

    private mutating func enter(user number: Int) {
        let user = tables.users[number]
        if user.forward.isEmpty || user.keepsCopy { addMailbox(of: number) }
        guard !user.forward.isEmpty else { return }
        // A forward that leads back to its own user means the mailbox, as `.forward` files do.
        if states[.user(number)] == .open { addMailbox(of: number) } else { push(.user(number), user.forward) }
    }

    private mutating func addMailbox(of number: Int) {
        if mailboxes.insert(number).inserted { destinations.append(.mailbox(user: tables.users[number].name)) }
    }

    private mutating func add(_ other: Destination) {
        if others.insert(other).inserted { destinations.append(other) }
    }

    private mutating func push(_ match: Match, _ targets: [Router.Target]) {
        guard states[match] == nil else { return }
        states[match] = .open
        open.append(Frame(match: match, targets: targets))
    }
}
