// Composes delivery status notifications: RFC 3464 reports in RFC 6522 multiparts, with the wording of RFC 3461 §6, and
// RFC 6533 where addresses hold UTF-8. Pure: facts in, octets with CRLF out.

internal import MailSyntax
internal import NIOCore

struct DeliveryNotice {
    /// The message that the report is about, or its beginning.
    struct Original {
        let bytes: ByteBuffer
        let isWhole: Bool
    }

    let message: StoredMessage
    /// Those that the report speaks of; none is pending.
    let recipients: [StoredRecipient]
    let hostname: Domain
    let id: QueueID
    let now: Timestamp
    let original: Original

    /// A failed message of up to this many octets is returned whole, a larger one by its header (Postfix: bounce_size_limit).
    static let largestReturned = 50_000

    /// RFC 3461 §6.1: from the null reverse-path.
    var envelope: Envelope {
        Envelope(
            sender: nil, body: original.bytes.readableBytesView.contains { $0 >= 0x80 } || isInternationalized ? .eightBitMIME : .sevenBit,
            isInternationalized: isInternationalized)
    }

    private var hasFailures: Bool { recipients.contains { $0.state == .failed } }
    private var isInternationalized: Bool {
        !(message.sender?.isASCII ?? true) || recipients.contains { !$0.recipient.target.address.isASCII || !$0.recipient.original.isASCII }
    }

    func content() -> ByteBuffer {
        let boundary = "\(id).\(now.seconds)/\(hostname)"
        var out = ByteBufferAllocator().buffer(capacity: 4096 + (returnsWhole ? original.bytes.readableBytes : 2048))
        write(header(boundary), to: &out)
        write(["--\(boundary)"] + explanation() + ["", "--\(boundary)"] + status() + ["", "--\(boundary)"], to: &out)
        writeReturned(to: &out)
        write(["", "--\(boundary)--"], to: &out)
        return out
    }

    private func write(_ lines: [String], to out: inout ByteBuffer) {
        for line in lines {
            out.writeString(line)
            out.writeString("\r\n")
        }
    }

    private func header(_ boundary: String) -> [String] {
        [
            "Received: by \(hostname) (Valija) id \(id); \(now.rfc5322)",
            "Date: \(now.rfc5322)",
            "From: Mail Delivery System <MAILER-DAEMON@\(hostname)>",
            "To: \(message.sender.map { "\($0)" } ?? "")",
            "Subject: \(hasFailures ? "Undelivered Mail Returned to Sender" : "Successful Mail Delivery Report")",
            "Message-ID: <\(id)@\(hostname)>",
            "Auto-Submitted: auto-replied",  // RFC 3834 §5: nobody answers this by itself
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;",
            "\tboundary=\"\(boundary)\"",
            "",
            "This is a report in MIME format.",
            "",
        ]
    }

    /// The part for people.
    private func explanation() -> [String] {
        var lines = [
            "Content-Description: Notification", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit", "",
            "This is the mail system at host \(hostname).", "",
        ]
        if hasFailures {
            lines += [
                "Your message could not be delivered to one or more recipients.",
                "The reason for each stands below; your message is attached.", "",
            ]
        } else {
            lines += ["Your message was delivered to the recipients below, as you asked to be told.", ""]
        }
        for recipient in recipients {
            let reply = recipient.reply.map { singleLine($0.summary) } ?? "no reason was given"
            switch recipient.state {
            case .failed: lines.append("<\(recipient.recipient.target.address)>: \(reply)")
            case .relayed:
                lines.append("<\(recipient.recipient.target.address)>: passed on to \(recipient.relay ?? "the next mail server"), which does not report delivery")
            case .delivered, .pending: lines.append("<\(recipient.recipient.target.address)>: delivered")
            }
        }
        return lines
    }

