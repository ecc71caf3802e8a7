// May this client send as this sender, and to this recipient? Pure: facts of the client and the router's answer in, a
// decision with the manifest line that made it out. Replies are worded as Postfix words them, for the scripts that read them.
//
// Mail for our domains is taken from everyone; mail for elsewhere from clients in `networks`, from users who are logged in,
// and from the appliance's own socket alone. There is no other way through `decide`, so there is no open relay by construction.

package import MailSyntax
package import Routing

/// What is known of who is asking.
package struct ClientFacts: Hashable, Sendable {
    /// Nil: the client has no IP address, and is in no network.
    package var address: IPAddress?
    /// Came over the appliance's own Unix socket, which only users of this host can reach.
    package var isLocalProcess: Bool
    /// The user who is logged in.
    package var login: String?
    package var name = ReverseName.unknown(hasReverse: false)
    /// The argument of HELO, EHLO or LHLO.
    package var helo: String?
    package var heloStanding = HeloStanding.unchecked
    /// SHA-256 of the certificate that it showed in TLS: `d4:0f:…`.
    package var certificate: String?

    package init(address: IPAddress?, isLocalProcess: Bool = false, login: String? = nil) {
        self.address = address
        self.isLocalProcess = isLocalProcess
        self.login = login
    }
}

package enum Decision: Hashable, Sendable {
    /// Never empty.
    case accept([Destination], rule: Rule)
    case refuse(Reply, rule: Rule)

    /// What RCPT is answered.
    package var reply: Reply {
        switch self {
        case .accept: Reply(250, EnhancedCode(2, 1, 5), "Ok")
        case .refuse(let reply, _): reply
        }
    }
}

