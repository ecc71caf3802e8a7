// Mail systems for the tests, built by hand: what reading a manifest would give, with the lines that matter.

@testable import Manifest
import MailSyntax
import PostfixFiles

extension MailSystem {
    /// A system with every default; `edit` sets what a test is about.
    static func with(_ edit: (inout MailSystem) -> Void) -> MailSystem {
        var system = MailSystem(
            file: "/etc/valija/mail.yaml", hostname: Located(Domain("mx.example.org")!, at: line(2)), origin: Located(Domain("example.org")!, at: line(3)), domains: [],
            users: [], aliases: [], addressExtension: Located(nil),
            networks: Located([try! Network(parsing: "127.0.0.0/8"), try! Network(parsing: "::1/128")]), relayhost: nil, dns: MailSystem.defaults.dns,
            tls: TLS(level: Located(.none), certificate: nil, certificates: []),
            rewriting: MailSystem.defaults.rewriting,
            limits: Limits(
                messageSize: Located(26_214_400), mailboxSize: Located(0), recipientsPerMessage: Located(1000), connectionsPerClient: Located(50)),
            mailboxes: Mailboxes(format: Located(.maildir), directory: Located("/var/mail")), localDelivery: MailSystem.defaults.localDelivery,
            listen: Listen(
                smtp: Located([Endpoint("0.0.0.0:25")!, Endpoint("[::]:25")!]), submission: Located([]), submissions: Located([]), health: Located([])),
            queue: Queue(
                directory: Located("/var/spool/valija"), retryMinimum: Located(.seconds(300)), retryMaximum: Located(.seconds(4 * 3600)),
                lifetime: Located(.seconds(5 * 86_400)), bounceLifetime: Located(.seconds(5 * 86_400)), minimumFree: Located(104_857_600)),
            delivery: MailSystem.defaults.delivery,
            logging: Logging(level: Located(.info), format: Located(.json)))
        edit(&system)
        return system
    }
}

func line(_ number: Int) -> SourcePosition { SourcePosition(line: number, column: 3) }

func target(_ text: String) -> MailSystem.Target { Address(text).map { .address($0) } ?? .name(text) }

/// What an alias may lead to besides.
func delivery(_ number: Int, _ target: MailSystem.Target) -> Located<MailSystem.Target> { Located(target, at: line(number)) }

func alias(_ name: String, _ number: Int, _ targets: String...) -> MailSystem.Alias {
    MailSystem.Alias(name: Located(name, at: line(number)), targets: targets.map { Located(target($0), at: line(number)) })
}

func address(_ name: String, _ number: Int, _ targets: String...) -> MailSystem.VirtualAddress {
    MailSystem.VirtualAddress(localPart: Located(name, at: line(number)), targets: targets.map { Located(target($0), at: line(number)) })
}

func domain(_ name: String, _ number: Int, _ kind: MailSystem.MailDomain.Kind = .local) -> MailSystem.MailDomain {
    MailSystem.MailDomain(name: Located(Domain(name)!, at: line(number)), kind: kind)
}

func user(
    _ name: String, _ number: Int, forward: [String] = [], keepCopy: Bool = false, quota: Int? = nil, format: MailSystem.MailboxFormat? = nil
) -> MailSystem.User {
    MailSystem.User(
        name: Located(name, at: line(number)), fullName: nil, password: nil, sendAs: [], quota: quota.map { Located($0, at: line(number + 1)) },
        forward: forward.map { Located(target($0), at: line(number + 1)) }, keepCopy: keepCopy, format: format.map { Located($0, at: line(number + 1)) })
}

