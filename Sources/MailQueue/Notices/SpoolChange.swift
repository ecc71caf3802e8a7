// The end of an attempt, inside one transaction: the report to the sender is queued in the same breath in which the
// recipients that it speaks of are taken off, so that none is lost and none is sent twice.

internal import Glibc
internal import MailSyntax

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
    var notices: [Notice] = []

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
            /// What it is, for the log.
            let words: String
        }
    }

    mutating func add(_ other: SpoolChange) {
        removed += other.removed
        files += other.files
        isGone = isGone || other.isGone
        if let other = other.due { due = min(due ?? other, other) }
        notices += other.notices
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
    /// the message if none is. `nextID` names the reports.
    static func settle(
        _ id: QueueID, notice: Bool, due: Timestamp?, _ store: SpoolStore, _ configuration: DeliveryScheduler.Configuration, now: Timestamp,
        nextID: @escaping () -> QueueID
    ) throws -> SpoolChange {
        var change = SpoolChange()
        let mayBeLate = due != nil && configuration.reports.delayWarning != nil
        if notice || mayBeLate, let message = try store.message(id) {
            var reporter = Reporter(message, store, configuration, now: now, nextID: nextID)
            if notice {
                let reported = message.recipients.filter { $0.state != .pending }
                try reporter.reportOutcome(of: reported)
                for recipient in reported { try store.delete(id, recipient: recipient.recipient.number) }
            }
            if mayBeLate, !message.flags.contains(.delayReported), try reporter.reportDelay() { try store.mark(id, .delayReported) }
            change = reporter.change
        }
        if let due {
            try store.postpone(id, until: due)
            change.due = min(due, change.due ?? due)
        } else {
            change.add(try delete(id, store))
        }
        return change
    }

    /// Gives up all that waits: what its last attempt came to is reported, or that an administrator wanted it so. The recipients
    /// that failed by this.
    static func expire(
        _ id: QueueID, _ store: SpoolStore, _ configuration: DeliveryScheduler.Configuration, now: Timestamp, nextID: @escaping () -> QueueID
    ) throws -> (change: SpoolChange, message: StoredMessage?) {
        guard var message = try store.message(id), !message.isDamaged else { return (SpoolChange(), nil) }
        for (index, stored) in message.recipients.enumerated() where stored.state == .pending {
            let reply = stored.reply ?? Reply(450, EnhancedCode(4, 7, 0), "message is administratively expired")
            message.recipients[index].reply = reply
            if stored.recipient.notify.wantsFailure {
                try store.update(
                    id, recipient: stored.recipient.number, state: .failed, reply: reply, relay: stored.relay ?? "none", answers: stored.answers)
            } else {
                try store.delete(id, recipient: stored.recipient.number)
            }
        }
        let change = try settle(id, notice: true, due: nil, store, configuration, now: now, nextID: nextID)
        return (change, message)
    }
}

func removeBodyFile(_ path: String) { unlink(path) }
