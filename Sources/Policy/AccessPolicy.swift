// May this client send to this recipient? Pure: facts of the client and the router's answer in, a decision with the
// manifest line that made it out. Replies are worded as Postfix words them, for the scripts that read them.
//
// Mail for our domains is taken from everyone; mail for elsewhere from clients in `networks` and from the
// appliance's own socket alone. There is no other way through `decide`, so there is no open relay by construction.

package import MailSyntax
package import Routing

/// What is known of who is asking.
package struct ClientFacts: Hashable, Sendable {
    /// Nil: the client has no IP address.
    package var address: IPAddress?
    /// Came over the appliance's own Unix socket, which only users of this host can reach.
    package var isLocalProcess: Bool

    package init(address: IPAddress?, isLocalProcess: Bool = false) {
        self.address = address
        self.isLocalProcess = isLocalProcess
    }
}

package enum Decision: Hashable, Sendable {
    /// Never empty.
    case accept([Destination], rule: Rule)
    case refuse(Reply, rule: Rule)
}

package struct AccessPolicy: Sendable {
    package struct Configuration: Sendable {
        /// The manifest's file name, as rules show it.
        package var manifest: String
        /// Clients that may relay. Nothing is trusted that is not in here, loopback neither.
        package var networks: [Network]
        /// Where the manifest sets them; nil: the default.
        package var networksLine: Int?

        package init(manifest: String, networks: [Network], networksLine: Int? = nil) {
            self.manifest = manifest
            self.networks = networks
            self.networksLine = networksLine
        }
    }

    private let router: Router
    private let networks: [Network]
    private let networksRule: Rule

    package init(_ configuration: Configuration, router: Router) {
        self.router = router
        networks = configuration.networks
        networksRule = configuration.networksLine.map { "\(configuration.manifest):\($0) networks" } ?? "default networks"
    }

    package func mayRelay(_ client: ClientFacts) -> Bool {
        if client.isLocalProcess { return true }
        guard let address = client.address else { return false }
        return networks.contains { $0.contains(address) }
    }

    /// The answer to RCPT.
    package func decide(recipient: Address, client: ClientFacts) -> Decision {
        switch router.route(recipient) {
        case .deliver(let destinations, let rule): .accept(destinations, rule: rule)
        case .relay(let address, let rule): .accept([.remote(address)], rule: rule)
        case .unknown(let rule): .refuse(unknownUser(recipient), rule: rule)
        case .outside(let address):
            if mayRelay(client) {
                .accept([.remote(address)], rule: client.isLocalProcess ? localProcessRule : networksRule)
            } else {
                .refuse(Reply(554, EnhancedCode(5, 7, 1), "<\(recipient)>: Relay access denied"), rule: networksRule)
            }
        }
    }

    /// The answer to VRFY: what RCPT would say, with the 252 of RFC 5321 §3.5.3, which promises nothing. It tells a
    /// client no more than RCPT does.
    package func verify(_ address: Address, client: ClientFacts) -> (reply: Reply, rule: Rule) {
        switch decide(recipient: address, client: client) {
        case .accept(_, let rule): (Reply(252, EnhancedCode(2, 0, 0), "\(address)"), rule)
        case .refuse(let reply, let rule): (reply, rule)
        }
    }

    private func unknownUser(_ recipient: Address) -> Reply {
        let table = switch router.addressClass(of: recipient.domain) {
        case .virtual: "virtual alias table"
        case .relay: "relay recipient table"
        case .local, .outside: "local recipient table"
        }
        return Reply(550, EnhancedCode(5, 1, 1), "<\(recipient)>: Recipient address rejected: User unknown in \(table)")
    }
}

/// No line of the manifest says it: whoever can write to the appliance's own socket runs on this host.
private let localProcessRule: Rule = "local process"
