// The queue as administrators read it: Postfix's mailq(1) layout, and one JSON object a message.

internal import MailQueue
internal import MailSyntax
internal import Telemetry

/// Renders a listing page by page; holds only sums.
struct QueueListing {
    enum Format: String { case mailq, json }

    private let format: Format
    private var messages = 0
    private var octets = 0

    init(format: Format) { self.format = format }

    mutating func render(_ page: [StoredMessage]) -> [UInt8] {
        var out: [UInt8] = []
        for message in page {
            switch format {
            case .json: out += QueueListing.json(message)
            case .mailq:
                if messages == 0 { out += "----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------\n".utf8 }
                out += QueueListing.text(message).utf8
            }
            messages += 1
            octets += message.size
        }
        return out
    }

    /// What follows the last message.
    func end() -> [UInt8] {
        guard format == .mailq else { return [] }
        if messages == 0 { return Array("Mail queue is empty\n".utf8) }
        return Array("-- \((octets + 1023) / 1024) Kbytes in \(messages) Request\(messages == 1 ? "" : "s").\n".utf8)
    }

    /// Queue id with `*` while it is being delivered, size, arrival, sender; then each recipient, under the reason of its
    /// last failure.
    private static func text(_ message: StoredMessage) -> String {
        let id = "\(message.id)\(message.isLeased ? "*" : "")"
        var text = "\(padded(id, to: 17)) \(padded("\(message.size)", to: 8, right: true)) \(message.received.asctime.dropLast(5)) "
        text += "\(message.sender.map { "\($0)" } ?? "MAILER-DAEMON")\n"
        var lastReason: String?
        for recipient in message.recipients where recipient.state == .pending {
            if let reason = recipient.reply?.summary, reason != lastReason {
                text += padded("(\(reason))", to: 78, right: true) + "\n"
                lastReason = reason
            }
            text += String(repeating: " ", count: 47) + "\(recipient.recipient.target.address)\n"
        }
        return text + "\n"
    }

    static func json(_ message: StoredMessage) -> [UInt8] {
        var line = JSONLine()
        line.field("queue_id", message.id.description)
        line.field("queue", message.isLeased ? "active" : "deferred")
        line.field("arrival_time", message.received.rfc3339)
        line.field("next_attempt", message.isLeased ? nil : message.due.rfc3339)
        line.field("attempts", message.attempts)
        line.field("size", message.size)
        line.field("from", message.sender?.description ?? "")
        line.beginArray("recipients")
        for stored in message.recipients {
            line.beginElement()
            line.field("to", stored.recipient.target.address.description)
            if stored.recipient.original != stored.recipient.target.address { line.field("original_to", stored.recipient.original.description) }
            line.field("state", "\(stored.state)")
            line.field("dsn", stored.reply?.enhanced?.description)
            line.field("reply", stored.reply?.summary)
            line.field("relay", stored.relay)
            line.endObject()
        }
        line.endArray()
        line.finish()
        return line.bytes
    }
}

private func padded(_ text: String, to width: Int, right: Bool = false) -> String {
    let fill = String(repeating: " ", count: max(0, width - text.utf8.count))
    return right ? fill + text : text + fill
}
