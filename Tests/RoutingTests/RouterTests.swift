// The order in which an address is resolved, case by case: address in, route out.

import MailSyntax
import Routing
import Testing

/// The site of `examples/full.yaml`, with the corners that it lacks.
private let site = Router(
    Router.Configuration(
        manifest: "mail.yaml", origin: domain("example.org"), extensionDelimiter: UInt8(ascii: "+"),
        domains: [
            Router.MailDomain(domain("example.org"), line: 5),
            Router.MailDomain(domain("Example.NET"), line: 6),
            Router.MailDomain(
                domain("customer.example"), line: 7,
                kind: .virtual(
                    [
                        entry("info", 9, "alice", "bob"), entry("sales", 10, "sales@example.org"),
                        entry("jobs", 11, "someone@elsewhere.example"), entry("branch", 12, "office@branch.example", "nobody@branch.example"),
                        entry("team+x", 13, "carol"), entry("team", 14, "team@shop.example"), entry("boss", 15, "postmaster"),
                    ],
                    catchAll: entry("*", 16, "alice"))),
            Router.MailDomain(
                domain("shop.example"), line: 17, kind: .virtual([entry("team", 18, "info@customer.example", "archive")], catchAll: nil)),
            Router.MailDomain(
                domain("branch.example"), line: 19,
                kind: .relay(via: NextHop("[192.0.2.25]:25")!, recipients: [Router.Recipient("Office", line: 21), Router.Recipient("warehouse", line: 22)])),
            Router.MailDomain(domain("open.example"), line: 23, kind: .relay(via: nil, recipients: nil)),
        ],
        users: [
            Router.User("alice", line: 30), Router.User("bob", line: 31, forward: [target("bob@mobile.example")], keepsCopy: true),
            Router.User("carol", line: 32, forward: [target("carol@away.example")]), Router.User("archive", line: 33),
            Router.User("Dave", line: 34), Router.User("erin+special", line: 35),
            Router.User("frank", line: 36, forward: [target("team")]), Router.User("list+x", line: 37),
            Router.User("gina", line: 38), Router.User("hugo", line: 39, forward: [target("gina")], keepsCopy: true),
        ],
        aliases: [
            entry("postmaster", 40, "root"), entry("root", 41, "alice"), entry("sales", 42, "alice", "bob"),
            entry("everyone", 43, "alice", "sales", "bob", "archive", "BOB@EXAMPLE.NET"), entry("dave", 44, "dave", "alice"),
            entry("erin", 45, "archive"), entry("alice+lists", 46, "archive"), entry("team", 47, "frank", "alice"),
            entry("out", 48, "x@elsewhere.example", "X@Elsewhere.Example", "info@customer.example"),
            entry("archive+old", 49, "carol"), entry("via-branch", 50, "warehouse+a@branch.example"), entry("list", 51, "alice"),
            entry("Dave+addr", 52, "dave@example.org"), entry("chief", 53, "Root+x"), entry("bob+self", 54, "bob+self"),
            entry("gina", 55, "gina", "hugo"),
        ],
        relayhost: nil))

