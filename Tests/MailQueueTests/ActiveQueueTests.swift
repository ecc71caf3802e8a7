// The active queue: what starts, what waits, what remains.

import MailSyntax
import NIOCore
import Testing

@testable import MailQueue

struct ActiveQueueTests {
    private let schedule = RetrySchedule(minimum: .seconds(300), maximum: .seconds(14_400), lifetime: .seconds(432_000), bounceLifetime: .seconds(86_400))

    private func stored(_ id: Int64, from sender: String? = "s@example.org", attempts: Int = 0) -> StoredMessage {
        StoredMessage(
            id: QueueID(rawValue: id), sender: sender.map { Address($0)! }, received: epoch, size: 0, flags: [], envelopeID: nil, due: epoch, attempts: attempts,
            isLeased: true, recipients: [])
    }

    private func add(
        _ id: Int64, to recipients: [String] = ["a@example.org"], notify: Notify = .unspecified, from sender: String? = "s@example.org", attempts: Int = 0,
        octets: Int = 0, reserved: Bool = false, needsNotice: Bool = false, _ queue: inout ActiveQueue
    ) {
        let message = stored(id, from: sender, attempts: attempts)
        var groups: [(DeliveryPlace, DeliveryRequest)] = []
        let all = recipients.enumerated().map { queued($1, number: $0, notify: notify) }
        for name in Set(all.map { place($0.target) }).sorted(by: { $0.description < $1.description }) {
            groups.append((name, DeliveryRequest(message, recipients: all.filter { place($0.target) == name }, content: .inline(ByteBuffer()))))
        }
        queue.add(message, octets: octets, reserved: reserved, groups: groups, needsNotice: needsNotice, now: epoch)
    }

    private func settle(_ queue: inout ActiveQueue, _ id: Int64, _ recipient: QueuedRecipient, _ outcome: DeliveryReport.Outcome, now: Timestamp = epoch) -> ActiveQueue.Settlement? {
        queue.settle(DeliveryReport(id: QueueID(rawValue: id), recipient: recipient, outcome: outcome, relay: "r"), schedule: schedule, now: now)
    }

    // MARK: What starts

