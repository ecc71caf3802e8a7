// Whom mail reaches: users that no address leads to, and users whose own name an alias has taken.
//
// Mail comes in at the local domains (every alias, and every user whose name no alias has), at the addresses of virtual
// domains, and for `postmaster`; from there on along the targets. Linear to users, aliases, addresses and targets.

internal import MailSyntax

struct ReachCheck {
    private let book: AddressBook
    private let links: Links
    private let hasLocalDomain: Bool
    /// The alias of the same name, which takes the user's mail, by the user's number.
    private var shadows: [Int: MailSystem.Alias] = [:]

    /// Only for a manifest without errors: a target that could not be read might be the one that leads to a user.
    static func run(_ book: AddressBook, _ links: Links, _ findings: inout Findings) {
        ReachCheck(book, links).run(&findings)
    }

    private init(_ book: AddressBook, _ links: Links) {
        self.book = book
        self.links = links
        hasLocalDomain = book.system.domains.contains { if case .local = $0.kind { true } else { false } }
        for (number, alias) in book.system.aliases.enumerated() {
            guard let user = book.user(named: alias.name.value) else { continue }
            let leadsToUser = links.targets(of: book.ordinal(of: .alias(number))).contains(book.ordinal(of: .user(user)))
            if !leadsToUser { shadows[user] = alias }
        }
    }

    private func run(_ findings: inout Findings) {
        // Where a domain is local, only an alias of the same name keeps mail from a user.
        let isReached = hasLocalDomain ? nil : reachedUsers()
        var lost: [Located<String>] = []
        for (number, user) in book.system.users.enumerated() {
            if let alias = shadows[number] {
                reportShadow(of: user, by: alias, &findings)
            } else if isReached?[number] == false {
                lost.append(user.name)
            }
        }
        guard let first = lost.first else { return }
        // One cause, one finding, however many it concerns.
        let shown = 3
        let names = lost.prefix(shown).map { quoted($0.value) }.joined(separator: ", ") + (lost.count > shown ? " and \(lost.count - shown) more" : "")
        findings.warning(
            .unreachableUser, "no address leads to \(names): there is no local domain, and no address of a virtual one leads there", at: first.span,
            hint: "users and aliases are addresses in local domains; name one under domains: example.org: {}")
    }

    private func reportShadow(of user: MailSystem.User, by alias: MailSystem.Alias, _ findings: inout Findings) {
        let line = user.name.position.map { " at line \($0.line)" } ?? ""
        findings.warning(
            .shadowedUser, "this alias takes all mail for the user \(quoted(user.name.value))\(line), whose mailbox gets none", at: alias.name.span,
            hint: "for a copy to the mailbox, list \(alias.name.value) among the alias's own targets; else rename one of the two")
    }

    /// Where no domain is local, by the users' numbers.
    private func reachedUsers() -> [Bool] {
        let system = book.system
        let readsLists = system.aliases.contains { $0.targets.contains { if case .include = $0.value { true } else { false } } }
        guard !readsLists else { return Array(repeating: true, count: system.users.count) }
        var isReached = Array(repeating: false, count: links.nodeCount)
        var pending: [Int] = []
        func reach(_ node: AddressBook.Node) { pending.append(book.ordinal(of: node)) }
        for number in book.virtualAddresses.indices { reach(.virtual(number)) }
        if let node = book.postmaster { reach(node) }
        while let ordinal = pending.popLast() {
            guard !isReached[ordinal] else { continue }
            isReached[ordinal] = true
            pending += links.targets(of: ordinal).filter { !isReached[$0] }
        }
        return system.users.indices.map { isReached[book.ordinal(of: .user($0))] }
    }
}

/// Where each node leads by one step, as ordinals; found once and kept together.
struct Links {
    private var ranges: [Range<Int>]
    private var flat: [Int] = []

    init(nodeCount: Int) { ranges = Array(repeating: 0..<0, count: nodeCount) }

    var nodeCount: Int { ranges.count }

    func targets(of ordinal: Int) -> ArraySlice<Int> { flat[ranges[ordinal]] }

    mutating func record(_ targets: some Sequence<Int>, of ordinal: Int) {
        let start = flat.count
        flat.append(contentsOf: targets)
        ranges[ordinal] = start..<flat.count
    }
}
