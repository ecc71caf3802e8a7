// Who may send where, and in which words the rest is refused.

import MailSyntax
import Policy
import Routing
import Testing

private let router = Router(
    Router.Configuration(
        manifest: "mail.yaml", origin: Domain("local.example")!,
        domains: [
            Router.MailDomain(Domain("local.example")!, line: 5),
            Router.MailDomain(Domain("virtual.example")!, line: 6, kind: .virtual([Router.Entry("info", line: 7, targets: [.name("alice")])], catchAll: nil)),
            Router.MailDomain(Domain("relay.example")!, line: 8, kind: .relay(via: nil, recipients: [Router.Recipient("office", line: 9)])),
        ],
        users: [Router.User("alice", line: 10)]))

private let policy = AccessPolicy(
    AccessPolicy.Configuration(
        manifest: "mail.yaml", networks: ["127.0.0.0/8", "::1/128", "192.0.2.0/28", "2001:db8:1::/48"].map { try! Network(parsing: $0) },
        networksLine: 20),
    router: router)

/// Who may use which sender address, with the corners of aliases, forwards and catch-alls.
private let submission: AccessPolicy = {
    func entry(_ name: String, _ line: Int, _ targets: Router.Target...) -> Router.Entry { Router.Entry(name, line: line, targets: targets) }
    let router = Router(
        Router.Configuration(
            manifest: "mail.yaml", origin: Domain("local.example")!, extensionDelimiter: UInt8(ascii: "+"),
            domains: [
                Router.MailDomain(Domain("local.example")!, line: 5),
                Router.MailDomain(
                    Domain("virtual.example")!, line: 6,
                    kind: .virtual([entry("info", 7, .name("alice"), .name("bob")), entry("own", 8, .address(Address("chief@local.example")!))],
                        catchAll: entry("*", 9, .name("bob")))),
                Router.MailDomain(Domain("relay.example")!, line: 10, kind: .relay(via: nil, recipients: nil)),
            ],
            users: [
                Router.User("alice", line: 20),
                Router.User("Bob", line: 21, forward: [.address(Address("bob@mobile.example")!)], keepsCopy: true),
                Router.User("carol", line: 22, forward: [.name("alice")]), Router.User("hidden", line: 23),
            ],
            aliases: [
                entry("chief", 30, .name("alice")), entry("team", 31, .name("alice"), .name("bob")), entry("twice", 32, .name("alice"), .name("chief")),
                entry("away", 33, .address(Address("alice@elsewhere.example")!)), entry("hidden", 34, .name("alice")), entry("log", 35, .file("/var/log/x")),
            ]))
    return AccessPolicy(
        AccessPolicy.Configuration(
            manifest: "mail.yaml", networks: [try! Network(parsing: "192.0.2.0/28")], networksLine: 40,
            sendAs: [
                AccessPolicy.SendAs(user: "alice", address: Address("Team@local.example")!, line: 41),
                AccessPolicy.SendAs(user: "bob", address: Address("bob@elsewhere.example")!, line: 42),
            ]),
        router: router)
}()

private let stranger = ClientFacts(address: IPAddress("203.0.113.9"))
private let trusted = ClientFacts(address: IPAddress("192.0.2.1"))
private let localProcess = ClientFacts(address: nil, isLocalProcess: true)

@Test(
    "RCPT is answered by address class and client",
    arguments: [
        ("alice@local.example", stranger, "alice by mail.yaml:10 users.alice"),
        ("info@virtual.example", stranger, "alice by mail.yaml:7 domains.virtual.example.addresses.info"),
        ("Office@relay.example", stranger, "Office@relay.example by mail.yaml:9 domains.relay.example.recipients"),
        ("postmaster@relay.example", stranger, "alice by mail.yaml:10 users.alice"),
        ("x@outside.example", stranger, "554 5.7.1 <x@outside.example>: Relay access denied by mail.yaml:20 networks"),
        ("x@outside.example", trusted, "x@outside.example by mail.yaml:20 networks"),
        ("x@outside.example", localProcess, "x@outside.example by local process"),
        (
            "bob@local.example", trusted,
            "550 5.1.1 <bob@local.example>: Recipient address rejected: User unknown in local recipient table by mail.yaml:5 domains.local.example"
        ),
        (
            "Bob@virtual.example", localProcess,
            "550 5.1.1 <Bob@virtual.example>: Recipient address rejected: User unknown in virtual alias table by mail.yaml:6 domains.virtual.example"
        ),
        (
            "\"b b\"@relay.example", stranger,
            "550 5.1.1 <\"b b\"@relay.example>: Recipient address rejected: User unknown in relay recipient table by mail.yaml:8 domains.relay.example"
        ),
        ("alice@[192.0.2.1]", stranger, "554 5.7.1 <alice@[192.0.2.1]>: Relay access denied by mail.yaml:20 networks"),
        // Tricks of old that asked a relay to route for them: nothing that a next hop could fall for, and to us one local part.
        ("x%outside.example@relay.example", stranger, "554 5.7.1 <x%outside.example@relay.example>: Relay access denied by mail.yaml:20 networks"),
        ("\"x@outside.example\"@local.example", stranger,
            "554 5.7.1 <\"x@outside.example\"@local.example>: Relay access denied by mail.yaml:20 networks"),
        ("outside.example!x@local.example", stranger, "554 5.7.1 <outside.example!x@local.example>: Relay access denied by mail.yaml:20 networks"),
        ("x%outside.example@local.example", trusted,
            "550 5.1.1 <x%outside.example@local.example>: Recipient address rejected: User unknown in local recipient table by mail.yaml:5 domains.local.example"),
    ])
