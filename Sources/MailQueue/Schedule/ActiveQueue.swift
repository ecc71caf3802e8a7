// The messages that are being worked on, in memory: which wait for which place, what may start now, and what remains of a
// message when a recipient is done. Pure: the scheduler performs what comes out of here.
//
// Bounded in messages and octets; what does not fit stays in the spool until there is room. Mail for one place waits
// for that place only, so a slow or dead next hop holds up nobody else.

internal import DequeModule
internal import MailSyntax
internal import NIOCore

struct ActiveQueue: Sendable {
    struct Limits: Sendable {
        /// Postfix's qmgr_message_active_limit is 20,000.
        var messages = 20_000
        /// Content held in memory.
        var octets = 64 << 20
        /// How many batches may be under way for a place at once.
        var mailboxConcurrency = 2
        /// How long new mail waits for more of its kind: a batch for mailboxes costs two syncs, whatever its size.
        var gathering = TimeAmount.milliseconds(50)
        var nextHopConcurrency = 20
        /// The agent has a limit of its own, by the manifest.
        var commandConcurrency = 100
        /// Messages that stay together: they share their syncs, do not wait for each other's locks on one directory, and come into
        /// a mailbox in the order of their arrival.
        var mailboxShare = 256
        var mailboxBatch = 256
        /// Messages over one connection before another takes over.
        var nextHopBatch = 50
    }

    struct Batch: Sendable {
        let place: DeliveryPlace
        let requests: [DeliveryRequest]
    }

    /// What the spool has to be told about one recipient.
    enum RecipientChange: Hashable, Sendable {
        case remove
        case keep(StoredRecipient.State, Reply)
    }

    /// What is to be done with a message when all of its recipients were reported.
    enum Conclusion: Hashable, Sendable {
        /// Nothing is left to do.
        case delete
        /// Report to the sender if `notice`, then wait until `due`, or delete it if no recipient is left.
        case settle(notice: Bool, due: Timestamp?)
    }

    struct Settlement: Sendable {
        let change: RecipientChange
        let conclusion: Conclusion?
        /// The lifetime is over: the deferral became a failure.
        let hasExpired: Bool
        /// When the message came and from whom, for logs.
        let received: Timestamp
        let sender: Address?
    }

    private struct Message {
        let attempts: Int
        let received: Timestamp
        /// Nil: the null sender.
        let sender: Address?
        let octets: Int
        var unreported: Int
        var needsNotice: Bool
        var due: Timestamp?
    }

    private struct Place {
        var waiting = Deque<DeliveryRequest>()
        var running = 0
        var isReady = false
    }

    private let limits: Limits
    private var messages: [QueueID: Message] = [:]
    private var places: [DeliveryPlace: Place] = [:]
    private var ready = Deque<DeliveryPlace>()
    private var reservedMessages = 0
    private var octets = 0

    init(limits: Limits = Limits()) { self.limits = limits }

    var count: Int { messages.count }
    var waitingCount: Int { places.values.reduce(0) { $0 + $1.waiting.count } }
    func contains(_ id: QueueID) -> Bool { messages[id] != nil }

    /// How many messages, and how many octets of content, may be loaded now; zero until a good part is free, so that loading
    /// happens in pages.
    var room: (messages: Int, octets: Int) {
        let used = messages.count + reservedMessages
        guard used <= limits.messages / 2, octets <= limits.octets / 2 else { return (0, 0) }
        return (min(limits.messages - used, 1000), (limits.octets - octets) / 2)
    }

    /// Holds `room` while messages are being loaded into it, so that what arrives meanwhile does not take it too.
    mutating func reserve(_ room: (messages: Int, octets: Int)) {
        reservedMessages += room.messages
        octets += room.octets
    }

    mutating func cancelReservation(_ room: (messages: Int, octets: Int)) {
        reservedMessages -= room.messages
        octets -= room.octets
    }

    /// Holds a place for a message that is on its way into the spool. False: no room; it has to wait there.
    mutating func reserve(octets size: Int) -> Bool {
        guard messages.count + reservedMessages < limits.messages, octets + size <= limits.octets else { return false }
        reservedMessages += 1
        octets += size
        return true
    }

    mutating func cancelReservation(octets size: Int) {
        reservedMessages -= 1
        octets -= size
    }