@Test(
    "An address goes where the design's order sends it",
    arguments: [
        // Local: alias, then user, then both without the extension.
        ("alice@example.org", "alice by users.alice:30"),
        ("ALICE@Example.Net", "alice by users.alice:30"),
        ("dave@example.net", "Dave alice by aliases.dave:44"),
        ("Dave@example.net", "Dave alice by aliases.dave:44"),
        ("sales@example.org", "alice bob bob@mobile.example by aliases.sales:42"),
        ("postmaster@example.net", "alice by aliases.postmaster:40"),
        ("alice+lists@example.org", "archive by aliases.alice+lists:46"),
        ("alice+other@example.org", "alice by users.alice:30"),
        ("alice+@example.org", "alice by users.alice:30"),
        ("alice+a+b@example.org", "alice by users.alice:30"),
        ("+alice@example.org", "unknown by domains.example.org:5"),
        ("erin+special@example.org", "erin+special by users.erin+special:35"),
        ("list+x@example.org", "list+x by users.list+x:37"),
        ("erin+other@example.org", "archive by aliases.erin:45"),
        ("archive+old@example.org", "carol@away.example by aliases.archive+old:49"),
        ("nobody@example.org", "unknown by domains.example.org:5"),
        ("nobody+alice@example.net", "unknown by domains.Example.NET:6"),
        ("alice@sub.example.org", "outside"),
        ("chief@example.org", "alice by aliases.chief:53"),
        // Sets: one copy each, a forward after its user, in the manifest's order.
        ("everyone@example.org", "alice bob bob@mobile.example archive by aliases.everyone:43"),
        ("bob@example.org", "bob bob@mobile.example by users.bob:31"),
        ("carol@example.org", "carol@away.example by users.carol:32"),
        ("out@example.org", "x@elsewhere.example alice bob bob@mobile.example by aliases.out:48"),
        ("via-branch@example.org", "warehouse+a@branch.example by aliases.via-branch:50"),
        // A name that leads back to itself.
        ("dave+addr@example.org", "Dave alice by aliases.Dave+addr:52"),
        ("frank@example.org", "frank alice by users.frank:36"),
        ("gina@example.org", "gina hugo by aliases.gina:55"),
        ("hugo@example.org", "hugo gina by users.hugo:39"),
        ("bob+self@example.org", "unknown by aliases.bob+self:54"),
        // Virtual: the address, without the extension, the catch-all.
        ("info@customer.example", "alice bob bob@mobile.example by domains.customer.example.addresses.info:9"),
        ("Info+x@Customer.Example", "alice bob bob@mobile.example by domains.customer.example.addresses.info:9"),
        ("sales@customer.example", "alice bob bob@mobile.example by domains.customer.example.addresses.sales:10"),
        ("jobs+7@customer.example", "someone@elsewhere.example by domains.customer.example.addresses.jobs:11"),
        ("branch@customer.example", "office@branch.example by domains.customer.example.addresses.branch:12"),
        ("team+X@customer.example", "carol@away.example by domains.customer.example.addresses.team+x:13"),
        ("team+y@customer.example", "alice bob bob@mobile.example archive by domains.customer.example.addresses.team:14"),
        ("bob@customer.example", "alice by domains.customer.example.addresses.*:16"),
        ("postmaster@customer.example", "alice by domains.customer.example.addresses.*:16"),
        ("boss@customer.example", "alice by domains.customer.example.addresses.boss:15"),
        ("alice@shop.example", "unknown by domains.shop.example:17"),
        ("postmaster@shop.example", "alice by aliases.postmaster:40"),
        ("postmaster+x@shop.example", "alice by aliases.postmaster:40"),
        // Relay: passed on as it came, to those whom the list names.
        ("OFFICE@branch.example", "relay by domains.branch.example.recipients:21"),
        ("office+x@branch.example", "relay by domains.branch.example.recipients:21"),
        ("nobody@branch.example", "unknown by domains.branch.example:19"),
        ("postmaster@branch.example", "alice by aliases.postmaster:40"),
        ("postmaster+x@branch.example", "alice by aliases.postmaster:40"),
        ("anyone@open.example", "relay by domains.open.example:23"),
        ("postmaster@open.example", "relay by domains.open.example:23"),
        // Outside.
        ("someone@elsewhere.example", "outside"),
        ("postmaster@elsewhere.example", "outside"),
        ("alice@[127.0.0.1]", "outside"),
        ("alice@[IPv6:::1]", "outside"),
        ("\"a b\"@elsewhere.example", "outside"),
    ])
func addressGoesWhereTheOrderSendsIt(address: String, route: String) throws {
    #expect(described(site.route(try #require(Address(address)))) == route)
}

