// What `valija explain` says, whole, as it is printed.

@testable import Appliance
import MailSyntax
import Manifest
import Testing

private let manifest = """
    apiVersion: valija/v1
    hostname: mx.example.org
    origin: example.org
    domains:
      example.org: {}
      shop.example: { kind: virtual, addresses: { sales: sales@example.org } }
      branch.example: { kind: relay, via: "[192.0.2.25]", recipients: [office] }
    users:
      alice: {}
      bob: { forward: [bob@mobile.example], keep_copy: true, mailbox: { format: mbox } }
    aliases: { postmaster: alice, sales: [alice, bob] }
    address_extension: "+"
    relayhost: "[smtp.example.net]:587"
    mailboxes: { directory: /srv/mail }

    """

@Suite("Explanations")
struct ExplanationTests {
    private func explanation(_ question: Question) throws -> Explanation {
        Explanation(try #require(ManifestReader.read(text: Array(manifest.utf8), file: "etc/mail.yaml").system), question)
    }

    @Test("An accepted recipient: who asked, each step, the answer, where each copy ends")
    func accepted() throws {
        let explanation = try explanation(
            Question(client: IPAddress("203.0.113.9"), sender: Address("you@example.net"), recipient: Address("sales+x@shop.example")))
        #expect(explanation.isAccepted)
        #expect(
            explanation.text == """
                client     203.0.113.9 is in none of the networks                      [default networks]
                sender     you@example.net is not checked without a login
                recipient  sales+x@shop.example
                             shop.example is a virtual domain                          [mail.yaml:6 domains.shop.example]
                             sales+x is not in its list
                             sales@shop.example leads to sales@example.org             [mail.yaml:6 domains.shop.example.addresses.sales]
                               example.org is a local domain                           [mail.yaml:5 domains.example.org]
                               sales leads to alice, bob                               [mail.yaml:11 aliases.sales]
                                 alice gets it in the mailbox                          [mail.yaml:9 users.alice]
                                 bob forwards to bob@mobile.example, and keeps a copy  [mail.yaml:10 users.bob]
                                 bob gets it in the mailbox                            [mail.yaml:10 users.bob]
                                   mobile.example is outside, none of the domains here
                                   bob@mobile.example is passed on
                answer     RCPT: 250 2.1.5 Ok                                          [mail.yaml:6 domains.shop.example.addresses.sales]
                delivery   alice, in the maildir /srv/mail/alice/                      [mail.yaml:9 users.alice]
                           bob, in the mbox /srv/mail/bob                              [mail.yaml:10 users.bob]
                           bob@mobile.example, by [smtp.example.net]:587               [mail.yaml:13 relayhost]
                change     to send it elsewhere, edit mail.yaml:6 domains.shop.example.addresses.sales

                """)
    }

    @Test(
        "A refusal says what to change",
        arguments: [
            (
                Question(recipient: Address("x@elsewhere.example")), "554 5.7.1 <x@elsewhere.example>: Relay access denied  [default networks]",
                "to allow it, add the client to networks (default networks) or let it log in; if elsewhere.example is yours, add it to domains"
            ),
            (
                Question(recipient: Address("nobody+x@example.org")),
                "550 5.1.1 <nobody+x@example.org>: Recipient address rejected: User unknown in local recipient table  [mail.yaml:5 domains.example.org]",
                "to allow it, add nobody to users or aliases"
            ),
            (
                Question(recipient: Address("alcie@example.org")),
                "550 5.1.1 <alcie@example.org>: Recipient address rejected: User unknown in local recipient table  [mail.yaml:5 domains.example.org]",
                "to allow it, add alcie to users or aliases; did you mean alice@example.org?"
            ),
            (
                Question(recipient: Address("alice@shop.example")),
                "550 5.1.1 <alice@shop.example>: Recipient address rejected: User unknown in virtual alias table  [mail.yaml:6 domains.shop.example]",
                "to allow it, add alice to the addresses of shop.example (mail.yaml:6 domains.shop.example)"
            ),
            (
                Question(recipient: Address("x@branch.example")),
                "550 5.1.1 <x@branch.example>: Recipient address rejected: User unknown in relay recipient table  [mail.yaml:7 domains.branch.example]",
                "to allow it, add x to the recipients of branch.example (mail.yaml:7 domains.branch.example)"
            ),
            (
                Question(recipient: Address("x%elsewhere.example@example.org")), "554 5.7.1 <x%elsewhere.example@example.org>: Relay access denied  [default networks]",
                "to allow it, add the client to networks (default networks) or let it log in: others may not name a route in an address"
            ),
            (
                Question(login: "bob", sender: Address("alice@example.org"), recipient: Address("alice@example.org")),
                "553 5.7.1 <alice@example.org>: Sender address rejected: not owned by user bob  [mail.yaml:10 users.bob]",
                "to allow it, add alice@example.org to users.bob.send_as (mail.yaml:10 users.bob), or let the address lead to bob alone"
            ),
        ])
    func refused(_ question: Question, _ answer: String, _ advice: String) throws {
        let explanation = try explanation(question)
        #expect(!explanation.isAccepted)
        let lines = explanation.text.split(separator: "\n").map(String.init)
        #expect(lines.contains { $0.hasPrefix("answer") && $0.hasSuffix(answer) }, "\(explanation.text)")
        #expect(lines.last == "change     \(advice)")
    }

