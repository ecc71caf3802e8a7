// Aliases that are mailing lists, and users' forward files: what they lead to is found out when a message is delivered, and
// goes out as a message of its own, so that files are read by nobody who must not wait, and a list's owner hears of its failures.
//
// A list is an alias that has an owner (`owner-NAME` beside `NAME`) or that includes a file.

package import MailSyntax

extension Router {
    /// What the name of a list or of a user leads to, one step.
    package func targets(ofAlias name: String) -> [Target]? { tables.alias(named: name).map { tables.aliases[$0].targets } }

    /// Who hears of what happens to mail to the list's members: the sender that it goes out with. Nil: whoever wrote.
    package func owner(ofAlias name: String) -> String? {
        tables.alias(named: name).flatMap { tables.hasOwner($0) ? "owner-\(name)" : nil }
    }

    package struct Members: Sendable {
        /// Never an included file: the caller has put in what it says.
        package var destinations: [Destination] = []
        /// Targets that are nobody here.
        package var unknown: [String] = []
    }

    /// Where targets lead that a list was found to have; its own name means the user of that name.
    package func members(_ targets: [Target], ofAlias name: String) -> Members {
        members(targets, within: tables.alias(named: name).map { .alias($0) })
    }

    /// The same of the forward file of a user, whose own name means the mailbox.
    package func members(_ targets: [Target], ofUser name: String) -> Members {
        members(targets, within: tables.user(named: name).map { .user($0) })
    }

    private func members(_ targets: [Target], within match: Match?) -> Members {
        var expansion = Expansion(of: tables)
        let destinations = expansion.expand(targets, within: match)
        return Members(destinations: destinations, unknown: expansion.unknown)
    }

    /// The user's mail goes nowhere else by the manifest.
    package func keepsMail(ofUser name: String) -> Bool { tables.user(named: name).map { tables.users[$0].forward.isEmpty } ?? false }

    /// What stands behind the delimiter in an address of ours; nil: nothing.
    package func addressExtension(_ address: Address) -> String? {
        guard let base = withoutExtension(address) else { return nil }
        return String(Substring(address.localPart.utf8.dropFirst(base.localPart.utf8.count + 1)))
    }
}

extension RoutingTables {
    func alias(named name: String) -> Int? { aliasNumber(lowercasedASCII(name)) }

    /// As Postfix (owner_request_special): an owner is none's list.
    func hasOwner(_ number: Int) -> Bool {
        let key = lowercasedASCII(aliases[number].name)
        return !key.hasPrefix("owner-") && (aliasNumber("owner-\(key)") != nil || user(named: "owner-\(key)") != nil)
    }

    /// Its mail is sent on as a message of its own.
    func isList(_ number: Int) -> Bool {
        aliases[number].targets.contains { if case .include = $0 { true } else { false } } || hasOwner(number)
    }
}
