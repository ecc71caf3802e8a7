// What the router needs to know of a manifest, in the manifest's order and spelling.

package import MailSyntax

extension Router {
    package struct Configuration: Sendable {
        /// The manifest's file name, as rules show it.
        package var manifest: String
        /// Domain of bare addresses: its `postmaster` is always ours, for `RCPT TO:<postmaster>` (RFC 5321 §4.5.1).
        package var origin: Domain
        /// Separates a local part from its extension: `+` in `alice+lists`. Nil: addresses have no extensions.
        package var extensionDelimiter: UInt8?
        package var domains: [MailDomain]
        /// The first of them gets what `postmaster` gets where the manifest names none.
        package var users: [User]
        package var aliases: [Entry]
        /// For all that is not ours; nil: the MX of the recipient's domain.
        package var relayhost: NextHop?
        package var relayhostLine: Int?
        /// True: what lists lead to is told at once, as people ask for it; a server finds it out when it delivers.
        package var opensLists = true
        /// Mail to the outside that does not go to the relayhost, by recipient and by sender.
        package var routes: [OutsideRoute]
        package var senderRoutes: [OutsideRoute]
        /// Nil: no address is rewritten.
        package var rewriting: AddressRewriting?
        /// Nil: forwarded mail keeps its sender.
        package var srs: SRS?
        package var srsLine: Int?

        package init(
            manifest: String, origin: Domain, extensionDelimiter: UInt8? = nil, domains: [MailDomain] = [], users: [User] = [],
            aliases: [Entry] = [], relayhost: NextHop? = nil, relayhostLine: Int? = nil, routes: [OutsideRoute] = [],
            senderRoutes: [OutsideRoute] = [], rewriting: AddressRewriting? = nil,
            srs: SRS? = nil, srsLine: Int? = nil
        ) {
            self.srsLine = srsLine
            self.rewriting = rewriting
            self.srs = srs
            self.manifest = manifest
            self.origin = origin
            self.extensionDelimiter = extensionDelimiter
            self.domains = domains
            self.users = users
            self.aliases = aliases
            self.relayhost = relayhost
            self.relayhostLine = relayhostLine
            self.routes = routes
            self.senderRoutes = senderRoutes
        }
    }

    package struct OutsideRoute: Sendable {
        /// An address, a domain, or a domain behind a dot, in lower case.
        package var pattern: String
        package var line: Int?
        /// Nil: by MX records.
        package var hop: NextHop?

        package init(_ pattern: String, line: Int? = nil, hop: NextHop?) {
            self.pattern = pattern
            self.line = line
            self.hop = hop
        }
    }

    package struct MailDomain: Sendable {
        package var name: Domain
        package var line: Int?
        /// Where a relay domain's `via` stands.
        package var viaLine: Int?
        package var kind: Kind

        package enum Kind: Sendable {
            case local
            case virtual([Entry], catchAll: Entry?)
            /// `recipients` are local parts; nil: every one.
            case relay(via: NextHop?, recipients: [Recipient]?)
        }

        package init(_ name: Domain, line: Int? = nil, viaLine: Int? = nil, kind: Kind = .local) {
            self.name = name
            self.line = line
            self.viaLine = viaLine
            self.kind = kind
        }
    }

    /// A name and where its mail goes: an alias, or a virtual domain's address.
    package struct Entry: Sendable {
        package var name: String
        package var line: Int?
        package var targets: [Target]

        package init(_ name: String, line: Int? = nil, targets: [Target]) {
            self.name = name
            self.line = line
            self.targets = targets
        }
    }

    /// The local part of an address that a relay domain's next hop knows.
    package struct Recipient: Sendable {
        package var name: String
        package var line: Int?

        package init(_ name: String, line: Int? = nil) {
            self.name = name
            self.line = line
        }
    }

    package struct User: Sendable {
        package var name: String
        package var line: Int?
        /// Where the user's mail goes on to.
        package var forward: [Target]
        /// With `forward`: the mailbox gets a copy too.
        package var keepsCopy: Bool

        package init(_ name: String, line: Int? = nil, forward: [Target] = [], keepsCopy: Bool = false) {
            self.name = name
            self.line = line
            self.forward = forward
            self.keepsCopy = keepsCopy
        }
    }

    package enum Target: Hashable, Sendable {
        /// An alias or a user, looked up as a local address is.
        case name(String)
        case address(Address)
        /// As in aliases(5): a path, a shell command, the path of a list of targets.
        case file(String)
        case command(String)
        case include(String)
    }
}
