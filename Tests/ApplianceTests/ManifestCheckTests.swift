// What a manifest says of itself, put to the router and the policy that the server would get.

@testable import Appliance
import MailSyntax
import Manifest
import Policy
import Testing

/// Lines 1 to 20; tests that are added stand from line 22 on.
private let site = """
    apiVersion: valija/v1
    hostname: mx.example.org
    origin: example.org
    domains:
      example.org: {}
      shop.example:
        kind: virtual
        addresses: { info: [alice, bob], sales: sales@example.org, "*": carol }
      branch.example: { kind: relay, via: "[192.0.2.25]", recipients: [office] }
      strict.example: { kind: virtual, addresses: { one: alice, postmaster: alice } }
    users:
      alice: { send_as: [sales@example.org] }
      bob: { forward: [bob@mobile.example], keep_copy: true }
      carol: { forward: [carol@away.example] }
    aliases:
      postmaster: alice
      sales: [alice, bob]
    address_extension: "+"
    networks: [192.0.2.0/24]
    relayhost: "[smtp.example.net]:587"
    tests:

    """

private func findings(_ tests: [String]) -> (isValid: Bool, failures: [Diagnostic]) {
    let result = checkManifest(text: Array((site + tests.map { "  - \($0)\n" }.joined()).utf8), file: "dir/mail.yaml")
    return (result.system != nil, result.diagnostics)
}

@Suite("The tests of a manifest")
struct ManifestCheckTests {
    @Test(
        "A test that is so passes",
        arguments: [
            "{ rcpt: alice@example.org, reaches: alice }",
            "{ rcpt: Sales+x@shop.example, reaches: [bob, alice] }",
            // A user stands for all that becomes of the user's mail, or it is written out.
            "{ rcpt: bob@example.org, reaches: bob }",
            "{ rcpt: bob@example.org, reaches: [bob, bob@mobile.example] }",
            "{ rcpt: carol@example.org, reaches: carol }",
            "{ rcpt: carol@example.org, reaches: carol@away.example }",
            "{ rcpt: anything@shop.example, reaches: CAROL }",
            "{ rcpt: postmaster@branch.example, reaches: alice }",
            "{ rcpt: postmaster, reaches: alice }",
            "{ rcpt: office@branch.example, reaches: office@branch.example }",
            "{ rcpt: office@branch.example, via: \"[192.0.2.25]:25\" }",
            "{ rcpt: carol@example.org, via: \"[SMTP.example.net]:587\" }",
            "{ rcpt: nobody@example.org, refused: 550 }",
            "{ rcpt: nobody@example.org, refused: 5.1.1 }",
            "{ rcpt: nobody@branch.example, refused: true }",
            // Who is not said to be anyone is a stranger: relaying is never granted by accident.
            "{ rcpt: x@elsewhere.example, refused: 554 }",
            "{ from: alice@example.org, rcpt: x@elsewhere.example, refused: 5.7.1 }",
            "{ client: 203.0.113.9, rcpt: x@elsewhere.example, refused: 554 }",
            "{ client: 192.0.2.7, rcpt: x@elsewhere.example, via: \"[smtp.example.net]:587\" }",
            "{ client: 192.0.2.7, from: <>, rcpt: x@elsewhere.example, reaches: x@Elsewhere.example }",
            "{ login: alice, rcpt: x@elsewhere.example, via: \"[smtp.example.net]:587\" }",
            "{ login: alice, from: sales@example.org, rcpt: x@elsewhere.example, reaches: x@elsewhere.example }",
            "{ login: bob, from: alice@example.org, refused: 553 }",
            "{ login: bob, from: alice@example.org, rcpt: alice@example.org, refused: 553 }",
            "{ login: bob, from: bob+x@example.org, rcpt: alice@example.org, reaches: alice }",
            "{ client: 192.0.2.7, login: bob, from: x@elsewhere.example, refused: 5.7.1 }",
        ])
    func passes(_ test: String) {
        let (isValid, failures) = findings([test])
        #expect(failures == [])
        #expect(isValid)
    }

