// What becomes of the addresses of a message that comes in, in envelope and header, which fields its header lacks, and who gets
// copies of it: as the manifest's `rewriting` says. Where that says nothing, there is none of this.
//
// Headers are touched for those clients only whose mail is made here (Postfix's local_header_rewrite_clients), or where bare
// addresses of others are to get a domain (remote_header_rewrite_domain): the header of all other mail is its author's.

internal import MailQueue
package import MailSyntax
package import Policy
package import Routing

package final class MessageRewriting: Sendable {
    /// Whose mail counts as made here.
    package struct Clients: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        /// What came by a submission service or from a process of this host.
        package static let submission = Clients(rawValue: 1)
        package static let logins = Clients(rawValue: 2)
        /// This host's own addresses.
        package static let own = Clients(rawValue: 4)
        package static let networks = Clients(rawValue: 8)
    }

    package struct Configuration: Sendable {
        package var hostname: Domain
        package var origin: Domain
        package var clients: Clients
        package var ownAddresses: Set<IPAddress>
        package var remoteHeaderDomain: Domain?
        package var alwaysAddsMissingFields: Bool

        package init(
            hostname: Domain, origin: Domain, clients: Clients, ownAddresses: Set<IPAddress> = [], remoteHeaderDomain: Domain? = nil,
            alwaysAddsMissingFields: Bool = false
        ) {
            self.hostname = hostname
            self.origin = origin
            self.clients = clients
            self.ownAddresses = ownAddresses
            self.remoteHeaderDomain = remoteHeaderDomain
            self.alwaysAddsMissingFields = alwaysAddsMissingFields
        }
    }

    private let configuration: Configuration
    private let addresses: AddressRewriting?
    private let router: Router
    private let policy: AccessPolicy
    private let leavesSender: Bool

    package init(_ configuration: Configuration, router: Router, policy: AccessPolicy) {
        self.configuration = configuration
        self.router = router
        self.policy = policy
        addresses = router.rewriting
        leavesSender = router.rewriting?.leaves(.envelopeSender) ?? true
    }

    /// The sender that the queue keeps.
    func sender(_ sender: Address?) -> Address? {
        guard !leavesSender, let sender, let addresses else { return sender }
        return addresses.incoming(sender, .envelopeSender)
    }

    /// What goes over the header as it comes; nil: it stays as it is. `isSubmission`: by a service for that, or from this host.
    func headerRewriter(for client: ClientFacts, isSubmission: Bool, sender: Address?, id: QueueID, at time: Timestamp) -> HeaderRewriter? {
        let isLocal = isLocal(client, isSubmission: isSubmission)
        let completion: HeaderRewriter.Completion? =
            isLocal || configuration.alwaysAddsMissingFields
            ? HeaderRewriter.Completion(
                from: sender ?? Address(localPart: "MAILER-DAEMON", domain: configuration.origin), date: time, messageID: "\(id)@\(configuration.hostname)")
            : nil
        guard let domain = isLocal ? configuration.origin : configuration.remoteHeaderDomain else {
            return completion.map { HeaderRewriter(completion: $0) { _, _ in nil } }
        }
        let addresses = addresses
        return HeaderRewriter(completion: completion) { role, address in
            // Most are whole, and stay: then nothing is made of them.
            guard let addresses else { return address.domain == nil ? address.qualified(with: domain) : nil }
            return addresses.header(role, address, domain: domain)
        }
    }

    private func isLocal(_ client: ClientFacts, isSubmission: Bool) -> Bool {
        let clients = configuration.clients
        if isSubmission, clients.contains(.submission) { return true }
        if client.login != nil, clients.contains(.logins) { return true }
        guard let address = client.address else { return false }
        return clients.contains(.own) && configuration.ownAddresses.contains(address) || clients.contains(.networks) && policy.isInNetworks(address)
    }

    /// Recipients that a message gets besides those that it has: nobody hears what becomes of their copies. Numbered after
    /// `recipients`, and none that is among them.
    func copies(sender: Address?, recipients: [QueuedRecipient], addresses original: [EnvelopeRecipient]) -> [QueuedRecipient] {
        guard let addresses, addresses.hasCopies else { return [] }
        let canonical = original.map { router.canonical($0.address) ?? $0.address }
        var targets = Set(recipients.map(\.target))
        var result: [QueuedRecipient] = []
        for (address, _) in addresses.copies(sender: sender, recipients: canonical) {
            let destinations = router.destinations(ofCanonical: address)
            for destination in destinations {
                let target = RecipientTarget(destination, origin: configuration.origin, original: address)
                guard targets.insert(target).inserted else { continue }
                result.append(
                    QueuedRecipient(
                        number: recipients.count + result.count, original: address, target: target, notify: .never, originalRecipient: nil,
                        copies: destinations.count))
            }
        }
        return result
    }
}
