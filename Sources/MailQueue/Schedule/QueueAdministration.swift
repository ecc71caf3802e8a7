// What administrators do to queued mail: look at it, try it now, hold, release, requeue, give up and delete it.
//
// A message on hold is not tried and not given up; an attempt that is under way is not called back, but nothing of the message
// is tried after it. Whatever was changed is on disk when these functions return.

package import MailSyntax
internal import NIOConcurrencyHelpers
internal import Telemetry

/// What may be done to a queued message. The raw value is the word on the control socket.
package enum QueueVerb: String, CaseIterable, Sendable {
    /// Try it now, unless it is on hold.
    case flush
    case hold
    /// Takes it off hold and tries it.
    case release
    /// Routes its recipients anew and starts over, on hold or not.
    case requeue
    /// Gives it up now, on hold or not: its sender gets the report that would come at the end of its lifetime.
    case expire
    /// The same, but what is on hold is given up when it is released.
    case expireUnlessHeld = "expire-unless-held"
    /// Without a report to the sender.
    case delete

    /// For the log.
    var done: String {
        switch self {
        case .flush: "flushed"
        case .hold: "placed on hold"
        case .release: "released from hold"
        case .requeue: "requeued"
        case .expire, .expireUnlessHeld: "expired"
        case .delete: "removed"
        }
    }
}

/// Which messages are meant where they are not named.
package struct QueueSelection: Sendable {
    package var queues: Set<QueueName>
    /// Those with a recipient in this domain only.
    package var site: Domain?

    package init(queues: Set<QueueName> = Set(QueueName.allCases), site: Domain? = nil) {
        self.queues = queues
        self.site = site
    }

    var meansAll: Bool { site == nil && queues.count == QueueName.allCases.count }
}

package enum QueueChange: String, Sendable {
    case changed
    /// It was so already, or it is being delivered at this moment.
    case unchanged
    case missing
}

extension DeliveryScheduler {
    /// Messages in the order of their arrival, a page at a time, so that a queue of any length can be listed: at most `limit`, fewer where
    /// they have many recipients.
    package func list(after id: QueueID, limit: Int) async throws(SpoolFailure) -> [StoredMessage] {
        try await spool.perform { try $0.page(after: id, limit: limit) }
    }

    /// A message and its content; nil if there is none of that name.
    package func message(_ id: QueueID) async throws(SpoolFailure) -> (StoredMessage, MessageContent)? {
        try await spool.perform { store in
            guard let message = try store.message(id) else { return nil }
            guard let content = try store.content(of: message) else {
                throw SpoolFailure.other("the body of \(id) is missing")
            }
            return (message, content)
        }
    }

    /// Does it to the messages named. What became of each, in their order.
    @discardableResult
    package func change(_ verb: QueueVerb, _ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let changes = try await perform(verb, ids)
        for (id, change) in changes where change == .changed { logChange(verb, id: id) }
        return changes
    }

    func logChange(_ verb: QueueVerb, id: QueueID? = nil, count: Int? = nil) {
        log.record(.queueChanged, by: .control) {
            $0.queueID = id?.description
            $0.count = count
            $0.message = verb.done
        }
    }

    func perform(_ verb: QueueVerb, _ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        guard !ids.isEmpty else { return [] }
        return switch verb {
        case .flush: try await flush(ids)
        case .hold: try await hold(ids)
        case .release: try await release(ids)
        case .requeue: try await requeue(ids)
        case .expire: try await expire(ids, evenHeld: true)
        case .expireUnlessHeld: try await expire(ids, evenHeld: false)
        case .delete: try await delete(ids)
        }
    }

    // MARK: The verbs, each for a page of messages

    private func flush(_ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let now = now()
        state.withLockedValue { $0.active.reviveAll() }  // as postqueue(1) does
        let changes = try await spool.perform { store in
            try ids.map { id -> (id: QueueID, change: QueueChange) in
                (id, try store.contains(id) ? try store.makeDue(id, now: now) ? .changed : .unchanged : .missing)
            }
        }
        noteDue(now)
        return changes
    }