    /// Takes up a message, with its recipients grouped by place. `reserved`: it was announced to `reserve`.
    mutating func add(_ message: StoredMessage, octets size: Int, reserved: Bool, groups: [(DeliveryPlace, DeliveryRequest)], needsNotice: Bool) {
        if reserved { reservedMessages -= 1 } else { octets += size }
        messages[message.id] = Message(
            attempts: message.attempts + 1, received: message.received, sender: message.sender, octets: size,
            unreported: groups.reduce(0) { $0 + $1.1.recipients.count }, needsNotice: needsNotice)
        for (place, request) in groups {
            places[place, default: Place()].waiting.append(request)
            markReady(place)
        }
    }

    /// All batches that may start now. `gathered`: also those that are not worth their syncs, for no more is waited for.
    mutating func startBatches(gathered: Bool = true) -> [Batch] {
        var batches: [Batch] = []
        var early: [DeliveryPlace] = []
        while let name = ready.popFirst() {
            guard var place = places[name] else { continue }
            let (concurrency, least, largest) = bounds(of: name)
            if !gathered, place.waiting.count < min(least, largest) {
                early.append(name)
                continue
            }
            place.isReady = false
            while place.running < concurrency, !place.waiting.isEmpty {
                // Spread what waits over the free slots: the least that is worth a slot when little waits, full batches when
                // much does.
                let share = (place.waiting.count + concurrency - place.running - 1) / (concurrency - place.running)
                let size = min(max(share, least), largest, place.waiting.count)
                batches.append(Batch(place: name, requests: Array(place.waiting.prefix(size))))
                place.waiting.removeFirst(size)
                place.running += 1
            }
            places[name] = place.running == 0 ? nil : place
        }
        ready += early
        return batches
    }

    /// Some could start, and wait for more of their kind.
    var isGathering: Bool { !ready.isEmpty }

    mutating func batchEnded(_ name: DeliveryPlace) {
        guard var place = places[name] else { return }
        place.running -= 1
        if place.running == 0, place.waiting.isEmpty {
            places[name] = nil
        } else {
            places[name] = place
            markReady(name)
        }
    }

    private mutating func markReady(_ name: DeliveryPlace) {
        guard let place = places[name], !place.isReady, place.running < bounds(of: name).concurrency, !place.waiting.isEmpty else { return }
        places[name]!.isReady = true
        ready.append(name)
    }

    private func bounds(of place: DeliveryPlace) -> (concurrency: Int, least: Int, largest: Int) {
        switch place {
        case .mailboxes: (limits.mailboxConcurrency, limits.mailboxShare, limits.mailboxBatch)
        case .commands: (limits.commandConcurrency, 1, 1)
        case .nextHop: (limits.nextHopConcurrency, 1, limits.nextHopBatch)
        }
    }

    /// Takes a report in; the caller sees to it that there is one for each recipient, and no second. Nil: the message is
    /// not here any more (deleted by an administrator).
    mutating func settle(_ report: DeliveryReport, schedule: RetrySchedule, now: Timestamp, chance: Double = 0) -> Settlement? {
        guard var message = messages[report.id] else { return nil }
        message.unreported -= 1
        let notify = report.recipient.notify
        var hasExpired = false
        let change: RecipientChange
        switch report.outcome {
        case .delivered(let reply, let passesOnDSN):
            // RFC 3461 §5.2: a report of success is sent only when asked for, and not when the next hop took that over.
            if notify.contains(.success), !passesOnDSN {
                change = .keep(report.recipient.target.isRemote ? .relayed : .delivered, reply)
                message.needsNotice = true
            } else {
                change = .remove
            }
        case .resubmitted(let new):
            if notify.contains(.success), !new.passesOnDSN {
                change = .keep(.delivered, new.reply)
                message.needsNotice = true
            } else {
                change = .remove
            }
        case .failed(let reply):
            change = fail(reply, notify: notify, &message)
        case .deferred(let reply):
            if let due = schedule.nextAttempt(after: message.attempts, received: message.received, now: now, isBounce: message.sender == nil, chance: chance) {
                change = .keep(.pending, reply)
                message.due = due
            } else {
                hasExpired = true
                change = fail(reply, notify: notify, &message)
            }
        }
        messages[report.id] = message
        return Settlement(change: change, conclusion: concludeIfDone(report.id), hasExpired: hasExpired, received: message.received, sender: message.sender)
    }

