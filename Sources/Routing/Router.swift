// Where does this address go? Pure: tables in, `Route` out, no I/O, no client. The order is the design's:
// virtual domain, local domain, relay domain, outside. `Policy` decides whether a client may have that route.
//
// The tables are hashed once, when the manifest is loaded; aliases are expanded when an address asks for them, so that
// a start with 100,000 users is quick and a plain user costs two look-ups. A valid manifest holds no loops and
// no targets that lead nowhere; given one that does, the router still ends, and such a target yields nothing.

package import MailSyntax

/// The manifest line that decided, as logs show it: `mail.yaml:12 aliases.sales`.
package typealias Rule = String

/// What becomes of one recipient address.
package enum Route: Hashable, Sendable {
    /// Ours; delivered to these, each once. Never empty.
    case deliver([Destination], rule: Rule)
    /// An address of a relay domain, passed on as it is.
    case relay(Address, rule: Rule)
    /// Of one of our domains, but nobody: 550 5.1.1.
    case unknown(rule: Rule)
    /// None of our domains.
    case outside(Address)
}

package enum Destination: Hashable, Sendable, CustomStringConvertible {
    /// The mailbox of the user of that name, spelt as in the manifest.
    case mailbox(user: String)
    /// Passed on by SMTP to that address.
    case remote(Address)
    /// Appended to the file of that path.
    case file(String)
    /// Given to that shell command.
    case command(String)
    /// The targets that the file of that path lists.
    case include(file: String)
    /// All that the alias of that name leads to, found out later.
    case list(alias: String)

    /// As a target in a manifest names it.
    package var description: String {
        switch self {
        case .mailbox(let user): user
        case .remote(let address): address.description
        case .file(let path): path
        case .command(let command): "|\(command)"
        case .include(let path): ":include:\(path)"
        case .list(let alias): alias
        }
    }
}

/// What kind of domain an address has: Postfix's address classes, as far as they differ here.
package enum AddressClass: Hashable, Sendable { case local, virtual, relay, outside }

package struct Router: Sendable {
    let tables: RoutingTables
    /// Nil: no address is rewritten.
    package let rewriting: AddressRewriting?
    /// Nil: forwarded mail keeps its sender.
    package let srs: SRS?
    private let srsLine: Int?
    /// Nil: canonical tables say nothing of recipients.
    private let canonicals: AddressRewriting?

    package init(_ configuration: Configuration) {
        tables = RoutingTables(configuration)
        rewriting = configuration.rewriting
        srs = configuration.srs
        srsLine = configuration.srsLine
        canonicals = configuration.rewriting.flatMap { $0.leaves(.envelopeRecipient) ? nil : $0 }
    }

    /// What canonical tables make of a recipient; nil: it stays as it is.
    package func canonical(_ recipient: Address, trace: Trace? = nil) -> Address? {
        guard let canonicals else { return nil }
        let result = canonicals.incoming(recipient, .envelopeRecipient, trace: trace)
        return result.description == recipient.description ? nil : result
    }

    /// Where mail to an address ends that this server itself sends, or that is sent again. Empty: at nobody.
    package func destinations(of address: Address) -> [Destination] { destinations(ofCanonical: canonical(address) ?? address) }

    /// The same of an address that was rewritten already.
    package func destinations(ofCanonical address: Address) -> [Destination] {
        switch route(address) {
        case .deliver(let destinations, _): destinations
        case .relay(let address, _), .outside(let address): [.remote(address)]
        case .unknown: []
        }
    }

    package func route(_ address: Address, trace: Trace? = nil) -> Route {
        if let srs, let reversal = srs.reverse(address) {
            switch reversal {
            case .sender(let sender):
                trace?.note(.rewriting, address.description, "is the way back to \(sender)", rule: tables.rule(srsLine, "rewriting.srs"))
                return .deliver([.remote(sender)], rule: tables.rule(srsLine, "rewriting.srs"))
            case .invalid(let reason):
                trace?.note(.rewriting, address.description, "\(reason)", rule: tables.rule(srsLine, "rewriting.srs"))
                return .unknown(rule: tables.rule(srsLine, "rewriting.srs"))
            }
        }
        let match = tables.match(address, trace)
        switch match {
        case .outside: return .outside(address)
        case .nobody: return .unknown(rule: tables.rule(of: match))
        case .relay:
            trace?.note(match, in: tables)
            trace?.note(.remote, address.description, "is passed on")
            return .relay(address, rule: tables.rule(of: match))
        case .user(let index) where tables.users[index].forward.isEmpty:
            trace?.note(.mailbox, tables.users[index].name, "gets it in the mailbox", rule: tables.rule(of: match))
            return .deliver([.mailbox(user: tables.users[index].name)], rule: tables.rule(of: match))
        case .user, .alias, .virtual:
            var expansion = Expansion(of: tables, trace: trace)
            let destinations = expansion.expand(match)
            return destinations.isEmpty ? .unknown(rule: tables.rule(of: match)) : .deliver(destinations, rule: tables.rule(of: match))
        }
    }

    /// The user whose own address this is: the only one that it leads to, whatever that user's forward does then.
    package func owner(of address: Address, trace: Trace? = nil) -> String? {
        let match = tables.match(address, trace)
        switch match {
        case .outside, .nobody, .relay: return nil
        case .user, .alias, .virtual:
            var expansion = Expansion(of: tables, followsForwards: false, trace: trace)
            let ends = expansion.expand(match)
            guard ends.count == 1, case .mailbox(let user) = ends[0] else { return nil }
            return user
        }
    }

    /// Where mail for the user ends, forwards and all. Nil: there is no such user.
    package func destinations(ofUser name: String) -> [Destination]? {
        guard let number = tables.user(named: name) else { return nil }
        var expansion = Expansion(of: tables)
        return expansion.expand(.user(number))
    }

    /// Nil: the address has no extension.
    package func withoutExtension(_ address: Address) -> Address? {
        tables.withoutExtension(address.localPart).map { Address(localPart: $0, domain: address.domain) }
    }

    /// The manifest line of the user. Nil: there is no such user.
    package func rule(ofUser name: String) -> Rule? { tables.user(named: name).map { tables.rule(of: .user($0)) } }

    /// The manifest line of a domain of ours.
    package func rule(of domain: Domain) -> Rule { tables.rule(of: .nobody(domain: tables.domain(domain))) }

    package func addressClass(of domain: Domain) -> AddressClass {
        guard let index = tables.domain(domain) else { return .outside }
        return switch tables.domains[index].kind {
        case .local: .local
        case .virtual: .virtual
        case .relay: .relay
        }
    }
}