    @Test(
        "A test that is not so says what happens instead, what it expected, the route, and the line that decides",
        arguments: [
            (
                "{ rcpt: sales+x@shop.example, reaches: [alice, carol] }",
                "mail to sales+x@shop.example reaches alice, bob, bob@mobile.example by [smtp.example.net]:587; expected: it reaches alice, carol",
                """
                the route: sales@shop.example leads to sales@example.org (mail.yaml:8), sales leads to alice, bob (mail.yaml:17), bob forwards to \
                bob@mobile.example, and keeps a copy (mail.yaml:13); decided by mail.yaml:8 domains.shop.example.addresses.sales
                """
            ),
            (
                "{ rcpt: alice@example.org, reaches: [alice, bob] }", "mail to alice@example.org reaches alice; expected: it reaches alice, bob",
                "decided by mail.yaml:12 users.alice"
            ),
            (
                "{ rcpt: bob@example.org, reaches: bob@mobile.example }",
                "mail to bob@example.org reaches bob, bob@mobile.example by [smtp.example.net]:587; expected: it reaches bob@mobile.example",
                "the route: bob forwards to bob@mobile.example, and keeps a copy (mail.yaml:13); decided by mail.yaml:13 users.bob"
            ),
            (
                "{ rcpt: nobody@strict.example, reaches: alice }",
                """
                the answer to RCPT is 550 5.1.1 <nobody@strict.example>: Recipient address rejected: User unknown in virtual alias table; \
                expected: it reaches alice
                """,
                "decided by mail.yaml:10 domains.strict.example"
            ),
            (
                "{ rcpt: x@elsewhere.example, via: \"[smtp.example.net]:587\" }",
                "the answer to RCPT is 554 5.7.1 <x@elsewhere.example>: Relay access denied; expected: it goes to [smtp.example.net]:587",
                "decided by mail.yaml:19 networks"
            ),
            (
                "{ rcpt: office@branch.example, via: \"[192.0.2.25]:587\" }",
                "mail to office@branch.example reaches office@branch.example by [192.0.2.25]:25; expected: it goes to [192.0.2.25]:587",
                "decided by mail.yaml:9 domains.branch.example.recipients"
            ),
            // Part of it goes there, and part of it stays here.
            (
                "{ rcpt: bob@example.org, via: \"[smtp.example.net]:587\" }",
                "mail to bob@example.org reaches bob, bob@mobile.example by [smtp.example.net]:587; expected: it goes to [smtp.example.net]:587",
                "the route: bob forwards to bob@mobile.example, and keeps a copy (mail.yaml:13); decided by mail.yaml:13 users.bob"
            ),
            (
                "{ rcpt: nobody@example.org, refused: 554 }",
                """
                the answer to RCPT is 550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in local recipient table; \
                expected: it is refused with 554
                """,
                "decided by mail.yaml:5 domains.example.org"
            ),
            (
                "{ client: 192.0.2.1, rcpt: x@elsewhere.example, refused: true }",
                "mail to x@elsewhere.example reaches x@elsewhere.example by [smtp.example.net]:587; expected: it is refused",
                "decided by mail.yaml:19 networks"
            ),
            (
                "{ login: alice, from: sales@example.org, refused: 5.7.1 }", "alice may send as sales@example.org; expected: it is refused with 5.7.1",
                """
                the route: sales leads to alice, bob (mail.yaml:17), sales@example.org is among the addresses that alice may send as (mail.yaml:12); \
                decided by mail.yaml:12 users.alice.send_as
                """
            ),
            (
                "{ login: bob, from: sales@example.org, rcpt: alice@example.org, reaches: alice }",
                "the answer to MAIL is 553 5.7.1 <sales@example.org>: Sender address rejected: not owned by user bob; expected: it reaches alice",
                """
                the route: sales leads to alice, bob (mail.yaml:17), sales@example.org is not for bob to send as: it does not lead to bob alone, \
                and is not in send_as (mail.yaml:13); decided by mail.yaml:13 users.bob
                """
            ),
        ])
    func fails(_ test: String, _ message: String, _ hint: String) throws {
        let (isValid, failures) = findings([test])
        #expect(!isValid)
        let failure = try #require(failures.first)
        #expect(failures.count == 1)
        #expect(failure.code == .failedTest)
        #expect(failure.severity == .error)
        #expect(failure.message == message)
        #expect(failure.hint == hint)
    }

    @Test("A failed test is shown at what it expects; every one is shown; those that hold are not")
    func places() {
        let tests = ["{ rcpt: alice@example.org, reaches: bob }", "{ rcpt: alice@example.org, reaches: alice }", "{ refused: 550, rcpt: alice@example.org }"]
        let failures = findings(tests).failures
        #expect(failures.map { "\($0.position!.line):\($0.position!.column)-\($0.endColumn!)" } == ["22:41-44", "24:16-19"])
    }

    @Test("A manifest that is not valid says so, and its tests are not tried")
    func invalid() {
        let text = site.replacing("carol@away.example", with: "nobody") + "  - { rcpt: alice@example.org, reaches: bob }\n"
        let result = checkManifest(text: Array(text.utf8), file: "mail.yaml")
        #expect(result.system == nil)
        #expect(Set(result.diagnostics.map(\.code)) == [.danglingTarget])
    }

    @Test("Whom the rendered sender_login_maps let send as an address, the policy lets too, and nobody else")
    func senderLoginsAgree() throws {
        let system = try #require(ManifestReader.read(text: Array((site + "  []\n").utf8), file: "mail.yaml").system)
        let rules = Rulebook(system)
        var allowed: [String: Set<String>] = [:]
        for login in system.senderLogins {
            switch login.pattern {
            case .address(let address): allowed["\(address)"] = Set(login.users)
            case .domain(let domain): allowed["whoever@\(domain)"] = Set(login.users)
            }
        }
        #expect(allowed.count >= 6)
        for (address, users) in allowed {
            for user in system.users.map(\.name.value) {
                let answer = rules.policy.answer(sender: Address(address), client: ClientFacts(address: nil, login: user))
                #expect(answer.reply.isPositive == users.contains(user), "\(address) \(user)")
            }
        }
    }

    @Test("Ten thousand tests are tried in well under a second, also among ten thousand users")
    func speed() {
        var text = "apiVersion: valija/v1\nhostname: mx.example.org\ndomains: { example.org: {} }\naliases:\n  postmaster: user0\n"
        let count = 10_000
        for number in 0..<count { text += "  a\(number): [user\(number), user\((number + 1) % count)]\n" }
        text += "users:\n"
        for number in 0..<count { text += "  user\(number): {}\n" }
        let withoutTests = Array(text.utf8)
        text += "tests:\n"
        for number in 0..<count { text += "  - { rcpt: a\(number)@example.org, reaches: [user\(number), user\((number + 1) % count)] }\n" }
        let clock = ContinuousClock()
        var result = ReadResult(failure: Diagnostic(.emptyManifest, .error, "", file: ""))
        let base = clock.measure { _ = checkManifest(text: withoutTests, file: "m") }
        let whole = clock.measure { result = checkManifest(text: Array(text.utf8), file: "m") }
        #expect(result.system?.tests.count == count)
        #expect(result.diagnostics == [])
        // A debug build, on a machine that has other things to do: the bound is for what grows with the square.
        #expect(whole - base < .seconds(20), "\(whole) with tests, \(base) without")
    }
}
