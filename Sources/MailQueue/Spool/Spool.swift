// The durable queue: what is in here survives a kill and a power cut. One SQLite database, one writer thread.
//
// Group commit: whoever wants to change the spool hands over an operation and is called back once it is on disk. The
// writer takes operations that wait, runs them in one transaction, and pays one fdatasync for all of them: while
// it is syncing, the next group gathers. So the cost of durability is shared by as many sessions as there are, and a
// single session waits for its own sync only.
//
// New messages come first in a group: they depend on nothing that waits, and a client waits for them. All else keeps its order, and
// as much of it goes into the group as takes a few milliseconds, however much there is after a flush of a long queue.
//
// Errors: a failed group is rolled back and repeated one operation at a time, so that a fault of one is not a fault of
// all. `SpoolFailure` says whether the disk is full. Nothing is reported as done that is not.

internal import DequeModule
internal import Glibc
package import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix

/// Why the spool could not do something. `reply` is what an SMTP client hears; `reason` is for the log.
package struct SpoolFailure: Error, CustomStringConvertible {
    package let reply: Reply
    package let reason: String
    package var description: String { reason }

    /// RFC 5321 §4.2.2: 452 insufficient system storage; RFC 3463: X.3.1 mail system full, X.3.0 other.
    static func full(_ reason: String) -> SpoolFailure {
        SpoolFailure(reply: Reply(452, EnhancedCode(4, 3, 1), "Insufficient system storage"), reason: reason)
    }
    static func other(_ reason: String) -> SpoolFailure {
        SpoolFailure(reply: Reply(451, EnhancedCode(4, 3, 0), "Error: queue file write error"), reason: reason)
    }

    static func inUse(_ directory: String) -> SpoolFailure { .other("\(directory): another process has this spool open") }

    /// Another process has the spool open.
    package var isInUse: Bool { reason.hasSuffix("another process has this spool open") }

    private static let damageAdvice = "; stop the appliance, 'valija queue verify' tells more, 'valija queue repair' mends it"

    init(reply: Reply, reason: String) {
        self.reply = reply
        self.reason = reason
    }

    package init(_ error: any Error) {
        if let failure = error as? SpoolFailure {
            self = failure
            return
        }
        let error = error as? DatabaseError ?? error
        let isFull = (error as? DatabaseError)?.isFull ?? [ENOSPC, EDQUOT].contains((error as? IOError)?.errnoCode ?? 0)
        let advice = (error as? DatabaseError)?.isDamage == true ? SpoolFailure.damageAdvice : ""
        self = isFull ? .full("\(error)") : .other("\(error)\(advice)")
    }
}