@Test("Without a delimiter an address has no extension")
func noDelimiterNoExtension() {
    let router = Router(
        Router.Configuration(manifest: "m", origin: domain("a.example"), domains: [Router.MailDomain(domain("a.example"))], users: [Router.User("alice")]))
    #expect(described(router.route(Address("alice+x@a.example")!)) == "unknown by default domains.a.example")
    #expect(described(router.route(Address("alice@a.example")!)) == "alice by default users.alice")
}

@Test("Where nothing is named postmaster, the first user gets its mail, bare or at any domain of ours")
func firstUserIsPostmaster() {
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("mx.example"),
            domains: [
                Router.MailDomain(domain("local.example")),
                Router.MailDomain(domain("virtual.example"), kind: .virtual([entry("daemon", 1, "postmaster")], catchAll: nil)),
                Router.MailDomain(domain("relay.example"), kind: .relay(via: nil, recipients: [])),
            ],
            users: [Router.User("zoe"), Router.User("adam")]))
    for address in ["postmaster@local.example", "PostMaster@virtual.example", "Postmaster@relay.example", "postmaster@mx.example"] {
        #expect(described(router.route(Address(address)!)) == "zoe by default users.zoe", "\(address)")
    }
    #expect(described(router.route(Address("daemon@virtual.example")!)) == "zoe by m:1 domains.virtual.example.addresses.daemon")
    #expect(router.route(Address("zoe@mx.example")!) == .outside(Address("zoe@mx.example")!))
}

@Test("Where there is no user at all, postmaster is nobody")
func noUserNoPostmaster() {
    let router = Router(Router.Configuration(manifest: "m", origin: domain("a.example"), domains: [Router.MailDomain(domain("a.example"))]))
    #expect(described(router.route(Address("postmaster@a.example")!)) == "unknown by default domains.a.example")
}

@Test("Loops, which no valid manifest has, end and deliver what they pass on the way")
func loopsEnd() {
    let count = 50_000
    var aliases = (0..<count).map { entry("a\($0)", 1, "a\(($0 + 1) % count)") }
    aliases += [entry("x", 1, "y", "alice"), entry("y", 1, "x", "v@v.example"), entry("dead", 1, "missing", "gone@a.example")]
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("a.example"),
            domains: [
                Router.MailDomain(domain("a.example")),
                Router.MailDomain(domain("v.example"), kind: .virtual([entry("v", 1, "w@v.example"), entry("w", 1, "V@v.example", "x")], catchAll: nil)),
            ],
            users: [Router.User("alice"), Router.User("p", forward: [target("q")]), Router.User("q", forward: [target("p")])], aliases: aliases))
    #expect(described(router.route(Address("a0@a.example")!)) == "unknown by m:1 aliases.a0")
    #expect(described(router.route(Address("x@a.example")!)) == "alice by m:1 aliases.x")
    #expect(described(router.route(Address("v@v.example")!)) == "alice by m:1 domains.v.example.addresses.v")
    #expect(described(router.route(Address("dead@a.example")!)) == "unknown by m:1 aliases.dead")
    #expect(described(router.route(Address("p@a.example")!)) == "p by default users.p")
}

@Test("An alias of 100,000 users reaches each once")
func wideAlias() {
    let names = (0..<100_000).map { "user\($0)" }
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("a.example"), domains: [Router.MailDomain(domain("a.example"))],
            users: names.map { Router.User($0) }, aliases: [Router.Entry("all", targets: (names + names).map { .name($0) })]))
    guard case .deliver(let destinations, _) = router.route(Address("all@a.example")!) else {
        Issue.record("not delivered")
        return
    }
    #expect(destinations == names.map { .mailbox(user: $0) })
}

@Test(
    "The next hop is the relay domain's own, else the relayhost, else what the domain's MX say",
    arguments: [
        ("branch.example", nil, "[192.0.2.25]:25"),
        ("Branch.Example", "[relay.example]:587", "[192.0.2.25]:25"),
        ("open.example", nil, "open.example:25"),
        ("open.example", "[relay.example]:587", "[relay.example]:587"),
        ("elsewhere.example", nil, "elsewhere.example:25"),
        ("elsewhere.example", "[relay.example]:587", "[relay.example]:587"),
        ("[192.0.2.7]", nil, "[192.0.2.7]:25"),
        ("[IPv6:2001:db8::7]", nil, "[2001:db8::7]:25"),
    ])
