// What `sendmail` makes of its input.

import MailSyntax
import Testing

private func octets(_ text: String, dotEnds: Bool = false) -> String {
    String(decoding: Submission(Array(text.utf8), dotEnds: dotEnds).octets, as: UTF8.self)
}

@Test(
    "input of any kind becomes a message with CRLF line ends",
    arguments: [
        ("Subject: x\n\nhello\n", "Subject: x\r\n\r\nhello\r\n"),
        ("Subject: x\r\n\r\nhello\r\n", "Subject: x\r\n\r\nhello\r\n"),
        ("Subject: x\n\nno line end", "Subject: x\r\n\r\nno line end\r\n"),
        ("Subject: x\n", "Subject: x\r\n\r\n"),
        ("", "\r\n"),
        ("Subject: a\n b\n\tc\nTo: d\n\nhello\n", "Subject: a\r\n b\r\n\tc\r\nTo: d\r\n\r\nhello\r\n"),
        // No header: all of it is the body.
        ("hello\nworld\n", "\r\nhello\r\nworld\r\n"),
        (" begins with a blank\n", "\r\n begins with a blank\r\n"),
        (": no name\n", "\r\n: no name\r\n"),
        ("\nSubject: in the body\n", "\r\nSubject: in the body\r\n"),
        // The header ends where no field is.
        ("Subject: x\nhello\nTo: y\n", "Subject: x\r\n\r\nhello\r\nTo: y\r\n"),
        // RFC 5322 §4.5: white space before the colon.
        ("Subject : x\n\nhello\n", "Subject : x\r\n\r\nhello\r\n"),
        // The separator of mbox files.
        ("From alice Mon Jan  1 00:00:00 2026\nSubject: x\n\nhello\n", "Subject: x\r\n\r\nhello\r\n"),
        (">From alice Mon Jan  1 00:00:00 2026\nSubject: x\n\nhello\n", "Subject: x\r\n\r\nhello\r\n"),
        ("From: a@x.test\n\nFrom the start\n", "From: a@x.test\r\n\r\nFrom the start\r\n"),
        // What no server takes: a progress bar in the output of a cron job.
        ("Subject: x\n\n10%\r20%\r100%\r\nNUL:\0.\n", "Subject: x\r\n\r\n10%\r\n20%\r\n100%\r\nNUL:.\r\n"),
    ])
func lineEnds(input: String, message: String) { #expect(octets(input) == message) }

@Test(
    "a lone dot ends the message where it is to, and nothing else does",
    arguments: [
        ("Subject: x\n\na\n.\nb\n", true, "Subject: x\r\n\r\na\r\n"),
        ("Subject: x\r\n\r\na\r\n.\r\nb\r\n", true, "Subject: x\r\n\r\na\r\n"),
        ("Subject: x\n.\nTo: y\n", true, "Subject: x\r\n\r\n"),
        ("Subject: x\n\na\n..\n. \n.b\n", true, "Subject: x\r\n\r\na\r\n..\r\n. \r\n.b\r\n"),
        ("Subject: x\n\na\n.\nb\n", false, "Subject: x\r\n\r\na\r\n.\r\nb\r\n"),
    ])
func dots(input: String, dotEnds: Bool, message: String) { #expect(octets(input, dotEnds: dotEnds) == message) }

@Test("octets beyond ASCII pass through as they are, in Latin-1 too; UTF-8 in the header needs SMTPUTF8")
func eightBit() {
    let latin1 = Array("Subject: Gr".utf8) + [0xFC, 0xDF, 0x65] + Array("\r\n\r\nx\r\n".utf8)
    let submission = Submission(latin1, dotEnds: false)
    #expect(submission.octets == latin1)
    #expect(submission.isEightBit && !submission.isInternationalized)
    let utf8 = Submission(Array("Subject: Grüße\n\nx\n".utf8), dotEnds: false)
    #expect(utf8.isEightBit && utf8.isInternationalized)
    let body = Submission(Array("Subject: x\n\nGrüße\n".utf8), dotEnds: false)
    #expect(body.isEightBit && !body.isInternationalized)
    let ascii = Submission(Array("Subject: x\n\nx\n".utf8), dotEnds: false)
    #expect(!ascii.isEightBit && !ascii.isInternationalized)
}

@Test(
    "recipients come from To, Cc and Bcc, or from their Resent- forms alone",
    arguments: [
        ("To: a@x.test,\n b@x.test\nCC: c@x.test\nbcc: d@x.test\nReply-To: e@x.test\n\nTo: f@x.test\n", ["a", "b", "c", "d"]),
        ("To: a@x.test\nTo: b@x.test\n\n", ["a", "b"]),
        ("To : a@x.test\n\n", ["a"]),
        ("To: a@x.test\nResent-To: r@x.test\nResent-Bcc: s@x.test\n\n", ["r", "s"]),
        ("Subject: none\n\n", []),
    ])
func recipients(input: String, names: [String]) {
    let (addresses, flaws) = Submission(Array(input.utf8), dotEnds: false).headerRecipients()
    #expect(addresses.map(\.localPart) == names && flaws.isEmpty)
}

@Test("blind copies are removed with all their lines, and nothing else is")
func blindCopies() {
    var submission = Submission(Array("To: a@x.test\nBcc: b@x.test,\n c@x.test\nResent-BCC: d@x.test\nX-Bcc: e\n\nBcc: in the body\n".utf8), dotEnds: false)
    submission.removeBlindCopies()
    #expect(String(decoding: submission.octets, as: UTF8.self) == "To: a@x.test\r\nX-Bcc: e\r\n\r\nBcc: in the body\r\n")
}

@Test(
    "From, Date and Message-ID are added where they are missing, and not where they are there",
    arguments: [
        (nil, "alice@x.test"), ("", "alice@x.test"), ("Alice Example", "Alice Example <alice@x.test>"),
        ("Alice E. Example", "\"Alice E. Example\" <alice@x.test>"), ("a \"b\" \\", "\"a \\\"b\\\" \\\\\" <alice@x.test>"),
        ("evil\r\nBcc: x", "\"evilBcc: x\" <alice@x.test>"), ("Grüße", "Grüße <alice@x.test>"),
    ] as [(String?, String)])
func completion(name: String?, from: String) {
    var submission = Submission(Array("Subject: x\n\nhello\n".utf8), dotEnds: false)
    submission.complete(from: Address("alice@x.test")!, name: name, messageID: "1@x.test", at: Timestamp(seconds: 0))
    #expect(
        String(decoding: submission.octets, as: UTF8.self)
            == "Subject: x\r\nMessage-ID: <1@x.test>\r\nDate: Thu, 1 Jan 1970 00:00:00 +0000\r\nFrom: \(from)\r\n\r\nhello\r\n")
    let whole = "from: b@x.test\r\nDATE: now\r\nMessage-Id: <2@x.test>\r\n\r\n"
    var complete = Submission(Array(whole.utf8), dotEnds: false)
    complete.complete(from: Address("alice@x.test")!, name: name, messageID: "1@x.test", at: Timestamp(seconds: 0))
    #expect(String(decoding: complete.octets, as: UTF8.self) == whole)
}
