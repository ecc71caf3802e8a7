// The queue as administrators read it: Postfix's mailq(1), `postqueue -j` and postcat(1), and our own JSON, an object a message.

internal import MailQueue
internal import MailSyntax
internal import Telemetry

/// Renders a listing page by page; holds only sums.
struct QueueListing {
    enum Format: String {
        /// As mailq(1) prints it with `enable_long_queue_ids`.
        case mailq
        case json
        /// As `postqueue -j` of Postfix 3.7 prints it.
        case postqueue
        /// The envelope as postcat(1) prints it.
        case envelope
        /// A line for each recipient that is not done: id, user or nothing, address, with tabs between.
        case recipients

        /// No content follows the entry of a message.
        var isEntryOnly: Bool { self != .mailq }
    }

    private let format: Format
    private var messages = 0
    private var octets = 0

    init(format: Format) { self.format = format }

    mutating func render(_ page: [StoredMessage]) -> [UInt8] {
        var out: [UInt8] = []
        for message in page {
            if messages == 0, format == .mailq { out += QueueListing.title }
            out += QueueListing.entry(message, format)
            messages += 1
            octets += message.size
        }
        return out
    }

    /// What follows the last message.
    func end() -> [UInt8] {
        guard format == .mailq else { return [] }
        if messages == 0 { return Array("Mail queue is empty\n".utf8) }
        return Array("-- \(octets / 1024) Kbytes in \(messages) Request\(messages == 1 ? "" : "s").\n".utf8)
    }

    static let title = Array("----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n".utf8)

    static func entry(_ message: StoredMessage, _ format: Format) -> [UInt8] {
        switch format {
        case .mailq: text(message)
        case .json: json(message)
        case .postqueue: postqueue(message)
        case .envelope: Array(envelope(message).utf8)
        case .recipients: Array(recipients(message).utf8)
        }
    }

    /// One message alone: what mailq(1) has no word for is said as well.
    static func shown(_ message: StoredMessage, _ format: Format) -> [UInt8] {
        guard format == .mailq, let option = message.tlsOption else { return entry(message, format) }
        return text(message).dropLast() + "TLS on the way: \(option == .required ? "required (REQUIRETLS)" : "not required (TLS-Required: No)")\n\n".utf8
    }

    private static func recipients(_ message: StoredMessage) -> String {
        message.recipients.filter { $0.state == .pending }.map { stored in
            "\(message.id)\t\(stored.recipient.target.name ?? "")\t\(stored.recipient.target.address)\n"
        }.joined()
    }

