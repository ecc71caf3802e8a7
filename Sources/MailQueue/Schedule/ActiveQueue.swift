// The messages that are being worked on, in memory: which wait for which place, what may start now, and what remains of a
// message when a recipient is done. Pure: the scheduler performs what comes out of here.
//
// Bounded in messages and octets; what does not fit stays in the spool until there is room. Mail for one place waits
// for that place only, and a place that takes more room than it makes use of gives it back (`evict`), so a slow or dead next
// hop holds up nobody else.

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
        /// The agent has a limit of its own, by the manifest.
        var commandConcurrency = 100
        /// Messages that stay together: they share their syncs, do not wait for each other's locks on one directory, and come into
        /// a mailbox in the order of their arrival.
        var mailboxShare = 256
        var mailboxBatch = 256
        /// Messages over one connection before another takes over.
        var nextHopBatch = 50
        /// When the first in the line for a place has waited so long, the place is slow, and its mail may be given back.
        var patience = Duration.seconds(30)
        /// How long what was given back stays in the spool, at first; doubled with each time.
        var evictedFor = Duration.seconds(60)
        var evictedForAtMost = Duration.seconds(900)
        /// Dead places that are remembered at most.
        var deadPlaces = 10_000
    }

    /// What a batch showed of its place.
    enum Health: Sendable {
        case unknown
        case alive
        /// The place could not be used: why.
        case failing(Reply)
    }

    /// What is to be done now.
    struct Start: Sendable {
        var batches: [Batch] = []
        /// For dead places: to be reported as deferred, untried.
        var suspended: [(request: DeliveryRequest, place: DeliveryPlace, reason: Reply)] = []
        /// When to ask again at the latest: a place is due then.
        var next: Timestamp?
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

    private let limits: Limits
    var destinations: DestinationLimits
    private var messages: [QueueID: Message] = [:]
    private var places: [DeliveryPlace: Destination] = [:]
    private var ready = Deque<DeliveryPlace>()
    /// Those that a rate delay holds back.
    private var paced: Set<DeliveryPlace> = []
    private var dead: [DeliveryPlace: (until: Timestamp, reason: Reply)] = [:]
    private var reservedMessages = 0
    private var octets = 0

    init(limits: Limits = Limits(), destinations: DestinationLimits = DestinationLimits()) {
        self.limits = limits
        self.destinations = destinations
    }

    var count: Int { messages.count }
    var waitingCount: Int { places.values.reduce(0) { $0 + $1.waiting.count } }
    func contains(_ id: QueueID) -> Bool { messages[id] != nil }

    /// In one go: to read more would have new messages wait for it (some 5 ms on one core).
    static let mostLoaded = 250

    /// How many messages, and how many octets of content, may be loaded now; zero until a good part is free, so that loading
    /// happens in pages.
    var room: (messages: Int, octets: Int) {
        let used = messages.count + reservedMessages
        guard used <= limits.messages / 2, octets <= limits.octets / 2 else { return (0, 0) }
        return (min(limits.messages - used, ActiveQueue.mostLoaded), (limits.octets - octets) / 2)
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
    mutating func add(
        _ message: StoredMessage, octets size: Int, reserved: Bool, groups: [(DeliveryPlace, DeliveryRequest)], needsNotice: Bool, now: Timestamp
    ) {
        if reserved { reservedMessages -= 1 } else { octets += size }
        messages[message.id] = Message(
            attempts: message.attempts + 1, received: message.received, sender: message.sender, octets: size,
            unreported: groups.reduce(0) { $0 + $1.1.recipients.count }, needsNotice: needsNotice)
        for (place, request) in groups { wait(request, for: place, since: now) }
    }

    private mutating func wait(_ request: DeliveryRequest, for name: DeliveryPlace, since: Timestamp) {
        places[name, default: Destination()].waiting.append(Destination.Waiting(request: request, since: since))
        markReady(name)
    }

    /// All that may start now. `gathered`: also batches that are not worth their syncs, for no more is waited for.
    mutating func start(now: Timestamp, gathered: Bool = true) -> Start {
        var start = Start()
        var early: [DeliveryPlace] = []
        for name in paced where places[name]?.notBefore ?? now <= now {
            paced.remove(name)
            if places[name]?.isIdle == true { places[name] = nil } else { markReady(name) }
        }
        while let name = ready.popFirst() {
            guard var place = places[name] else { continue }
            let (_, least, largest) = bounds(of: name, &place)
            if !gathered, place.waiting.count < min(least, largest) {
                early.append(name)
                continue
            }
            place.isReady = false
            if let reason = isDead(name, now: now) {
                start.suspended += place.waiting.map { ($0.request, name, reason) }
                place.waiting.removeAll()
            } else if let notBefore = place.notBefore, notBefore > now {
                paced.insert(name)
            } else {
                fill(&place, name, &start.batches)
            }
            if place.waiting.isEmpty { place.evictions = 0 }
            places[name] = place.isIdle && !paced.contains(name) ? nil : place
        }
        ready += early
        for name in paced {
            guard let due = places[name]?.notBefore else { continue }
            start.next = min(start.next ?? due, due)
        }
        return start
    }

    /// Some could start, and wait for more of their kind.
    var isGathering: Bool { !ready.isEmpty }

    private func fill(_ place: inout Destination, _ name: DeliveryPlace, _ batches: inout [Batch]) {
        let (concurrency, least, largest) = bounds(of: name, &place)
        while place.running < concurrency, !place.waiting.isEmpty {
            // Spread what waits over the free slots: the least that is worth a slot when little waits, full batches when
            // much does.
            let share = (place.waiting.count + concurrency - place.running - 1) / (concurrency - place.running)
            let size = min(max(share, least), largest, place.waiting.count)
            batches.append(Batch(place: name, requests: place.waiting.prefix(size).map(\.request)))
            place.waiting.removeFirst(size)
            place.begin()
        }
    }

    /// `deadFor`: how long a place that turns out to be dead now is left alone.
    mutating func batchEnded(_ name: DeliveryPlace, _ health: Health, now: Timestamp, deadFor: Duration) {
        guard var place = places[name] else { return }
        switch (name, health) {
        case (.nextHop, .alive):
            place.succeed(destinations, now: now)
            dead[name] = nil
        case (.nextHop, .failing(let reason)):
            if place.fail(destinations, now: now), dead[name] == nil { bury(name, until: now + deadFor, reason, now: now) }
        default: place.end()
        }
        places[name] = place
        if place.notBefore ?? now > now { paced.insert(name) }
        // With nothing left to do, what was learnt of it is forgotten.
        if place.isIdle, !paced.contains(name) { places[name] = nil } else { markReady(name) }
    }

    private mutating func bury(_ name: DeliveryPlace, until: Timestamp, _ reason: Reply, now: Timestamp) {
        if dead.count >= limits.deadPlaces {
            dead = dead.filter { $0.value.until > now }
            if dead.count >= limits.deadPlaces { dead = [:] }
        }
        dead[name] = (until, reason)
    }

    /// Why it is dead; nil: it is alive, as far as is known. When the pause is over, it is looked at afresh.
    private mutating func isDead(_ name: DeliveryPlace, now: Timestamp) -> Reply? {
        guard let death = dead[name] else { return nil }
        if death.until > now { return death.reason }
        dead[name] = nil
        return nil
    }

    /// What is dead may be tried again: an administrator wants it so.
    mutating func reviveAll() { dead = [:] }

    private mutating func markReady(_ name: DeliveryPlace) {
        guard let place = places[name], !place.isReady, !place.waiting.isEmpty else { return }
        places[name]!.isReady = true
        ready.append(name)
    }

    private func bounds(of name: DeliveryPlace, _ place: inout Destination) -> (concurrency: Int, least: Int, largest: Int) {
        switch name {
        case .mailboxes: (limits.mailboxConcurrency, limits.mailboxShare, limits.mailboxBatch)
        case .commands: (limits.commandConcurrency, 1, 1)
        case .nextHop: (place.concurrency(destinations), 1, destinations.rateDelay > .zero ? 1 : limits.nextHopBatch)
        }
    }

    // MARK: Fairness

    struct Eviction: Sendable {
        var ids: [QueueID] = []
        /// How long they stay in the spool.
        var pause = Duration.zero
        /// Nothing to give back now; look again then. Nil: as soon as a delivery has ended.
        var lookAgain: Timestamp?
    }

    /// Where no room is left and one place has more than a quarter of it and is slow: its last comers, which are to go back to
    /// the spool untried, so that the mail of others finds room. Messages that go to other places too stay.
    mutating func evict(now: Timestamp) -> Eviction {
        guard let (name, place) = places.max(by: { $0.value.waiting.count < $1.value.waiting.count }),
            let first = place.waiting.first, case .nextHop = name
        else { return Eviction() }
        let mostMessages = limits.messages / 4
        let mostOctets = limits.octets / 4
        var octets = place.waiting.reduce(0) { $0 + (messages[$1.request.id]?.octets ?? 0) }
        guard place.waiting.count > mostMessages || octets > mostOctets else { return Eviction() }
        guard now - first.since >= limits.patience else { return Eviction(lookAgain: first.since + limits.patience) }
        var eviction = Eviction()
        var staying = place.waiting
        var kept = Deque<Destination.Waiting>()
        while staying.count + kept.count > mostMessages || octets > mostOctets, let last = staying.popLast() {
            guard let message = messages[last.request.id], message.unreported == last.request.recipients.count, !message.needsNotice, message.due == nil
            else {
                kept.prepend(last)
                continue
            }
            eviction.ids.append(last.request.id)
            octets -= message.octets
            remove(last.request.id)
        }
        guard !eviction.ids.isEmpty else { return eviction }
        eviction.pause = limits.evictedFor
        for _ in 0..<place.evictions where eviction.pause < limits.evictedForAtMost { eviction.pause *= 2 }
        eviction.pause = min(eviction.pause, limits.evictedForAtMost)
        places[name]!.waiting = staying + kept
        places[name]!.evictions += 1
        return eviction
    }

    /// Takes a report in; the caller sees to it that there is one for each recipient, and no second. Nil: the message is
    /// not here any more (deleted by an administrator).
    mutating func settle(_ report: DeliveryReport, schedule: RetrySchedule, now: Timestamp, chance: () -> Double = { 0 }) -> Settlement? {
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
            if let due = schedule.nextAttempt(after: message.attempts, received: message.received, now: now, isBounce: message.sender == nil, chance: chance()) {
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
            let found = place.waiting.filter { ids.contains($0.request.id) }
            if found.isEmpty { continue }
            removed += found.map(\.request)
            places[name]!.waiting.removeAll { ids.contains($0.request.id) }
        }
        return removed
    }

    private mutating func remove(_ id: QueueID) {
        if let message = messages.removeValue(forKey: id) { octets -= message.octets }
    }

    /// Sorts what waits anew, by the places where its recipients are delivered now. What is under way goes on.
    mutating func sortAgain(by place: PlaceOf) {
        var moved: [(DeliveryPlace, Destination.Waiting)] = []
        for (name, contents) in places where !contents.waiting.isEmpty {
            var staying = Deque<Destination.Waiting>()
            for waiting in contents.waiting {
                let groups = grouped(waiting.request.recipients, from: waiting.request.sender, by: place)
                if groups.count == 1, groups[0].0 == name {
                    staying.append(waiting)
                } else {
                    moved += groups.map { ($0.0, Destination.Waiting(request: waiting.request.only($0.1), since: waiting.since)) }
                }
            }
            guard staying.count < contents.waiting.count else { continue }
            if staying.isEmpty, contents.running == 0 { places[name] = nil } else { places[name]!.waiting = staying }
        }
        for (name, waiting) in moved.sorted(by: { $0.1.request.id < $1.1.request.id }) { wait(waiting.request, for: name, since: waiting.since) }
    }
}

/// Where mail to the recipient from that sender is delivered; a nil sender is the null sender.
typealias PlaceOf = (_ recipient: RecipientTarget, _ sender: Address?) -> DeliveryPlace

/// Recipients by the place where each is delivered, in their order.
func grouped(_ recipients: [QueuedRecipient], from sender: Address?, by place: PlaceOf) -> [(DeliveryPlace, [QueuedRecipient])] {
    var groups: [(DeliveryPlace, [QueuedRecipient])] = []
    for recipient in recipients {
        let name = place(recipient.target, sender)
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
        asking(tlsOption, for: recipients)
    }
}