func recipientIsDecided(address: String, client: ClientFacts, expected: String) throws {
    let decision = policy.decide(recipient: try #require(Address(address)), client: client)
    let text = switch decision {
    case .accept(let destinations, let rule):
        destinations.map(\.description).joined(separator: " ") + " by \(rule)"
    case .refuse(let reply, let rule): "\(reply.summary) by \(rule)"
    }
    #expect(text == expected)
}

@Test(
    "Clients in the networks and the appliance's own socket may relay, nobody else",
    arguments: [
        ("127.0.0.1", true), ("127.255.255.255", true), ("128.0.0.1", false), ("192.0.2.15", true), ("192.0.2.16", false), ("::1", true),
        ("::2", false), ("::ffff:127.0.0.1", true), ("::ffff:203.0.113.9", false), ("2001:db8:1:ffff::1", true), ("2001:db8:2::1", false),
        ("0.0.0.0", false), ("::", false), ("172.17.0.1", false),
    ])
func mayRelay(address: String, expected: Bool) {
    #expect(policy.mayRelay(ClientFacts(address: IPAddress(address)!)) == expected)
}

@Test("A client without an address may not relay unless it is a local process")
func withoutAddress() {
    #expect(!policy.mayRelay(ClientFacts(address: nil)))
    #expect(policy.mayRelay(localProcess))
}

@Test("Without networks not even loopback may relay; 0.0.0.0/0 in the manifest opens IPv4 and leaves IPv6 shut")
func networksAreTakenAtTheirWord() {
    let closed = AccessPolicy(AccessPolicy.Configuration(manifest: "m", networks: []), router: router)
    #expect(!closed.mayRelay(ClientFacts(address: IPAddress("127.0.0.1"))))
    #expect(closed.decide(recipient: Address("x@outside.example")!, client: stranger)
        == .refuse(Reply(554, EnhancedCode(5, 7, 1), "<x@outside.example>: Relay access denied"), rule: "default networks"))
    let open = AccessPolicy(AccessPolicy.Configuration(manifest: "m", networks: [try! Network(parsing: "0.0.0.0/0")]), router: router)
    #expect(open.mayRelay(stranger))
    #expect(!open.mayRelay(ClientFacts(address: IPAddress("2001:db8::1"))))
}

@Test(
    "VRFY says what RCPT would, without a promise",
    arguments: [
        ("Alice@local.example", stranger, "252 2.0.0 Alice@local.example"),
        ("office@relay.example", stranger, "252 2.0.0 office@relay.example"),
        ("bob@local.example", stranger, "550 5.1.1 <bob@local.example>: Recipient address rejected: User unknown in local recipient table"),
        ("x@outside.example", stranger, "554 5.7.1 <x@outside.example>: Relay access denied"),
        ("x@outside.example", trusted, "252 2.0.0 x@outside.example"),
    ])
func verify(address: String, client: ClientFacts, reply: String) throws {
    #expect(policy.verify(try #require(Address(address)), client: client).reply.summary == reply)
}

