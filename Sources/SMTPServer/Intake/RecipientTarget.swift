// From a route to what the queue keeps.

package import MailQueue
package import MailSyntax
package import Routing

extension RecipientTarget {
    /// A mailbox gets the address of its user at `origin`: what `Delivered-To` shows, whatever aliases led there. A list has that
    /// of its alias; files and commands, which have none, the one that led there.
    package init(_ destination: Destination, origin: Domain, original: Address) {
        switch destination {
        case .mailbox(let user): self = .mailbox(user: user, address: Address(localPart: user, domain: origin))
        case .remote(let address): self = .remote(address)
        case .file(let path): self = .file(path: path, address: original)
        case .command(let command): self = .command(command, address: original)
        case .list(let alias): self = .list(alias: alias, address: Address(localPart: alias, domain: origin))
        case .include: preconditionFailure("a server's router leaves lists to delivery")
        }
    }
}
