// Delivery reports: their text, their form by the standards, and that nobody else's text gets out of its line.

import MailSyntax
import NIOCore
import Testing

@testable import MailQueue

struct DeliveryNoticeTests {
    private func notice(
        _ recipients: [StoredRecipient], from sender: String = "sender@example.org", body: String = "Subject: x\r\nTo: a\r\n\r\nHello\r\n", isWhole: Bool = true,
        kind: DeliveryNotice.Kind = .outcome, flags: StoredMessage.Flags = [], envelopeID: String? = nil, hostname: String = "mail.example.org"
    ) -> (envelope: Envelope, text: String) {
        let message = StoredMessage(
            id: QueueID(rawValue: 0xABC), sender: Address(sender)!, received: epoch, size: body.utf8.count, flags: flags, envelopeID: envelopeID, due: epoch, attempts: 1,
            isLeased: true, recipients: recipients)
        let composed = DeliveryNotice(
            kind: kind, to: Address(sender)!, message: message, recipients: recipients, hostname: Domain(hostname)!, origin: Domain("example.org")!,
            id: QueueID(rawValue: 0xDEF), now: epoch + .seconds(60), retriedUntil: epoch + .seconds(432_000), largestReturned: 50_000,
            original: DeliveryNotice.Original(bytes: ByteBuffer(string: body), isWhole: isWhole)
        ).compose()
        return (composed.envelope, String(buffer: composed.content))
    }

    private func failed(
        _ address: String, _ reply: Reply = Reply(550, EnhancedCode(5, 1, 1), "No such user"), relay: String? = "mx.b.example[192.0.2.1]:25", originalRecipient: String? = nil,
        state: StoredRecipient.State = .failed
    ) -> StoredRecipient {
        StoredRecipient(recipient: queued(address, originalRecipient: originalRecipient), state: state, reply: reply, relay: relay)
    }

    @Test("a failure is reported in this form")
    func golden() {
        let (envelope, text) = notice([failed("bob@b.example", originalRecipient: "rfc822;robert@b.example")], envelopeID: "E1")
        let expected = """
            Received: by mail.example.org (Valija) id DEF; Tue, 24 Nov 2026 13:06:09 +0000
            Date: Tue, 24 Nov 2026 13:06:09 +0000
            From: Mail Delivery System <MAILER-DAEMON@example.org>
            To: sender@example.org
            Subject: Undelivered Mail Returned to Sender
            Message-ID: <DEF@mail.example.org>
            Auto-Submitted: auto-replied
            MIME-Version: 1.0
            Content-Type: multipart/report; report-type=delivery-status;
            \tboundary="DEF/1795525569"

            This is a report in MIME format.

            --DEF/1795525569
            Content-Description: Notification
            Content-Type: text/plain; charset=utf-8

            This is the mail system at host mail.example.org.

            Your message could not be delivered to one or more recipients.
            The reason for each stands below; your message is attached.

            <bob@b.example>: 550 5.1.1 No such user

            --DEF/1795525569
            Content-Description: Delivery report
            Content-Type: message/delivery-status

            Reporting-MTA: dns; mail.example.org
            X-Valija-Queue-ID: ABC
            Original-Envelope-Id: E1
            Arrival-Date: Tue, 24 Nov 2026 13:05:09 +0000

            Final-Recipient: rfc822; bob@b.example
            Original-Recipient: rfc822;robert@b.example
            Action: failed
            Status: 5.1.1
            Remote-MTA: dns; mx.b.example
            Diagnostic-Code: smtp; 550 5.1.1 No such user

            --DEF/1795525569
            Content-Description: Undelivered Message
            Content-Type: message/rfc822

            Subject: x
            To: a

            Hello

            --DEF/1795525569--

            """
        #expect(text == expected.split(separator: "\n", omittingEmptySubsequences: false).joined(separator: "\r\n"))
        #expect(envelope == Envelope(sender: nil))
    }

