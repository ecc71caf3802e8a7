import MailSyntax
import NIOCore
import Testing

@testable import SMTP

@Suite("Client: session")
struct ClientSessionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let messages: [OutgoingMessage]
        let script: String
        var testDescription: String { name }

        init(_ name: String, _ messages: [OutgoingMessage], _ script: String) {
            self.name = name
            self.messages = messages
            self.script = script
        }

        init(_ name: String, _ script: String) { self.init(name, [ClientSessionTests.message()], script) }
    }

    static func message(
        from sender: String? = "a@me.example", to recipients: [String] = ["b@you.example"], content: String = "Subject: x\r\n\r\nx\r\n",
        change: (inout Envelope) -> Void = { _ in }
    ) -> OutgoingMessage {
        var envelope = Envelope(
            sender: sender.map { Address($0)! }, recipients: recipients.map { EnvelopeRecipient(address: Address($0)!) })
        change(&envelope)
        let content = ByteBuffer(string: content)
        return OutgoingMessage(envelope: envelope, size: content.readableBytes, traits: ContentTraits(of: content))
    }

    @Test("the session answers as the dialogue says, however the bytes come", arguments: handshakes + logins + encryption + transactions + endings + parameters + lmtp + chunks)
    func dialogue(_ test: Case) {
        let dialogue = ClientDialogue(script: test.script, messages: test.messages)
        #expect(dialogue.play(cut: .lump) == test.script)
        #expect(dialogue.play(cut: .drip) == test.script)
        for split in 0..<120 { #expect(dialogue.play(cut: .halves, splitAt: split) == test.script, "split at \(split)") }
    }

    static let handshakes: [Case] = [
        Case(
            "EHLO, then nothing to do, then QUIT", [],
            """
            S 220-mx.example
            S 220 ready
            C EHLO me.example
            S 250-mx.example
            S 250 PIPELINING
            = ready
            ! quit
            C QUIT
            S 221 2.0.0 Bye
            = close
            """),
        Case(
            "a server without extensions is greeted with HELO",
            """
            S 220 mx
            C EHLO me.example
            S 502 5.5.1 what?
            C HELO me.example
            S 250 mx
            = ready
            C MAIL FROM:<a@me.example>
            S 250 ok
            C RCPT TO:<b@you.example>
            S 250 ok
            C DATA
            S 354 go
            = content
            S 250 taken
            = 0 accepted 250 taken
            = ready
            """),
        Case(
            "HELO refused too", [],
            """
            S 220 mx
            C EHLO me.example
            S 550 no
            C HELO me.example
            S 550 5.7.1 no
            C QUIT
            = close 450 4.7.1 host mx[192.0.2.1] refused to talk to me: 550 5.7.1 no
            """),
        Case(
            "a greeting of 554 is temporary", [],
            """
            S 554 5.7.1 blocked
            C QUIT
            = close 450 4.7.1 host mx[192.0.2.1] refused to talk to me: 554 5.7.1 blocked
            """),
        Case(
            "a greeting of 521 is for ever", [],
            """
            S 521 no mail here
            C QUIT
            = close 521 no mail here
            """),
        Case(
            "a greeting of 421", [],
            """
            S 421 4.3.2 busy
            = close 421 4.3.2 host mx[192.0.2.1] refused to talk to me: 421 4.3.2 busy
            """),
        Case(
            "a temporary refusal of EHLO is not followed by HELO", [],
            """
            S 220 mx
            C EHLO me.example
            S 451 later
            C QUIT
            = close 451 4.3.2 host mx[192.0.2.1] refused to talk to me: 451 later
            """),
        Case(
            "not SMTP at all", [],
            """
            S HTTP/1.1 400 Bad Request
            = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent a line that is no SMTP reply: HTTP/1.1 400 Bad Request
            """),
        Case(
            "silence instead of a greeting", [],
            """
            ! timeout
            = close 451 4.4.2 conversation with mx[192.0.2.1] timed out while receiving the initial server greeting
            """),
    ]

    /// A server with PIPELINING, up to the moment when it is ready.
    static func pipelining(_ rest: String, offers: [String] = ["PIPELINING"]) -> String {
        let lines = offers.enumerated().map { "S 250\($0 == offers.count - 1 ? " " : "-")\($1)" }
        return (["S 220 mx", "C EHLO me.example", "S 250-mx"] + lines + ["= ready"]).joined(separator: "\n") + "\n" + rest
    }

    static func plain(_ rest: String) -> String {
        "S 220 mx\nC EHLO me.example\nS 250 mx\n= ready\n" + rest
    }

    static let transactions: [Case] = [
        Case(
            "pipelined commands go out in one piece; each recipient has its own reply",
            [message(to: ["b@you.example", "c@you.example", "d@you.example"])],
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C RCPT TO:<c@you.example>
                C RCPT TO:<d@you.example>
                C DATA
                S 250 2.1.0 ok
                S 550 5.1.1 nobody
                S 250 2.1.5 ok
                S 451 4.2.0 later
                S 354 go
                = 0 failed 550 5.1.1 nobody
                = 2 deferred 451 4.2.0 later
                = content
                S 250 2.0.0 taken
                = 1 accepted 250 2.0.0 taken
                = ready
                """)),
        Case(
            "without PIPELINING, command by command", [message(to: ["b@you.example", "c@you.example"])],
            plain(
                """
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                S 550 nobody
                = 0 failed 550 nobody
                C RCPT TO:<c@you.example>
                S 251 will forward
                C DATA
                S 354 go
                = content
                S 451 4.3.0 disk full
                = 1 deferred 451 4.3.0 disk full
                = ready
                """)),
        Case(
            "two messages, one connection", [message(), message(from: nil)],
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C DATA
                S 250 ok
                S 250 ok
                S 354 go
                = content
                S 250 one
                = 0 accepted 250 one
                = ready
                C MAIL FROM:<>
                C RCPT TO:<b@you.example>
                C DATA
                S 250 ok
                S 250 ok
                S 354 go
                = content
                S 554 5.7.1 spam
                = 0 failed 554 5.7.1 spam
                = ready
                """)),
        Case(
            "MAIL refused, pipelined: the other replies are waited for", [message(to: ["b@you.example", "c@you.example"]), message()],
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C RCPT TO:<c@you.example>
                C DATA
                S 550 5.7.1 not you
                S 503 5.5.1 MAIL first
                S 503 5.5.1 MAIL first
                = 0 failed 550 5.7.1 not you
                = 1 failed 550 5.7.1 not you
                S 503 5.5.1 MAIL first
                = ready
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C DATA
                """)),
        Case(
            "MAIL refused, one by one: nothing to reset", [message(), message()],
            plain(
                """
                C MAIL FROM:<a@me.example>
                S 451 4.7.1 greylisted
                = 0 deferred 451 4.7.1 greylisted
                = ready
                C MAIL FROM:<a@me.example>
                """)),
        Case(
            "all recipients refused, pipelined, and DATA too: RSET goes with the next message", [message(), message()],
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C DATA
                S 250 ok
                S 550 5.1.1 nobody
                S 554 5.5.1 no valid recipients
                = 0 failed 550 5.1.1 nobody
                = ready
                C RSET
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C DATA
                S 250 reset
                S 250 ok
                S 250 ok
                S 354 go
                = content
                S 250 taken
                = 0 accepted 250 taken
                = ready
                """)),
        Case(
            "all recipients refused, one by one: RSET before the next message", [message(), message()],
            plain(
                """
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                S 550 5.1.1 nobody
                = 0 failed 550 5.1.1 nobody
                = ready
                C RSET
                S 250 reset
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                """)),
        Case(
            "content wanted for nobody: a lone dot, whose reply concerns no one",
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C DATA
                S 250 ok
                S 550 5.1.1 nobody
                S 354 go
                = 0 failed 550 5.1.1 nobody
                C .
                S 554 5.5.1 no valid recipients
                = ready
                """)),
        Case(
            "DATA refused with recipients accepted", [message(to: ["b@you.example", "c@you.example"])],
            pipelining(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                C RCPT TO:<c@you.example>
                C DATA
                S 250 ok
                S 550 5.1.1 nobody
                S 250 ok
                S 451 4.3.0 not now
                = 0 failed 550 5.1.1 nobody
                = 1 deferred 451 4.3.0 not now
                = ready
                """)),
        Case(
            "552 at RCPT is temporary unless it says what for", [message(to: ["b@you.example", "c@you.example", "d@you.example"])],
            plain(
                """
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                S 552 too many
                = 0 deferred 552 too many
                C RCPT TO:<c@you.example>
                S 552 5.5.3 too many
                = 1 deferred 552 5.5.3 too many
                C RCPT TO:<d@you.example>
                S 552 5.2.2 full
                = 2 failed 552 5.2.2 full
                = ready
                """)),
    ]

    @Test("an address with a line end in it never becomes a command")
    func injection() {
        var session = ClientSession(heloName: Domain("me.example")!, peer: "mx[192.0.2.1]")
        _ = session.receive(ByteBuffer(string: "220 mx\r\n"))
        _ = session.receive(ByteBuffer(string: "250 mx\r\n"))
        let evil = Address(localPart: "x>\r\nRCPT TO:<y", domain: Domain("you.example")!)
        let message = OutgoingMessage(
            envelope: Envelope(sender: nil, recipients: [EnvelopeRecipient(address: evil)]), size: 0, traits: ContentTraits())
        #expect(
            session.begin(message) == [
                .result(recipient: 0, .failed(Reply(553, EnhancedCode(5, 1, 3), "the address holds control characters")), answers: nil), .ready,
            ])
    }

    @Test("the timeouts are those of RFC 5321 and every waiting phase has one")
    func timeouts() {
        let timeouts = ClientTimeouts()
        let want: [(ClientPhase, Duration?)] = [
            (.greeting, .seconds(300)), (.hello, .seconds(300)), (.mail, .seconds(300)), (.recipient, .seconds(300)),
            (.data, .seconds(120)), (.content, .seconds(180)), (.endOfData, .seconds(600)), (.reset, .seconds(300)),
            (.quit, .seconds(10)), (.idle, nil), (.closed, nil),
        ]
        for (phase, duration) in want { #expect(timeouts[phase] == duration, "\(phase)") }
    }
}