func nextHop(name: String, relayhost: String?, hop: String) throws {
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("a.example"),
            domains: [
                Router.MailDomain(domain("branch.example"), kind: .relay(via: NextHop("[192.0.2.25]")!, recipients: nil)),
                Router.MailDomain(domain("open.example"), kind: .relay(via: nil, recipients: nil)),
            ],
            relayhost: relayhost.map { NextHop($0)! }))
    #expect(router.nextHop(for: Address(localPart: "x", domain: domain(name))).description == hop)
}

@Test(
    "Each domain has its address class",
    arguments: [
        ("EXAMPLE.org", AddressClass.local), ("customer.example", .virtual), ("branch.example", .relay), ("elsewhere.example", .outside),
        ("[127.0.0.1]", .outside),
    ])
func addressClass(name: String, expected: AddressClass) { #expect(site.addressClass(of: domain(name)) == expected) }

private func domain(_ text: String) -> Domain { Domain(text)! }

private func target(_ text: String) -> Router.Target { Address(text).map { .address($0) } ?? .name(text) }

private func entry(_ name: String, _ line: Int, _ targets: String...) -> Router.Entry {
    Router.Entry(name, line: line, targets: targets.map(target))
}

/// In one line: the destinations, and the rule as `path:line`.
private func described(_ route: Route) -> String {
    func shown(_ rule: Rule) -> String {
        guard rule.hasPrefix("mail.yaml:"), let space = rule.firstIndex(of: " ") else { return rule }
        return "\(rule[rule.index(after: space)...]):\(rule[..<space].dropFirst("mail.yaml:".count))"
    }
    switch route {
    case .deliver(let destinations, let rule):
        return "\(destinations.map(\.description).joined(separator: " ")) by \(shown(rule))"
    case .relay(_, let rule): return "relay by \(shown(rule))"
    case .unknown(let rule): return "unknown by \(shown(rule))"
    case .outside: return "outside"
    }
}

// MARK: How a route came about

@Test(
    "A trace shows the domain, each look-up, what was followed, and where it ends; and it changes no route",
    arguments: [
        (
            "alice@example.org",
            """
            domain example.org is a local domain [mail.yaml:5 domains.example.org]
            mailbox alice gets it in the mailbox [mail.yaml:30 users.alice]
            """
        ),
        (
            "erin+other@example.org",
            """
            domain example.org is a local domain [mail.yaml:5 domains.example.org]
            lookup erin+other is no alias and no user
            alias erin leads to archive [mail.yaml:45 aliases.erin]
              mailbox archive gets it in the mailbox [mail.yaml:33 users.archive]
            """
        ),
        (
            "Sales+x@customer.example",
            """
            domain customer.example is a virtual domain [mail.yaml:7 domains.customer.example]
            lookup sales+x is not in its list
            address sales@customer.example leads to sales@example.org [mail.yaml:10 domains.customer.example.addresses.sales]
              domain example.org is a local domain [mail.yaml:5 domains.example.org]
              alias sales leads to alice, bob [mail.yaml:42 aliases.sales]
                mailbox alice gets it in the mailbox [mail.yaml:30 users.alice]
                forward bob forwards to bob@mobile.example, and keeps a copy [mail.yaml:31 users.bob]
                mailbox bob gets it in the mailbox [mail.yaml:31 users.bob]
                  domain mobile.example is outside, none of the domains here
                  remote bob@mobile.example is passed on
            """
        ),
        (
            "anyone@customer.example",
            """
            domain customer.example is a virtual domain [mail.yaml:7 domains.customer.example]
            lookup anyone is not in its list
            address *@customer.example leads to alice [mail.yaml:16 domains.customer.example.addresses.*]
              mailbox alice gets it in the mailbox [mail.yaml:30 users.alice]
            """
        ),
        (
            "everyone@example.org",
            """
            domain example.org is a local domain [mail.yaml:5 domains.example.org]
            alias everyone leads to alice, sales, bob, archive, BOB@EXAMPLE.NET [mail.yaml:43 aliases.everyone]
              mailbox alice gets it in the mailbox [mail.yaml:30 users.alice]
              alias sales leads to alice, bob [mail.yaml:42 aliases.sales]
                mailbox alice gets one copy only [mail.yaml:30 users.alice]
                forward bob forwards to bob@mobile.example, and keeps a copy [mail.yaml:31 users.bob]
                mailbox bob gets it in the mailbox [mail.yaml:31 users.bob]
                  domain mobile.example is outside, none of the domains here
                  remote bob@mobile.example is passed on
              again bob has been followed already
              mailbox bob gets one copy only [mail.yaml:31 users.bob]
              mailbox archive gets it in the mailbox [mail.yaml:33 users.archive]
              domain EXAMPLE.NET is a local domain [mail.yaml:6 domains.Example.NET]
              again bob has been followed already
              mailbox bob gets one copy only [mail.yaml:31 users.bob]
            """
        ),
        (
            "office+x@branch.example",
            """
            domain branch.example is a relay domain with a list of recipients [mail.yaml:19 domains.branch.example]
            lookup office+x is not in its list
            recipient Office@branch.example is in its list of recipients [mail.yaml:21 domains.branch.example.recipients]
            remote office+x@branch.example is passed on
            """
        ),
        (
            "nobody@branch.example",
            """
            domain branch.example is a relay domain with a list of recipients [mail.yaml:19 domains.branch.example]
            lookup nobody is not in its list
            """
        ),
        (
            "x@open.example",
            """
            domain open.example is a relay domain that takes every address [mail.yaml:23 domains.open.example]
            recipient open.example takes every address [mail.yaml:23 domains.open.example]
            remote x@open.example is passed on
            """
        ),
        (
            "nobody+x@example.org",
            """
            domain example.org is a local domain [mail.yaml:5 domains.example.org]
            lookup nobody+x is no alias and no user
            lookup nobody is no alias and no user
            """
        ),
        ("x@[127.0.0.1]", "domain [127.0.0.1] is outside, none of the domains here"),
    ])
func trace(address: String, steps: String) throws {
    let trace = Trace()
    let address = try #require(Address(address))
    let route = site.route(address, trace: trace)
    let shown = trace.steps.map { step in
        String(repeating: "  ", count: step.depth) + "\(step.kind.rawValue) \(step.subject) \(step.outcome)" + (step.rule.map { " [\($0)]" } ?? "")
    }
    #expect(shown.joined(separator: "\n") == steps)
    #expect(route == site.route(address))
    #expect(trace.depth == 0)
}

@Test("The trace says when the first user stands in for postmaster")
func traceOfPostmaster() {
    let router = Router(
        Router.Configuration(manifest: "m", origin: domain("mx.example"), domains: [Router.MailDomain(domain("a.example"))], users: [Router.User("zoe")]))
    let trace = Trace()
    _ = router.route(Address("postmaster@mx.example")!, trace: trace)
    #expect(
        trace.steps.map { "\($0.subject) \($0.outcome)" } == [
            "mx.example is the origin, and its postmaster is ours", "postmaster is no alias and no user",
            "postmaster goes to the first user, since nobody is named so", "zoe gets it in the mailbox",
        ])
}

