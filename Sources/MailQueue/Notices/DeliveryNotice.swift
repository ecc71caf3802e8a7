// Composes delivery status notifications: RFC 3464 reports in RFC 6522 multiparts, with the wording of RFC 3461 §6, and
// RFC 6533 where addresses hold UTF-8, as protected on their way as what they speak of (RFC 8689 §5). Pure: facts in, an envelope and octets with CRLF out.
//
// Whatever a peer said gets in as one line of text: no reply, identifier or relay name of theirs begins a line of a report.

internal import MailSyntax
internal import NIOCore

struct DeliveryNotice {
    /// The message that the report is about, or its beginning.
    struct Original {
        let bytes: ByteBuffer
        let isWhole: Bool
    }

    enum Kind: Sendable {
        /// To the sender: what failed, or was delivered where it asked to hear so.
        case outcome
        /// To the sender: what waits, and is tried on.
        case delay
        /// To the postmaster: copies of the two above, and a report that its sender cannot get.
        case copy, delayCopy, doubleBounce

        var isForPostmaster: Bool { self != .outcome && self != .delay }
    }

    let kind: Kind
    let to: Address
    let message: StoredMessage
    /// Those that the report speaks of.
    let recipients: [StoredRecipient]
    let hostname: Domain
    /// The domain of the report's author.
    let origin: Domain
    let id: QueueID
    let now: Timestamp
    /// When what waits is given up.
    let retriedUntil: Timestamp
    /// A failed message of up to this many octets is returned whole, a larger one by its header (Postfix: bounce_size_limit).
    let largestReturned: Int
    let original: Original
    /// The report itself needs SMTPUTF8: an address in it is not ASCII, or it returns a header that is not and that came so.
    private let isGlobal: Bool
    /// RFC 6533 §4.2: the header of a message that came with SMTPUTF8 holds UTF-8.
    private let returnsGlobal: Bool

    init(
        kind: Kind, to: Address, message: StoredMessage, recipients: [StoredRecipient], hostname: Domain, origin: Domain, id: QueueID, now: Timestamp,
        retriedUntil: Timestamp, largestReturned: Int, original: Original
    ) {
        self.kind = kind
        self.to = to
        self.retriedUntil = retriedUntil
        self.largestReturned = largestReturned
        self.message = message
        self.recipients = recipients
        self.hostname = hostname
        self.origin = origin
        self.id = id
        self.now = now
        self.original = original
        let header = original.bytes.readableBytesView
        returnsGlobal = message.flags.contains(.internationalized) && !isASCII(header.prefix(headerLength(header)))
        let isAddressASCII = to.isASCII && recipients.allSatisfy { stored in
            let recipient = stored.recipient
            // An ORCPT has an ASCII form.
            return recipient.target.address.isASCII && (recipient.originalRecipient != nil || recipient.original.isASCII)
        }
        isGlobal = returnsGlobal || !isAddressASCII || !hostname.isASCII || !origin.isASCII
    }

    /// RFC 5322 §2.1.1 allows 998 octets a line.
    fileprivate static let longestLine = 900
    /// How many characters of what a peer said are shown.
    fileprivate static let longestText = 1800

    func compose() -> (envelope: Envelope, content: ByteBuffer) {
        let explanation = explanation()
        let status = status()
        let returned = returnedPart
        let is8bit = [explanation, status].contains { $0.contains { !isASCII($0.utf8) } } || !isASCII(returned) || isGlobal
        var out = ByteBufferAllocator().buffer(capacity: 4096 + returned.count)
        write(header(is8bit: is8bit), to: &out)
        let delimiter = "--\(boundary)"
        write([delimiter, "Content-Description: Notification", "Content-Type: text/plain; charset=utf-8"], to: &out)
        write(encoding(is8bit: !explanation.allSatisfy { isASCII($0.utf8) }) + [""] + explanation, to: &out)
        // RFC 6533 §4: UTF-8 addresses need the global form.
        write(["", delimiter, "Content-Description: Delivery report", "Content-Type: message/\(isGlobal ? "global-" : "")delivery-status"], to: &out)
        write(encoding(is8bit: isGlobal) + [""] + status, to: &out)
        write(["", delimiter, "Content-Description: \(returnedDescription)", "Content-Type: \(returnedType)"], to: &out)
        write(encoding(is8bit: !isASCII(returned)) + [""], to: &out)
        out.writeBytes(returned)
        write(["", "\(delimiter)--"], to: &out)
        // RFC 3461 §6.1: from the null reverse-path.
        let envelope = Envelope(sender: nil, body: is8bit ? .eightBitMIME : .sevenBit, isInternationalized: isGlobal, tlsOption: message.tlsOption)
        return (envelope, out)
    }

    /// RFC 2046 §5.1.1: up to 70 characters, so without the host name, which may be longer.
    private var boundary: String { "\(id)/\(now.seconds)" }

    var messageID: String { "<\(id)@\(hostname)>" }

    var hasFailures: Bool { recipients.contains { $0.state == .failed } }

