// The mail system that a manifest describes: the value that decoding yields and that `Appliance` and `PostfixFiles`
// read. It is wholly valid: addresses parse, targets exist, aliases end. Each part knows the line that it came from.

package import MailSyntax

/// Where something stands in a manifest. Lines and columns count from 1; a column counts Unicode scalars.
package struct SourcePosition: Hashable, Comparable, Sendable {
    package let line: Int
    package let column: Int

    package init(line: Int, column: Int) {
        self.line = line
        self.column = column
    }

    package static func < (a: SourcePosition, b: SourcePosition) -> Bool { (a.line, a.column) < (b.line, b.column) }
}

/// A value and the place in the manifest that set it; without a place it is the default.
package struct Located<Value: Sendable>: Sendable {
    package let value: Value
    package let position: SourcePosition?
    /// The column after its end, where that is on the same line and known.
    package let endColumn: Int?

    package init(_ value: Value, at position: SourcePosition? = nil, endColumn: Int? = nil) {
        self.value = value
        self.position = position
        self.endColumn = endColumn
    }
}

extension Located: Equatable where Value: Equatable {}

package struct MailSystem: Sendable {
    /// The manifest's file as the caller named it.
    package var file: String
    package var hostname: Located<Domain>
    /// Domain that bare addresses get. Default: the hostname.
    package var origin: Located<Domain>
    /// In the order of the manifest, as are users and aliases.
    package var domains: [MailDomain]
    package var users: [User]
    package var aliases: [Alias]
    /// Separates the local part from its extension; nil: addresses have no extensions.
    package var addressExtension: Located<Character?>
    /// Clients that may relay without login. Default: loopback.
    package var networks: Located<[Network]>
    /// Where the passwords of those who log in are, asked in this order. Default: the manifest alone.
    package var directories: Located<[Located<Directory>]> = Located([Located(.manifest)])
    package var submission = Submission()
    package var relayhost: Located<Relayhost>?
    package var dns: DNS
    /// By recipient, in the order of the manifest; the most exact one counts.
    package var routes: [MailRoute] = []
    /// By sender, likewise.
    package var senderRoutes: [MailRoute] = []
    package var tls: TLS
    package var rewriting: Rewriting
    package var limits: Limits
    package var mailboxes: Mailboxes
    package var localDelivery: LocalDelivery
    package var listen: Listen
    package var queue: Queue
    package var reports = Reports()
    package var delivery: Delivery
    package var logging: Logging
    package var smtpd = SMTPD()
    /// What must be true of this manifest, in its order.
    package var tests: [Test] = []

    package enum Directory: Hashable, Sendable {
        /// `users` with a `password`.
        case manifest
        case passwdFile(String)
        case system(passwd: String, shadow: String, userIDs: ClosedRange<Int>)
    }

    /// What the submission services do.
    package struct Submission: Sendable {
        package var tlsAuthOnly = Located(true)
        /// Nil: `limits.recipientsPerMessage`.
        package var recipientsPerMessage: Located<Int>?
        /// What one user may do in a minute; nil: no limit.
        package var messageRate: Located<Int>?
        package var recipientRate: Located<Int>?
        package var hideClient = Located(false)
    }

    package struct MailDomain: Sendable {
        package var name: Located<Domain>
        package var kind: Kind

        package enum Kind: Sendable {
            /// Every user and alias exists in it.
            case local
            /// An address space of its own, in the order of the manifest. `catchAll` is `"*"`.
            case virtual(addresses: [VirtualAddress], catchAll: VirtualAddress?)
            /// Accepted and passed on. `recipients` nil: every address.
            case relay(via: Located<NextHop>?, recipients: [Located<String>]?)
        }

        package init(name: Located<Domain>, kind: Kind) {
            self.name = name
            self.kind = kind
        }
    }

    package struct VirtualAddress: Sendable {
        /// The local part as written; `*` for the catch-all.
        package var localPart: Located<String>
        package var targets: [Located<Target>]

        package init(localPart: Located<String>, targets: [Located<Target>]) {
            self.localPart = localPart
            self.targets = targets
        }
    }

    package struct Alias: Sendable {
        package var name: Located<String>
        package var targets: [Located<Target>]

        package init(name: Located<String>, targets: [Located<Target>]) {
            self.name = name
            self.targets = targets
        }
    }

    /// Where an alias, a virtual address or a `forward` leads.
    package enum Target: Hashable, Sendable {
        /// A user or an alias of this manifest, as written.
        case name(String)
        case address(Address)
        /// Of an alias: appended to this file.
        case file(String)
        /// Of an alias: given to this shell command on its standard input.
        case command(String)
        /// Of an alias: the targets that this file lists, in the syntax of aliases(5).
        case include(String)
    }

    package struct User: Sendable {
        package var name: Located<String>
        package var fullName: String?
        /// The hash that a login is checked against.
        package var password: Located<Secret>?
        /// Sender addresses beyond the user's own.
        package var sendAs: [Located<Address>]
        /// Octets; nil: `limits.mailbox_size`.
        package var quota: Located<Int>?
        package var forward: [Located<Target>]
        /// With `forward`: the mailbox gets a copy too.
        package var keepCopy: Bool
        /// Nil: `mailboxes.format`.
        package var format: Located<MailboxFormat>?

        package init(
            name: Located<String>, fullName: String? = nil, password: Located<Secret>? = nil, sendAs: [Located<Address>] = [], quota: Located<Int>? = nil,
            forward: [Located<Target>] = [], keepCopy: Bool = false, format: Located<MailboxFormat>? = nil
        ) {
            self.name = name
            self.fullName = fullName
            self.password = password
            self.sendAs = sendAs
            self.quota = quota
            self.forward = forward
            self.keepCopy = keepCopy
            self.format = format
        }
    }

    /// The server that gets all mail to the outside, and how to log in there.
    package struct Relayhost: Sendable {
        package var hop: NextHop
        /// With `password`, or neither.
        package var username: Located<String>?
        package var password: Located<Secret>?
        /// Nil: as `tls.outgoing` has it, and at least `encrypt` where there is a login.
        package var tls: Located<OutgoingLevel>?
        /// TLS from the first octet; nil: by the port.
        package var implicitTLS: Located<Bool>?

        package init(
            hop: NextHop, username: Located<String>? = nil, password: Located<Secret>? = nil, tls: Located<OutgoingLevel>? = nil,
            implicitTLS: Located<Bool>? = nil
        ) {
            self.hop = hop
            self.username = username
            self.password = password
            self.tls = tls
            self.implicitTLS = implicitTLS
        }

        /// RFC 8314 §7.3: port 465 speaks TLS from the first octet.
        package var usesImplicitTLS: Bool { implicitTLS?.value ?? (hop.dialect == .smtp && hop.port == 465 && tls?.value != OutgoingLevel.none) }
    }

    package struct DNS: Sendable {
        /// Who is asked. Words stand alone.
        package enum Resolver: Hashable, Sendable, CustomStringConvertible {
            case system, recursion
            case server(Endpoint)

            /// RFC 1035 §4.2.
            private static let port: UInt16 = 53

            init?(_ text: String) {
                switch text {
                case "system": self = .system
                case "recursion": self = .recursion
                default:
                    // `127.0.0.1@5353` is how unbound(8) writes it.
                    let parts = text.split(separator: "@", omittingEmptySubsequences: false)
                    if let address = IPAddress(text) {
                        self = .server(Endpoint(address: address, port: Resolver.port))
                    } else if parts.count == 2, let address = IPAddress(String(parts[0])), let endpoint = Endpoint("\(address.isV6 ? "[\(address)]" : "\(address)"):\(parts[1])"), endpoint.port > 0 {
                        self = .server(endpoint)
                    } else if let endpoint = Endpoint(text), endpoint.port > 0 {
                        self = .server(endpoint)
                    } else {
                        return nil
                    }
                }
            }

            package var description: String {
                switch self {
                case .system: "system"
                case .recursion: "recursion"
                case .server(let endpoint): endpoint.port == Resolver.port ? "\(endpoint.address)" : "\(endpoint)"
                }
            }
        }

        package enum Validation: String, CaseIterable, Sendable { case none, may, always }

        package var resolvers: Located<[Resolver]>
        package var validation: Located<Validation>
        /// A file; nil: the root's keys.
        package var trustAnchor: Located<String>?
        /// What lies under them is not validated.
        package var insecureDomains: Located<[Domain]>
    }

    /// Whether a connection that comes in is encrypted: never, where the client can, or always.
    package enum TLSLevel: String, CaseIterable, Sendable { case none, may, encrypt }

    package struct TLS: Sendable {
        package var level: Located<TLSLevel>
        package var certificate: Located<Certificate>?
        /// The manifest says itself that the server is to make its certificate: it does so wherever it needs one and none is named.
        package var isSelfSigned: Located<Bool> = Located(false)
        /// By the domain that the client names (SNI), in the order of the manifest.
        package var certificates: [(domain: Located<Domain>, certificate: Certificate)]
        /// SHA-256 of certificates, as `d4:0f:…`, whose clients may relay.
        package var relayClients: Located<[Located<String>]> = Located([])
        package var outgoing = OutgoingTLS()
        /// Mail may ask for TLS all the way (RFC 8689).
        package var requireTLS = Located(true)
    }

    /// Paths of PEM files. A server may have a certificate of each kind of key (RSA, ECDSA): `others`.
    package struct Certificate: Sendable {
        /// The certificate and those that lead from it to a root, in this order.
        package var chain: Located<String>
        package var key: Located<String>
        package var others: [Certificate]

        package init(chain: Located<String>, key: Located<String>, others: [Certificate] = []) {
            self.chain = chain
            self.key = key
            self.others = others
        }

        package var all: [Certificate] { [self] + others }
    }

    package enum MailboxFormat: String, CaseIterable, Sendable { case maildir, mbox }

    package struct Limits: Sendable {
        /// Octets. What EHLO announces as SIZE.
        package var messageSize: Located<Int>
        /// Octets; 0: no limit.
        package var mailboxSize: Located<Int>
        package var recipientsPerMessage: Located<Int>
        package var connectionsPerClient: Located<Int>
        /// What one client may do in a minute; nil: no limit.
        package var connectionRate: Located<Int>?
        package var messageRate: Located<Int>?
        package var recipientRate: Located<Int>?
        package var errorRate: Located<Int>?
        /// Clients that those are not for.
        package var exempt: Located<[Network]> = Located([])
        /// Of all clients together.
        package var connections: Located<Int> = Located(20_000)
        /// Messages of one connection; nil: no limit.
        package var messagesPerConnection: Located<Int>?
        /// How long a client may take for a command.
        package var timeout: Located<Duration> = Located(.seconds(300))
    }

    package struct Mailboxes: Sendable {
        package var format: Located<MailboxFormat>
        /// `USER` (mbox) and `USER/` (maildir) lie in it. A relative path counts from the working directory.
        package var directory: Located<String>
        /// The LMTP server that keeps the mailboxes; nil: they are here.
        package var via: Located<NextHop>?
    }

    package struct Listen: Sendable {
        package var smtp: Located<[Endpoint]>
        package var submission: Located<[Endpoint]>
        package var submissions: Located<[Endpoint]>
        package var health: Located<[Endpoint]>
        package var lmtp: Located<[LMTPSocket]> = Located([])
        /// Those of the others at which a load balancer says first for whom it speaks.
        package var proxyProtocol: Located<[Endpoint]> = Located([])
        /// The load balancers; empty: whoever connects there.
        package var proxies: Located<[Network]> = Located([])
    }

    /// Where mail is taken by LMTP.
    package enum LMTPSocket: Hashable, Sendable, CustomStringConvertible {
        case inet(Endpoint)
        /// `mode`: who may connect.
        case unix(path: String, mode: Int)

        package static let defaultMode = 0o660

        package var description: String {
            switch self {
            case .inet(let endpoint): endpoint.description
            case .unix(let path, _): "unix:\(path)"
            }
        }
    }

    /// How the SMTP server treats those who connect to it.
    package struct SMTPD: Sendable {
        package var lookUpNames: Located<Bool> = Located(true)
        package var restrictions: Located<[Restriction]> = Located([])
        package var expn: Located<Bool> = Located(false)
        /// Nil: the relay domains.
        package var etrnDomains: Located<[Domain]>?
        package var xclient: Located<[Network]> = Located([])
        package var xforward: Located<[Network]> = Located([])

        /// In Postfix's words; what is refused to clients who may not relay.
        package enum Restriction: String, CaseIterable, Sendable {
            case unknownClient = "reject_unknown_client_hostname"
            case unknownReverseClient = "reject_unknown_reverse_client_hostname"
            case invalidHelo = "reject_invalid_helo_hostname"
            case bareHelo = "reject_non_fqdn_helo_hostname"
            case unknownHelo = "reject_unknown_helo_hostname"

            package var isAboutHelo: Bool { self != .unknownClient && self != .unknownReverseClient }
        }
    }

    package struct Queue: Sendable {
        /// A relative path counts from the working directory.
        package var directory: Located<String>
        package var retryMinimum: Located<Duration>
        package var retryMaximum: Located<Duration>
        package var lifetime: Located<Duration>
        package var bounceLifetime: Located<Duration>
        /// Octets that stay free on the spool's file system, else new mail gets 452 4.3.1.
        package var minimumFree: Located<Int>
    }

    /// What is reported to senders and to the postmaster.
    package struct Reports: Sendable {
        /// Nil: never.
        package var delayWarning: Located<Duration>?
        package var returnedSize = Located(50_000)
        /// Nil: nobody.
        package var bounceNotice: Located<Target>?
        package var doubleBounceNotice: Located<Target>?
        package var delayNotice: Located<Target>?
        package var verpDelimiters = Located(VERP.usual)
    }

    package struct Logging: Sendable {
        package enum Level: String, CaseIterable, Sendable { case debug, info, warning, error }
        package var level: Located<Level>

        package enum Format: String, CaseIterable, Sendable { case json, text }
        package var format: Located<Format>
    }
}