    private func release(_ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let changes = try await setHeld(ids, false)
        noteDue(now())
        return changes
    }

    private func hold(_ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let changes = try await setHeld(ids, true)
        try await withdraw(ids)
        return changes
    }

    /// Takes from memory what is on hold, as far as nothing of it is under way.
    func withdraw(_ ids: [QueueID]) async throws(SpoolFailure) {
        guard !ids.isEmpty else { return }
        let now = now()
        // After they are on hold in the spool: what is taken from memory is not loaded again.
        let idle = state.withLockedValue { $0.active.withdraw(ids, now: now) }
        if !idle.isEmpty {
            try await spool.perform { store in for id in idle { try store.returnLease(id) } }
            loadIfDue()  // there may be room again
        }
    }

    private func setHeld(_ ids: [QueueID], _ isHeld: Bool) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let now = now()
        return try await spool.perform { store in
            try ids.map { id -> (id: QueueID, change: QueueChange) in
                (id, try store.contains(id) ? try store.setHeld(id, isHeld, now: now) ? .changed : .unchanged : .missing)
            }
        }
    }

    /// On hold first, so that nothing of it is started meanwhile. A message with an attempt under way is requeued when that is
    /// over: what it delivers must not be delivered again.
    private func requeue(_ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let held = try await hold(ids)
        let busy = state.withLockedValue { state in
            let busy = Set(ids.filter { state.active.contains($0) })
            for id in busy { state.afterwards[id] = .requeue }
            return busy
        }
        let (now, route) = (now(), configuration.route)
        let changes = try await spool.perform { store in
            try held.map { id, change -> (id: QueueID, change: QueueChange) in
                guard let message = try store.message(id) else { return (id, .missing) }
                if busy.contains(id) || message.isDamaged {
                    if change == .changed { _ = try store.setHeld(id, false, now: now) }
                    return (id, message.isDamaged ? .unchanged : .changed)
                }
                try message.reroute(route, store)
                try store.startOver(id, now: now)
                return (id, .changed)
            }
        }
        noteDue(now)
        return changes
    }

    /// What an attempt that is under way delivers is delivered; the rest is given up when it is over.
    private func expire(_ ids: [QueueID], evenHeld: Bool) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let now = now()
        // Marked first: what is loaded from now on is not tried. It is on disk, so that a restart does not forget.
        try await spool.perform { store in
            for id in ids { try store.mark(id, .forcedExpire) }
        }
        let busy = state.withLockedValue { state in
            _ = state.active.withdraw(ids, now: now)
            let busy = Set(ids.filter { state.active.contains($0) })
            for id in busy { state.afterwards[id] = .expire }
            return busy
        }
        let configuration = configuration
        let (changes, done, given) = try await spool.perform { [spool] store in
            var (done, given) = (SpoolChange(), [StoredMessage]())
            let changes = try ids.map { id -> (id: QueueID, change: QueueChange) in
                guard let message = try store.message(id) else { return (id, .missing) }
                if message.isDamaged { return (id, .unchanged) }
                if busy.contains(id) || message.isHeld && !evenHeld { return (id, .changed) }
                let (change, expired) = try SpoolChange.expire(id, store, configuration, now: now) { spool.nextID(now: now) }
                done.add(change)
                if let expired { given.append(expired) }
                return (id, .changed)
            }
            return (changes, done, given)
        }
        for message in given { logExpiry(message, now: now) }
        finish(done)
        loadIfDue()  // there may be room again
        return changes
    }

    private func logExpiry(_ message: StoredMessage, now: Timestamp) {
        for stored in message.recipients where stored.state == .pending {
            log.record(.deliveryExpired, by: .queue) { fields in
                let (recipient, reply) = (stored.recipient, stored.reply)
                fields.queueID = message.id.description
                fields.from = message.sender?.description ?? ""
                fields.to = recipient.target.address.description
                if recipient.original != recipient.target.address { fields.originalTo = recipient.original.description }
                fields.relay = stored.relay ?? "none"
                fields.dsn = reply.map { ($0.enhanced ?? .generic(for: $0)).description }
                fields.reply = reply?.summary
                fields.command = stored.answers
                fields.delay = now - message.received
                fields.explanation = { reply?.explanation(relay: stored.relay, answers: stored.answers) ?? "" }
            }
        }
    }

    private func delete(_ ids: [QueueID]) async throws(SpoolFailure) -> [(id: QueueID, change: QueueChange)] {
        let (changes, done) = try await spool.perform { store in
            var done = SpoolChange()
            let changes = try ids.map { id -> (id: QueueID, change: QueueChange) in
                let deleted = try SpoolChange.delete(id, store)
                done.add(deleted)
                return (id, deleted.removed > 0 ? .changed : .missing)
            }
            return (changes, done)
        }
        forget(ids, done)
        return changes
    }

    /// After they were deleted.
    func forget(_ ids: [QueueID], _ done: SpoolChange) {
        state.withLockedValue { state in
            state.active.drop(ids)
            for id in ids { state.afterwards[id] = nil }
        }
        finish(done)
        loadIfDue()  // there may be room again
    }
}