    @Test("A sender that is not the login's shows where the address leads instead")
    func sender() throws {
        let explanation = try explanation(Question(login: "bob", sender: Address("sales@shop.example")))
        #expect(
            explanation.text == """
                client     a stranger is in none of the networks            [default networks]
                login      bob is logged in, and may send to anywhere       [mail.yaml:10 users.bob]
                sender     sales@shop.example
                             shop.example is a virtual domain               [mail.yaml:6 domains.shop.example]
                             sales@shop.example leads to sales@example.org  [mail.yaml:6 domains.shop.example.addresses.sales]
                               example.org is a local domain                [mail.yaml:5 domains.example.org]
                               sales leads to alice, bob                    [mail.yaml:11 aliases.sales]
                                 alice is a user                            [mail.yaml:9 users.alice]
                                 bob is a user                              [mail.yaml:10 users.bob]
                             sales@shop.example is not for bob to send as: it does not lead to bob alone, and is not in send_as  [mail.yaml:10 users.bob]
                answer     MAIL: 553 5.7.1 <sales@shop.example>: Sender address rejected: not owned by user bob  [mail.yaml:10 users.bob]
                change     to allow it, add sales@shop.example to users.bob.send_as (mail.yaml:10 users.bob), or let the address lead to bob alone

                """)
    }

    @Test("What goes outside is sent elsewhere by the line of the next hop, not by the one that lets the client send")
    func adviceOnOutside() throws {
        let question = Question(client: IPAddress("127.0.0.1"), recipient: Address("x@elsewhere.example"))
        let lines = try explanation(question).text.split(separator: "\n")
        #expect(lines.last == "change     to send it elsewhere, edit mail.yaml:13 relayhost")
        #expect(lines.contains { $0.hasPrefix("delivery   x@elsewhere.example, by [smtp.example.net]:587") && $0.hasSuffix("[mail.yaml:13 relayhost]") })
    }

    @Test("The JSON has the reply, the deliveries and the steps, each with its line")
    func json() throws {
        let explanation = try explanation(Question(login: "alice", sender: .some(nil), recipient: Address("office@branch.example")))
        #expect(
            String(decoding: explanation.json, as: UTF8.self) == """
                {"manifest":"etc/mail.yaml","login":"alice","from":"","to":"office@branch.example","accepted":true,"command":"RCPT","code":250,\
                "dsn":"2.1.5","reply":"250 2.1.5 Ok","rule":"mail.yaml:7 domains.branch.example.recipients",\
                "advice":"to send it elsewhere, edit mail.yaml:7 domains.branch.example.via",\
                "deliveries":[{"to":"office@branch.example","kind":"relay","place":"[192.0.2.25]:25","tls":"may","rule":"mail.yaml:7 domains.branch.example.via"}],\
                "steps":[{"part":"client","depth":0,"about":"client","subject":"a stranger","outcome":"is in none of the networks","rule":"default networks"},\
                {"part":"client","depth":0,"about":"login","subject":"alice","outcome":"is logged in, and may send to anywhere","rule":"mail.yaml:9 users.alice"},\
                {"part":"sender","depth":0,"about":"sender","subject":"<>","outcome":"is every user's to use"},\
                {"part":"recipient","depth":0,"about":"domain","subject":"branch.example","outcome":"is a relay domain with a list of recipients","rule":"mail.yaml:7 domains.branch.example"},\
                {"part":"recipient","depth":0,"about":"recipient","subject":"office@branch.example","outcome":"is in its list of recipients","rule":"mail.yaml:7 domains.branch.example.recipients"},\
                {"part":"recipient","depth":0,"about":"remote","subject":"office@branch.example","outcome":"is passed on"}]}

                """)
    }
}
