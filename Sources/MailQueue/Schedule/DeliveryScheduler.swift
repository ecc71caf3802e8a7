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
        /// Domain of the author of reports.
        package var origin: Domain
        package var schedule: RetrySchedule
        package var reports: ReportPolicy
        /// How much of the queue's attention one place gets.
        package var destinations: DestinationLimits
        /// Which place a recipient is delivered at.
        package var place: @Sendable (_ recipient: RecipientTarget, _ sender: Address?) -> DeliveryPlace
        /// Where a report to that sender goes: empty if the address is one of ours that nobody has.
        package var route: @Sendable (Address) -> [RecipientTarget]

        package init(
            hostname: Domain, origin: Domain, schedule: RetrySchedule, reports: ReportPolicy = ReportPolicy(),
            destinations: DestinationLimits = DestinationLimits(),
            place: @escaping @Sendable (_ recipient: RecipientTarget, _ sender: Address?) -> DeliveryPlace,
            route: @escaping @Sendable (Address) -> [RecipientTarget]
        ) {
            self.hostname = hostname
            self.origin = origin
            self.schedule = schedule
            self.reports = reports
            self.destinations = destinations
            self.place = place
            self.route = route
        }
    }

    struct State {
        var active: ActiveQueue
        var configuration: Configuration
        var isDispatching = false
        /// When `dispatch` is called although nothing happens: a place waits out its rate delay.
        var nextDispatch: Timestamp?
        var isLoading = false
        /// Changes of the whole queue under way: nothing is loaded before they are done.
        var bulkChanges = 0
        var isStopped = false
        /// When the earliest message that waits in the spool is due, as far as is known.
        var nextDue: Timestamp?
        var timer: Scheduled<Void>?
        /// What `timer` waits for.
        var timerDue: Timestamp?
        /// The time when it was last asked for.
        var lastSeen: Timestamp?
        var tasks: [Int: Task<Void, Never>] = [:]
        var lastTask = 0
        /// What agents reported and the spool could not write down.
        var unrecorded: [QueueID: Outcome] = [:]
        /// To be requeued or given up when the attempt that is under way is over.
        var afterwards: [QueueID: QueueVerb] = [:]
        var isRetrying = false
        /// A timer looks whether a slow place is to make room.
        var isWaitingForRoom = false
        var retryDelay = DeliveryScheduler.shortestRecordDelay
    }

    /// What the spool has to be told about a message.
    struct Outcome: Sendable {
        var changes: [(DeliveryReport, ActiveQueue.RecipientChange)] = []
        var conclusion: ActiveQueue.Conclusion?

        mutating func add(_ later: Outcome) {
            changes += later.changes
            conclusion = later.conclusion ?? conclusion
        }
    }

    /// How long after a failure the spool is asked again: doubled each time, so that a full disk does not also cost the
    /// processor.
    private static let shortestRecordDelay = TimeAmount.seconds(1)
    private static let longestRecordDelay = TimeAmount.seconds(60)
    /// Smaller steps of the clock are those of NTP.
    static let clockTolerance = Duration.seconds(60)
    static let loadRetryDelay = Duration.seconds(10)
    /// How long a message that cannot be read is left alone before it is looked at, and complained about, again.
    static let damagedDelay = Duration.seconds(3600)

    package let spool: Spool
    private let mailboxAgent: any DeliveryAgent
    private let nextHopAgent: any DeliveryAgent
    private let commandAgent: any DeliveryAgent
    let log: EventLog
    let loop: any EventLoop
    let now: @Sendable () -> Timestamp
    /// A number from 0 up to 1.
    private let chance: @Sendable () -> Double
    private let gathering: TimeAmount
    let state: NIOLockedValueBox<State>

    package convenience init(
        spool: Spool, mailboxes: any DeliveryAgent, commands: (any DeliveryAgent)? = nil, nextHops: any DeliveryAgent, configuration: Configuration, log: EventLog,
        loop: any EventLoop, now: @escaping @Sendable () -> Timestamp, chance: @escaping @Sendable () -> Double
    ) {
        self.init(
            spool: spool, mailboxes: mailboxes, commands: commands, nextHops: nextHops, configuration: configuration, limits: ActiveQueue.Limits(), log: log,
            loop: loop, now: now, chance: chance)
    }

    init(
        spool: Spool, mailboxes: any DeliveryAgent, commands: (any DeliveryAgent)? = nil, nextHops: any DeliveryAgent, configuration: Configuration, limits: ActiveQueue.Limits,
        log: EventLog, loop: any EventLoop, now: @escaping @Sendable () -> Timestamp, chance: @escaping @Sendable () -> Double = { 0 }
    ) {
        self.spool = spool
        mailboxAgent = mailboxes
        commandAgent = commands ?? mailboxes
        nextHopAgent = nextHops
        self.log = log
        self.loop = loop
        self.now = now
        self.chance = chance
        gathering = limits.gathering
        state = NIOLockedValueBox(State(active: ActiveQueue(limits: limits, destinations: configuration.destinations), configuration: configuration))
    }

    var configuration: Configuration { state.withLockedValue { $0.configuration } }

    /// Another configuration from now on. Every attempt that begins later goes where it says, that of mail which waits in
    /// memory too; what is under way ends as it began. When a message is due was decided, and stays.
    package func apply(_ configuration: Configuration) {
        state.withLockedValue { state in
            state.configuration = configuration
            state.active.destinations = configuration.destinations
            state.active.sortAgain(by: configuration.place)
        }
        dispatchSoon()
    }

    /// Messages being worked on at this moment.
    package var activeCount: Int { state.withLockedValue { $0.active.count } }

    /// Starts with whatever the spool holds.
    package func start() {
        let now = now()
        if spool.keptAside > 0 {
            log.record(.queueFailed, by: .queue) {
                $0.count = spool.keptAside
                $0.reason = "contents of messages were here without a database; they are in \(spool.directory)/lost+found, and are not delivered"
            }
        }
        // Ids are times of arrival; after a crash the next begin up to a minute ahead.
        let behind = Timestamp(microseconds: spool.newestID.rawValue) - now
        if behind > DeliveryScheduler.clockTolerance * 2 { mendTimes(now, setBackBy: behind) }
        noteDue(now)
    }

    /// Mail that waits would wait for the old time to come again.
    func mendTimes(_ now: Timestamp, setBackBy step: Duration) {
        log.record(.clockSetBack, by: .queue) { $0.delay = step }
        let schedule = configuration.schedule
        let latest = now + schedule.longestDelay
        spool.perform { try $0.mendDue(now: now, latest: latest) } completion: { [self] result in
            if case .failure(let failure) = result { log.record(.queueFailed, by: .queue) { $0.reason = failure.reason } } else { noteDue(now) }
        }
    }

    /// Starts no more deliveries, gives those under way `grace` to end, then asks them to, and waits. What they reported is
    /// on disk when this returns, or said to be not; what they did not is tried again after the next start.
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
        recordAgain()
        let failure: SpoolFailure? = await spool.probe()
        let lost = state.withLockedValue { $0.unrecorded.count }
        if lost > 0 {
            log.record(.queueFailed, by: .queue) {
                $0.count = lost
                $0.reason = failure?.reason
                $0.message = "what became of these messages could not be written down; some may be delivered again"
            }
        }
    }

    /// Takes a message over for good. `completion(nil)`: it is on disk and will be delivered.
    package func accept(_ message: IncomingMessage, completion: @escaping @Sendable (SpoolFailure?) -> Void) {
        let octets = message.content.octetsInMemory
        let isReserved = state.withLockedValue { !$0.isStopped && $0.active.reserve(octets: octets) }
        spool.insert(message, leased: isReserved) { [self] failure in
            if failure != nil {
                if isReserved {
                    state.withLockedValue { $0.active.cancelReservation(octets: octets) }
                    loadIfDue()  // there is room again
                }
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
    func activate(_ message: StoredMessage, content: MessageContent, reserved: Bool) {
        let pending = message.recipients.filter { $0.state == .pending }.map(\.recipient)
        // A recipient that is done but not reported: the last process ended between the two.
        let needsNotice = message.recipients.contains { $0.state != .pending }
        let now = now()
        let conclusion = state.withLockedValue { state in
            // Under one lock with the queue that it goes into: another configuration comes either before or after both.
            let groups = grouped(pending, from: message.sender, by: state.configuration.place).flatMap { place, recipients in
                // With VERP each recipient has a sender of its own, and so needs a transaction of its own.
                (message.verp == nil ? [recipients] : recipients.map { [$0] }).map { (place, DeliveryRequest(message, recipients: $0, content: content)) }
            }
            state.active.add(message, octets: content.octetsInMemory, reserved: reserved, groups: groups, needsNotice: needsNotice, now: now)
            return state.active.concludeIfDone(message.id)
        }
        if let conclusion { record(message.id, Outcome(conclusion: conclusion)) }
        dispatchSoon()
    }

    /// New mail gathers for a moment, so that what comes together is delivered together.
    private func dispatchSoon() {
        let mustSchedule = state.withLockedValue { state in
            defer { state.isDispatching = true }
            return !state.isDispatching
        }
        guard mustSchedule else { return }
        if gathering > .zero { loop.scheduleTask(in: gathering) { self.dispatch(gathered: true) } } else { loop.execute { self.dispatch(gathered: true) } }
    }

    private func dispatch(gathered: Bool) {
        let now = now()
        var suspended: [(request: DeliveryRequest, place: DeliveryPlace, reason: Reply)] = []
        let mustGather = state.withLockedValue { state in
            if gathered { state.isDispatching = false }
            guard !state.isStopped else { return false }
            let start = state.active.start(now: now, gathered: gathered)
            suspended = start.suspended
            // Under one lock with the question: whoever stops sees all the tasks that there will be.
            for batch in start.batches {
                state.lastTask += 1
                let number = state.lastTask
                state.tasks[number] = Task { await self.run(batch, task: number) }
            }
            if let next = start.next, state.nextDispatch.map({ $0 > next || $0 <= now }) ?? true {
                state.nextDispatch = next
                loop.scheduleTask(in: .microseconds(max(1000, (next - now).inMicroseconds))) { self.dispatch(gathered: true) }
            }
            return state.active.isGathering
        }
        if mustGather { dispatchSoon() }
        for (request, place, reason) in suspended { suspend(request, place, reason, now: now) }
    }

    /// Reports what was not tried because its place is dead.
    private func suspend(_ request: DeliveryRequest, _ place: DeliveryPlace, _ reason: Reply, now: Timestamp) {
        let reply = Reply(reason.code, reason.enhanced, "delivery temporarily suspended: \(reason.lines.joined(separator: " "))")
        for recipient in request.recipients {
            take(DeliveryReport(id: request.id, recipient: recipient, outcome: .deferred(reply), relay: "none"), place: place, started: now)
        }
    }

    private func run(_ batch: ActiveQueue.Batch, task number: Int) async {
        struct Name: Hashable {
            let id: QueueID
            let recipient: Int
        }
        // One report for each recipient of this attempt counts, whatever an agent does: a second one would conclude
        // a message whose other recipients are still under way, a missing one would hold it until the next start.
        let owed = NIOLockedValueBox(Set(batch.requests.lazy.flatMap { request in request.recipients.map { Name(id: request.id, recipient: $0.number) } }))
        let agent =
            switch batch.place {
            case .mailboxes: mailboxAgent
            case .commands: commandAgent
            case .nextHop: nextHopAgent
            }
        let started = now()
        let health = NIOLockedValueBox(ActiveQueue.Health.unknown)
        await agent.deliver(batch.requests, to: batch.place) { report in
            guard owed.withLockedValue({ $0.remove(Name(id: report.id, recipient: report.recipient.number)) }) != nil else { return }
            health.withLockedValue { $0.learn(from: report) }
            self.take(report, place: batch.place, started: started)
        }
        let left = owed.withLockedValue { owed in
            defer { owed = [] }
            return owed
        }
        if !left.isEmpty {
            for request in batch.requests {
                for recipient in request.recipients where left.contains(Name(id: request.id, recipient: recipient.number)) {
                    let reply = Reply(451, EnhancedCode(4, 3, 0), "The delivery ended without a result")
                    take(DeliveryReport(id: request.id, recipient: recipient, outcome: .deferred(reply), relay: "none"), place: batch.place, started: started)
                }
            }
        }
        state.withLockedValue { state in
            state.active.batchEnded(
                batch.place, health.withLockedValue { $0 }, now: now(), deadFor: state.configuration.schedule.minimum)
            state.tasks[number] = nil
        }
        dispatch(gathered: false)
        loadIfDue()
    }

    // MARK: From the agents to the spool

    private func take(_ report: DeliveryReport, place: DeliveryPlace, started: Timestamp) {
        let now = now()
        let settlement = state.withLockedValue { $0.active.settle(report, schedule: $0.configuration.schedule, now: now, chance: chance) }
        guard let settlement else { return }
        logDelivery(report, settlement, place: place, started: started, now: now)
        record(report.id, Outcome(changes: [(report, settlement.change)], conclusion: settlement.conclusion))
    }

    /// Writes down what became of a recipient, and of the message if that was the last.
    ///
    /// Repeated until it succeeds: else a restart would deliver again what was delivered. What failed earlier is written
    /// first, in the same transaction: a conclusion must not overtake the outcomes that it reports to the sender. The
    /// writer thread completes one failed operation before it runs the next, so none is missed here.
    private func record(_ id: QueueID, _ new: Outcome) {
        let now = now()
        spool.perform(patient: true) { [self] store -> SpoolChange in
            var outcome = state.withLockedValue { $0.unrecorded[id] } ?? Outcome()
            outcome.add(new)
            var new = SpoolChange()
            for case (let report, _) in outcome.changes { if case .resubmitted(let next) = report.outcome { try new.insert(next, store, now: now) } }
            if outcome.conclusion == .delete {
                new.add(try SpoolChange.delete(id, store))
                return new
            }
            for (report, change) in outcome.changes {
                let number = report.recipient.number
                switch change {
                case .remove: try store.delete(id, recipient: number)
                case .keep(let state, let reply):
                    try store.update(id, recipient: number, state: state, reply: reply, relay: report.relay, answers: report.answers)
                }
            }
            guard case .settle(let notice, let due)? = outcome.conclusion else { return new }
            var change = try SpoolChange.settle(id, notice: notice, due: due, store, configuration, now: now) { [spool] in spool.nextID(now: now) }
            change.add(new)
            return change
        } completion: { [self] result in
            switch result {
            case .success(let done):
                state.withLockedValue { state in
                    guard state.unrecorded.removeValue(forKey: id) != nil, state.unrecorded.isEmpty else { return }
                    state.retryDelay = DeliveryScheduler.shortestRecordDelay
                }
                finish(done)
                if done.isGone { log.record(.messageRemoved, by: .queue) { $0.queueID = id.description } }
                if new.conclusion != nil, let verb = state.withLockedValue({ $0.afterwards.removeValue(forKey: id) }) {
                    Task { try? await change(verb, [id]) }
                }
            case .failure(let failure): keep(id, new, failure)
            }
        }
    }

    /// Sees to it that what could not be written down is tried again. One timer and one line in the log for all.
    private func keep(_ id: QueueID, _ outcome: Outcome, _ failure: SpoolFailure) {
        let delay: TimeAmount? = state.withLockedValue { state in
            state.unrecorded[id, default: Outcome()].add(outcome)
            guard !state.isRetrying, !state.isStopped else { return nil }
            state.isRetrying = true
            defer { state.retryDelay = min(state.retryDelay * 2, DeliveryScheduler.longestRecordDelay) }
            return state.retryDelay
        }
        guard let delay else { return }
        log.record(.queueFailed, by: .queue) {
            $0.queueID = id.description
            $0.reason = failure.reason
        }
        loop.scheduleTask(in: delay) { self.recordAgain() }
    }

    private func recordAgain() {
        let ids = state.withLockedValue { state in
            state.isRetrying = false
            return Array(state.unrecorded.keys)
        }
        for id in ids { record(id, Outcome()) }
    }

    /// After the transaction is on disk.
    func finish(_ done: SpoolChange) {
        spool.didRemove(done.removed)
        done.files.forEach(removeBodyFile)
        for notice in done.notices {
            log.record(notice.queued == nil ? .bounceDropped : .bounceQueued, by: .queue) {
                $0.queueID = notice.about.description
                $0.to = notice.to?.description ?? ""
                $0.reason = notice.reason
                guard let report = notice.queued else { return }
                $0.reportID = report.id.description
                $0.messageID = report.messageID
                $0.size = report.size
                $0.recipients = report.recipients
                $0.message = report.words
            }
        }
        if let due = done.due { noteDue(due) }
    }

    private func logDelivery(
        _ report: DeliveryReport, _ settlement: ActiveQueue.Settlement, place: DeliveryPlace, started: Timestamp, now: Timestamp
    ) {
        let (event, reply): (Event, Reply) =
            switch report.outcome {
            case .delivered(let reply, _): (.deliverySent, reply)
            case .resubmitted(let new): (.deliverySent, new.reply)
            case .deferred(let reply): (settlement.hasExpired ? .deliveryExpired : .deliveryDeferred, reply)
            case .failed(let reply): (.deliveryBounced, reply)
            }
        log.record(event, by: place == .mailboxes || place == .commands ? .local : .smtp) { fields in
            let address = report.recipient.target.address
            fields.queueID = report.id.description
            fields.to = address.description
            if report.recipient.original != address { fields.originalTo = report.recipient.original.description }
            fields.relay = report.relay
            fields.tls = report.tls
            fields.dsn = (reply.enhanced ?? .generic(for: reply)).description
            fields.reply = reply.summary
            fields.command = report.answers
            fields.delay = now - settlement.received
            fields.attempt = now - started
            if settlement.hasExpired { fields.from = settlement.sender?.description ?? "" }
            fields.explanation = { [relay = report.relay, answers = report.answers] in reply.explanation(relay: relay, answers: answers) }
        }
    }
}

extension ActiveQueue.Health {
    /// One answer shows that the place lives; trouble counts where there was nothing else.
    fileprivate mutating func learn(from report: DeliveryReport) {
        switch (self, report.outcome) {
        case (.alive, _): break
        case (_, .deferred(let reply)) where report.blamesPlace: self = .failing(reply)
        case (_, .deferred) where report.answers == nil: break
        default: self = .alive
        }
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