    /// What it is, in Postfix's words for the log.
    var words: String {
        switch kind {
        case .outcome: "sender \(hasFailures ? "non-delivery" : "delivery status") notification"
        case .delay: "sender delay notification"
        case .copy, .doubleBounce: "postmaster non-delivery notification"
        case .delayCopy: "postmaster delay notification"
        }
    }

    private var subject: String {
        switch kind {
        case .outcome: hasFailures ? "Undelivered Mail Returned to Sender" : "Successful Mail Delivery Report"
        case .delay: "Delayed Mail (still being retried)"
        case .copy, .doubleBounce: "Postmaster Copy: Undelivered Mail"
        case .delayCopy: "Postmaster Warning: Delayed Mail"
        }
    }

    private func write(_ lines: [String], to out: inout ByteBuffer) {
        for line in lines {
            out.writeString(line)
            out.writeString("\r\n")
        }
    }

    private func encoding(is8bit: Bool) -> [String] { is8bit ? ["Content-Transfer-Encoding: 8bit"] : [] }

    private func header(is8bit: Bool) -> [String] {
        [
            "Received: by \(hostname) (Valija) id \(id); \(now.rfc5322)",
            "Date: \(now.rfc5322)",
            "From: Mail Delivery System <MAILER-DAEMON@\(origin)>",
            "To: \(to)",
            "Subject: \(subject)",
            "Message-ID: \(messageID)",
            "Auto-Submitted: auto-replied",  // RFC 3834 §5: nobody answers this by itself
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;",
            "\tboundary=\"\(boundary)\"",
        ]
            // RFC 8689 §6: what the sender said of TLS holds for what comes of the message.
            + (message.tlsOption == .notRequired ? ["TLS-Required: No"] : [])
            // RFC 2045 §6.4: a multipart is labelled with what its parts need.
            + encoding(is8bit: is8bit) + ["", "This is a report in MIME format.", ""]
    }

    /// The part for people.
    private func explanation() -> [String] {
        var lines = ["This is the mail system at host \(hostname).", ""]
        lines += introduction + [""]
        for recipient in recipients {
            let outcome =
                switch recipient.state {
                case .failed: recipient.reply.map { $0.summary } ?? "no reason was given"
                case .relayed: "passed on to \(recipient.relay ?? "the next mail server"), which does not report delivery"
                case .delivered: "delivered"
                case .expanded: "an alias; the message was sent on to the addresses behind it"
                case .pending: recipient.reply.map { $0.summary } ?? "it was not tried yet"
                }
            lines += folded("<\(recipient.recipient.target.address)>: \(singleLine(outcome))", width: 78)
        }
        return lines
    }

    private var introduction: [String] {
        let author = message.sender.map { "\($0)" } ?? "<>, the null sender"
        let attached = "The reason for each stands below; \(returnsWhole ? "the message" : "the header of the message") is attached."
        switch kind {
        case .outcome where hasFailures:
            return [
                "Your message could not be delivered to one or more recipients.",
                "The reason for each stands below; \(returnsWhole ? "your message" : "the header of your message") is attached.",
            ]
        case .outcome: return ["Your message was delivered to the recipients below, as you asked to be told."]
        case .delay:
            return [
                "THIS IS A WARNING ONLY. YOU DO NOT NEED TO RESEND YOUR MESSAGE.", "",
                "Your message could not be delivered yet to one or more recipients.",
                "It will be tried until \(retriedUntil.rfc5322). The reason for each stands below.",
            ]
        case .copy: return ["A message from \(author)", "could not be delivered to one or more recipients, and was returned.", attached]
        case .delayCopy: return ["A message from \(author)", "could not be delivered yet to one or more recipients, and is tried on.", attached]
        case .doubleBounce:
            return ["A message from \(author)", "could not be delivered to one or more recipients, nor could this be told to its sender.", attached]
        }
    }

    /// The part for programs: RFC 3464 §2.2 per-message fields, §2.3 per-recipient fields.
    private func status() -> [String] {
        var lines = ["Reporting-MTA: dns; \(hostname)", "X-Valija-Queue-ID: \(message.id)"]
        if let envelopeID = message.envelopeID { lines += field("Original-Envelope-Id: \(envelopeID)") }
        lines.append("Arrival-Date: \(message.received.rfc5322)")
        for stored in recipients {
            let recipient = stored.recipient
            lines += ["", "Final-Recipient: \(typed(recipient.target.address))"]
            lines += field("Original-Recipient: \(XText.field(originalRecipient: recipient.reportedOriginal, isInternationalized: isGlobal))")
            lines.append("Action: \(stored.action)")
            let reply = stored.reply ?? stored.missingReply
            // A recipient given up after queue.lifetime keeps its 4.x.x: RFC 3464 §2.3.4 allows it with "failed".
            lines.append("Status: \(reply.enhanced ?? EnhancedCode.generic(for: reply))")
            if case .remote = recipient.target, let relay = stored.relay, let host = relay.split(separator: "[").first, !relay.hasPrefix("none") {
                lines += field("Remote-MTA: dns; \(host)") + field("Diagnostic-Code: smtp; \(reply.summary)")
            } else {
                lines += field("Diagnostic-Code: x-valija; \(reply.summary)")
            }
            if stored.state == .pending { lines.append("Will-Retry-Until: \(retriedUntil.rfc5322)") }  // RFC 3464 §2.3.9
        }
        return lines
    }