/// The manifests whose files stand in `golden/NAME/`.
let manifests: [(name: String, system: MailSystem)] = [
    ("smallest", .with { $0.domains = [domain("example.org", 5)]; $0.users = [user("alice", 7)] }),
    ("company", company),
    ("everything", everything),
    ("gateway", gateway),
    ("virtual-only", virtualOnly),
    ("forwards", forwards),
    ("awkward-names", awkwardNames),
    ("mutual-forwards", mutualForwards),
    ("deliveries", deliveries),
    ("rewriting", rewriting),
    ("submission", submission),
    ("tls-none", tlsNone),
    ("client-certificates", clientCertificates),
    ("relay-in-the-clear", relayInTheClear),
    ("server-rules", serverRules),
    ("outgoing", outgoing),
    ("outgoing-tls", outgoingTLS),
    ("names", names),
]

/// What the secrets of these manifests are.
func secret(_ secret: Secret) throws(UnreadableSecret) -> String {
    switch secret {
    case .literal(let text): return text
    case .file("/run/secrets/relay"): return "s3cret, with \"everything\" # in it"
    case .file("/run/secrets/alice"): return "$y$j9T$F5Jx5fExrKuPp53xLKQ..1$X3DX6M94c7o.9agCG9G317fhZg9SqC.5i5rd.RhAtQ7"
    case .environment("BOB_HASH"): return "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
    default: throw UnreadableSecret(reason: "cannot be read: No such file or directory")
    }
}

/// Routes by recipient and by sender, a fallback, limits of deliveries, mailboxes at an LMTP server.
private let outgoing = MailSystem.with {
    $0.domains = [
        domain("example.org", 5), domain("lists.example.org", 6, .relay(via: Located(NextHop("lmtp:[192.0.2.26]:8024")!, at: line(8)), recipients: nil)),
    ]
    $0.users = [user("alice", 10)]
    $0.relayhost = Located(MailSystem.Relayhost(hop: NextHop("[smtp.provider.example]:587")!), at: line(12))
    func route(_ pattern: MailSystem.RoutePattern, _ number: Int, _ hop: String?) -> MailSystem.MailRoute {
        MailSystem.MailRoute(pattern: Located(pattern, at: line(number)), hop: Located(hop.map { NextHop($0)! }, at: line(number)))
    }
    $0.routes = [
        route(.domain(Domain("partner.example")!), 14, "[mx.partner.example]:2525"), route(.subdomains(of: Domain("branch.example")!), 15, nil),
        route(.address(Address("fax@gateway.example")!), 16, "lmtp:unix:/run/fax"),
    ]
    $0.senderRoutes = [
        route(.domain(Domain("sales.example.org")!), 18, "[relay.example.net]:587"), route(.address(Address("alice@example.org")!), 19, nil),
        route(.address(Address("bob@example.org")!), 20, "lmtp:[192.0.2.27]"),
    ]
    $0.mailboxes.via = Located(NextHop("lmtp:unix:/run/dovecot/lmtp")!, at: line(22))
    $0.delivery.concurrency = Located(10, at: line(24))
    $0.delivery.initialConcurrency = Located(2, at: line(25))
    $0.delivery.rateDelay = Located(.seconds(1), at: line(26))
    $0.delivery.recipientsPerMessage = Located(100, at: line(27))
    $0.delivery.fallbackRelays = [Located(NextHop("[backup.example.net]")!, at: line(28))]
    $0.delivery.timeouts.connect = Located(.seconds(10), at: line(29))
    $0.delivery.timeouts.hello = Located(.seconds(60), at: line(30))
    $0.delivery.addressLimit = Located(0, at: line(31))
    $0.delivery.sessionLimit = Located(3, at: line(32))
}

/// Of the DNS, Postfix knows one parameter; the rest is for its resolver.
private let names = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.dns.resolvers = Located([.server(Endpoint("192.0.2.53:53")!)], at: line(9))
    $0.dns.validation = Located(.always, at: line(10))
    $0.dns.trustAnchor = Located("/etc/valija/anchor.key", at: line(11))
    $0.dns.insecureDomains = Located([Domain("corp.example")!, Domain("lab.example")!], at: line(12))
}