    /// The part for programs: RFC 3464 §2.2 per-message fields, §2.3 per-recipient fields.
    private func status() -> [String] {
        let isUTF8 = isInternationalized
        var lines = [
            "Content-Description: Delivery report",
            // RFC 6533 §4: UTF-8 addresses need the global form.
            "Content-Type: message/\(isUTF8 ? "global-" : "")delivery-status",
        ]
        if isUTF8 { lines.append("Content-Transfer-Encoding: 8bit") }
        lines += ["", "Reporting-MTA: dns; \(hostname)", "X-Valija-Queue-ID: \(message.id)"]
        if let envelopeID = message.envelopeID { lines.append("Original-Envelope-Id: \(singleLine(envelopeID))") }
        lines.append("Arrival-Date: \(message.received.rfc5322)")
        let type = isUTF8 ? "utf-8" : "rfc822"
        for stored in recipients {
            let recipient = stored.recipient
            lines += ["", "Final-Recipient: \(type); \(recipient.target.address)"]
            // RFC 3461 §6.3: ORCPT as the sender gave it.
            if let original = recipient.originalRecipient {
                lines.append("Original-Recipient: \(singleLine(original))")
            } else if recipient.original != recipient.target.address {
                lines.append("Original-Recipient: \(type); \(recipient.original)")
            }
            lines.append("Action: \(stored.action)")
            let reply = stored.reply ?? Reply(stored.state == .failed ? 554 : 250, nil, "no reply")
            // A recipient given up after queue.lifetime keeps its 4.x.x: RFC 3464 §2.3.4 allows it with "failed".
            lines.append("Status: \(reply.enhanced ?? EnhancedCode.generic(for: reply))")
            if case .remote = recipient.target, let relay = stored.relay, let host = relay.split(separator: "[").first, !relay.hasPrefix("none") {
                lines.append("Remote-MTA: dns; \(host)")
                lines.append("Diagnostic-Code: smtp; \(singleLine(reply.summary))")
            } else {
                lines.append("Diagnostic-Code: x-valija; \(singleLine(reply.summary))")
            }
        }
        return lines
    }

    /// RFC 3461 §4.3: RET speaks of failures only; all else returns the header.
    private var returnsWhole: Bool {
        hasFailures && original.isWhole && message.returnContent != .headers && original.bytes.readableBytes <= DeliveryNotice.largestReturned
    }

    private func writeReturned(to out: inout ByteBuffer) {
        let view = original.bytes.readableBytesView
        let part = returnsWhole ? view : view.prefix(headerLength(view))
        var lines = ["Content-Description: \(hasFailures ? "Undelivered Message\(returnsWhole ? "" : " Headers")" : "Message Headers")"]
        switch (returnsWhole, isInternationalized) {  // RFC 6533 §4.2 for the global types
        case (true, false): lines.append("Content-Type: message/rfc822")
        case (true, true): lines.append("Content-Type: message/global")
        case (false, false): lines.append("Content-Type: text/rfc822-headers")
        case (false, true): lines.append("Content-Type: message/global-headers")
        }
        if part.contains(where: { $0 >= 0x80 }) { lines.append("Content-Transfer-Encoding: 8bit") }
        write(lines + [""], to: &out)
        out.writeBytes(part)
    }

    /// The octets up to the empty line that ends the header, or all if there is none.
    private func headerLength(_ bytes: ByteBufferView) -> Int {
        var atLineStart = true
        for (offset, byte) in bytes.enumerated() {
            if atLineStart, byte == UInt8(ascii: "\r") { return offset }
            atLineStart = byte == UInt8(ascii: "\n")
        }
        return bytes.count
    }
}

extension StoredRecipient {
    /// RFC 3464 §2.3.3.
    fileprivate var action: String {
        switch state {
        case .failed: "failed"
        case .delivered, .pending: "delivered"
        case .relayed: "relayed"
        }
    }
}

/// Replies and identifiers come from outside: no line break or control of theirs gets into a report.
private func singleLine(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.prefix(900).map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
}
