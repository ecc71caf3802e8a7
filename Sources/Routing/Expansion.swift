// What an alias, a virtual address or a user's `forward` leads to in the end: a set, in the manifest's order.
//
// Depth first with a stack of its own, so that a chain of any length costs memory in proportion and never the thread's
// stack. Every entry is opened once at most, which bounds the work by the size of the manifest and ends every loop.

internal import MailSyntax

struct Expansion {
    private let tables: RoutingTables
    /// False: a user is where a way ends, whatever that user forwards.
    private let followsForwards: Bool
    private let trace: Trace?
    private var destinations: [Destination] = []
    private var mailboxes: Set<Int> = []
    private var remotes: Set<Address> = []
    private var others: Set<Destination> = []
    private var states: [Match: State] = [:]
    /// Targets that are nobody here.
    private(set) var unknown: [String] = []
    private var open: [Frame] = []

    private enum State { case open, done }

    private struct Frame {
        let match: Match
        let targets: [Router.Target]
        var next = 0
    }

    init(of tables: RoutingTables, followsForwards: Bool = true, trace: Trace? = nil) {
        self.tables = tables
        self.followsForwards = followsForwards
        self.trace = trace
    }

    mutating func expand(_ match: Match) -> [Destination] {
        enter(match)
        return finish()
    }

    /// Targets that `match` is known to have.
    mutating func expand(_ targets: [Router.Target], within match: Match?) -> [Destination] {
        push(match ?? .nobody(domain: nil), targets)
        return finish()
    }

    private mutating func finish() -> [Destination] {
        let depth = trace?.depth ?? 0
        while let last = open.indices.last {
            guard open[last].next < open[last].targets.count else {
                states[open.removeLast().match] = .done
                continue
            }
            let target = open[last].targets[open[last].next]
            open[last].next += 1
            trace?.depth = depth + open.count
            switch target {
            case .name(let name):
                let match = tables.match(name: name, trace)
                if case .nobody = match { unknown.append(name) }
                enter(match)
            case .address(let address):
                let match = tables.match(address, trace)
                if case .nobody = match { unknown.append(address.description) }
                enter(match, for: address)
            case .file(let path): add(.file(path), as: .file, path, "gets it appended")
            case .command(let command): add(.command(command), as: .command, command, "gets it on its standard input")
            case .include(let path): add(.include(file: path), as: .list, path, "lists the targets that get it")
            }
        }
        trace?.depth = depth
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
            } else if followsForwards, !tables.opensLists, tables.isList(number) {
                let name = tables.aliases[number].name
                add(.list(alias: name), as: .list, name, "goes on to its members as a message of its own")
            } else {
                push(match, tables.aliases[number].targets)
            }
        case .virtual(let domain, let entry):
            push(match, tables.targets(ofVirtual: entry, in: domain))
        case .relay, .outside:
            guard let address else { return }
            if case .relay = match { trace?.note(match, in: tables) }
            let isNew = remotes.insert(address).inserted
            if isNew { destinations.append(.remote(address)) }
            trace?.note(.remote, address.description, isNew ? "is passed on" : "gets one copy only")
        case .nobody:
            break
        }
    }

    private mutating func enter(user number: Int) {
        let user = tables.users[number]
        guard followsForwards, !user.forward.isEmpty else { return addMailbox(of: number) }
        // A forward that leads back to its own user means the mailbox, as `.forward` files do.
        let leadsBack = states[.user(number)] == .open
        if !leadsBack { push(.user(number), user.forward) }
        if leadsBack || user.keepsCopy { addMailbox(of: number) }
    }

    private mutating func addMailbox(of number: Int) {
        let isNew = mailboxes.insert(number).inserted
        if isNew { destinations.append(.mailbox(user: tables.users[number].name)) }
        let outcome = !followsForwards ? "is a user" : isNew ? "gets it in the mailbox" : "gets one copy only"
        trace?.note(.mailbox, tables.users[number].name, outcome, rule: tables.rule(of: .user(number)))
    }

    private mutating func add(_ other: Destination, as kind: Trace.Kind, _ subject: String, _ outcome: String) {
        let isNew = others.insert(other).inserted
        if isNew { destinations.append(other) }
        trace?.note(kind, subject, isNew ? outcome : "gets one copy only")
    }

    private mutating func push(_ match: Match, _ targets: [Router.Target]) {
        guard states[match] == nil else {
            trace?.note(.again, tables.name(of: match), "has been followed already")
            return
        }
        trace?.note(match, in: tables)
        if let trace, case .alias(let number) = match, tables.hasOwner(number) {
            let name = tables.aliases[number].name
            trace.note(.list, name, "goes out with the sender owner-\(name)", rule: tables.rule(of: match))
        }
        states[match] = .open
        open.append(Frame(match: match, targets: targets))
    }
}