/// A small company: one canonical domain, two virtual ones, a provider's relay, mbox.
private let company = MailSystem.with {
    $0.hostname = Located(Domain("mx.mydom.com")!, at: line(3))
    $0.origin = Located(Domain("mydom.com")!, at: line(4))
    $0.domains = [
        domain("mydom.com", 7), domain("rrhh.mindns.es", 8, .virtual(addresses: [address("aca", 11, "aca")], catchAll: nil)),
        domain("ventas.mindns.es", 12, .virtual(addresses: [address("phb", 15, "aca")], catchAll: nil)),
    ]
    $0.users = [user("aca", 18)]
    $0.aliases = [alias("mailer-daemon", 24, "postmaster"), alias("postmaster", 25, "root"), alias("root", 26, "aca")]
    $0.networks = Located([try! Network(parsing: "127.0.0.0/8"), try! Network(parsing: "::1/128")], at: line(28))
    $0.relayhost = Located(MailSystem.Relayhost(hop: NextHop("[smtp.isp.example]:587")!), at: line(29))
    $0.limits.messageSize = Located(10_240_000, at: line(32))
    $0.limits.mailboxSize = Located(51_200_000, at: line(33))
    $0.mailboxes.format = Located(.mbox, at: line(36))
    $0.mailboxes.directory = Located("/var/mail", at: line(37))
}

/// Every kind of domain, catch-all, extensions, every limit.
private let everything = MailSystem.with {
    $0.domains = [
        domain("example.org", 8), domain("example.net", 9),
        domain(
            "customer.example", 10,
            .virtual(
                addresses: [address("info", 13, "alice", "bob"), address("sales", 14, "sales@example.org"), address("jobs", 15, "someone@elsewhere.example")],
                catchAll: address("*", 16, "alice"))),
        domain(
            "branch.example", 17,
            .relay(via: Located(NextHop("[192.0.2.25]:25")!, at: line(19)), recipients: [Located("office", at: line(20)), Located("warehouse", at: line(20))])),
    ]
    $0.users = [
        user("alice", 23, quota: 2 << 30), user("bob", 28, forward: ["bob@mobile.example"], keepCopy: true), user("archive", 32, format: .mbox),
    ]
    $0.aliases = [
        alias("postmaster", 36, "root"), alias("abuse", 37, "root"), alias("root", 38, "alice"), alias("sales", 39, "alice", "bob"),
        alias("everyone", 40, "alice", "bob", "archive"),
    ]
    $0.addressExtension = Located("+", at: line(43))
    $0.networks = Located(["127.0.0.0/8", "::1/128", "192.0.2.7", "2001:db8::7", "2001:db8:1::/48"].map { try! Network(parsing: $0) }, at: line(45))
    $0.relayhost = Located(MailSystem.Relayhost(hop: NextHop("smtp.provider.example:587")!), at: line(48))
    $0.limits = MailSystem.Limits(
        messageSize: Located(26_214_400, at: line(58)), mailboxSize: Located(5 << 30, at: line(59)), recipientsPerMessage: Located(500, at: line(60)),
        connectionsPerClient: Located(20, at: line(61)))
    $0.mailboxes.directory = Located("/srv/mail/", at: line(65))
    $0.listen = MailSystem.Listen(
        smtp: Located([Endpoint("127.0.0.1:2525")!, Endpoint("[::1]:2525")!], at: line(68)), submission: Located([]), submissions: Located([]),
        health: Located([Endpoint("0.0.0.0:8080")!], at: line(71)))
    $0.queue = MailSystem.Queue(
        directory: Located("/var/spool/valija", at: line(74)), retryMinimum: Located(.seconds(60), at: line(77)), retryMaximum: Located(.seconds(5400), at: line(77)),
        lifetime: Located(.seconds(3 * 86_400), at: line(75)), bounceLifetime: Located(.seconds(86_400), at: line(76)), minimumFree: Located(1 << 28, at: line(78)))
    $0.logging.level = Located(.debug, at: line(80))
}