    /// Queue id with `*` while it is being delivered and `!` on hold, size, arrival, sender; then each recipient, under the reason
    /// of its last failure. Octets put together, not texts: there may be a million.
    private static func text(_ message: StoredMessage) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(320)
        // postqueue(1): `#` is set beside the others.
        let mark = (message.queue == .active ? "*" : message.queue == .hold ? "!" : "") + (message.isForcedToExpire ? "#" : "")
        text.append(padding: "\(message.id)\(mark)", to: 17, right: false)
        text.append(UInt8(ascii: " "))
        text.append(padding: "\(message.size)", to: 8)
        text.append(UInt8(ascii: " "))
        text += message.received.asctimeWithoutYear.utf8
        text.append(UInt8(ascii: " "))
        text += sender(message).utf8
        text.append(UInt8(ascii: "\n"))
        var lastReason: String?
        for recipient in message.recipients where recipient.state == .pending {
            if let reason = recipient.explanation, reason != lastReason {
                text.append(padding: "(\(reason))", to: 78)
                text.append(UInt8(ascii: "\n"))
                lastReason = reason
            }
            text += repeatElement(UInt8(ascii: " "), count: 47)
            text += recipient.recipient.target.address.description.utf8
            text.append(UInt8(ascii: "\n"))
        }
        text.append(UInt8(ascii: "\n"))
        return text
    }

    private static func sender(_ message: StoredMessage) -> String { message.sender.map { "\($0)" } ?? "MAILER-DAEMON" }

    /// postqueue(1), "JSON object format": with its blanks, as scripts may look for them.
    private static func postqueue(_ message: StoredMessage) -> [UInt8] {
        var line = JSONLine(isSpaced: true)
        line.field("queue_name", message.queue.rawValue)
        line.field("queue_id", message.id.description)
        line.field("arrival_time", Int(message.received.seconds))
        line.field("message_size", message.size)
        line.field("forced_expire", message.isForcedToExpire)
        line.field("sender", sender(message))
        line.beginArray("recipients")
        for stored in message.recipients where stored.state == .pending {
            line.beginElement()
            line.field("address", stored.recipient.target.address.description)
            line.field("delay_reason", stored.explanation)
            line.endObject()
        }
        line.endArray()
        line.finish()
        return line.bytes
    }

    /// postcat(1): the records of a queue file that have an equivalent here. What a recipient waits for stands in other files
    /// of Postfix's.
    private static func envelope(_ message: StoredMessage) -> String {
        let time = message.received.asctime
        let sums = [message.size, 0, message.recipients.count, 0, message.size, 0].map { number in
            let digits = "\(number)"
            return String(repeating: " ", count: max(0, 15 - digits.utf8.count)) + digits
        }
        var text = """
            *** ENVELOPE RECORDS \(message.queue.rawValue)/\(message.id) ***
            message_size: \(sums.joined(separator: " "))
            message_arrival_time: \(time)
            create_time: \(time)
            named_attribute: log_ident=\(message.id)
            named_attribute: rewrite_context=remote

            """
        text += "sender: \(message.sender.map { "\($0)" } ?? "")\n"
        if message.isEightBit { text += "named_attribute: encoding=8bit\n" }
        // Postfix has it among its `sendopts`, which are numbers.
        if let option = message.tlsOption { text += "named_attribute: tls_required=\(option == .required ? "yes" : "no")\n" }
        if let id = message.envelopeID { text += "named_attribute: envelope_id=\(id)\n" }
        for stored in message.recipients {
            text += "named_attribute: dsn_orig_rcpt=\(stored.recipient.originalRecipient ?? "rfc822;\(stored.recipient.original)")\n"
            text += "original_recipient: \(stored.recipient.original)\n"
            text += "\(stored.state == .pending ? "recipient" : "done_recipient"): \(stored.recipient.target.address)\n"
        }
        return text
    }

    static func json(_ message: StoredMessage) -> [UInt8] {
        var line = JSONLine()
        line.field("queue_id", message.id.description)
        line.field("queue", message.queue.rawValue)
        line.field("arrival_time", message.received.rfc3339)
        line.field("next_attempt", message.isLeased || message.isHeld ? nil : message.due.rfc3339)
        line.field("attempts", message.attempts)
        line.field("size", message.size)
        line.field("from", message.sender?.description ?? "")
        line.field("tls", message.tlsOption.map { $0 == .required ? "required" : "not required" })
        line.beginArray("recipients")
        for stored in message.recipients {
            line.beginElement()
            line.field("to", stored.recipient.target.address.description)
            if stored.recipient.original != stored.recipient.target.address { line.field("original_to", stored.recipient.original.description) }
            line.field("state", stored.state.name)
            line.field("dsn", stored.reply?.enhanced?.description)
            line.field("reply", stored.reply?.summary)
            line.field("relay", stored.relay)
            line.field("command", stored.answers)
            line.endObject()
        }
        line.endArray()
        line.finish()
        return line.bytes
    }
}

extension StoredRecipient {
    fileprivate var explanation: String? { reply?.explanation(relay: relay, answers: answers) }
}

extension [UInt8] {
    /// `right`: the blanks come first.
    fileprivate mutating func append(padding text: String, to width: Int, right: Bool = true) {
        let fill = repeatElement(UInt8(ascii: " "), count: Swift.max(0, width - text.utf8.count))
        if right { self += fill }
        self += text.utf8
        if !right { self += fill }
    }
}