@Test(
    "The trace of a next hop names the line that sets it",
    arguments: [
        ("branch.example", "goes to [192.0.2.25]:25", "m:8 domains.branch.example.via"), ("other.example", "goes to [192.0.2.1]:587", "m:9 relayhost"),
        ("plain.example", "goes to [192.0.2.1]:587", "m:9 relayhost"),
    ])
func traceOfNextHop(name: String, outcome: String, rule: String) {
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("mx.example"),
            domains: [
                Router.MailDomain(domain("branch.example"), line: 7, viaLine: 8, kind: .relay(via: NextHop("[192.0.2.25]")!, recipients: nil)),
                Router.MailDomain(domain("plain.example"), kind: .relay(via: nil, recipients: nil)),
            ], relayhost: NextHop("[192.0.2.1]:587"), relayhostLine: 9))
    let trace = Trace()
    _ = router.nextHop(for: Address(localPart: "x", domain: domain(name)), trace: trace)
    #expect(trace.steps.map { "\($0.kind.rawValue) \($0.subject) \($0.outcome)" } == ["next-hop \(name) \(outcome)"])
    #expect(trace.steps.map(\.rule) == [rule])
}

@Test(
    "A route by recipient comes first, then that of the sender, then the relayhost; the most exact pattern counts, extensions aside",
    arguments: [
        // recipient, sender, next hop
        ("x@one.example", nil, "[1.example]:25"), ("x@below.one.example", nil, "[relay.example]:25"), ("x@below.two.example", nil, "[2.example]:25"),
        ("x@a.b.two.example", nil, "[2.example]:25"), ("x@two.example", nil, "[relay.example]:25"), ("X+ext@Three.example", nil, "lmtp:unix:/run/x"),
        ("y@three.example", nil, "[relay.example]:25"), ("x@mx.example", "a@sales.example", "mx.example:25"),
        ("x@else.example", "a@sales.example", "[sales.example]:587"), ("x@else.example", "Bob+x@sales.example", "else.example:25"),
        ("x@one.example", "a@sales.example", "[1.example]:25"), ("x@else.example", "a@other.example", "[relay.example]:25"),
    ] as [(String, String?, String)])
