// From the spool into memory: what is due is loaded when there is room, and a place that takes more room than it makes use of gives
// it back.

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Telemetry

extension DeliveryScheduler {
    /// Remembers that something in the spool is due at `due`.
    func noteDue(_ due: Timestamp) {
        state.withLockedValue { $0.nextDue = min($0.nextDue ?? due, due) }
        loadIfDue()
    }

    /// Loads what is due if there is room; else sets the timer for when it will be.
    func loadIfDue() {
        let now = now()
        let last = state.withLockedValue { state in
            defer { state.lastSeen = now }
            return state.lastSeen ?? now
        }
        if now + DeliveryScheduler.clockTolerance < last { mendTimes(now, setBackBy: last - now) }
        var eviction = ActiveQueue.Eviction()
        let room: (messages: Int, octets: Int)? = state.withLockedValue { state in
            guard !state.isStopped, !state.isLoading, state.bulkChanges == 0, let due = state.nextDue else { return nil }
            if due > now {
                // Asked whenever a batch ends: the timer is not touched where it is right already.
                guard state.timerDue != due else { return nil }
                state.timer?.cancel()
                state.timerDue = due
                // An hour at most: the clock may be set while it runs.
                state.timer = loop.scheduleTask(in: .microseconds(min((due - now).inMicroseconds, 3_600_000_000))) {
                    self.state.withLockedValue { $0.timerDue = nil }
                    self.loadIfDue()
                }
                return nil
            }
            let room = state.active.room
            guard room.messages > 0 else {
                // Asked again when a batch ends; or one place has too much of the room.
                eviction = state.active.evict(now: now)
                if !eviction.ids.isEmpty { state.isLoading = true }
                return nil
            }
            state.isLoading = true
            state.active.reserve(room)
            return room
        }
        if let room { load(room, now: now) }
        if !eviction.ids.isEmpty { giveBack(eviction, now: now) }
        if let lookAgain = eviction.lookAgain { lookAtRoom(at: lookAgain, now: now) }
    }

    /// Puts messages back into the spool as they came from there.
    private func giveBack(_ eviction: ActiveQueue.Eviction, now: Timestamp) {
        let due = now + eviction.pause
        spool.perform(patient: true) { store in
            for id in eviction.ids { try store.giveBack(id, due: due) }
        } completion: { [self] result in
            if case .failure(let failure) = result {
                // Their leases keep them where they are until the next start: nothing is lost.
                log.record(.queueFailed, by: .queue) { $0.reason = failure.reason }
            }
            state.withLockedValue { $0.isLoading = false }
            noteDue(due)
        }
    }

    private func lookAtRoom(at moment: Timestamp, now: Timestamp) {
        let isNew = state.withLockedValue { state in
            defer { state.isWaitingForRoom = true }
            return !state.isWaitingForRoom
        }
        guard isNew else { return }
        loop.scheduleTask(in: .microseconds(max(1000, (moment - now).inMicroseconds))) {
            self.state.withLockedValue { $0.isWaitingForRoom = false }
            self.loadIfDue()
        }
    }

    private func load(_ room: (messages: Int, octets: Int), now: Timestamp) {
        spool.perform { store in
            let due = try store.takeDue(
                now: now, limit: room.messages, octets: room.octets, lookAgain: now + DeliveryScheduler.damagedDelay)
            return (due, try store.nextDue())
        } completion: { [self] result in
            var expired: [QueueID] = []
            switch result {
            case .success(let (due, nextDue)):
                state.withLockedValue { $0.nextDue = nextDue }
                for (message, content) in due.messages { activate(message, content: content, reserved: false) }
                expired = due.expired
                for id in due.damaged {
                    log.record(.queueFailed, by: .queue) {
                        $0.queueID = id.description
                        $0.reason = "the message's rows cannot be read; it is kept and not delivered"
                    }
                }
            case .failure(let failure):
                log.record(.queueFailed, by: .queue) { $0.reason = failure.reason }
                // Ask again in a while: the mail is safe where it is.
                state.withLockedValue { $0.nextDue = now + DeliveryScheduler.loadRetryDelay }
            }
            state.withLockedValue { $0.active.cancelReservation(room) }  // after what was loaded took its place
            if expired.isEmpty { return loaded() }
            // There may be a million of them: no more are taken until these are done.
            Task { [expired] in
                for start in stride(from: 0, to: expired.count, by: DeliveryScheduler.expiredAtOnce) {
                    _ = try? await change(.expire, Array(expired[start...].prefix(DeliveryScheduler.expiredAtOnce)))
                }
                loaded()
            }
        }
    }

    private func loaded() {
        state.withLockedValue { $0.isLoading = false }
        loadIfDue()
    }

    /// Each is reported to its sender: accepting mail must not wait for many in one transaction.
    private static let expiredAtOnce = 100
}