    /// RFC 6533 §3: the type `utf-8` where there is UTF-8, else the old one, which everybody reads.
    private func typed(_ address: Address) -> String { "\(address.isASCII ? "rfc822" : "utf-8"); \(address)" }

    /// A field with text from outside. message/delivery-status is ASCII (RFC 3464 §2.1); only its global form is not.
    private func field(_ text: String) -> [String] {
        var text = singleLine(text)
        if !isGlobal { text = String(String.UnicodeScalarView(text.unicodeScalars.map { $0.isASCII ? $0 : "?" })) }
        return folded(text, width: DeliveryNotice.longestLine)
    }

    // MARK: The message, returned

    /// RFC 3461 §4.3: RET speaks of failures only; all else returns the header.
    private var returnsWhole: Bool {
        // RFC 8689 §5: as if RET=HDRS were there.
        guard hasFailures, message.body != .binary, message.tlsOption != .required, original.isWhole, original.bytes.readableBytes <= largestReturned else { return false }
        // Copies for the postmaster hold no more than he needs; where nobody else gets the message, he does.
        return kind == .doubleBounce || kind == .outcome && message.returnContent != .headers
    }

    private var returnedPart: ByteBufferView {
        let view = original.bytes.readableBytesView
        if returnsWhole { return view }
        let header = view.prefix(headerLength(view))
        return message.body == .binary ? ByteBuffer(bytes: asLines(header)).readableBytesView : header
    }

    private var returnedDescription: String {
        hasFailures ? "Undelivered Message\(returnsWhole ? "" : " Headers")" : "Message Headers"
    }

    private var returnedType: String {
        switch (returnsWhole, returnsGlobal) {
        case (true, false): "message/rfc822"
        case (true, true): "message/global"
        case (false, false): "text/rfc822-headers"
        case (false, true): "message/global-headers"
        }
    }
}

extension StoredRecipient {
    /// RFC 3464 §2.3.3.
    fileprivate var action: String {
        switch state {
        case .failed: "failed"
        case .delivered: "delivered"
        case .relayed: "relayed"
        case .expanded: "expanded"
        case .pending: "delayed"
        }
    }

    fileprivate var missingReply: Reply {
        switch state {
        case .failed: Reply(554, nil, "no reply")
        case .pending: Reply(450, EnhancedCode(4, 0, 0), "not tried yet")
        case .expanded: Reply(250, EnhancedCode(2, 0, 0), "alias expanded")
        case .delivered, .relayed: Reply(250, nil, "no reply")
        }
    }
}

/// The octets up to the empty line that ends the header; where there is none, up to the last line end, so that a
/// beginning that was cut off ends with a whole line.
private func headerLength(_ bytes: ByteBufferView) -> Int {
    var lineStart = 0
    for (offset, byte) in bytes.enumerated() {
        if byte == UInt8(ascii: "\r"), offset == lineStart { return offset }
        if byte == UInt8(ascii: "\n") { lineStart = offset + 1 }
    }
    return lineStart
}

/// The header of binary content (RFC 3030 §3), where CR, LF and NUL are octets like others: in a report, which has lines, a bare one could end
/// the report for a server that takes it for a line end, and what follows would be a message of the author's making.
private func asLines(_ bytes: ByteBufferView) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(bytes.count)
    for (index, byte) in zip(bytes.indices, bytes) {
        let isBare =
            switch byte {
            case UInt8(ascii: "\n"): result.last != UInt8(ascii: "\r")
            case UInt8(ascii: "\r"): bytes.index(after: index) == bytes.endIndex || bytes[bytes.index(after: index)] != UInt8(ascii: "\n")
            default: byte == 0
            }
        result.append(isBare ? UInt8(ascii: "?") : byte)
    }
    return result
}

private func isASCII(_ bytes: some Sequence<UInt8>) -> Bool { bytes.allSatisfy { $0 < 0x80 } }

/// Replies and identifiers come from outside: no line break or control of theirs gets into a report, nor more than a
/// person would read.
private func singleLine(_ text: String) -> String {
    String(String.UnicodeScalarView(text.unicodeScalars.prefix(DeliveryNotice.longestText).map { $0.value < 0x20 || $0.value == 0x7F ? " " : $0 }))
}

/// `text` in lines of `width` octets where spaces allow, and of `longestLine` in any case; all but the first begin with
/// spaces.
private func folded(_ text: String, width: Int) -> [String] {
    let indent = "    "
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
        if !line.isEmpty, line.utf8.count + 1 + word.utf8.count > width {
            lines.append(line)
            line = indent
        } else if !line.isEmpty, line != indent {
            line += " "
        }
        for scalar in word.unicodeScalars {
            if line.utf8.count + 4 > DeliveryNotice.longestLine {
                lines.append(line)
                line = indent
            }
            line.unicodeScalars.append(scalar)
        }
    }
    return lines + [line]
}
