// Where does this address go? Pure: tables in, `Route` out, no I/O, no client. The order is the design's:
// virtual domain, local domain, relay domain, outside. `Policy` decides whether a client may have that route.

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

package enum Destination: Hashable, Sendable {
    /// The mailbox of the user of that name, spelt as in the manifest.
    case mailbox(user: String)
    /// Passed on by SMTP to that address.
    case remote(Address)
}