/// Nothing of its own: relay domains alone, with and without a list, by name and by MX; no user at all.
private let gateway = MailSystem.with {
    $0.origin = Located(Domain("mx.example.org")!)
    $0.domains = [
        domain("one.example", 5, .relay(via: Located(NextHop("[mail.one.example]")!, at: line(7)), recipients: [Located("a", at: line(8))])),
        domain("two.example", 9, .relay(via: Located(NextHop("two.internal.example:2525")!, at: line(11)), recipients: nil)),
        domain("three.example", 12, .relay(via: nil, recipients: nil)),
    ]
    $0.networks = Located([])
}

/// No local domain for the users to live in, and an origin that is none of ours.
private let virtualOnly = MailSystem.with {
    $0.origin = Located(Domain("mx.example.org")!)
    $0.domains = [
        domain("shop.example", 5, .virtual(addresses: [address("info", 7, "alice"), address("both", 8, "alice", "team@shop.example"), address("team", 9, "list")], catchAll: nil)),
        domain("branch.example", 10, .relay(via: nil, recipients: [Located("office", at: line(12))])),
    ]
    $0.users = [user("alice", 15), user("bob", 16)]
    $0.aliases = [alias("list", 18, "alice", "bob")]
}

/// Forwards with and without a copy, alone and under an alias of the same name; an origin in the second domain.
private let forwards = MailSystem.with {
    $0.domains = [domain("example.net", 5), domain("example.org", 6)]
    $0.users = [
        user("alice", 9, forward: ["alice@mobile.example", "bob"]), user("bob", 11, forward: ["bob@mobile.example"], keepCopy: true),
        user("carol", 14, forward: ["carol@away.example"], keepCopy: true), user("dave", 17),
    ]
    $0.aliases = [
        alias("carol", 21, "carol", "dave"), alias("dave", 22, "dave@example.net", "bob"), alias("Postmaster", 23, "dave"),
    ]
    $0.mailboxes.format = Located(.mbox)
}

/// Names that a table would take for something else, targets that need quotes, a path that needs escapes.
private let awkwardNames = MailSystem.with {
    $0.domains = [
        domain("example.org", 5),
        domain(
            "v.example", 6,
            .virtual(
                addresses: [address("john.smith", 8, "alice"), address("#1", 9, "alice"), address("ö", 10, "\"a, b\"@elsewhere.example"), address("|x", 11, "alice")],
                catchAll: nil)),
        domain("r.example", 12, .relay(via: nil, recipients: [Located("jane.doe", at: line(13)), Located("#2", at: line(14))])),
    ]
    $0.users = [user("alice", 16), user("a+b", 17)]
    $0.aliases = [
        alias("|pipe", 20, "alice"), alias("#hash", 21, "alice", "|cat@elsewhere.example"), alias("only", 22, "/dev/null@elsewhere.example"),
        alias("a=b", 23, "\"x y\"@elsewhere.example"), alias("=", 24, "alice"), alias("postmaster", 25, "alice"),
    ]
    $0.addressExtension = Located("+", at: line(27))
    $0.mailboxes.directory = Located("mail/$USER", at: line(29))
    $0.mailboxes.format = Located(.mbox)
}

/// Users who forward to each other and keep copies, straight and by way of an alias.
private let mutualForwards = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [
        user("alice", 8, forward: ["bob+x@example.org"], keepCopy: true), user("bob", 11, forward: ["alice", "bob@mobile.example"], keepCopy: true),
        user("carol", 14, forward: ["team"], keepCopy: true), user("dave", 17, forward: ["dave"]),
    ]
    $0.aliases = [alias("team", 20, "carol", "dave"), alias("postmaster", 21, "team")]
    $0.addressExtension = Located("+", at: line(23))
}

