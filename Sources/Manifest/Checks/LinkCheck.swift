// Do all targets lead somewhere? Finds dangling ones and loops, in time linear to the number of targets.
//
// A loop is what no mail gets out of: aliases, virtual addresses and forwards that lead back to where they began. A user
// whose mailbox keeps a copy ends every way that passes, so that two colleagues may forward to each other with copies.

internal import MailSyntax

struct LinkCheck {
    /// Longer loops are shown by their beginning and end.
    private static let longestShownLoop = 12

    private enum Mark { case new, onPath(at: Int), done }
    private struct Visit {
        let node: AddressBook.Node
        let steps: [(target: Located<MailSystem.Target>, node: AddressBook.Node)]
        var next = 0
    }

    private let book: AddressBook
    /// By the nodes' ordinals.
    private var marks: [Mark]
    private var path: [Visit] = []
    private var candidates: [String: [String]] = [:]
    private var links: Links

    static func run(_ book: AddressBook, _ findings: inout Findings) -> Links {
        let nodes = book.nodes
        var check = LinkCheck(book: book, nodeCount: nodes.count)
        for (ordinal, node) in nodes.enumerated() {
            if case .new = check.marks[ordinal] { check.follow(node, &findings) }
        }
        return check.links
    }

    private init(book: AddressBook, nodeCount: Int) {
        self.book = book
        marks = Array(repeating: .new, count: nodeCount)
        links = Links(nodeCount: nodeCount)
    }

    /// Depth first, with a stack of its own: a chain of 100,000 aliases is no reason to crash.
    private mutating func follow(_ start: AddressBook.Node, _ findings: inout Findings) {
        enter(start, &findings)
        while let visit = path.last {
            guard visit.next < visit.steps.count else {
                marks[book.ordinal(of: visit.node)] = .done
                path.removeLast()
                continue
            }
            path[path.count - 1].next += 1
            let step = visit.steps[visit.next]
            switch marks[book.ordinal(of: step.node)] {
            case .new: enter(step.node, &findings)
            case .done: break
            case .onPath(let index): reportLoop(from: index, closedBy: step.target, &findings)
            }
        }
    }

    private mutating func enter(_ node: AddressBook.Node, _ findings: inout Findings) {
        var steps: [(Located<MailSystem.Target>, AddressBook.Node)] = []
        for target in book.targets(of: node) {
            switch book.step(target.value, from: node) {
            case .to(let next): steps.append((target, next))
            case .outside: break
            case .nowhere(let reason): reportDangling(target, from: node, reason, &findings)
            }
        }
        let ordinal = book.ordinal(of: node)
        links.record(steps.map { book.ordinal(of: $0.1) }, of: ordinal)
        if case .user(let index) = node, book.keepsMail(index) { steps = [] }
        marks[ordinal] = .onPath(at: path.count)
        path.append(Visit(node: node, steps: steps))
    }

    private func reportLoop(from index: Int, closedBy target: Located<MailSystem.Target>, _ findings: inout Findings) {
        let loop = path[index...]
        var names = loop.prefix(LinkCheck.longestShownLoop).map { book.name(of: $0.node) }
        if loop.count > LinkCheck.longestShownLoop { names.append("… (\(loop.count - LinkCheck.longestShownLoop) more)") }
        names.append(book.name(of: path[index].node))
        let passesUser = loop.contains { if case .user = $0.node { true } else { false } }
        findings.error(
            .loop, "these lead back to where they began: \(names.joined(separator: " → "))", at: target.span,
            hint: passesUser ? "with keep_copy: true a user's mailbox gets a copy, and that ends the loop" : nil)
    }

    private mutating func reportDangling(
        _ target: Located<MailSystem.Target>, from node: AddressBook.Node, _ reason: AddressBook.Reason, _ findings: inout Findings
    ) {
        let what =
            switch node {
            case .alias: "alias target"
            case .user: "forward"
            case .virtual: "target"
            }
        switch (target.value, reason) {
        case (.name(let name), _):
            if case .alias(let index) = node, lowercasedASCII(book.system.aliases[index].name.value) == lowercasedASCII(name) {
                findings.error(
                    .loop, "the alias \(quoted(name)) lists itself, which means the user of that name, and there is none", at: target.span)
                return
            }
            findings.error(
                .danglingTarget, "\(what) \(quoted(name)) is neither a user nor an alias", at: target.span,
                hint: findings.suggestions.hint(for: name, among: names(nil)))
        case (.address(let address), .noSuchRecipient(let domain)):
            let nearest = findings.suggestions.nearest(to: address.localPart, among: names(domain))
            findings.error(
                .danglingTarget, "\(what) \(quoted(address.description)) is not among the recipients of the relay domain \(domain)", at: target.span,
                hint: nearest.map { "did you mean \(quoted("\($0)@\(domain)"))?" })
        case (.address(let address), _):
            let nearest = findings.suggestions.nearest(to: address.localPart, among: names(address.domain))
            findings.error(
                .danglingTarget, "\(what) \(quoted(address.description)) is in a domain of this server and does not exist there", at: target.span,
                hint: nearest.map { "did you mean \(quoted("\($0)@\(address.domain)"))?" })
        case (.file, _), (.command, _), (.include, _): break  // these lead outside
        }
    }

    /// The names to suggest from, made once for each domain.
    private mutating func names(_ domain: Domain?) -> [String] {
        let key = domain?.key ?? ""
        if let known = candidates[key] { return known }
        let names = domain.map { book.names(in: $0) } ?? book.allNames
        candidates[key] = names
        return names
    }
}