    /// RFC 3461 §5.2.4: a failure is reported unless NOTIFY says otherwise.
    private func fail(_ reply: Reply, notify: Notify, _ message: inout Message) -> RecipientChange {
        guard notify.wantsFailure else { return .remove }
        message.needsNotice = true
        return .keep(.failed, reply)
    }

    /// Non-nil once, when nothing of the message is under way any more; then it is no longer here.
    mutating func concludeIfDone(_ id: QueueID) -> Conclusion? {
        guard let message = messages[id], message.unreported == 0 else { return nil }
        remove(id)
        return message.needsNotice || message.due != nil ? .settle(notice: message.needsNotice, due: message.due) : .delete
    }

    /// Forgets messages: what waits is not started, what is under way is no longer waited for.
    mutating func drop(_ ids: some Sequence<QueueID>) {
        let here = Set(ids.filter { messages[$0] != nil })
        removeWaiting(of: here)
        for id in here { remove(id) }
    }

    /// Sees to it that nothing more of these messages is started. Those of which nothing is under way either are no longer here,
    /// and are returned; the others conclude when that is reported, and then wait from `now` on.
    mutating func withdraw(_ ids: some Sequence<QueueID>, now: Timestamp) -> Set<QueueID> {
        let here = Set(ids.filter { messages[$0] != nil })
        for request in removeWaiting(of: here) {
            messages[request.id]!.unreported -= request.recipients.count
            messages[request.id]!.due = now
        }
        let idle = here.filter { messages[$0]!.unreported == 0 }
        for id in idle { remove(id) }
        return idle
    }

    @discardableResult
    private mutating func removeWaiting(of ids: Set<QueueID>) -> [DeliveryRequest] {
        guard !ids.isEmpty else { return [] }
        var removed: [DeliveryRequest] = []
        for (name, place) in places {
            let found = place.waiting.filter { ids.contains($0.id) }
            if found.isEmpty { continue }
            removed += found
            places[name]!.waiting.removeAll { ids.contains($0.id) }
        }
        return removed
    }

    private mutating func remove(_ id: QueueID) {
        if let message = messages.removeValue(forKey: id) { octets -= message.octets }
    }

    /// Sorts what waits anew, by the places where its recipients are delivered now. What is under way goes on.
    mutating func sortAgain(by place: (RecipientTarget) -> DeliveryPlace) {
        var moved: [(DeliveryPlace, DeliveryRequest)] = []
        for (name, contents) in places where !contents.waiting.isEmpty {
            var staying = Deque<DeliveryRequest>()
            for request in contents.waiting {
                let groups = grouped(request.recipients, by: place)
                if groups.count == 1, groups[0].0 == name {
                    staying.append(request)
                } else {
                    moved += groups.map { ($0.0, request.only($0.1)) }
                }
            }
            guard staying.count < contents.waiting.count else { continue }
            if staying.isEmpty, contents.running == 0 { places[name] = nil } else { places[name]!.waiting = staying }
        }
        for (name, request) in moved.sorted(by: { $0.1.id < $1.1.id }) {
            places[name, default: Place()].waiting.append(request)
            markReady(name)
        }
    }
}

/// Recipients by the place where each is delivered, in their order.
func grouped(_ recipients: [QueuedRecipient], by place: (RecipientTarget) -> DeliveryPlace) -> [(DeliveryPlace, [QueuedRecipient])] {
    var groups: [(DeliveryPlace, [QueuedRecipient])] = []
    for recipient in recipients {
        let name = place(recipient.target)
        if let index = groups.firstIndex(where: { $0.0 == name }) {
            groups[index].1.append(recipient)
        } else {
            groups.append((name, [recipient]))
        }
    }
    return groups
}

extension DeliveryRequest {
    fileprivate func only(_ recipients: [QueuedRecipient]) -> DeliveryRequest {
        DeliveryRequest(
            id: id, sender: sender, body: body, isInternationalized: isInternationalized, returnContent: returnContent, envelopeID: envelopeID,
            received: received, content: content, recipients: recipients)
    }
}