/// Aliases that lead to files, commands and lists, alone and with people; names with quotes, spaces and commas.
private let deliveries = MailSystem.with {
    $0.domains = [domain("example.org", 5), domain("example.net", 6)]
    $0.users = [user("alice", 8)]
    $0.aliases = [
        MailSystem.Alias(name: Located("log", at: line(10)), targets: [delivery(10, .file("/var/mail/vacation.log"))]),
        MailSystem.Alias(
            name: Located("tickets", at: line(11)), targets: [Located(target("alice"), at: line(11)), delivery(11, .command("/usr/bin/tickets --queue \"a, b\" \\$HOME"))]),
        MailSystem.Alias(
            name: Located("list", at: line(12)), targets: [delivery(12, .include("/etc/valija/list")), delivery(12, .include("/etc/valija/the other, list"))]),
        MailSystem.Alias(name: Located("odd", at: line(13)), targets: [delivery(13, .file("/srv/a \"b\" c")), delivery(13, .file("/dev/null"))]),
        alias("postmaster", 14, "alice"),
    ]
    $0.addressExtension = Located("+", at: line(16))
    $0.localDelivery.commands = Located([.alias], at: line(17))
}

/// Addresses that become others, copies, and lists with owners.
private let rewriting = MailSystem.with {
    $0.domains = [domain("example.org", 5), domain("example.net", 6)]
    $0.users = [user("alice", 8), user("bob", 9)]
    $0.aliases = [alias("postmaster", 11, "alice"), alias("team", 12, "alice", "bob"), alias("owner-team", 13, "alice"), alias("log", 14)]
    $0.aliases[3].targets = [delivery(14, .command("logger -t mail"))]
    $0.addressExtension = Located("+", at: line(16))
    func entry(_ from: MailSystem.Rewriting.Pattern, _ to: MailSystem.Rewriting.Pattern, _ number: Int) -> MailSystem.Rewriting.Entry {
        MailSystem.Rewriting.Entry(pattern: Located(from, at: line(number)), result: Located(to, at: line(number)))
    }
    let old = Domain("old.example")!
    $0.rewriting.canonical.entries = [
        entry(.address(Address("ajones@old.example")!), .name("alice"), 20), entry(.name("root"), .address(Address("admin@example.org")!), 21),
        entry(.domain(old), .domain(Domain("example.org")!), 22),
    ]
    $0.rewriting.senderCanonical.entries = [entry(.name("www"), .name("bob"), 24)]
    $0.rewriting.senderCanonical.classes = Located([.headerSender], at: line(25))
    $0.rewriting.recipientCanonical.entries = [entry(.address(Address("x@old.example")!), .address(Address("y@old.example")!), 27)]
    $0.rewriting.generic = [entry(.domain(Domain("host.internal")!), .address(Address("office@example.org")!), 29)]
    $0.rewriting.masqueradeDomains = [
        Located(.init(domain: Domain("mail.example.org")!, isExempt: true), at: line(31)), Located(.init(domain: Domain("example.org")!, isExempt: false), at: line(31)),
    ]
    $0.rewriting.masqueradeExceptions = [Located("root", at: line(32))]
    $0.rewriting.clients = Located([.submission, .own, .networks, .logins], at: line(33))
    $0.rewriting.remoteHeaderDomain = Located(Domain("domain.invalid")!, at: line(34))
    $0.rewriting.alwaysAddsMissingHeaders = Located(true, at: line(35))
    $0.rewriting.senderBCC = [entry(.name("alice"), .name("bob"), 37)]
    $0.rewriting.recipientBCC = [entry(.domain(Domain("example.net")!), .address(Address("audit@elsewhere.example")!), 39)]
    $0.rewriting.alwaysBCC = Located(.name("bob"), at: line(40))
    $0.rewriting.srs = .init(domain: Located(Domain("example.org")!, at: line(42)), secrets: [Located(.file("/run/secrets/srs"), at: line(43))])
    $0.localDelivery.commands = Located([.alias, .include], at: line(45))
    $0.localDelivery.files = Located([.alias], at: line(46))
    $0.localDelivery.commandTimeLimit = Located(.seconds(60), at: line(47))
    $0.localDelivery.commandConcurrency = Located(4, at: line(48))
    $0.localDelivery.forwardPath = Located(["/home/$user/.forward+$extension", "/home/$user/.forward"], at: line(49))
}

