// Who may write mail as whom after a login.

import MailSyntax
import Manifest
import Testing

@Suite("Sender logins")
struct SenderLoginTests {
    private static let manifest = head + """
        domains:
          example.org: {}
          example.net: {}
          shop.example: {kind: virtual, addresses: {info: [alice, bob], sales: alice, out: x@elsewhere.example, "*": bob}}
          branch.example: {kind: relay}
        users:
          alice: {send_as: [team@example.org, info@elsewhere.example]}
          bob: {forward: bob@mobile.example, send_as: [team@example.org]}
          carol: {}
        aliases:
          postmaster: root
          root: alice
          carol: alice
          both: [alice, bob]
          twice: [root, alice]
          team: [alice, bob]
          log: /var/log/mail
          away: [alice, alice@elsewhere.example]

        """

    @Test(
        "an address is its user's if it leads to that mailbox alone, or by send_as; forwarding on takes a user's own address from nobody",
        arguments: [
            ("alice@example.org", ["alice"]), ("alice@example.net", ["alice"]), ("bob@example.org", ["bob"]),
            ("postmaster@example.org", ["alice"]), ("root@example.net", ["alice"]), ("twice@example.org", ["alice"]),
            // The alias hides the user of its name.
            ("carol@example.org", ["alice"]),
            ("both@example.org", []), ("log@example.org", []), ("away@example.org", []),
            ("team@example.org", ["alice", "bob"]), ("team@example.net", []), ("info@elsewhere.example", ["alice"]),
            ("sales@shop.example", ["alice"]), ("info@shop.example", []), ("out@shop.example", []),
        ])
    func addresses(_ address: String, _ users: [String]) throws {
        let logins = try system(SenderLoginTests.manifest).senderLogins
        #expect(logins.first { $0.pattern == .address(Address(address)!) }?.users ?? [] == users)
    }

    @Test("a catch-all gives all of its domain")
    func catchAll() throws {
        let logins = try system(SenderLoginTests.manifest).senderLogins
        #expect(logins.filter { if case .domain = $0.pattern { true } else { false } }.map(\.users) == [["bob"]])
    }

    @Test("a chain of a hundred thousand aliases belongs to the user at its end")
    func longChain() throws {
        var text = head + "domains: {example.org: {}}\nusers: {alice: }\naliases:\n  postmaster: a0\n"
        for index in 0..<100_000 { text += "  a\(index): \(index == 99_999 ? "alice" : "a\(index + 1)")\n" }
        #expect(try system(text).senderLogins.count == 100_002)
    }
}
