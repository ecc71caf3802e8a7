// Moves mail from the spool to the agents, and what they report back into the spool.
//
// New mail is delivered at once, straight from memory; mail that waits in the spool is loaded when it is due and there is
// room. The decisions are `ActiveQueue`'s and `RetrySchedule`'s; this class performs them. Nothing here blocks: the
// spool calls back on its writer thread, agents report on theirs, timers run on the event loop given.

package import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOCore
package import Telemetry

package final class DeliveryScheduler: Sendable {
    /// What the scheduler asks others. Replaced as a whole when another manifest comes into force.
    package struct Configuration: Sendable {
        package var hostname: Domain
        package var schedule: RetrySchedule
        /// Which place a recipient is delivered at.
        package var place: @Sendable (RecipientTarget) -> DeliveryPlace
        /// Where a report to that sender goes: empty if the address is one of ours that nobody has.
        package var route: @Sendable (Address) -> [RecipientTarget]

        package init(
            hostname: Domain, schedule: RetrySchedule, place: @escaping @Sendable (RecipientTarget) -> DeliveryPlace,
            route: @escaping @Sendable (Address) -> [RecipientTarget]
        ) {
            self.hostname = hostname
            self.schedule = schedule
            self.place = place
            self.route = route
        }
    }

    private struct State {
        var active: ActiveQueue
        var configuration: Configuration
        var isDispatching = false
        var isLoading = false
        var isStopped = false
        /// When the earliest message that waits in the spool is due, as far as is known.
        var nextDue: Timestamp?
        var timer: Scheduled<Void>?
        var tasks: [Int: Task<Void, Never>] = [:]
        var lastTask = 0
    }

    package let spool: Spool
    private let mailboxAgent: any DeliveryAgent
    private let nextHopAgent: any DeliveryAgent
    private let log: EventLog
    private let loop: any EventLoop
    private let now: @Sendable () -> Timestamp
    private let state: NIOLockedValueBox<State>

    package init(
        spool: Spool, mailboxes: any DeliveryAgent, nextHops: any DeliveryAgent, configuration: Configuration, log: EventLog,
        loop: any EventLoop, now: @escaping @Sendable () -> Timestamp
    ) {
        self.spool = spool
        mailboxAgent = mailboxes
        nextHopAgent = nextHops
        self.log = log
        self.loop = loop
        self.now = now
        state = NIOLockedValueBox(State(active: ActiveQueue(), configuration: configuration))
    }

    package var configuration: Configuration {
        get { state.withLockedValue { $0.configuration } }
        set { state.withLockedValue { $0.configuration = newValue } }
    }

    /// Messages being worked on at this moment.
    package var activeCount: Int { state.withLockedValue { $0.active.count } }

    /// Starts with whatever the spool holds.
    package func start() { noteDue(now()) }

    /// Starts no more deliveries, gives those under way `grace` to end, then asks them to, and waits. What they report is
    /// recorded; what they do not is tried again after the next start.
    package func stop(grace: Duration) async {
        let tasks = state.withLockedValue { state in
            state.isStopped = true
            state.timer?.cancel()
            return Array(state.tasks.values)
        }
        let cutOff = Task {
            try? await Task.sleep(for: grace)
            for task in tasks { task.cancel() }
        }
        for task in tasks { await task.value }
        cutOff.cancel()
    }

    /// Takes a message over for good. `completion(nil)`: it is on disk and will be delivered.
    package func accept(_ message: IncomingMessage, completion: @escaping @Sendable (SpoolFailure?) -> Void) {
        let octets = message.content.octetsInMemory
        let isReserved = state.withLockedValue { !$0.isStopped && $0.active.reserve(octets: octets) }
        spool.insert(message, leased: isReserved) { [self] failure in
            if failure != nil {
                if isReserved { state.withLockedValue { $0.active.cancelReservation(octets: octets) } }
            } else if isReserved {
                activate(StoredMessage(message), content: message.content, reserved: true)
            } else {
                noteDue(now())
            }
            completion(failure)
        }
    }

    // MARK: From the spool to the agents

    /// Groups the pending recipients of a message by place, and lets them start.
    private func activate(_ message: StoredMessage, content: MessageContent, reserved: Bool) {
        let place = configuration.place
        var groups: [(DeliveryPlace, [QueuedRecipient])] = []
        for stored in message.recipients where stored.state == .pending {
            let name = place(stored.recipient.target)
            if let index = groups.firstIndex(where: { $0.0 == name }) {
                groups[index].1.append(stored.recipient)
            } else {
                groups.append((name, [stored.recipient]))
            }
        }
        let requests = groups.map { ($0.0, DeliveryRequest(message, recipients: $0.1, content: content)) }
        // A recipient that is done but not reported: the last process ended between the two.
        let needsNotice = message.recipients.contains { $0.state != .pending }
        let conclusion = state.withLockedValue { state in
            state.active.add(message, octets: content.octetsInMemory, reserved: reserved, groups: requests, needsNotice: needsNotice)
            return state.active.concludeIfDone(message.id)
        }
        if let conclusion { record(message.id, nil, conclusion) }
        dispatchSoon()
    }

    private func dispatchSoon() {
        let mustSchedule = state.withLockedValue { state in
            defer { state.isDispatching = true }
            return !state.isDispatching
        }
        if mustSchedule { loop.execute { self.dispatch() } }
    }

    private func dispatch() {
        let batches = state.withLockedValue { state in
            state.isDispatching = false
            return state.isStopped ? [] : state.active.startBatches()
        }
        for batch in batches { start(batch) }
    }

    private func start(_ batch: ActiveQueue.Batch) {
        let agent = batch.place == .mailboxes ? mailboxAgent : nextHopAgent
        state.withLockedValue { state in
            state.lastTask += 1
            let number = state.lastTask
            state.tasks[number] = Task {
                await agent.deliver(batch.requests, to: batch.place) { self.take($0, place: batch.place) }
                self.state.withLockedValue { state in
                    state.active.batchEnded(batch.place)
                    state.tasks[number] = nil
                }
                self.dispatchSoon()
                self.loadIfDue()
            }
        }
    }

    /// Remembers that something in the spool is due at `due`.
    private func noteDue(_ due: Timestamp) {
        state.withLockedValue { $0.nextDue = min($0.nextDue ?? due, due) }
        loadIfDue()
    }

    /// Loads what is due if there is room; else sets the timer for when it will be.
    private func loadIfDue() {
        let now = now()
        let room: (messages: Int, octets: Int)? = state.withLockedValue { state in
            guard !state.isStopped, !state.isLoading, let due = state.nextDue else { return nil }
            if due > now {
                state.timer?.cancel()
                state.timer = loop.scheduleTask(in: .microseconds(min((due - now).inMicroseconds, 3_600_000_000))) { self.loadIfDue() }
                return nil
            }
            let room = state.active.room
            guard room.messages > 0 else { return nil }  // asked again when a batch ends
            state.isLoading = true
            return room
        }
        if let room { load(room, now: now) }
    }

    private func load(_ room: (messages: Int, octets: Int), now: Timestamp) {
        spool.perform { store in
            (try store.takeDue(now: now, limit: room.messages, octets: room.octets), try store.nextDue())
        } completion: { [self] result in
            switch result {
            case .success(let (loaded, nextDue)):
                state.withLockedValue { state in
                    state.isLoading = false
                    state.nextDue = nextDue
                }
                for (message, content) in loaded { activate(message, content: content, reserved: false) }
            case .failure(let failure):
                log.record(.queueFailed, by: .queue) { $0.reason = failure.reason }
                // Ask again in a while: the mail is safe where it is.
                state.withLockedValue { state in
                    state.isLoading = false
                    state.nextDue = now + .seconds(10)
                }
            }
            loadIfDue()
        }
    }

    // MARK: From the agents to the spool

    private func take(_ report: DeliveryReport, place: DeliveryPlace) {
        let now = now()
        let settlement = state.withLockedValue { $0.active.settle(report, schedule: $0.configuration.schedule, now: now) }
        guard let settlement else { return }
        logDelivery(report, hasExpired: settlement.hasExpired, place: place, now: now)
        record(report.id, (report, settlement.change), settlement.conclusion)
    }

    /// Writes down what became of a recipient, and of the message if that was the last. Repeated until it succeeds: else a
    /// restart would deliver again what was delivered.
    private func record(_ id: QueueID, _ change: (DeliveryReport, ActiveQueue.RecipientChange)?, _ conclusion: ActiveQueue.Conclusion?) {
        let now = now()
        let configuration = configuration
        spool.perform { [spool] store -> SpoolChange in
            if conclusion == .delete { return try SpoolChange.delete(id, store) }
            if let (report, change) = change {
                let number = report.recipient.number
                switch change {
                case .remove: try store.delete(id, recipient: number)
                case .keep(let state, let reply): try store.update(id, recipient: number, state: state, reply: reply, relay: report.relay)
                }
            }
            guard case .settle(let notice, let due)? = conclusion else { return SpoolChange() }
            return try SpoolChange.settle(id, notice: notice, due: due, store, configuration, spool.nextID(now: now), now: now)
        } completion: { [self] result in
            switch result {
            case .success(let done): finish(done)
            case .failure(let failure):
                log.record(.queueFailed, by: .queue) {
                    $0.queueID = id.description
                    $0.reason = failure.reason
                }
                loop.scheduleTask(in: .seconds(1)) { self.record(id, change, conclusion) }
            }
        }
    }

    /// After the transaction is on disk.
    private func finish(_ done: SpoolChange) {
        spool.didRemove(done.removed)
        done.files.forEach(removeBodyFile)
        if let notice = done.notice {
            log.record(notice.queued == nil ? .bounceDropped : .bounceQueued, by: .queue) {
                $0.queueID = notice.about.description
                $0.to = notice.to?.description ?? ""
                $0.message = notice.queued.map { "report queued as \($0)" }
                $0.reason = notice.reason
            }
        }
        if let due = done.due { noteDue(due) }
    }

    private func logDelivery(_ report: DeliveryReport, hasExpired: Bool, place: DeliveryPlace, now: Timestamp) {
        let (event, reply): (Event, Reply) =
            switch report.outcome {
            case .delivered(let reply, _): (.deliverySent, reply)
            case .deferred(let reply): (hasExpired ? .deliveryExpired : .deliveryDeferred, reply)
            case .failed(let reply): (.deliveryBounced, reply)
            }
        log.record(event, by: place == .mailboxes ? .local : .smtp) { fields in
            let address = report.recipient.target.address
            fields.queueID = report.id.description
            fields.to = address.description
            if report.recipient.original != address { fields.originalTo = report.recipient.original.description }
            fields.relay = report.relay
            fields.dsn = (reply.enhanced ?? .generic(for: reply)).description
            fields.reply = reply.summary
            fields.delay = now - Timestamp(microseconds: report.id.rawValue)
        }
    }

    // MARK: For administrators

    /// Messages in the order of their arrival, a page at a time, so that a queue of any length can be listed.
    package func list(after id: QueueID, limit: Int) async throws(SpoolFailure) -> [StoredMessage] {
        try await spool.perform { try $0.page(after: id, limit: limit) }
    }

    /// A message and its content; nil if there is none of that name.
    package func message(_ id: QueueID) async throws(SpoolFailure) -> (StoredMessage, MessageContent)? {
        try await spool.perform { store in
            guard let message = try store.message(id) else { return nil }
            return (message, try store.content(of: message))
        }
    }

    /// Tries a message, or all that wait, at once. How many there were.
    package func flush(_ id: QueueID?) async throws(SpoolFailure) -> Int {
        let now = now()
        let count = try await spool.perform { try $0.makeDue(id, now: now) }
        log.record(.queueChanged, by: .control) {
            $0.queueID = id?.description
            $0.count = count
            $0.message = "flushed"
        }
        noteDue(now)
        return count
    }

    /// Removes a message without a report. False: there is none of that name.
    package func delete(_ id: QueueID) async throws(SpoolFailure) -> Bool {
        let done = try await spool.perform { try SpoolChange.delete(id, $0) }
        state.withLockedValue { $0.active.drop(id) }
        finish(done)
        if done.removed > 0 {
            log.record(.queueChanged, by: .control) {
                $0.queueID = id.description
                $0.message = "deleted"
            }
        }
        return done.removed > 0
    }
}

extension MessageContent {
    var isFile: Bool { if case .file = self { true } else { false } }
    fileprivate var octetsInMemory: Int { if case .inline(let bytes) = self { bytes.readableBytes } else { 0 } }
}

extension EnhancedCode {
    /// RFC 3463 §2: what can be said when the peer gave no enhanced code.
    package static func generic(for reply: Reply) -> EnhancedCode { EnhancedCode(reply.isPositive ? 2 : reply.isTransient ? 4 : 5, 0, 0) }
}

extension StoredMessage {
    init(_ message: IncomingMessage) {
        self.init(
            id: message.id, sender: message.envelope.sender, received: message.received, size: message.content.size,
            flags: Flags(message.envelope, bodyInFile: message.content.isFile), envelopeID: message.envelope.envelopeID,
            due: message.received, attempts: 0, isLeased: true,
            recipients: message.recipients.map { StoredRecipient(recipient: $0, state: .pending) })
    }
}