private func certificate(_ name: String, _ number: Int) -> MailSystem.Certificate {
    MailSystem.Certificate(chain: Located("/etc/valija/tls/\(name).pem", at: line(number)), key: Located("/etc/valija/tls/\(name)-key.pem", at: line(number + 1)))
}

/// Logins of users and at the relay, TLS with certificates for two names more, rates.
private let submission = MailSystem.with {
    $0.domains = [domain("example.org", 5), domain("shop.example", 6, .virtual(addresses: [address("sales", 7, "alice")], catchAll: address("*", 8, "bob")))]
    $0.users = [user("alice", 10), user("Bob", 13), user("carol", 16), user("dave", 19)]
    $0.users[0].password = Located(.file("/run/secrets/alice"), at: line(11))
    $0.users[0].sendAs = [Located(Address("office@example.net")!, at: line(12))]
    $0.users[1].password = Located(.environment("BOB_HASH"), at: line(14))
    $0.users[1].sendAs = [Located(Address("office@example.net")!, at: line(15))]
    $0.users[2].password = Located(.file("/run/secrets/carol"), at: line(17))
    $0.users[3].fullName = "Dave \"the 100%\" Example: Jr."
    $0.aliases = [alias("postmaster", 22, "alice"), alias("#odd", 23, "alice")]
    $0.addressExtension = Located("+", at: line(24))
    $0.relayhost = Located(
        MailSystem.Relayhost(
            hop: NextHop("[smtp.provider.example]:587")!, username: Located("example", at: line(27)), password: Located(.file("/run/secrets/relay"), at: line(28)),
            tls: Located(.encrypt, at: line(29))), at: line(26))
    $0.tls = MailSystem.TLS(
        level: Located(.may, at: line(31)), certificate: Located(certificate("mx", 32), at: line(32)),
        certificates: [
            (domain: Located(Domain("Mail.Example.NET")!, at: line(35)), certificate: certificate("net", 36)),
            (domain: Located(Domain("shop.example")!, at: line(38)), certificate: certificate("the shop", 39)),
        ])
    $0.limits.connectionRate = Located(60, at: line(42))
    $0.limits.messageRate = Located(100, at: line(43))
    $0.limits.recipientRate = Located(500, at: line(44))
    $0.listen.submission = Located([Endpoint("0.0.0.0:587")!, Endpoint("[::]:587")!], at: line(46))
    $0.listen.submissions = Located([Endpoint("0.0.0.0:465")!], at: line(47))
    $0.logging = MailSystem.Logging(level: Located(.info), format: Located(.json, at: line(49)))
}

/// Clients that relay because of the certificate that they show.
private let clientCertificates = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.tls = MailSystem.TLS(
        level: Located(.may, at: line(9)), certificate: Located(certificate("mx", 10), at: line(10)), certificates: [],
        relayClients: Located(
            [0xC4, 0x5F].enumerated().map { Located(Array(repeating: String($1, radix: 16), count: 32).joined(separator: ":"), at: line(13 + $0)) }, at: line(12)))
}

/// Submission with nothing to encrypt by, and encryption turned off in so many words; accounts in files.
private let tlsNone = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.users[0].password = Located(.literal("$6$salt$IxDD3jeSOb5eB1CX5LBsqZFVkJdido3OUILO5Ifz5iwMuTS4XMS130MTSuDDl3aCI6WouIL9AjRbLCelDCy.g."), at: line(8))
    $0.tls.level = Located(.none, at: line(10))
    $0.listen.submissions = Located([Endpoint("127.0.0.1:465")!], at: line(12))
    $0.directories = Located(
        [
            Located(.passwdFile("/etc/valija/passwd"), at: line(15)), Located(.manifest, at: line(16)),
            Located(.system(passwd: "/srv/passwd", shadow: "/srv/shadow", userIDs: 1000...2000), at: line(17)),
        ], at: line(14))
    $0.submission.tlsAuthOnly = Located(false, at: line(19))
    $0.submission.recipientsPerMessage = Located(100, at: line(20))
    $0.submission.messageRate = Located(30, at: line(21))
    $0.submission.hideClient = Located(true, at: line(22))
}

