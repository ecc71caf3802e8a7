// What a session's log says at its end: each command, how often it was given, and how often in vain.

import MailSyntax
import NIOCore
import Testing

@testable import SMTP

struct CommandCountsTests {
    @Test("commands are counted with those in vain, and the last one is known", arguments: [
        ("", "commands=0/0", "CONNECT"),
        ("EHLO a", "ehlo=1 commands=1", "EHLO"),
        ("HELO a|NOOP|NOOP|QUIT", "helo=1 noop=2 quit=1 commands=4", "QUIT"),
        ("MAIL FROM:<>", "mail=0/1 commands=0/1", "MAIL"),
        ("EHLO a|MAIL FROM:<>|RCPT TO:<a@b>|RCPT TO:<no@b>", "ehlo=1 mail=1 rcpt=1/2 commands=3/4", "RCPT"),
        ("EHLO a|FOO|EXPN x|STARTTLS|AUTH PLAIN|HELP", "ehlo=1 starttls=0/1 auth=0/1 unknown=0/1 help=1 expn=0/1 commands=2/6", "HELP"),
        ("EHLO a|MAIL FROM:<>|RCPT TO:<a@b>|DATA", "ehlo=1 mail=1 rcpt=1 data=1 commands=4", "DATA (0 bytes)"),
        ("EHLO a|MAIL FROM:<>|RCPT TO:<a@b>|DATA|x|.", "ehlo=1 mail=1 rcpt=1 data=1 commands=4", "END-OF-MESSAGE"),
        ("EHLO a|MAIL FROM:<>|RCPT TO:<a@b>|BDAT 3|x", "ehlo=1 mail=1 rcpt=1 bdat=1 commands=4", "BDAT (3 bytes)"),
    ])
    func counts(script: String, counts: String, after: String) {
        var session = ServerSession(configuration: ServerSession.Configuration(
            hostname: Domain("mx.example.org")!, origin: Domain("example.org")!, messageSizeLimit: 0, recipientLimit: 100))
        session.greet()
        for line in script.split(separator: "|") {
            session.receive(ByteBuffer(string: "\(line)\r\n"))
            while let action = session.next() {
                switch action {
                case .judgeRecipient(let recipient, _): session.answer(Reply(recipient.address.localPart == "no" ? 550 : 250, nil, "x"))
                case .judgeSender, .judgeVerify, .commit: session.answer(Reply(250, nil, "x"))
                default: break
                }
            }
        }
        #expect(session.counts.description == counts)
        #expect(session.after == after)
    }

    @Test("content that does not come to its end was in vain")
    func lost() {
        var session = ServerSession(configuration: ServerSession.Configuration(
            hostname: Domain("mx.example.org")!, origin: Domain("example.org")!, messageSizeLimit: 0, recipientLimit: 100))
        session.greet()
        session.receive(ByteBuffer(string: "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<a@b>\r\nDATA\r\nhalf"))
        session.endOfInput()
        while let action = session.next() {
            switch action {
            case .judgeRecipient, .judgeSender: session.answer(Reply(250, nil, "x"))
            default: break
            }
        }
        #expect(session.counts.description == "ehlo=1 mail=1 rcpt=1 data=0/1 commands=3/4")
        #expect(session.after.hasPrefix("DATA (") && session.closingReply == nil)
    }
}