    @Test("what waits is spread over the free slots, in batches of a bounded size", arguments: [
        // waiting, concurrency, least and largest batch, sizes of the batches that start
        (0, 3, 1, 10, []), (1, 3, 1, 10, [1]), (3, 3, 1, 10, [1, 1, 1]), (4, 3, 1, 10, [2, 1, 1]), (30, 3, 1, 10, [10, 10, 10]),
        (100, 3, 1, 10, [10, 10, 10]), (7, 1, 1, 50, [7]), (5, 2, 1, 2, [2, 2]),
        // what is worth no slot of its own stays together
        (2, 2, 8, 50, [2]), (9, 2, 8, 50, [8, 1]), (40, 2, 8, 50, [20, 20]), (5, 2, 8, 4, [4, 1]),
    ] as [(Int, Int, Int, Int, [Int])])
    func batches(waiting: Int, concurrency: Int, least: Int, largest: Int, sizes: [Int]) {
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxShare, limits.mailboxBatch) = (concurrency, least, largest)
        var queue = ActiveQueue(limits: limits)
        for id in 0..<waiting { add(Int64(id), &queue) }
        let batches = queue.start(now: epoch).batches
        #expect(batches.map(\.requests.count) == sizes)
        #expect(batches.flatMap { $0.requests.map(\.id.rawValue) } == (0..<sizes.reduce(0, +)).map(Int64.init), "in the order of arrival")
        #expect(queue.waitingCount == waiting - sizes.reduce(0, +))
        let more = queue.start(now: epoch).batches
        #expect(more.isEmpty, "no more start than slots are free")
    }

    @Test("until the gathering is over, only what fills a batch starts; mail for a next hop does not wait")
    func gathering() {
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxShare, limits.mailboxBatch) = (2, 8, 8)
        var queue = ActiveQueue(limits: limits)
        for id in 1...7 as ClosedRange<Int64> { add(id, &queue) }
        add(8, to: ["x@fast.example"], &queue)
        #expect(queue.start(now: epoch, gathered: false).batches.map { $0.requests.map(\.id.rawValue) } == [[8]])
        #expect(queue.isGathering)
        add(9, &queue)
        #expect(queue.start(now: epoch, gathered: false).batches.map { $0.requests.map(\.id.rawValue) } == [[1, 2, 3, 4, 5, 6, 7, 9]])
        #expect(!queue.isGathering)
        add(10, &queue)
        #expect(queue.start(now: epoch, gathered: false).batches.isEmpty)
        #expect(queue.start(now: epoch).batches.map { $0.requests.map(\.id.rawValue) } == [[10]], "it is over")
        #expect(!queue.isGathering)
    }

    @Test("a place whose slots are taken holds up no other, and goes on when a batch ends")
    func isolation() {
        var limits = ActiveQueue.Limits()
        limits.nextHopBatch = 1
        var queue = ActiveQueue(limits: limits, destinations: DestinationLimits(initial: 2, most: 2, rateDelay: .zero))
        for id in 1...5 as ClosedRange<Int64> { add(id, to: ["x@slow.example"], &queue) }
        let slow = place(queued("x@slow.example").target)
        #expect(queue.start(now: epoch).batches.map(\.place) == [slow, slow])
        add(6, to: ["x@fast.example"], &queue)
        add(7, to: ["a@example.org"], &queue)
        #expect(Set(queue.start(now: epoch).batches.flatMap { $0.requests.map(\.id.rawValue) }) == [6, 7])
        queue.batchEnded(slow, .unknown, now: epoch, deadFor: .seconds(300))
        #expect(queue.start(now: epoch).batches.map { $0.requests.map(\.id.rawValue) } == [[3]])
        for _ in 0..<2 { queue.batchEnded(slow, .unknown, now: epoch, deadFor: .seconds(300)) }
        #expect(queue.start(now: epoch).batches.map { $0.requests.map(\.id.rawValue) } == [[4], [5]])
    }

    @Test("never more batches run for a place than allowed, and all is started once, whatever ends when", arguments: 0..<10 as Range<UInt64>)
    func randomOrder(seed: UInt64) {
        var random = SplitMix(state: seed)
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxBatch, limits.nextHopBatch) = (2, 7, 2)
        var queue = ActiveQueue(limits: limits, destinations: DestinationLimits(initial: 2, most: 3, rateDelay: .zero))
        var running: [ActiveQueue.Batch] = []
        var started: [Int64: Int] = [:]
        var added: Int64 = 0
        while added < 300 || !running.isEmpty {
            if added < 300, Bool.random(using: &random) {
                added += 1
                add(added, to: [["a@example.org", "a@one.example", "a@two.example"].randomElement(using: &random)!], &queue)
            } else if let index = running.indices.randomElement(using: &random) {
                let batch = running.remove(at: index)
                for request in batch.requests { #expect(settle(&queue, request.id.rawValue, request.recipients[0], .delivered)?.conclusion == .delete) }
                queue.batchEnded(batch.place, .unknown, now: epoch, deadFor: .seconds(300))
            }
            for batch in queue.start(now: epoch).batches {
                running.append(batch)
                for request in batch.requests { started[request.id.rawValue, default: 0] += 1 }
            }
            for (place, batches) in Dictionary(grouping: running, by: \.place) { #expect(batches.count <= (place == .mailboxes ? 2 : 3)) }
        }
        #expect(started.count == 300 && started.values.allSatisfy { $0 == 1 })
        #expect(queue.count == 0 && queue.waitingCount == 0)
    }

    // MARK: What remains

    private static let ok = Reply(250, EnhancedCode(2, 0, 0), "Ok"), later = Reply(450, EnhancedCode(4, 2, 0), "Later"), no = Reply(550, EnhancedCode(5, 1, 1), "No such user")
    private static let retry = epoch + .seconds(300)

    struct Case: Sendable {
        let outcome: DeliveryReport.Outcome
        let recipient: String
        let notify: Notify
        let change: ActiveQueue.RecipientChange
        let conclusion: ActiveQueue.Conclusion
    }

    @Test("what remains of a recipient and its message follows from the outcome and NOTIFY (RFC 3461 §4.1, §5.2)", arguments: [
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@example.org", notify: .unspecified, change: .remove, conclusion: .delete),
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@example.org", notify: .never, change: .remove, conclusion: .delete),
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@example.org", notify: .failure, change: .remove, conclusion: .delete),
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@example.org", notify: .delay, change: .remove, conclusion: .delete),
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@example.org", notify: .success, change: .keep(.delivered, ok), conclusion: .settle(notice: true, due: nil)),
        Case(outcome: .delivered(ok, passesOnDSN: false), recipient: "a@b.example", notify: [.success, .failure], change: .keep(.relayed, ok), conclusion: .settle(notice: true, due: nil)),
        Case(outcome: .delivered(ok, passesOnDSN: true), recipient: "a@b.example", notify: .success, change: .remove, conclusion: .delete),
        Case(outcome: .failed(no), recipient: "a@example.org", notify: .unspecified, change: .keep(.failed, no), conclusion: .settle(notice: true, due: nil)),
        Case(outcome: .failed(no), recipient: "a@example.org", notify: .failure, change: .keep(.failed, no), conclusion: .settle(notice: true, due: nil)),
        Case(outcome: .failed(no), recipient: "a@example.org", notify: .never, change: .remove, conclusion: .delete),
        Case(outcome: .failed(no), recipient: "a@example.org", notify: .success, change: .remove, conclusion: .delete),
        Case(outcome: .failed(no), recipient: "a@example.org", notify: .delay, change: .remove, conclusion: .delete),
        Case(outcome: .deferred(later), recipient: "a@example.org", notify: .unspecified, change: .keep(.pending, later), conclusion: .settle(notice: false, due: retry)),
        Case(outcome: .deferred(later), recipient: "a@example.org", notify: .never, change: .keep(.pending, later), conclusion: .settle(notice: false, due: retry)),
    ])
    func outcomes(expected: Case) {
        var queue = ActiveQueue()
        add(1, to: [expected.recipient], notify: expected.notify, octets: 5, &queue)
        let settlement = settle(&queue, 1, queued(expected.recipient, notify: expected.notify), expected.outcome)
        #expect(settlement?.change == expected.change)
        #expect(settlement?.conclusion == expected.conclusion)
        #expect(settlement?.hasExpired == false && settlement?.received == epoch)
        #expect(!queue.contains(QueueID(rawValue: 1)))
    }

    @Test("at the end of its lifetime a deferral is a failure; a report that we made has its own lifetime", arguments: [
        // seconds after arrival, sender, NOTIFY, expired, notice
        (431_999, "s@example.org", Notify.unspecified, false, false), (432_000, "s@example.org", .unspecified, true, true), (432_000, "s@example.org", .never, true, false),
        (86_399, nil, .unspecified, false, false), (86_400, nil, .unspecified, true, true),
    ] as [(Int, String?, Notify, Bool, Bool)])
    func expiry(age: Int, sender: String?, notify: Notify, hasExpired: Bool, notice: Bool) {
        var queue = ActiveQueue()
        add(1, notify: notify, from: sender, &queue)
        let settlement = settle(&queue, 1, queued("a@example.org", notify: notify), .deferred, now: epoch + .seconds(age))
        #expect(settlement?.hasExpired == hasExpired)
        if hasExpired {
            #expect(settlement?.conclusion == (notice ? .settle(notice: true, due: nil) : .delete))
        } else if case .settle(false, .some)? = settlement?.conclusion {} else {
            Issue.record("\(String(describing: settlement))")
        }
    }

    @Test("a message concludes with its last recipient, in any order, across places, and once")
    func conclusion() {
        var queue = ActiveQueue()
        add(1, to: ["a@example.org", "b@b.example", "c@c.example"], attempts: 2, octets: 100, &queue)
        #expect(settle(&queue, 1, queued("c@c.example", number: 2), .failed)?.conclusion == nil)
        #expect(settle(&queue, 1, queued("a@example.org", number: 0), .delivered)?.conclusion == nil)
        #expect(queue.count == 1)
        // The third attempt: 20 minutes.
        #expect(settle(&queue, 1, queued("b@b.example", number: 1), .deferred)?.conclusion == .settle(notice: true, due: epoch + .seconds(1200)))
        #expect(queue.count == 0)
        #expect(settle(&queue, 1, queued("b@b.example", number: 1), .deferred) == nil)
    }

    @Test("a message that has nothing to deliver concludes at once: its report was not sent before a crash")
    func onlyNotice() {
        var queue = ActiveQueue()
        add(1, to: [], needsNotice: true, &queue)
        #expect(queue.concludeIfDone(QueueID(rawValue: 1)) == .settle(notice: true, due: nil))
        #expect(queue.concludeIfDone(QueueID(rawValue: 1)) == nil)
    }

    // MARK: Room

    private func reserve(_ octets: Int, _ queue: inout ActiveQueue) -> Bool { queue.reserve(octets: octets) }

    @Test("a reservation counts as much as a message, is refused beyond the bounds, and is given back")
    func reservations() {
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.octets) = (4, 1000)
        var queue = ActiveQueue(limits: limits)
        for _ in 0..<3 { #expect(reserve(300, &queue)) }
        #expect(!reserve(101, &queue))
        #expect(reserve(100, &queue))
        #expect(!reserve(0, &queue))
        #expect(queue.room == (0, 0))
        queue.cancelReservation(octets: 100)
        add(1, octets: 300, reserved: true, &queue)
        add(2, octets: 300, reserved: true, &queue)
        queue.cancelReservation(octets: 300)
        #expect(queue.count == 2)
        _ = settle(&queue, 1, queued("a@example.org"), .delivered)
        queue.drop([QueueID(rawValue: 2)])
        queue.drop([QueueID(rawValue: 2)])
        // All is given back: as much fits as at the start.
        #expect(queue.room == (4, 500))
        #expect(reserve(1000, &queue))
    }

    @Test("there is room for a page only when half is free, by messages and by octets", arguments: [
        (0, 0, 10, 500), (5, 0, 5, 500), (6, 0, 0, 0), (0, 500, 10, 250), (1, 501, 0, 0), (5, 500, 5, 250),
    ])
    func hysteresis(messages: Int, octets: Int, roomMessages: Int, roomOctets: Int) {
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.octets) = (10, 1000)
        var queue = ActiveQueue(limits: limits)
        if messages == 0, octets > 0 {
            add(99, octets: octets, &queue)
            #expect(queue.room == (9, roomOctets))
            return
        }
        for id in 0..<messages { add(Int64(id), octets: id == 0 ? octets : 0, &queue) }
        #expect(queue.room == (roomMessages, roomOctets))
    }

    @Test("room that is being loaded into is not given away meanwhile")
    func loading() {
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.octets) = (10, 1000)
        var queue = ActiveQueue(limits: limits)
        let room = queue.room
        queue.reserve(room)
        #expect(!reserve(0, &queue))
        for id in 0..<10 as Range<Int64> { add(id, octets: 50, &queue) }
        queue.cancelReservation(room)
        #expect(queue.count == 10 && !reserve(0, &queue))
        for id in 0..<10 as Range<Int64> { _ = settle(&queue, id, queued("a@example.org"), .delivered) }
        #expect(queue.room == room)
    }

    @Test("one page is 250 messages at most: accepting mail waits while it is loaded") func page() { #expect(ActiveQueue().room.messages == 250) }

    // MARK: Dropped

    @Test("a dropped message that waits is not started, others are")
    func dropWaiting() {
        var queue = ActiveQueue()
        add(1, to: ["a@example.org", "x@x.example"], &queue)
        add(2, to: ["a@example.org"], &queue)
        queue.drop([QueueID(rawValue: 1)])
        #expect(queue.start(now: epoch).batches.flatMap { $0.requests.map(\.id.rawValue) } == [2])
        #expect(queue.waitingCount == 0 && queue.count == 1)
    }

    @Test("a report of a dropped message that was under way is nobody's, and its place goes on")
    func dropRunning() {
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxBatch) = (1, 1)
        var queue = ActiveQueue(limits: limits)
        add(1, &queue)
        add(2, &queue)
        #expect(queue.start(now: epoch).batches.count == 1)
        queue.drop([QueueID(rawValue: 1)])
        #expect(settle(&queue, 1, queued("a@example.org"), .delivered) == nil)
        queue.batchEnded(.mailboxes, .unknown, now: epoch, deadFor: .seconds(300))
        #expect(queue.start(now: epoch).batches.flatMap { $0.requests.map(\.id.rawValue) } == [2])
    }

    // MARK: Another configuration

    private let relay = DeliveryPlace.nextHop(NextHop("[192.0.2.1]:25")!)

    /// What starts, by place: the ids and recipients of each batch.
    private func started(_ queue: inout ActiveQueue) -> [DeliveryPlace: [String]] {
        var started: [DeliveryPlace: [String]] = [:]
        for batch in queue.start(now: epoch).batches {
            started[batch.place, default: []] += batch.requests.flatMap { request in request.recipients.map { "\(request.id) \($0.target.address)" } }
        }
        return started
    }

    @Test("sorted again, what waits goes to its new places in the order of arrival, and what is under way stays where it is")
    func sortAgain() {
        var limits = ActiveQueue.Limits()
        (limits.nextHopBatch, limits.mailboxConcurrency) = (1, 1)
        var queue = ActiveQueue(limits: limits, destinations: DestinationLimits(initial: 1, most: 1, rateDelay: .zero))
        add(1, to: ["a@x.test"], &queue)
        #expect(queue.start(now: epoch).batches.count == 1)
        add(2, to: ["b@x.test", "c@y.test", "d@example.org"], &queue)
        add(3, to: ["e@x.test", "f@x.test"], &queue)
        // x.test now goes to a relay, all else stays.
        queue.sortAgain { target, _ in target.address.domain.key == "x.test" ? relay : place(target) }
        #expect(queue.waitingCount == 4)
        let first = started(&queue)
        #expect(first == [relay: ["2 b@x.test"], .nextHop(NextHop("y.test:25")!): ["2 c@y.test"], .mailboxes: ["2 d@example.org"]])
        queue.batchEnded(relay, .unknown, now: epoch, deadFor: .seconds(300))
        #expect(started(&queue) == [relay: ["3 e@x.test", "3 f@x.test"]])
        // The one that was under way is reported as ever.
        #expect(settle(&queue, 1, queued("a@x.test"), .delivered)?.conclusion == .delete)
        queue.batchEnded(.nextHop(NextHop("x.test:25")!), .unknown, now: epoch, deadFor: .seconds(300))
        for (id, name, number) in [(2, "b@x.test", 0), (2, "c@y.test", 1), (3, "e@x.test", 0)] as [(Int64, String, Int)] {
            #expect(settle(&queue, id, queued(name, number: number), .delivered)?.conclusion == nil)
        }
        #expect(settle(&queue, 2, queued("d@example.org", number: 2), .delivered)?.conclusion == .delete)
        #expect(settle(&queue, 3, queued("f@x.test", number: 1), .delivered)?.conclusion == .delete)
        #expect(queue.count == 0)
    }

    @Test("sorted again, a message splits where its recipients part, and joins where they meet")
    func sortAgainSplits() {
        var queue = ActiveQueue()
        add(1, to: ["a@x.test", "b@y.test"], &queue)
        queue.sortAgain { _, _ in relay }
        queue.sortAgain { target, _ in place(target) }
        #expect(started(&queue) == [.nextHop(NextHop("x.test:25")!): ["1 a@x.test"], .nextHop(NextHop("y.test:25")!): ["1 b@y.test"]])
        queue.sortAgain { _, _ in relay }
        #expect(queue.start(now: epoch).batches.isEmpty)
    }
}

/// A generator that repeats itself (SplitMix64), so that a failure does too.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