package final class AccessPolicy: Sendable {
    package struct Configuration: Sendable {
        /// The manifest's file name, as rules show it.
        package var manifest: String
        /// Clients that may relay. Nothing is trusted that is not in here, loopback neither.
        package var networks: [Network]
        /// Where the manifest sets them; nil: the default.
        package var networksLine: Int?
        package var sendAs: [SendAs]
        /// Fingerprints of clients that may relay, in the form of `ClientFacts.certificate`.
        package var clientCertificates: [ClientCertificate]
        /// Addresses that each stand for many clients, such as the gateway of a container's network: trusted only where `networks` names
        /// the address itself.
        package var standIns: Set<IPAddress> = []
        /// What is asked of those who may not relay.
        package var checks: [(check: ClientCheck, line: Int?)] = []

        package init(manifest: String, networks: [Network], networksLine: Int? = nil, sendAs: [SendAs] = [], clientCertificates: [ClientCertificate] = []) {
            self.manifest = manifest
            self.networks = networks
            self.networksLine = networksLine
            self.sendAs = sendAs
            self.clientCertificates = clientCertificates
        }
    }

    package struct ClientCertificate: Sendable {
        package var fingerprint: String
        package var line: Int?

        package init(fingerprint: String, line: Int? = nil) {
            self.fingerprint = fingerprint
            self.line = line
        }
    }

    /// A sender address that a user may use though it does not lead to that user alone.
    package struct SendAs: Sendable {
        package var user: String
        package var address: Address
        package var line: Int?

        package init(user: String, address: Address, line: Int? = nil) {
            self.user = user
            self.address = address
            self.line = line
        }
    }

    private let router: Router
    private let networks: [Network]
    private let networksRule: Rule
    private let sendAs: [Permission: Rule]
    private let clientCertificates: [String: Rule]
    private let standIns: Set<IPAddress>
    private let checks: [(check: ClientCheck, rule: Rule)]

    private struct Permission: Hashable {
        /// In lower case.
        let user: String
        let address: Address
    }

    package init(_ configuration: Configuration, router: Router) {
        self.router = router
        networks = configuration.networks
        networksRule = configuration.networksLine.map { "\(configuration.manifest):\($0) networks" } ?? "default networks"
        standIns = configuration.standIns
        checks = configuration.checks.map { check, line in
            (check, line.map { "\(configuration.manifest):\($0) smtpd.restrictions" } ?? "default smtpd.restrictions")
        }
        clientCertificates = Dictionary(
            configuration.clientCertificates.map { entry in
                (entry.fingerprint, Rule("\(entry.line.map { "\(configuration.manifest):\($0)" } ?? "default") tls.relay_clientcerts"))
            }, uniquingKeysWith: { first, _ in first })
        sendAs = Dictionary(
            configuration.sendAs.map { entry in
                let path = "users.\(entry.user).send_as"
                let rule = entry.line.map { "\(configuration.manifest):\($0) \(path)" } ?? "default \(path)"
                return (Permission(user: lowercasedASCII(entry.user), address: entry.address), rule)
            }, uniquingKeysWith: { first, _ in first })
    }

    package func mayRelay(_ client: ClientFacts) -> Bool { relayRule(client) != nil }

    /// What lets the client send to elsewhere; nil: nothing does.
    private func relayRule(_ client: ClientFacts) -> Rule? {
        if client.isLocalProcess { return localProcessRule }
        if let address = client.address, isInNetworks(address) { return networksRule }
        if let certificate = client.certificate, let rule = clientCertificates[certificate] { return rule }
        return client.login.map { router.rule(ofUser: $0) ?? networksRule }
    }

    /// One address that stands for many clients has to be named by itself: a network that happens to hold it was not meant for all
    /// the world that may come through it.
    package func isInNetworks(_ address: IPAddress) -> Bool {
        guard let network = networks.first(where: { $0.contains(address) }) else { return false }
        guard standIns.contains(address) else { return true }
        return network.isHost || networks.contains { $0.isHost && $0.base == address }
    }

    /// The networks that hold an address which stands for many clients, without naming it.
    package var standInsCovered: [(address: IPAddress, network: Network)] {
        standIns.sorted { $0.description < $1.description }.compactMap { address in
            guard !isInNetworks(address), let network = networks.first(where: { $0.contains(address) }) else { return nil }
            return (address, network)
        }
    }

    /// What `smtpd.restrictions` has against a client who may not relay; nil: nothing.
    private func refusal(of client: ClientFacts, trace: Trace?) -> (reply: Reply, rule: Rule)? {
        guard !checks.isEmpty, relayRule(client) == nil else { return nil }
        for (check, rule) in checks {
            guard let reply = client.refusal(by: check) else { continue }
            trace?.note(.client, client.address?.description ?? "a stranger", "is refused by \(check.rawValue)", rule: rule)
            return (reply, rule)
        }
        return nil
    }

    /// Whether the name in HELO has to be looked up for this client.
    package func needsHeloStanding(_ client: ClientFacts) -> Bool {
        checks.contains { $0.check == .rejectUnknownHelo } && relayRule(client) == nil
    }

    /// The answer to MAIL. `sender` nil is `<>`, which reports and automatic answers have, and which everyone may use.
    package func answer(sender: Address?, client: ClientFacts, trace: Trace? = nil) -> (reply: Reply, rule: Rule?) {
        let accepted = Reply(250, EnhancedCode(2, 1, 0), "Ok")
        guard let name = client.login, let sender else {
            trace?.note(.sender, sender?.description ?? "<>", client.login == nil ? "is not checked without a login" : "is every user's to use")
            return (accepted, nil)
        }
        let owner = router.owner(of: sender, trace: trace)
        let login = user(of: name)
        if let owner, lowercasedASCII(owner) == lowercasedASCII(login) {
            let rule = router.rule(ofUser: owner)
            trace?.note(.sender, sender.description, "leads to \(owner) alone, who is logged in", rule: rule)
            return (accepted, rule)
        }
        if let rule = sendAsRule(lowercasedASCII(login), sender) {
            trace?.note(.sender, sender.description, "is among the addresses that \(login) may send as", rule: rule)
            return (accepted, rule)
        }
        let rule = router.rule(ofUser: login)
        trace?.note(.sender, sender.description, "is not for \(login) to send as: it does not lead to \(login) alone, and is not in send_as", rule: rule)
        return (Reply(553, EnhancedCode(5, 7, 1), "<\(sender)>: Sender address rejected: not owned by user \(login)"), rule)
    }

    /// A directory may name its accounts by their addresses: such a one is the user whom the address leads to.
    private func user(of login: String) -> String {
        guard router.rule(ofUser: login) == nil, let address = Address(login) else { return login }
        return router.owner(of: address) ?? login
    }

    /// By the address, then by the address without its extension, as recipients are looked up.
    private func sendAsRule(_ user: String, _ sender: Address) -> Rule? {
        if sendAs.isEmpty { return nil }
        if let rule = sendAs[Permission(user: user, address: sender)] { return rule }
        return router.withoutExtension(sender).flatMap { sendAs[Permission(user: user, address: $0)] }
    }

    /// The answer to RCPT.
    package func decide(recipient: Address, client: ClientFacts, trace: Trace? = nil) -> Decision {
        // A server behind this one may take `someone%elsewhere.example@here.example` for a route. As from Postfix
        // (`allow_untrusted_routing = no`), it gets such an address from nobody who could not have sent there directly.
        if looksRouted(recipient), relayRule(client) == nil {
            trace?.note(.relaying, recipient.description, "reads like a route to elsewhere, which is not for this client", rule: networksRule)
            return .refuse(relayAccessDenied(recipient), rule: networksRule)
        }
        if let (reply, rule) = refusal(of: client, trace: trace) { return .refuse(reply, rule: rule) }
        // Rewriting lets nobody relay who might not: where the address as it was given is outside, it stays so. And one that
        // is ours may lead outside, as an alias may.
        let canonical = router.canonical(recipient, trace: trace)
        let isOurs = canonical != nil && router.addressClass(of: recipient.domain) != .outside
        if canonical != nil, !isOurs, relayRule(client) == nil {
            trace?.note(.relaying, recipient.domain.text, "is not for this client to send to", rule: networksRule)
            return .refuse(relayAccessDenied(recipient), rule: networksRule)
        }
        switch router.route(canonical ?? recipient, trace: trace) {
        case .deliver(let destinations, let rule): return .accept(destinations, rule: rule)
        case .relay(let address, let rule): return .accept([.remote(address)], rule: rule)
        case .unknown(let rule): return .refuse(unknownUser(recipient), rule: rule)
        case .outside(let address) where isOurs:
            trace?.note(.remote, address.description, "is passed on")
            return .accept([.remote(address)], rule: router.rule(of: recipient.domain))
        case .outside(let address):
            guard let rule = relayRule(client) else {
                trace?.note(.relaying, address.domain.text, "is not for this client to send to", rule: networksRule)
                return .refuse(relayAccessDenied(recipient), rule: networksRule)
            }
            trace?.note(.remote, address.description, "is passed on, as this client may send to anywhere", rule: rule)
            return .accept([.remote(address)], rule: rule)
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

    /// What EXPN may tell: whom an address leads to. For clients who may relay alone: addresses are what spammers look for.
    package func expand(_ address: Address, client: ClientFacts) -> Decision {
        guard relayRule(client) != nil else {
            return .refuse(Reply(550, EnhancedCode(5, 7, 1), "<\(address)>: Access denied"), rule: networksRule)
        }
        return decide(recipient: address, client: client)
    }

    private func looksRouted(_ address: Address) -> Bool {
        address.localPart.utf8.contains { $0 == UInt8(ascii: "@") || $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "!") }
    }

    private func relayAccessDenied(_ recipient: Address) -> Reply {
        Reply(554, EnhancedCode(5, 7, 1), "<\(recipient)>: Relay access denied")
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

extension AccessPolicy {
    /// Notes who is asking, and whether they may send to anywhere.
    package func note(_ client: ClientFacts, in trace: Trace) {
        if let address = client.address {
            let network = isInNetworks(address) ? networks.first { $0.contains(address) } : nil
            trace.note(.client, address.description, network.map { "is in networks, by \($0)" } ?? "is in none of the networks", rule: networksRule)
        } else if client.isLocalProcess {
            trace.note(.client, "a process of this host", "may send to anywhere", rule: localProcessRule)
        } else {
            trace.note(.client, "a stranger", "is in none of the networks", rule: networksRule)
        }
        if let login = client.login { trace.note(.login, login, "is logged in, and may send to anywhere", rule: router.rule(ofUser: login)) }
    }
}

/// No line of the manifest says it: whoever can write to the appliance's own socket runs on this host.
private let localProcessRule: Rule = "local process"