func routes(recipient: String, sender: String?, hop: String) {
    func route(_ pattern: String, _ hop: String?) -> Router.OutsideRoute { Router.OutsideRoute(pattern, hop: hop.map { NextHop($0)! }) }
    let router = Router(
        Router.Configuration(
            manifest: "m", origin: domain("a.example"), extensionDelimiter: UInt8(ascii: "+"), relayhost: NextHop("[relay.example]")!,
            routes: [
                route("one.example", "[1.example]"), route(".two.example", "[2.example]"), route("x@three.example", "lmtp:unix:/run/x"), route("mx.example", nil),
            ],
            senderRoutes: [route("sales.example", "[sales.example]:587"), route("bob@sales.example", nil)]))
    #expect(router.nextHop(for: Address(recipient)!, from: sender.map { Address($0)! }).description == hop)
}

@Test("Without a relayhost the next hop is by MX, or the host of the literal itself, and no line says so")
func traceOfNextHopByMX() {
    let router = Router(Router.Configuration(manifest: "m", origin: domain("mx.example")))
    for (name, outcome) in [("a.example", "goes to the hosts of its MX records"), ("[192.0.2.1]", "goes to that very host")] {
        let trace = Trace()
        #expect(router.nextHop(for: Address(localPart: "x", domain: domain(name)), trace: trace) == router.nextHop(for: Address(localPart: "x", domain: domain(name))))
        #expect(trace.steps.map(\.outcome) == [outcome])
        #expect(trace.steps.map(\.rule) == ["default relayhost"])
    }
}

@Test("Mail to a user by name ends where the user's mail does, and a name that no user has ends nowhere")
func destinationsOfUser() {
    #expect(site.destinations(ofUser: "BOB") == [.mailbox(user: "bob"), .remote(Address("bob@mobile.example")!)])
    #expect(site.destinations(ofUser: "carol") == [.remote(Address("carol@away.example")!)])
    #expect(site.destinations(ofUser: "dave") == [.mailbox(user: "Dave")])
    #expect(site.destinations(ofUser: "sales") == nil)
    #expect(site.rule(ofUser: "dave") == "mail.yaml:34 users.Dave")
}
