// The end of an attempt, inside one transaction: the report to the sender is queued in the same breath in which the
// recipients that it speaks of are taken off, so that none is lost and none is sent twice.

internal import Glibc
internal import MailSyntax
internal import NIOCore

/// What a transaction did, for those who wait for it to be on disk.
struct SpoolChange: Sendable {
    /// Messages that left, less those that came.
    var removed = 0
    /// The message that this was about left.
    var isGone = false
    /// Body files that nobody speaks of any more.
    var files: [String] = []
    /// When something became due.
    var due: Timestamp?
    var notice: Notice?

    struct Notice: Sendable {
        let about: QueueID
        /// Nil: the null sender.
        let to: Address?
        /// Nil: it was dropped, for `reason`.
        let queued: Report?
        let reason: String?

        struct Report: Sendable {
            let id: QueueID
            let messageID: String
            let size: Int
            let recipients: Int
            let isFailure: Bool
        }
    }

    mutating func add(_ other: SpoolChange) {
        removed += other.removed
        files += other.files
        isGone = isGone || other.isGone
        if let other = other.due { due = min(due ?? other, other) }
    }

    /// Puts what a delivery made of a message into the spool. A transaction that was not sure to be written may bring it again.
    mutating func insert(_ new: Resubmission, _ store: SpoolStore, now: Timestamp) throws {
        guard try !store.contains(new.message.id) else { return }
        try store.insert(new.message, leased: false)
        for (number, reply) in new.failures { try store.update(new.message.id, recipient: number, state: .failed, reply: reply, relay: "local") }
        removed -= 1
        due = now
    }

    static func delete(_ id: QueueID, _ store: SpoolStore) throws -> SpoolChange {
        var change = SpoolChange()
        switch try store.delete(id) {
        case .none: break
        case .withRow: (change.removed, change.isGone) = (1, true)
        case .withFile: (change.removed, change.isGone, change.files) = (1, true, [store.bodyPath(id)])
        }
        return change
    }

    /// Reports to the sender what has to be reported, then waits until `due` with the recipients that are left, or deletes
    /// the message if none is. `noticeID` names the report.
    static func settle(
        _ id: QueueID, notice: Bool, due: Timestamp?, _ store: SpoolStore, _ configuration: DeliveryScheduler.Configuration,
        _ noticeID: @autoclosure () -> QueueID, now: Timestamp
    ) throws -> SpoolChange {
        var change = SpoolChange()
        if notice, let message = try store.message(id) {
            let reported = message.recipients.filter { $0.state != .pending }
            change.notice = try queueNotice(about: message, reported, store, configuration, noticeID(), now: now, &change)
            for recipient in reported { try store.delete(id, recipient: recipient.recipient.number) }
        }
        if let due {
            try store.postpone(id, until: due)
            change.due = min(due, change.due ?? due)
        } else {
            change.add(try delete(id, store))
        }
        return change
    }

    private static func queueNotice(
        about message: StoredMessage, _ reported: [StoredRecipient], _ store: SpoolStore, _ configuration: DeliveryScheduler.Configuration,
        _ noticeID: QueueID, now: Timestamp, _ change: inout SpoolChange
    ) throws -> Notice? {
        guard !reported.isEmpty else { return nil }
        // RFC 5321 §4.5.5: nothing is ever sent in answer to a message from the null reverse-path.
        guard let sender = message.sender else {
            return Notice(about: message.id, to: nil, queued: nil, reason: "a report from the null sender could not be delivered")
        }
        let targets = configuration.route(sender)
        guard !targets.isEmpty else {
            return Notice(about: message.id, to: sender, queued: nil, reason: "the sender's address does not exist here")
        }
        let notice = DeliveryNotice(
            message: message, recipients: reported, hostname: configuration.hostname, origin: configuration.origin, id: noticeID,
            now: now, original: excerpt(of: try store.content(of: message)))
        let (envelope, content) = notice.compose()
        let recipients = targets.enumerated().map { number, target in
            QueuedRecipient(
                number: number, original: sender, target: target, notify: .unspecified, originalRecipient: nil, copies: targets.count)
        }
        try store.insert(
            IncomingMessage(id: noticeID, envelope: envelope, recipients: recipients, received: now, content: .inline(content)), leased: false)
        change.removed -= 1
        change.due = now
        let report = Notice.Report(
            id: noticeID, messageID: notice.messageID, size: content.readableBytes, recipients: recipients.count, isFailure: notice.hasFailures)
        return Notice(about: message.id, to: sender, queued: report, reason: nil)
    }

    /// Of a body in a file the beginning only: a report returns the header of a large message. Nothing where the body
    /// is gone: the sender hears of the failure all the same.
    private static func excerpt(of content: MessageContent?) -> DeliveryNotice.Original {
        var bytes = ByteBuffer()
        switch content {
        case nil: return DeliveryNotice.Original(bytes: bytes, isWhole: false)
        case .inline(let bytes): return DeliveryNotice.Original(bytes: bytes, isWhole: true)
        case .file(let path, _):
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return DeliveryNotice.Original(bytes: bytes, isWhole: false) }
            defer { Glibc.close(descriptor) }
            bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: Spool.largestInlineBody) { max(0, read(descriptor, $0.baseAddress, $0.count)) }
            return DeliveryNotice.Original(bytes: bytes, isWhole: false)
        }
    }
}

func removeBodyFile(_ path: String) { unlink(path) }
