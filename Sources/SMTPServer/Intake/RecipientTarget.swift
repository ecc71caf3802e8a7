// From a route to what the queue keeps.

package import MailQueue
package import MailSyntax
package import Routing

extension RecipientTarget {
    /// A mailbox gets the address of its user at `origin`: what `Delivered-To` shows, whatever aliases led there.
    package init(_ destination: Destination, origin: Domain) {
        switch destination {
        case .mailbox(let user): self = .mailbox(user: user, address: Address(localPart: user, domain: origin))
        case .remote(let address): self = .remote(address)
        case .file, .command, .list: preconditionFailure("a manifest that delivers to files or commands is not served")
        }
    }
}