extension MailSystem {
    /// A statement about one recipient, or about one sender address.
    package struct Test: Sendable {
        /// Nil: a stranger, who is in no network.
        package var client: Located<IPAddress>?
        package var login: Located<String>?
        /// Nil: not said; `.some(nil)` is the null sender.
        package var sender: Located<BareAddress?>?
        /// Nil: the statement is about the sender alone. A bare name gets the origin, as in RCPT.
        package var recipient: Located<BareAddress>?
        package var expectation: Located<Expectation>

        package enum Expectation: Sendable {
            /// Accepted, and these get it: users, and addresses elsewhere.
            case reaches([Located<Target>])
            /// Accepted, and passed on to this next hop.
            case via(NextHop)
            case refused(Refusal)
        }

        package enum Refusal: Hashable, Sendable {
            case anyhow
            case code(UInt16)
            case enhanced(EnhancedCode)
        }
    }
}

extension MailSystem.Target: CustomStringConvertible {
    /// As the manifest writes it.
    package var description: String {
        switch self {
        case .name(let name): name
        case .address(let address): address.description
        case .file(let path): path
        case .command(let command): "|\(command)"
        case .include(let path): ":include:\(path)"
        }
    }
}

extension MailSystem {
    /// What ETRN may ask for.
    package var flushableDomains: [Domain] {
        smtpd.etrnDomains?.value ?? domains.compactMap { if case .relay = $0.kind { $0.name.value } else { nil } }
    }

    /// The file without the directories before it, as rules and rendered files show it.
    package var fileName: String { file.utf8.lastIndex(of: UInt8(ascii: "/")).map { String(file[file.utf8.index(after: $0)...]) } ?? file }

    /// The manifest line that decided, as logs show it: `mail.yaml:12 aliases.sales`; `default networks` for what no line set.
    package func rule(_ position: SourcePosition?, _ what: String) -> String {
        position.map { "\(fileName):\($0.line) \(what)" } ?? "default \(what)"
    }
}