extension StoredMessage {
    /// It waits for one recipient, whose address leads nowhere else now.
    func leadsAsBefore(_ route: (Address) -> [RecipientTarget]) -> Bool {
        let waiting = recipients.filter { $0.state == .pending }
        guard waiting.count == 1, waiting[0].recipient.copies == 1 else { return false }
        return route(waiting[0].recipient.original) == [waiting[0].recipient.target]
    }

    /// Replaces the recipients that wait by those that they lead to now.
    ///
    /// An address of which nothing was delivered is routed as it came. Where a part of what it led to is done with, only what
    /// remains is routed on, each address by itself and mailboxes not at all: else those that have the message would get it again.
    /// One that leads nowhere any more failed, and its sender hears of it.
    func reroute(_ route: (Address) -> [RecipientTarget], _ store: SpoolStore) throws {
        let waiting = recipients.filter { $0.state == .pending }.map(\.recipient)
        var number = (recipients.map(\.recipient.number).max() ?? -1) + 1
        var routed: [RecipientTarget: QueuedRecipient] = [:]
        let groups = Dictionary(grouping: waiting, by: \.original)
        for recipient in waiting {
            let group = groups[recipient.original]!
            let isWhole = group.count == recipient.copies
            if isWhole, recipient.number != group[0].number { continue }
            let address = isWhole ? recipient.original : recipient.target.address
            var targets = [recipient.target]
            if isWhole || recipient.target.isRemote { targets = route(address) }
            if targets.isEmpty { try fail(isWhole ? group : [recipient], address, store) }
            for target in targets {
                let same = waiting.first { $0.target == target }
                let notify = routed[target]?.notify.combined(with: recipient.notify) ?? recipient.notify
                // The file of a Maildir is named by the number: a recipient that stays keeps it.
                let own = routed[target]?.number ?? same?.number ?? number
                if own == number { number += 1 }
                routed[target] = QueuedRecipient(
                    number: own, original: routed[target]?.original ?? recipient.original, target: target, notify: notify,
                    originalRecipient: routed[target]?.originalRecipient ?? recipient.originalRecipient, copies: isWhole ? targets.count : 0)
            }
            for old in isWhole ? group : [recipient] where !targets.isEmpty { try store.delete(id, recipient: old.number) }
        }
        for recipient in routed.values {
            try store.delete(id, recipient: recipient.number)
            try store.insert(recipient, of: id)
        }
    }

    private func fail(_ failed: [QueuedRecipient], _ address: Address, _ store: SpoolStore) throws {
        let reply = Reply(550, EnhancedCode(5, 1, 1), "<\(address)>: Recipient address rejected: User unknown")
        for recipient in failed {
            if recipient.notify.wantsFailure {
                try store.update(id, recipient: recipient.number, state: .failed, reply: reply, relay: "none")
            } else {
                try store.delete(id, recipient: recipient.number)
            }
        }
    }
}
