// Which user may write mail as which sender after a login: the addresses that lead to that user's mailbox alone, and
// what `send_as` adds. The design's rule; Postfix keeps it in smtpd_sender_login_maps.

package import MailSyntax

/// A sender address, or all of a domain, and who may use it.
package struct SenderLogin: Sendable {
    package enum Pattern: Hashable, Sendable {
        case address(Address)
        /// Every address of the domain that has no pattern of its own: a catch-all's.
        case domain(Domain)
    }

    package let pattern: Pattern
    /// Users of the manifest, in its spelling. Never empty.
    package let users: [String]
}

extension MailSystem {
    /// In the order of the manifest: local names in each local domain, virtual addresses, then what only `send_as` names.
    /// Takes time in proportion to users and aliases times local domains.
    package var senderLogins: [SenderLogin] {
        var owners = AddressOwners(AddressBook(self))
        var order: [SenderLogin.Pattern] = []
        var logins: [SenderLogin.Pattern: [Int]] = [:]
        func allow(_ user: Int, _ pattern: SenderLogin.Pattern) {
            if logins[pattern] == nil { order.append(pattern) }
            if logins[pattern]?.contains(user) != true { logins[pattern, default: []].append(user) }
        }
        let names = owners.localNames()
        for domain in domains {
            switch domain.kind {
            case .local:
                for (name, owner) in names { allow(owner, .address(Address(localPart: name, domain: domain.name.value))) }
            case .virtual, .relay: break
            }
        }
        for (address, domain, owner) in owners.virtualAddresses() {
            allow(owner, address == "*" ? .domain(domain) : .address(Address(localPart: address, domain: domain)))
        }
        for (number, user) in users.enumerated() {
            for address in user.sendAs { allow(number, .address(address.value)) }
        }
        return order.map { pattern in SenderLogin(pattern: pattern, users: logins[pattern]!.map { users[$0].name.value }) }
    }
}

/// Follows each address to the one user that it leads to, if it is one.
private struct AddressOwners {
    private enum Owner { case nobody, several, user(Int) }

    private let book: AddressBook
    private var known: [AddressBook.Node: Owner] = [:]

    init(_ book: AddressBook) { self.book = book }

    /// Names with their owners; a user whom an alias of the same name hides has none by that name.
    mutating func localNames() -> [(name: String, owner: Int)] {
        let system = book.system
        let aliases = Set(system.aliases.map { lowercasedASCII($0.name.value) })
        var names = system.users.enumerated().filter { !aliases.contains(lowercasedASCII($0.element.name.value)) }.map { ($0.element.name.value, $0.offset) }
        for (index, alias) in system.aliases.enumerated() {
            if case .user(let owner) = owner(of: .alias(index)) { names.append((alias.name.value, owner)) }
        }
        return names
    }

    mutating func virtualAddresses() -> [(localPart: String, domain: Domain, owner: Int)] {
        var addresses: [(localPart: String, domain: Domain, owner: Int)] = []
        for (index, entry) in book.virtualAddresses.enumerated() {
            if case .user(let owner) = owner(of: .virtual(index)) { addresses.append((entry.address.localPart.value, entry.domain, owner)) }
        }
        return addresses
    }

    /// Depth first with a stack of its own, as chains may be long; a valid manifest's aliases end.
    private mutating func owner(of start: AddressBook.Node) -> Owner {
        var pending = [start]
        while let node = pending.last {
            if known[node] != nil {
                pending.removeLast()
                continue
            }
            // A user's own name is the user's, wherever the mail goes on to.
            if case .user(let number) = node {
                known[node] = .user(number)
                continue
            }
            let steps = book.targets(of: node).map { book.step($0.value, from: node) }
            let unknown = steps.compactMap { step -> AddressBook.Node? in
                if case .to(let next) = step, known[next] == nil, next != node { next } else { nil }
            }
            guard unknown.isEmpty else {
                pending += unknown
                continue
            }
            known[node] = combined(steps)
        }
        return known[start] ?? .nobody
    }

    private func combined(_ steps: [AddressBook.Step]) -> Owner {
        var result: Owner = .nobody
        for step in steps {
            guard case .to(let next) = step, case .user(let user)? = known[next] else { return .several }
            if case .user(let other) = result, other != user { return .several }
            result = .user(user)
        }
        return result
    }
}