@Test(
    "A user who is logged in may use the addresses that lead to that user alone, and send_as",
    arguments: [
        ("alice", "alice@local.example", "mail.yaml:20 users.alice"),
        ("ALICE", "Alice@LOCAL.example", "mail.yaml:20 users.alice"),
        ("alice", "alice+lists@local.example", "mail.yaml:20 users.alice"),
        ("alice", "chief@local.example", "mail.yaml:20 users.alice"),
        ("alice", "twice@local.example", "mail.yaml:20 users.alice"),
        ("alice", "own@virtual.example", "mail.yaml:20 users.alice"),
        ("alice", "team@local.example", "mail.yaml:41 users.alice.send_as"),
        ("alice", "team+x@local.example", "mail.yaml:41 users.alice.send_as"),
        // Where mail goes on to by a forward makes no one else its owner.
        ("bob", "bob@local.example", "mail.yaml:21 users.Bob"),
        ("carol", "carol@local.example", "mail.yaml:22 users.carol"),
        ("bob", "anything@virtual.example", "mail.yaml:21 users.Bob"),
        ("bob", "bob@elsewhere.example", "mail.yaml:42 users.bob.send_as"),
        // Not theirs.
        ("alice", "carol@local.example", nil), ("bob", "team@local.example", nil), ("bob", "alice@local.example", nil),
        ("alice", "info@virtual.example", nil), ("bob", "info@virtual.example", nil), ("hidden", "hidden@local.example", nil),
        ("alice", "alice@elsewhere.example", nil), ("alice", "away@local.example", nil), ("alice", "log@local.example", nil),
        ("alice", "nobody@local.example", nil), ("alice", "alice@relay.example", nil), ("alice", "bob@elsewhere.example", nil),
        ("alice", "alice@[192.0.2.1]", nil),
    ])
func senderOfLogin(login: String, sender: String, rule: String?) {
    let client = ClientFacts(address: IPAddress("203.0.113.9"), login: login)
    let answer = submission.answer(sender: Address(sender), client: client)
    if let rule {
        #expect(answer.reply.summary == "250 2.1.0 Ok")
        #expect(answer.rule == rule)
    } else {
        #expect(answer.reply.summary == "553 5.7.1 <\(sender)>: Sender address rejected: not owned by user \(login)")
        #expect(answer.rule?.hasSuffix("users.\(login == "bob" ? "Bob" : login)") == true)
    }
}

@Test("The null sender is every user's, and without a login every sender is taken, from inside and outside")
func senderWithoutLogin() {
    #expect(submission.answer(sender: nil, client: ClientFacts(address: nil, login: "alice")).reply.code == 250)
    for address in ["203.0.113.9", "192.0.2.1"] {
        #expect(submission.answer(sender: Address("bob@local.example"), client: ClientFacts(address: IPAddress(address))).reply.code == 250)
    }
    // The rule is the login's, not the network's: who logs in within `networks` keeps to it as well.
    #expect(submission.answer(sender: Address("bob@local.example"), client: ClientFacts(address: IPAddress("192.0.2.1"), login: "alice")).reply.code == 553)
}

@Test("A login lets a client send to anywhere, by the line of its user")
func loginRelays() {
    let outside = Address("x@outside.example")!
    let loggedIn = ClientFacts(address: IPAddress("203.0.113.9"), login: "Alice")
    #expect(submission.mayRelay(loggedIn))
    #expect(submission.decide(recipient: outside, client: loggedIn) == .accept([.remote(outside)], rule: "mail.yaml:20 users.alice"))
    #expect(submission.decide(recipient: outside, client: ClientFacts(address: IPAddress("192.0.2.1"), login: "alice")) == .accept([.remote(outside)], rule: "mail.yaml:40 networks"))
    #expect(submission.decide(recipient: Address("nobody@local.example")!, client: loggedIn).reply.code == 550)
}

@Test("A trace changes no answer, and says who asked, what was decided and by which line")
func traceOfPolicy() throws {
    let client = ClientFacts(address: IPAddress("192.0.2.1"), login: "alice")
    let trace = Trace()
    trace.part = .client
    submission.note(client, in: trace)
    trace.part = .sender
    let sender = submission.answer(sender: Address("team@local.example"), client: client, trace: trace)
    trace.part = .recipient
    #expect(sender.reply == submission.answer(sender: Address("team@local.example"), client: client).reply)
    for recipient in ["x@outside.example", "team@local.example", "nobody@local.example"].map({ Address($0)! }) {
        #expect(submission.decide(recipient: recipient, client: client, trace: trace) == submission.decide(recipient: recipient, client: client))
    }
    #expect(
        trace.steps.prefix(9).map { "\($0.part.rawValue) \($0.depth): \($0.subject) \($0.outcome) [\($0.rule ?? "")]" } == [
            "client 0: 192.0.2.1 is in networks, by 192.0.2.0/28 [mail.yaml:40 networks]",
            "client 0: alice is logged in, and may send to anywhere [mail.yaml:20 users.alice]",
            "sender 0: local.example is a local domain [mail.yaml:5 domains.local.example]",
            "sender 0: team leads to alice, bob [mail.yaml:31 aliases.team]",
            "sender 1: alice is a user [mail.yaml:20 users.alice]",
            "sender 1: Bob is a user [mail.yaml:21 users.Bob]",
            "sender 0: team@local.example is among the addresses that alice may send as [mail.yaml:41 users.alice.send_as]",
            "recipient 0: outside.example is outside, none of the domains here []",
            "recipient 0: x@outside.example is passed on, as this client may send to anywhere [mail.yaml:40 networks]",
        ])
}