    /// What python3's `email` makes of a report: types of the parts, the recipients' fields, the text of the last part.
    private static let reader = """
        import email, email.policy, sys
        m = email.message_from_bytes(open(sys.argv[1], 'rb').read(), policy=email.policy.compat32)
        parts = m.get_payload()
        print(m.get_content_type(), m.get_param('report-type'), len(parts), m['Content-Transfer-Encoding'] or '7bit', len(m.defects) + sum(len(p.defects) for p in parts))
        for p in parts: print(p.get_content_type(), p['Content-Transfer-Encoding'] or '7bit')
        for block in parts[1].get_payload() if parts[1].get_content_type() == 'message/delivery-status' else []:
            for key, value in block.items(): print(key + ': ' + ' '.join(value.split()))
        """

    private func parsed(_ text: String) -> [String] {
        let directory = TemporaryDirectory()
        writeFile(directory.path + "/mail", Array(text.utf8))
        let (status, output) = run(["/usr/bin/python3", "-c", DeliveryNoticeTests.reader, directory.path + "/mail"])
        #expect(status == 0)
        return output.split(separator: "\n").map(String.init)
    }

    /// RFC 5322 §2.3 and §2.1.1, RFC 2045 §2.7, RFC 2046 §5.1.1.
    private func expectForm(_ text: String, of envelope: Envelope) {
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        #expect(lines.removeLast().isEmpty)
        #expect(lines.allSatisfy { $0.last == UInt8(ascii: "\r") && $0.filter { $0 == UInt8(ascii: "\r") }.count == 1 }, "CRLF only")
        #expect(lines.allSatisfy { $0.count <= 999 }, "998 octets and CR")
        #expect(envelope.body == .eightBitMIME || text.utf8.allSatisfy { $0 < 0x80 }, "what is not ASCII is declared")
        #expect(envelope.sender == nil)
    }

