import MailSyntax

@testable import SMTP

/// Dialogues by LMTP, and with BDAT.
extension ClientSessionTests {
    private static let three = [message(to: ["b@you.example", "c@you.example", "d@you.example"])]

    private static let lmtpStart = """
        S 220 mx LMTP
        C LHLO me.example
        S 250-mx
        S 250 PIPELINING
        = ready
        C MAIL FROM:<a@me.example>
        C RCPT TO:<b@you.example>
        C RCPT TO:<c@you.example>
        C RCPT TO:<d@you.example>
        C DATA

        """

    static let lmtp: [Case] = [
        Case(
            "LMTP: each recipient that was accepted has a reply of its own (RFC 2033 §4.2)", three,
            lmtpStart + """
                S 250 ok
                S 250 ok
                S 550 5.1.1 nobody
                S 250 ok
                S 354 go
                = 1 failed 550 5.1.1 nobody
                = content
                S 250 2.0.0 saved
                S 452 4.2.2 full
                = 0 accepted 250 2.0.0 saved
                = 2 deferred 452 4.2.2 full
                = ready
                """),
        Case(
            "LMTP: lost between the replies, the rest is deferred", three,
            lmtpStart + """
                S 250 ok
                S 250 ok
                S 250 ok
                S 250 ok
                S 354 go
                = content
                S 250 2.0.0 saved
                = 0 accepted 250 2.0.0 saved
                ! lost
                = 1 deferred 451 4.4.2 lost connection with mx[192.0.2.1] while sending end of data -- message may be sent more than once
                = 2 deferred 451 4.4.2 lost connection with mx[192.0.2.1] while sending end of data -- message may be sent more than once
                = close 451 4.4.2 lost connection with mx[192.0.2.1] while sending end of data -- message may be sent more than once
                """),
        Case(
            "LMTP: nobody is accepted, and DATA is refused", three,
            lmtpStart + """
                S 250 ok
                S 550 5.1.1 no
                S 550 5.1.1 no
                S 550 5.1.1 no
                S 503 5.5.1 no recipients
                = 0 failed 550 5.1.1 no
                = 1 failed 550 5.1.1 no
                = 2 failed 550 5.1.1 no
                = ready
                """),
        Case("LMTP: no HELO after a refused LHLO", [], "S 220 mx\nC LHLO me.example\nS 500 5.5.1 what?\nC QUIT\n= close 450 4.5.1 host mx[192.0.2.1] refused to talk to me: 500 5.5.1 what?"),
    ]

    private static func chunking(_ rest: String) -> String {
        """
        S 220 mx
        C EHLO me.example
        S 250-mx
        S 250-PIPELINING
        S 250-BINARYMIME
        S 250 CHUNKING
        = ready
        \(rest)
        """
    }

    private static let small: [OutgoingMessage] = {
        var small = message()
        small.isInMemory = true
        return [small, small]
    }()
    private static let binary = message { $0.body = .binary }

    static let chunks: [Case] = [
        Case(
            "a small message goes with its envelope, in one chunk", [small[0]],
            chunking(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                = chunks
                S 250 ok
                S 250 ok
                S 250 2.0.0 taken
                = 0 accepted 250 2.0.0 taken
                = ready
                """)),
        Case(
            "a refused recipient: the reply to the chunk is nobody's, and RSET comes before the next message", small,
            chunking(
                """
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                = chunks
                S 250 ok
                S 550 5.1.1 nobody
                S 554 5.5.1 no valid recipients
                = 0 failed 550 5.1.1 nobody
                = ready
                C RSET
                C MAIL FROM:<a@me.example>
                C RCPT TO:<b@you.example>
                = chunks
                S 250 reset
                S 250 ok
                S 250 ok
                S 451 4.3.0 later
                = 0 deferred 451 4.3.0 later
                = ready
                """)),
        Case(
            "a message that is not in memory goes by DATA", [message()],
            chunking("C MAIL FROM:<a@me.example>\nC RCPT TO:<b@you.example>\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\n= content\nS 250 ok\n= 0 accepted 250 ok\n= ready")),
        Case(
            "binary content goes in chunks, when a recipient was accepted", [binary],
            chunking(
                """
                C MAIL FROM:<a@me.example> BODY=BINARYMIME
                C RCPT TO:<b@you.example>
                S 250 ok
                S 250 ok
                = chunks
                S 250 2.0.0 taken
                = 0 accepted 250 2.0.0 taken
                = ready
                """)),
        Case(
            "binary content for a server that does not take it is refused", [binary],
            "S 220 mx\nC EHLO me.example\nS 250-mx\nS 250 CHUNKING\n= ready\n= 0 failed 554 5.6.3 binary content, but BINARYMIME was not offered by host mx[192.0.2.1]\n= ready"),
    ]
}
