import MailSyntax

@testable import SMTP

/// More dialogues: how sessions end early, and the parameters of MAIL and RCPT.
extension ClientSessionTests {
    private static let commands = "C MAIL FROM:<a@me.example>\nC RCPT TO:<b@you.example>\nC RCPT TO:<c@you.example>\nC DATA\n"
    private static let two = [message(to: ["b@you.example", "c@you.example"])]

    static let logins: [Case] = [
        Case("a login by what goes with AUTH", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH LOGIN plain
            = offered LOGIN PLAIN
            C AUTH PLAIN AEEAQg==
            S 235 2.7.0 welcome
            = logged in
            = ready
            """),
        Case("a login that is asked for in parts", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH LOGIN
            = offered LOGIN
            C AUTH LOGIN
            S 334 VXNlcm5hbWU6
            = challenge Username:
            C eA==
            S 334 UGFzc3dvcmQ6
            = challenge Password:
            C eA==
            S 235 2.7.0 welcome
            = logged in
            = ready
            """),
        Case("a wrong password: nothing is sent, and it is not for ever", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH PLAIN
            = offered PLAIN
            C AUTH PLAIN AEEAQg==
            S 535 5.7.8 no
            C QUIT
            = close 451 4.7.8 cannot log in at mx[192.0.2.1]: 535 5.7.8 no
            """),
        Case("no AUTH there that is known", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH CRAM-MD5
            = offered CRAM-MD5
            = close 451 4.7.8 cannot log in at mx[192.0.2.1]: nothing offered
            """),
        Case("a challenge that is not base64", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH LOGIN
            = offered LOGIN
            C AUTH LOGIN
            S 334 what?
            C *
            = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent a challenge that is not base64
            """),
        Case("lost in a login", [], """
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 AUTH LOGIN
            = offered LOGIN
            C AUTH LOGIN
            ! lost
            = close 451 4.4.2 lost connection with mx[192.0.2.1] while performing the AUTH exchange
            """),
    ]

    static let endings: [Case] = [
        Case(
            "421 at RCPT: what is pending is deferred", two,
            pipelining(
                commands + """
                    S 250 ok
                    S 250 ok
                    S 421 4.3.2 shutting down
                    = 0 deferred 421 4.3.2 shutting down
                    = 1 deferred 421 4.3.2 shutting down
                    = close 421 4.3.2 shutting down
                    """)),
        Case(
            "421 before any answer: not begun", two,
            pipelining(
                commands + """
                    S 421 4.4.2 idle too long
                    = unstarted 421 4.4.2 idle too long
                    = close 421 4.4.2 idle too long
                    """)),
        Case("421 while idle", [], pipelining("S 421 4.4.2 idle\n= close 421 4.4.2 idle")),
        Case(
            "a reply to no command", [],
            pipelining("S 250 hello?\n= close 451 4.5.0 protocol error: host mx[192.0.2.1] sent a reply to no command: 250 hello?")),
        Case(
            "lost before any answer: not begun", two,
            pipelining(
                commands + """
                    ! lost
                    = unstarted 451 4.4.2 lost connection with mx[192.0.2.1] while sending MAIL FROM
                    = close 451 4.4.2 lost connection with mx[192.0.2.1] while sending MAIL FROM
                    """)),
        Case(
            "lost in the content", two,
            pipelining(
                commands + """
                    ! hold
                    S 250 ok
                    S 550 5.1.1 nobody
                    S 250 ok
                    S 354 go
                    = 0 failed 550 5.1.1 nobody
                    = content
                    ! lost
                    = 1 deferred 451 4.4.2 lost connection with mx[192.0.2.1] while sending message body
                    = close 451 4.4.2 lost connection with mx[192.0.2.1] while sending message body
                    """)),
        Case(
            "timed out after the content", two,
            pipelining(
                commands + """
                    S 250 ok
                    S 550 5.1.1 nobody
                    S 250 ok
                    S 354 go
                    = 0 failed 550 5.1.1 nobody
                    = content
                    ! timeout
                    = 1 deferred 451 4.4.2 conversation with mx[192.0.2.1] timed out while sending end of data -- message may be sent more than once
                    = close 451 4.4.2 conversation with mx[192.0.2.1] timed out while sending end of data -- message may be sent more than once
                    """)),
        Case(
            "refused amid the content: the connection cannot go on", two,
            pipelining(
                commands + """
                    ! hold
                    S 250 ok
                    S 250 ok
                    S 250 ok
                    S 354 go
                    = content
                    S 552 5.3.4 too big
                    = 0 failed 552 5.3.4 too big
                    = 1 failed 552 5.3.4 too big
                    = close 552 5.3.4 too big
                    """)),
        Case(
            "garbage as a reply", two,
            pipelining(
                commands + """
                    S 250 ok
                    S ok
                    = 0 deferred 451 4.5.0 protocol error: host mx[192.0.2.1] sent a line that is no SMTP reply: ok
                    = 1 deferred 451 4.5.0 protocol error: host mx[192.0.2.1] sent a line that is no SMTP reply: ok
                    = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent a line that is no SMTP reply: ok
                    """)),
        Case(
            "354 to MAIL", two,
            pipelining(
                commands + """
                    S 354 go
                    = unstarted 451 4.5.0 protocol error: host mx[192.0.2.1] sent an unexpected reply to MAIL: 354 go
                    = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent an unexpected reply to MAIL: 354 go
                    """)),
        Case(
            "250 to DATA", [message()],
            plain(
                """
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                S 250 ok
                C DATA
                S 250 ok
                = 0 deferred 451 4.5.0 protocol error: host mx[192.0.2.1] sent an unexpected reply to DATA: 250 ok
                = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent an unexpected reply to DATA: 250 ok
                """)),
        Case(
            "told to stop", two,
            pipelining(
                commands + """
                    S 250 ok
                    ! abandon
                    = 0 deferred 451 4.3.2 stop
                    = 1 deferred 451 4.3.2 stop
                    = close 451 4.3.2 stop
                    """)),
        Case("lost while idle", [], pipelining("! lost\n= close 451 4.4.2 lost connection with mx[192.0.2.1] while waiting for the next message")),
        Case("lost after QUIT", [], pipelining("! quit\nC QUIT\n! lost\n= close")),
    ]

    static let parameters: [Case] = [
        Case(
            "every parameter that is offered and needed",
            [
                message(to: ["b@you.example", "c@you.example", "d@you.example"], content: "Subject: x\r\n\r\n\u{E9}\r\n") {
                    $0.returnContent = .headers
                    $0.envelopeID = "id+1"
                    $0.recipients[0].notify = [.success, .delay]
                    $0.recipients[0].originalRecipient = "rfc822;b=x@here.example"
                    $0.recipients[1].notify = .never
                }
            ],
            pipelining(
                """
                C MAIL FROM:<a@me.example> SIZE=18 BODY=8BITMIME RET=HDRS ENVID=id+2B1
                C RCPT TO:<b@you.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+3Dx@here.example
                C RCPT TO:<c@you.example> NOTIFY=NEVER
                C RCPT TO:<d@you.example>
                C DATA
                S 250 ok
                S 250 ok
                S 550 no
                S 550 no
                S 354 go
                = 1 failed 550 no
                = 2 failed 550 no
                = content
                S 250 taken
                = 0 accepted with DSN 250 taken
                = ready
                """, offers: ["PIPELINING", "SIZE", "8BITMIME", "DSN", "SMTPUTF8"])),
        Case(
            "no parameter that is not offered",
            [
                message {
                    $0.returnContent = .full
                    $0.envelopeID = "id"
                    $0.body = .eightBitMIME
                    $0.isInternationalized = true
                    $0.recipients[0].notify = .never
                }
            ],
            plain("C MAIL FROM:<a@me.example>\nS 250 ok\nC RCPT TO:<b@you.example>")),
        Case(
            "larger than the server takes", [message(), message(content: "x\r\n")],
            pipelining(
                """
                = 0 failed 552 5.3.4 message size 17 exceeds size limit 10 of server mx[192.0.2.1]
                = ready
                C MAIL FROM:<a@me.example> SIZE=3
                """, offers: ["SIZE 10"])),
        Case(
            "8-bit content and no 8BITMIME", [message(content: "Subject: x\r\n\r\n\u{E9}\r\n")],
            plain("= 0 failed 554 5.6.3 8-bit content, but 8BITMIME was not offered by host mx[192.0.2.1]\n= ready")),
        Case(
            "UTF-8 addresses and SMTPUTF8",
            [message(from: "\u{E9}@me.example", to: ["\u{E9}@you.example"])],
            pipelining(
                "C MAIL FROM:<\u{E9}@me.example> SMTPUTF8\nS 250 ok\nC RCPT TO:<\u{E9}@you.example>", offers: ["8BITMIME", "SMTPUTF8"])),
        Case(
            "UTF-8 recipients and no SMTPUTF8: only they fail", [message(to: ["\u{E9}@you.example", "b@you.example"])],
            plain(
                """
                = 0 failed 553 5.6.7 SMTPUTF8 is required, but was not offered by host mx[192.0.2.1]
                C MAIL FROM:<a@me.example>
                S 250 ok
                C RCPT TO:<b@you.example>
                """)),
        Case(
            "a recipient that has its result does not get another when the rest is not begun",
            [message(to: ["\u{E9}@you.example", "b@you.example"])],
            plain(
                """
                = 0 failed 553 5.6.7 SMTPUTF8 is required, but was not offered by host mx[192.0.2.1]
                C MAIL FROM:<a@me.example>
                S 421 4.4.2 idle too long
                = 1 deferred 421 4.4.2 idle too long
                = close 421 4.4.2 idle too long
                """)),
        Case(
            "UTF-8 in the header of an internationalized message and no SMTPUTF8",
            [message(content: "Subject: \u{E9}\r\n\r\n") { $0.isInternationalized = true }],
            pipelining(
                "= 0 failed 553 5.6.7 SMTPUTF8 is required, but was not offered by host mx[192.0.2.1]\n= ready", offers: ["8BITMIME"])),
        Case(
            "quoted local parts",
            [message(from: "\"a b\"@me.example", to: ["\"x\\\"y\"@you.example"])],
            plain("C MAIL FROM:<\"a b\"@me.example>\nS 250 ok\nC RCPT TO:<\"x\\\"y\"@you.example>")),
    ]
}
