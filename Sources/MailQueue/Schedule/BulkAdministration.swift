// What administrators do to all messages, or to all of some queues: stretch by stretch, each in one transaction, which is short
// enough that accepting mail does not wait for it. Memory does not grow with the queue.

internal import MailSyntax
internal import NIOConcurrencyHelpers

extension DeliveryScheduler {
    /// How many messages one transaction changes: as many as take about 10 ms here, which is what a client may have to wait
    /// for more than without.
    private struct Pace {
        private(set) var size = 500
        private static let wanted = Duration.milliseconds(10)
        private static let sizes = 100...10_000

        mutating func learn(_ took: Duration) {
            let fitting = took > .zero ? Int(Double(size) * (Pace.wanted / took)) : size * 2
            size = min(max(fitting, size / 2, Pace.sizes.lowerBound), size * 2, Pace.sizes.upperBound)
        }
    }

    /// What one transaction did.
    fileprivate struct Step: Sendable {
        let last: QueueID
        var count = 0
        /// To be dealt with one by one.
        var ids: [QueueID] = []
        /// For bodies that are files.
        var files: [String] = []
        var took = Duration.zero
    }

    /// Does it to all that are selected and here now; what arrives meanwhile is not meant. How many there were.
    package func change(_ verb: QueueVerb, where selection: QueueSelection) async throws(SpoolFailure) -> Int {
        var (count, last, pace) = (0, QueueID(rawValue: -1), Pace())
        let newest = spool.newestID
        // What is made due meanwhile is loaded afterwards: each attempt would want the writer too, and take it from both this and
        // accepting mail.
        state.withLockedValue { state in
            if verb == .flush { state.active.reviveAll() }  // as postqueue(1) does
            state.bulkChanges += 1
        }
        defer {
            state.withLockedValue { $0.bulkChanges -= 1 }
            loadIfDue()
        }
        while last < newest {
            guard let step = try await step(verb, after: last, newest, limit: pace.size, selection) else { break }
            count += step.count
            if !step.ids.isEmpty { count += try await perform(verb, step.ids).count { $0.change == .changed } }
            last = step.last
            pace.learn(step.took)
        }
        if count > 0 { logChange(verb, count: count) }
        return count
    }

    private func step(
        _ verb: QueueVerb, after last: QueueID, _ newest: QueueID, limit: Int, _ selection: QueueSelection
    ) async throws(SpoolFailure) -> Step? {
        let (now, clock, route) = (now(), now, configuration.route)
        let done = try await spool.perform { store -> Step? in
            let began = clock()
            var step: Step
            if selection.site != nil {
                guard let page = try store.choose(after: last, limit: limit, selection) else { return nil }
                step = Step(last: page.last, ids: page.ids.filter { $0 <= newest })
            } else {
                guard let stretch = try store.stretch(after: last, upTo: newest, limit: limit, selection.queues) else { return nil }
                step = Step(last: stretch.last)
                try step.change(stretch, verb, store, route, now: now) {
                    try last.rawValue < 0 && store.stretch(after: stretch.last, upTo: newest, limit: 1, selection.queues) == nil
                }
            }
            step.took = clock() - began
            return step
        }
        guard var step = done, selection.site == nil else { return done }
        switch verb {
        case .hold, .delete:
            if verb == .hold {
                try await withdraw(step.ids)
            } else {
                var change = SpoolChange()
                (change.removed, change.files) = (step.count, step.files)
                forget(step.ids, change)
            }
            step.ids = []
        case .flush, .release, .requeue, .expire, .expireUnlessHeld: noteDue(now)
        }
        return step
    }
}

extension DeliveryScheduler.Step {
    /// `ids`: after hold and delete those that are to be forgotten in memory; after the others, those that this did not change.
    fileprivate mutating func change(
        _ stretch: SpoolStore.Stretch, _ verb: QueueVerb, _ store: SpoolStore, _ route: (Address) -> [RecipientTarget], now: Timestamp,
        isAll: () throws -> Bool
    ) throws {
        switch verb {
        case .flush: count = try store.makeDue(stretch, now: now)
        case .release: count = try store.release(stretch, now: now)
        case .hold:
            ids = try store.leased(in: stretch)
            count = try store.hold(stretch)
        case .delete:
            ids = try store.leased(in: stretch)
            (count, files) = try store.delete(stretch)
        case .expire, .expireUnlessHeld:
            // A queue that one transaction can report is given up before the command ends; of a longer one the rest, with its
            // reports, is left to whatever loads what is due.
            if try isAll() { return ids = try store.all(in: stretch) }
            ids = try store.leased(in: stretch)
            count = try store.expire(stretch, evenHeld: verb == .expire, now: now)
        case .requeue:
            ids = try store.leased(in: stretch)
            let questionable = try store.toBeRouted(in: stretch, route)
            // A damaged one stays as it is, which a statement for all cannot do: this stretch goes by name.
            for id in questionable where try store.message(id)?.isDamaged == true { return ids = try store.all(in: stretch) }
            for id in questionable {
                guard let message = try store.message(id), !message.leadsAsBefore(route) else { continue }
                try message.reroute(route, store)
            }
            count = try store.startOver(stretch, areIdle: ids.isEmpty, now: now)
        }
    }
}