package final class Spool: Sendable {
    /// Bodies up to this many octets lie in the database; larger ones in a file of their own, so that neither memory
    /// nor a transaction grows with the size of a message.
    package static let largestInlineBody = 64 << 10

    package let directory: String
    /// Bodies of an earlier database, which is gone, that were moved to lost+found.
    let keptAside: Int
    private let thread: NIOThreadPool
    /// Touched by the writer thread only.
    private let store: WriterOwned
    private let state: NIOLockedValueBox<State>
    /// True: the writer, waiting with what nobody waits for, is to begin at once.
    private let hurry = ConditionLock(value: false)

    private struct State: Sendable {
        /// New messages.
        var arrivals: [Operation] = []
        var waiting: Deque<Operation> = []
        var isWriting = false
        /// How many of both somebody waits for, and how many of the last group somebody did.
        var urgent = 0
        var lastUrgent = 0
        var isClosed = false
        var lastID: Int64
        var count: Int
        /// The database is damaged, as was seen since the start. What is there is delivered as far as it can be read; nothing is
        /// entrusted to it any more.
        var damage: SpoolFailure?
    }

    private struct Operation: Sendable {
        let work: @Sendable (SpoolStore) throws -> Void
        let completed: @Sendable (SpoolFailure?) -> Void
        var isArrival = false
        /// Nobody waits for it.
        var isPatient = false
    }

    /// Opens the spool in `directory`, which is created if need be. Fails if another process has it open, if it cannot be
    /// written, or if a later version wrote it. Blocks; for the start of the appliance.
    package init(directory: String, owner: String) throws(SpoolFailure) {
        self.directory = directory
        do {
            try makeDirectory(directory)
            try makeDirectory(directory + "/large")
            let store = try SpoolStore(path: directory + "/spool.db", owner: owner)
            store.bodyDirectory = directory + "/large"
            try store.begin()
            try store.returnLeases()
            try store.commit()
            self.store = WriterOwned(store)
            state = NIOLockedValueBox(State(lastID: try store.greatestID(), count: try store.count()))
            keptAside = try store.isNew ? keepBodiesAside(directory) : removeOrphans(store)
        } catch let error as DatabaseError where error.isInUse {
            throw SpoolFailure.inUse(directory)
        } catch {
            throw SpoolFailure.other("\(directory): \(SpoolFailure(error).reason)")
        }
        thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
    }

    /// Waits for what was handed over, empties the log into the database, and lets go of it.
    package func close() async {
        await withCheckedContinuation { continuation in
            submit(Operation(work: { _ in }, completed: { _ in continuation.resume() }))
        }
        let lastID = state.withLockedValue { state in
            state.isClosed = true
            return state.lastID
        }
        try? await thread.runIfActive { [store] in store.close(lastID: lastID) }
        try? await thread.shutdownGracefully()
    }

    /// A queue id that no message of this spool has or had: the time, or one more than the last where the clock stood
    /// still or was set back.
    package func nextID(now: Timestamp) -> QueueID {
        state.withLockedValue { state in
            state.lastID = max(state.lastID + 1, now.microseconds)
            return QueueID(rawValue: state.lastID)
        }
    }

    /// No message in the spool has a greater one.
    var newestID: QueueID { QueueID(rawValue: state.withLockedValue { $0.lastID }) }

    /// Messages in the spool.
    package var count: Int { state.withLockedValue { $0.count } }

    /// Puts a message into the spool. `completion` is called on the writer thread once it is on disk, or with the reason
    /// why it is not. `leased`: the caller delivers it at once; else it waits for `takeDue`.
    func insert(_ message: IncomingMessage, leased: Bool, completion: @escaping @Sendable (SpoolFailure?) -> Void) {
        submit(Operation(
            work: { [self] store in
                if let damage = state.withLockedValue({ $0.damage }) { throw damage }
                try store.insert(message, leased: leased)
            },
            completed: { [self] failure in
                if failure == nil { state.withLockedValue { $0.count += 1 } }
                completion(failure)
            }, isArrival: true))
    }

    /// Runs `work` on the writer thread inside a transaction, and calls `completion` there once that is on disk. `patient`:
    /// nobody waits for it, so it may wait a moment (`patience`) for others to share a sync with.
    func perform<Value>(
        patient: Bool = false, _ work: @escaping @Sendable (SpoolStore) throws -> Value, completion: @escaping @Sendable (Result<Value, SpoolFailure>) -> Void
    ) {
        let box = ResultBox<Value>()
        submit(Operation(
            work: { box.value = try work($0) },
            completed: { completion($0.map { .failure($0) } ?? .success(box.value!)) }, isPatient: patient))
    }

    func perform<Value: Sendable>(_ work: @escaping @Sendable (SpoolStore) throws -> Value) async throws(SpoolFailure) -> Value {
        let result = await withCheckedContinuation { continuation in
            perform(work) { continuation.resume(returning: $0) }
        }
        return try result.get()
    }

    /// Writes and syncs something that changes nothing. Nil: the spool can be written.
    package func probe() async -> SpoolFailure? {
        do throws(SpoolFailure) {
            try await perform { try $0.touch() }
            return state.withLockedValue { $0.damage }
        } catch {
            return error
        }
    }

    /// Tells how many messages have left, for `count`.
    func didRemove(_ number: Int) { state.withLockedValue { $0.count -= number } }

    // MARK: The writer thread

    /// Where several commit at once, the next group gathers for this long, in microseconds: fewer and fuller transactions
    /// serve more of them than the wait costs (PostgreSQL: commit_delay with commit_siblings). One alone never waits.
    private static let gathering: UInt32 = 500
    /// How long what nobody waits for may wait, in seconds. A crash within it repeats a delivery, as one within the sync would.
    private static let patience = 0.02
    /// No operation joins a group after this time, unless it is a new message that waited before the group began: of other work, a message
    /// that comes meanwhile waits for no more than this, one operation and their sync, unless the group failed and is repeated one by one.
    private static let longest = TimeAmount.milliseconds(10)

    private func submit(_ operation: Operation) {
        let isUrgent = !operation.isPatient
        let (mustStart, mustHurry) = state.withLockedValue { state in
            if operation.isArrival { state.arrivals.append(operation) } else { state.waiting.append(operation) }
            defer {
                state.isWriting = true
                if isUrgent { state.urgent += 1 }
            }
            return (!state.isWriting, isUrgent && state.isWriting && state.urgent == 0)
        }
        if mustStart { thread.submit { [self] _ in drain() } }
        if mustHurry { hurry.lock(); hurry.unlock(withValue: true) }
    }

    private func drain() {
        // More waits than went into the last group: others need not be waited for.
        var isBehind = false
        while true {
            if !isBehind, state.withLockedValue({ $0.urgent == 0 && !$0.waiting.isEmpty }), hurry.lock(whenValue: true, timeoutSeconds: Spool.patience) {
                hurry.unlock(withValue: false)
            }
            if !isBehind, state.withLockedValue({ $0.lastUrgent > 1 && !$0.isClosed }) { usleep(Spool.gathering) }
            let (isEmpty, isClosed) = state.withLockedValue { state in
                let isEmpty = state.arrivals.isEmpty && state.waiting.isEmpty
                if isEmpty { state.isWriting = false }
                state.lastUrgent = 0
                return (isEmpty, state.isClosed)
            }
            if isEmpty { return }
            if isClosed {
                for operation in takeArrivals().arrivals { operation.completed(.other("the spool is closed")) }
                while let operation = takeNext() { operation.completed(.other("the spool is closed")) }
            } else {
                isBehind = runGroup()
            }
        }
    }

    /// And how many other operations wait beside them.
    private func takeArrivals() -> (arrivals: [Operation], others: Int) {
        state.withLockedValue { state in
            defer { state.arrivals.removeAll(keepingCapacity: false) }
            state.urgent -= state.arrivals.count
            state.lastUrgent += state.arrivals.count
            return (state.arrivals, state.waiting.count)
        }
    }

    private func takeNext() -> Operation? {
        state.withLockedValue { state in
            guard let operation = state.waiting.popFirst() else { return nil }
            if !operation.isPatient {
                state.urgent -= 1
                state.lastUrgent += 1
            }
            return operation
        }
    }

    /// One transaction, of all new messages and the first of what else waits: not of what comes meanwhile, such as the next part of
    /// a long command. Whether it had no time for all of it.
    private func runGroup() -> Bool {
        var (group, others) = takeArrivals()
        let failure = inTransaction { store in
            for operation in group { try operation.work(store) }
            let end = NIODeadline.now() + Spool.longest
            while others > 0, group.isEmpty || NIODeadline.now() < end, let operation = takeNext() {
                others -= 1
                group.append(operation)
                try operation.work(store)
            }
        }
        if failure != nil, group.isEmpty, let operation = takeNext() { group.append(operation) }
        if let failure, group.count == 1 {
            group[0].completed(failure)
        } else {
            for operation in group { operation.completed(failure == nil ? nil : inTransaction(operation.work)) }
        }
        return others > 0
    }

    /// Nil: it is on disk.
    private func inTransaction(_ work: (SpoolStore) throws -> Void) -> SpoolFailure? {
        guard let store = store.value else { return .other("the spool is closed") }
        do {
            try store.begin()
            try work(store)
            try store.commit()
            return nil
        } catch {
            store.rollback()
            let failure = SpoolFailure(error)
            if (error as? DatabaseError)?.isDamage == true { state.withLockedValue { $0.damage = failure } }
            return failure
        }
    }
}

/// Carries a result from the writer thread's transaction to its completion, both on that thread.
private final class ResultBox<Value>: @unchecked Sendable { var value: Value? }

/// What one thread uses: the writer thread, and before it starts the one that opens the spool. Nil once it is closed.
private final class WriterOwned: @unchecked Sendable {
    private(set) var value: SpoolStore?
    init(_ value: SpoolStore) { self.value = value }

    func close(lastID: Int64) {
        try? value?.close(lastID: lastID)
        value = nil
    }
}