/// A relay that wants a password and has no TLS; the password cannot be had. Passwords of users that nobody asks for.
private let relayInTheClear = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.users[0].password = Located(.file("/run/secrets/alice"), at: line(8))
    $0.relayhost = Located(
        MailSystem.Relayhost(
            hop: NextHop("smtp.provider.example")!, username: Located("example", at: line(11)), password: Located(.file("/run/secrets/none"), at: line(12)),
            tls: Located(.none, at: line(13))), at: line(10))
    $0.tls.outgoing.level = Located(.encrypt, at: line(15))
}

/// Levels of encryption for what goes out, by destination, and a relay in TLS from the first octet.
private let outgoingTLS = MailSystem.with {
    func to(_ pattern: MailSystem.TLSPattern, _ number: Int, _ level: MailSystem.OutgoingLevel, _ names: String...) -> MailSystem.TLSDestination {
        MailSystem.TLSDestination(
            pattern: Located(pattern, at: line(number)), level: Located(level, at: line(number)), names: names.map { Located($0, at: line(number)) })
    }
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.relayhost = Located(
        MailSystem.Relayhost(hop: NextHop("[smtp.provider.example]:465")!, tls: Located(.verify, at: line(11))), at: line(10))
    $0.tls.outgoing = MailSystem.OutgoingTLS(
        level: Located(.dane, at: line(14)), trustStore: Located("/etc/ssl/certs/ca-certificates.crt", at: line(15)),
        destinations: [
            to(.hop(NextHop("bank.example")!), 17, .verify), to(.subdomains(of: Domain("bank.example")!), 18, .encrypt),
            to(.hop(NextHop("partner.example")!), 19, .verify, "mx.partner.example", ".mail.example"), to(.hop(NextHop("[192.0.2.25]:2525")!), 20, .none),
        ])
}

/// How the server treats those who connect: names, restrictions, proxies, limits.
private let serverRules = MailSystem.with {
    $0.domains = [domain("example.org", 5)]
    $0.users = [user("alice", 7)]
    $0.listen.smtp = Located([Endpoint("0.0.0.0:25")!, Endpoint("0.0.0.0:2525")!], at: line(9))
    $0.listen.lmtp = Located([.inet(Endpoint("127.0.0.1:24")!), .unix(path: "/run/valija/lmtp", mode: 0o660)], at: line(10))
    $0.listen.proxyProtocol = Located([Endpoint("0.0.0.0:2525")!], at: line(11))
    $0.listen.proxies = Located([try! Network(parsing: "192.0.2.20")], at: line(12))
    $0.smtpd = MailSystem.SMTPD(
        lookUpNames: Located(false, at: line(14)),
        restrictions: Located([.unknownClient, .unknownReverseClient, .invalidHelo, .bareHelo, .unknownHelo], at: line(15)), expn: Located(true, at: line(16)),
        etrnDomains: Located([Domain("branch.example")!, Domain("example.net")!], at: line(17)),
        xclient: Located([try! Network(parsing: "192.0.2.10"), try! Network(parsing: "2001:db8::/64")], at: line(18)),
        xforward: Located([try! Network(parsing: "127.0.0.0/8")], at: line(19)))
    $0.limits.errorRate = Located(50, at: line(21))
    $0.limits.exempt = Located([try! Network(parsing: "127.0.0.0/8"), try! Network(parsing: "::1/128")], at: line(22))
    $0.limits.connections = Located(500, at: line(23))
    $0.limits.messagesPerConnection = Located(100, at: line(24))
    $0.limits.timeout = Located(.seconds(600), at: line(25))
}
