// What a manifest may ask of strangers: names and HELO, in Postfix's words and with its replies.

import MailSyntax
import Routing
import Testing

@testable import Policy

private func facts(name: ReverseName = .unknown(hasReverse: false), helo: String? = "mail.example.net", standing: HeloStanding = .unchecked) -> ClientFacts {
    var facts = ClientFacts(address: IPAddress("203.0.113.9"))
    facts.name = name
    facts.helo = helo
    facts.heloStanding = standing
    return facts
}

private let named = ReverseName.confirmed(Domain("mail.example.net")!)

@Test("each check refuses what it is for, with Postfix's reply, and nothing else", arguments: [
    (ClientCheck.rejectUnknownClient, facts(name: named), nil),
    (.rejectUnknownClient, facts(), "450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.9]"),
    (.rejectUnknownClient, facts(name: .unknown(hasReverse: true)), "450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.9]"),
    (.rejectUnknownClient, facts(name: .unavailable), "450 4.7.25 Client host rejected: cannot find your hostname, [203.0.113.9]"),
    (.rejectUnknownReverse, facts(name: .unknown(hasReverse: true)), nil),
    (.rejectUnknownReverse, facts(), "450 4.7.25 Client host rejected: cannot find your reverse hostname, [203.0.113.9]"),
    (.rejectInvalidHelo, facts(helo: "mail"), nil), (.rejectInvalidHelo, facts(helo: "[192.0.2.1]"), nil), (.rejectInvalidHelo, facts(helo: "a_b.example"), nil),
    (.rejectInvalidHelo, facts(helo: "-x.example"), "501 5.5.2 <-x.example>: Helo command rejected: Invalid name"),
    (.rejectInvalidHelo, facts(helo: "a..b"), "501 5.5.2 <a..b>: Helo command rejected: Invalid name"),
    (.rejectInvalidHelo, facts(helo: "a;b"), "501 5.5.2 <a;b>: Helo command rejected: Invalid name"),
    (.rejectBareHelo, facts(), nil), (.rejectBareHelo, facts(helo: "[IPv6:2001:db8::1]"), nil),
    (.rejectBareHelo, facts(helo: "mail"), "504 5.5.2 <mail>: Helo command rejected: need fully-qualified hostname"),
    (.rejectBareHelo, facts(helo: "192.0.2.1"), "504 5.5.2 <192.0.2.1>: Helo command rejected: need fully-qualified hostname"),
    (.rejectUnknownHelo, facts(standing: .found), nil), (.rejectUnknownHelo, facts(helo: "[192.0.2.1]", standing: .notFound), nil),
    (.rejectUnknownHelo, facts(standing: .notFound), "450 4.7.1 <mail.example.net>: Helo command rejected: Host not found"),
    (.rejectUnknownHelo, facts(standing: .unavailable), "450 4.7.1 <mail.example.net>: Helo command rejected: Host not found"),
] as [(ClientCheck, ClientFacts, String?)])
func clientChecks(check: ClientCheck, client: ClientFacts, refusal: String?) {
    #expect(client.refusal(by: check)?.summary == refusal)
}

@Test("strangers are asked in the order of the manifest; who may relay is not asked")
func whoIsAsked() {
    let origin = Domain("example.org")!
    let router = Router(
        Router.Configuration(manifest: "mail.yaml", origin: origin, domains: [Router.MailDomain(origin, line: 3)], users: [Router.User("alice", line: 5)]))
    var configuration = AccessPolicy.Configuration(manifest: "mail.yaml", networks: [try! Network(parsing: "192.0.2.0/24")], networksLine: 9)
    configuration.checks = [(.rejectBareHelo, 12), (.rejectUnknownClient, 12)]
    let policy = AccessPolicy(configuration, router: router)
    let alice = Address("alice@example.org")!
    guard case .refuse(let reply, let rule) = policy.decide(recipient: alice, client: facts(helo: "mail")) else { return _ = Issue.record("accepted") }
    #expect(reply.code == 504 && rule == "mail.yaml:12 smtpd.restrictions")
    #expect(policy.decide(recipient: alice, client: facts()).reply.code == 450)
    #expect(policy.decide(recipient: alice, client: facts(name: named)).reply.code == 250)
    #expect(policy.decide(recipient: alice, client: ClientFacts(address: IPAddress("192.0.2.7"))).reply.code == 250)
    #expect(policy.decide(recipient: alice, client: ClientFacts(address: IPAddress("203.0.113.9"), login: "alice")).reply.code == 250)
    #expect(!policy.needsHeloStanding(facts()))
}