    @Test("a mail program reads every part of a report and every field")
    func structure() {
        let (envelope, text) = notice([
            failed("bob@b.example"), failed("carol@example.org", Reply(452, EnhancedCode(4, 2, 2), "Mailbox full"), relay: "maildir"),
            failed("dave@b.example", Reply(250, nil, "Ok"), state: .relayed),
        ])
        expectForm(text, of: envelope)
        #expect(parsed(text) == [
            "multipart/report delivery-status 3 7bit 0", "text/plain 7bit", "message/delivery-status 7bit", "message/rfc822 7bit",
            "Reporting-MTA: dns; mail.example.org", "X-Valija-Queue-ID: ABC", "Arrival-Date: Tue, 24 Nov 2026 13:05:09 +0000",
            "Final-Recipient: rfc822; bob@b.example", "Original-Recipient: rfc822;bob@b.example", "Action: failed", "Status: 5.1.1", "Remote-MTA: dns; mx.b.example", "Diagnostic-Code: smtp; 550 5.1.1 No such user",
            "Final-Recipient: rfc822; carol@example.org", "Original-Recipient: rfc822;carol@example.org", "Action: failed", "Status: 4.2.2", "Diagnostic-Code: x-valija; 452 4.2.2 Mailbox full",
            "Final-Recipient: rfc822; dave@b.example", "Original-Recipient: rfc822;dave@b.example", "Action: relayed", "Status: 2.0.0", "Remote-MTA: dns; mx.b.example", "Diagnostic-Code: smtp; 250 Ok",
        ])
    }

    @Test("a failed message is returned whole or by its header, as RET and its size say (RFC 3461 §4.3)", arguments: [
        // flags, size of the body, whole in memory, state, is the body returned
        ([], 100, true, .failed, true), (.returnFull, 100, true, .failed, true), (.returnHeaders, 100, true, .failed, false),
        ([], 49_000, true, .failed, true), ([], 51_000, true, .failed, false), (.returnFull, 51_000, true, .failed, false), ([], 100, false, .failed, false),
        ([], 100, true, .delivered, false), (.returnFull, 100, true, .relayed, false),
    ] as [(StoredMessage.Flags, Int, Bool, StoredRecipient.State, Bool)])
    func returned(flags: StoredMessage.Flags, size: Int, isWhole: Bool, state: StoredRecipient.State, isBodyReturned: Bool) {
        let body = "Subject: x\r\n\r\n" + String(repeating: "BODY567\r\n", count: size / 9)
        let (envelope, text) = notice([failed("bob@b.example", state: state)], body: body, isWhole: isWhole, flags: flags)
        expectForm(text, of: envelope)
        #expect(text.contains("BODY567") == isBodyReturned)
        #expect(text.contains(isBodyReturned ? "Content-Type: message/rfc822" : "Content-Type: text/rfc822-headers"))
        #expect(text.contains("Subject: x\r\n"))
        #expect(text.contains("the header of your message is attached") == (state == .failed && !isBodyReturned))
    }

    @Test("a header that was cut off ends with a whole line; no content is no header", arguments: [
        ("A: 1\r\nB: 2\r", "A: 1\r\n"), ("A: 1\r\nB: 2", "A: 1\r\n"), ("A: 1\r\n", "A: 1\r\n"), ("\r\nbody", ""), ("", ""),
    ])
    func cutOff(body: String, header: String) {
        let (envelope, text) = notice([failed("bob@b.example")], body: body, isWhole: false)
        expectForm(text, of: envelope)
        #expect(text.hasSuffix("Content-Type: text/rfc822-headers\r\n\r\n\(header)\r\n--DEF/1795525569--\r\n"))
    }

    @Test("UTF-8 in addresses makes a report of the global kind (RFC 6533), and ASCII addresses in it stay what they are")
    func global() {
        let (envelope, text) = notice(
            [failed("jürgen@bücher.example"), failed("bob@b.example", originalRecipient: "rfc822;bob@b.example")], body: "Subject: ü\r\n\r\nx\r\n", flags: .internationalized)
        expectForm(text, of: envelope)
        #expect(envelope.isInternationalized && envelope.body == .eightBitMIME)
        #expect(parsed(text) == ["multipart/report delivery-status 3 8bit 0", "text/plain 8bit", "message/global-delivery-status 8bit", "message/global 8bit"])
        #expect(text.contains("Final-Recipient: utf-8; jürgen@bücher.example\r\n") && text.contains("Final-Recipient: rfc822; bob@b.example\r\n"))
    }

    @Test("an ORCPT of type utf-8 stands in a report as ASCII, unless the report is of the global kind anyway (RFC 6533 §3)")
    func originalInUTF8() {
        let (envelope, text) = notice([failed("bob@b.example", originalRecipient: "utf-8;jürgen@bücher.example")])
        expectForm(text, of: envelope)
        #expect(!envelope.isInternationalized && envelope.body == .sevenBit)
        #expect(text.contains(#"Original-Recipient: utf-8;j\x{FC}rgen@b\x{FC}cher.example"# + "\r\n"), "\(text)")
        let (global, whole) = notice([failed("jürgen@b.example", originalRecipient: "utf-8;jürgen@bücher.example")])
        #expect(global.isInternationalized && whole.contains("Original-Recipient: utf-8;jürgen@bücher.example\r\n"), "\(whole)")
    }

    @Test("a report of a message that requires TLS requires it too, and returns the header alone (RFC 8689 §5)", arguments: [
        DeliveryNotice.Kind.outcome, .delay, .copy, .delayCopy, .doubleBounce,
    ])
    func requiresTLS(kind: DeliveryNotice.Kind) {
        let (envelope, text) = notice([failed("bob@b.example")], kind: kind, flags: [.tlsRequired, .returnFull])
        expectForm(text, of: envelope)
        #expect(envelope.tlsOption == .required && text.contains("Subject: x\r\n") && !text.contains("Hello"))
    }

    @Test("a report of a message that waives TLS says so, in its envelope and to all others (RFC 8689 §6)")
    func waivesTLS() {
        let (envelope, text) = notice([failed("bob@b.example")], flags: .tlsNotRequired)
        expectForm(text, of: envelope)
        #expect(envelope.tlsOption == .notRequired && text.split(separator: "\r\n\r\n")[0].contains("\r\nTLS-Required: No"))
        #expect(notice([failed("bob@b.example")]).envelope.tlsOption == nil)
    }

    @Test("the header of binary content gets into lines: no bare CR, LF or NUL of it ends the report")
    func binaryHeader() {
        let (envelope, text) = notice(
            [failed("bob@b.example")], body: "Subject: a\n.\nMAIL FROM:<x@y>\r.\r\0b\r\nTo: c\r\n\r\n\n.\n", flags: .binary)
        expectForm(text, of: envelope)
        #expect(envelope.body == .sevenBit && text.contains("Subject: a?.?MAIL FROM:<x@y>?.??b\r\nTo: c\r\n\r\n--DEF"), "\(text)")
        #expect(!text.replacing("\r\n", with: "").utf8.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 })
    }

    @Test("UTF-8 in a reply of the peer does not make the fields for programs other than ASCII")
    func replyInUTF8() {
        let (envelope, text) = notice([failed("bob@b.example", Reply(550, nil, "Postfach ungültig"))])
        expectForm(text, of: envelope)
        #expect(!envelope.isInternationalized && envelope.body == .eightBitMIME)
        #expect(parsed(text).starts(with: ["multipart/report delivery-status 3 8bit 0", "text/plain 8bit", "message/delivery-status 7bit", "message/rfc822 7bit"]))
        #expect(text.contains("<bob@b.example>: 550 Postfach ungültig\r\n") && text.contains("Diagnostic-Code: smtp; 550 Postfach ung?ltig\r\n"))
    }

    @Test("no text from outside begins a line of its own", arguments: ["\r\nX-Injected: 1", "\nX-Injected: 1", "\rX-Injected: 1", "\0\u{1B}[0m\u{7F}X-Injected: 1", "\r\n\r\n--DEF/1795525569--X-Injected: 1"])
    func injection(text evil: String) {
        let (envelope, text) = notice(
            [failed("bob@b.example", Reply(550, nil, lines: ["a" + evil, evil]), relay: "mx" + evil + "[192.0.2.1]", originalRecipient: "rfc822;a" + evil),
             failed("carol@b.example", Reply(250, nil, "Ok"), relay: "mx" + evil, state: .relayed)], envelopeID: "id" + evil)
        expectForm(text, of: envelope)
        #expect(!text.utf8.split(separator: UInt8(ascii: "\n")).contains { $0.starts(with: "X-Injected".utf8) })
        #expect(text.utf8.allSatisfy { $0 >= 0x20 || $0 == 0x0D || $0 == 0x0A || $0 == 0x09 } && !text.utf8.contains(0x7F))
        #expect(parsed(text).first == "multipart/report delivery-status 3 7bit 0")
    }

    @Test("long texts are folded, not cut off and not passed on", arguments: [
        String(repeating: "x", count: 5000), String(repeating: "word ", count: 400), String(repeating: "ü", count: 2000), String(repeating: "\u{1F4E8}", count: 1500),
    ])
    func longLines(long: String) {
        let address = String(repeating: "l", count: 256) + "@" + Array(repeating: String(repeating: "d", count: 60), count: 4).joined(separator: ".")
        let (envelope, text) = notice(
            [failed(address, Reply(550, nil, long), relay: long, originalRecipient: "rfc822;" + long)], envelopeID: long, hostname: Array(repeating: String(repeating: "h", count: 60), count: 4).joined(separator: "."))
        expectForm(text, of: envelope)
        #expect(text.contains("boundary=\"DEF/1795525569\""), "70 characters at most, however long the host's name")
    }
}
