// How a decision came about, step by step, for people: `valija explain` and the failed tests of a manifest show it.
//
// The code that decides takes a trace if it is given one. The server gives none: then a step costs a look at an empty
// optional, and no text is made, because optional chaining leaves its arguments unevaluated.

internal import MailSyntax

package final class Trace {
    /// The closed list of what a step may be about; raw values are what `explain --json` shows.
    package enum Kind: String, CaseIterable, Sendable {
        // `Policy`'s
        case client, login, sender, relaying
        /// An address that becomes another, and who gets a copy.
        case rewriting, copy
        // The router's: which domain, which look-ups, what they found
        case domain, lookup, address, alias, forward, recipient, again
        /// Where the way ends: in a mailbox, at another server, in a file, with a program, or where a file says.
        case mailbox, remote, nextHop = "next-hop", file, command, list
    }

    /// What is being decided: each is one question of the server's.
    package enum Part: String, CaseIterable, Sendable { case client, sender, recipient }

    package struct Step: Hashable, Sendable {
        package let part: Part
        /// How far within aliases and forwards.
        package let depth: Int
        package let kind: Kind
        /// What was looked at: an address, a name, a client.
        package let subject: String
        /// What became of it, as the end of a sentence that begins with the subject.
        package let outcome: String
        /// The manifest line that says so; nil where none does.
        package let rule: Rule?
    }

    package private(set) var steps: [Step] = []
    package var part = Part.recipient
    package var depth = 0

    package init() {}

    package func note(_ kind: Kind, _ subject: String, _ outcome: String, rule: Rule? = nil) {
        steps.append(Step(part: part, depth: depth, kind: kind, subject: subject, outcome: outcome, rule: rule))
    }
}

extension Trace {
    /// The entry that an address or a name hit, and what it says.
    func note(_ match: Match, in tables: RoutingTables) {
        let (kind, outcome): (Kind, String) =
            switch match {
            case .alias(let number): (.alias, "leads to \(list(tables.aliases[number].targets))")
            case .virtual(let domain, let entry): (.address, "leads to \(list(tables.targets(ofVirtual: entry, in: domain)))")
            case .user(let number):
                (.forward, "forwards to \(list(tables.users[number].forward))\(tables.users[number].keepsCopy ? ", and keeps a copy" : "")")
            case .relay(_, nil): (.recipient, "takes every address")
            case .relay(_, _?): (.recipient, "is in its list of recipients")
            case .nobody, .outside: (.lookup, "is nobody")
            }
        note(kind, tables.name(of: match), outcome, rule: tables.rule(of: match))
    }

    private func list(_ targets: [Router.Target]) -> String {
        targets.map { target in
            switch target {
            case .name(let name): name
            case .address(let address): address.description
            case .file(let path): path
            case .command(let command): "|\(command)"
            case .include(let path): ":include:\(path)"
            }
        }.joined(separator: ", ")
    }
}
