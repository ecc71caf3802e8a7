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
        // Tricks of old that asked a relay to route for them: one local part, one domain, nothing more.
        ("x%outside.example@local.example", stranger,
            "550 5.1.1 <x%outside.example@local.example>: Recipient address rejected: User unknown in local recipient table by mail.yaml:5 domains.local.example"),
        ("\"x@outside.example\"@local.example", stranger,
            "550 5.1.1 <\"x@outside.example\"@local.example>: Recipient address rejected: User unknown in local recipient table by mail.yaml:5 domains.local.example"),
        ("outside.example!x@local.example", stranger,
            "550 5.1.1 <outside.example!x@local.example>: Recipient address rejected: User unknown in local recipient table by mail.yaml:5 domains.local.example"),
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
