// One destination: how its concurrency grows and shrinks, when it is dead, how it is paced, and how it makes room.

import MailSyntax
import NIOCore
import Testing

@testable import MailQueue

struct DestinationTests {
    private static let trouble = Reply(451, EnhancedCode(4, 4, 1), "connect to mx[192.0.2.1]:25: Connection refused")
    private static let hop = DeliveryPlace.nextHop(NextHop("slow.example")!)
    private static let other = DeliveryPlace.nextHop(NextHop("fast.example")!)
    private let schedule = RetrySchedule(minimum: .seconds(300), maximum: .seconds(14_400), lifetime: .seconds(432_000), bounceLifetime: .seconds(86_400))

    private func add(_ ids: ClosedRange<Int64>, to place: DeliveryPlace = hop, octets: Int = 0, at now: Timestamp = epoch, _ queue: inout ActiveQueue) {
        for id in ids {
            let message = StoredMessage(
                id: QueueID(rawValue: id), sender: Address("s@example.org")!, received: epoch, size: 0, flags: [], envelopeID: nil, due: epoch, attempts: 0,
                isLeased: true, recipients: [])
            let request = DeliveryRequest(message, recipients: [queued("x@slow.example")], content: .inline(ByteBuffer()))
            queue.add(message, octets: octets, reserved: false, groups: [(place, request)], needsNotice: false, now: now)
        }
    }

    private func single(_ limits: DestinationLimits = DestinationLimits()) -> ActiveQueue {
        var of = ActiveQueue.Limits()
        of.nextHopBatch = 1
        return ActiveQueue(limits: of, destinations: limits)
    }

    private func end(_ batches: [ActiveQueue.Batch], _ health: ActiveQueue.Health, at now: Timestamp = epoch, _ queue: inout ActiveQueue) {
        for batch in batches {
            for request in batch.requests {
                let outcome: DeliveryReport.Outcome = if case .failing(let reply) = health { .deferred(reply) } else { .delivered(Reply(250, nil, "ok"), passesOnDSN: false) }
                _ = queue.settle(DeliveryReport(id: request.id, recipient: request.recipients[0], outcome: outcome, relay: "r"), schedule: schedule, now: now)
            }
            queue.batchEnded(batch.place, health, now: now, deadFor: .seconds(300))
        }
    }

    @Test("a destination that answers gets more deliveries at a time, from 5 to 20")
    func growth() {
        var queue = single()
        add(1...200, &queue)
        var running = queue.start(now: epoch).batches
        var most = running.count
        #expect(most == 5)
        for _ in 0..<100 {
            end([running.removeFirst()], .alive, &queue)
            running += queue.start(now: epoch).batches
            most = max(most, running.count)
        }
        #expect(most == 20 && running.count == 20)
    }

    @Test("failures take away, and a cohort of them kills: what waits is suspended, with the reason, and others go on")
    func death() {
        var queue = single()
        add(1...20, &queue)
        add(100...100, to: Self.other, &queue)
        let started = queue.start(now: epoch).batches
        #expect(started.count == 6)
        let slow = started.filter { $0.place == Self.hop }
        // 1/5 + 1/4 + 1/3 is less than one cohort.
        end(Array(slow.prefix(3)), .failing(Self.trouble), &queue)
        #expect(queue.start(now: epoch).suspended.isEmpty)
        end(Array(slow.dropFirst(3)), .failing(Self.trouble), &queue)
        let after = queue.start(now: epoch)
        #expect(after.batches.isEmpty)
        #expect(after.suspended.map(\.request.id.rawValue) == Array(6...20))
        #expect(after.suspended.allSatisfy { $0.reason == Self.trouble })
    }

    @Test("a dead destination is left alone until its time is over, or an administrator wants it tried")
    func revival() {
        var queue = single(DestinationLimits(initial: 1, most: 20, rateDelay: .zero))
        func kill(_ id: Int64, _ now: Timestamp) {
            add(id...id, at: now, &queue)
            end(queue.start(now: now).batches, .failing(Self.trouble), at: now, &queue)
        }
        kill(1, epoch)
        add(2...2, &queue)
        #expect(queue.start(now: epoch + .seconds(299)).suspended.count == 1)
        add(3...3, &queue)
        let later = epoch + .seconds(300)
        let batches = queue.start(now: later).batches
        #expect(batches.count == 1)
        end(batches, .failing(Self.trouble), at: later, &queue)
        queue.reviveAll()
        add(4...4, &queue)
        #expect(queue.start(now: later).batches.count == 1)
    }

    @Test("one failure among successes is forgotten")
    func passingTrouble() {
        var queue = single()
        add(1...60, &queue)
        for _ in 0..<10 {
            let batches = queue.start(now: epoch).batches
            end(Array(batches.prefix(1)), .failing(Self.trouble), &queue)
            end(Array(batches.dropFirst()), .alive, &queue)
        }
        #expect(queue.start(now: epoch).suspended.isEmpty)
    }

    @Test("with a rate delay messages go one at a time, each so long after the one before")
    func pace() {
        var queue = ActiveQueue(destinations: DestinationLimits(initial: 5, most: 20, rateDelay: .seconds(2)))
        add(1...3, &queue)
        var now = epoch
        for id in 1...3 as ClosedRange<Int64> {
            let start = queue.start(now: now)
            #expect(start.batches.map { $0.requests.map(\.id.rawValue) } == [[id]])
            #expect(queue.start(now: now).batches.isEmpty, "one at a time")
            end(start.batches, .alive, at: now, &queue)
            let waiting = queue.start(now: now)
            #expect(waiting.batches.isEmpty)
            #expect(waiting.next == now + .seconds(2))
            now = now + .seconds(2)
        }
    }

    @Test("a slow destination gives back what it has no use for, the last comers first, and leaves them longer each time")
    func eviction() {
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.nextHopBatch) = (100, 1)
        var queue = ActiveQueue(limits: limits)
        add(1...90, &queue)
        _ = queue.start(now: epoch)
        #expect(queue.room.messages == 0)
        let early = queue.evict(now: epoch + .seconds(29))
        #expect(early.ids.isEmpty && early.lookAgain == epoch + .seconds(30))
        let eviction = queue.evict(now: epoch + .seconds(30))
        // 5 are under way; 25 may wait.
        #expect(Set(eviction.ids.map(\.rawValue)) == Set(31...90))
        #expect(eviction.pause == .seconds(60))
        #expect(queue.count == 30 && queue.room.messages > 0)
        add(91...150, &queue)
        #expect(queue.evict(now: epoch + .seconds(40)).pause == .seconds(120))
        // What stayed is started in its order.
        add(200...200, to: Self.other, &queue)
        #expect(queue.start(now: epoch + .seconds(40)).batches.map(\.place) == [Self.other])
    }

    @Test("a fast destination, or one with little of the room, gives nothing back")
    func noEviction() {
        var limits = ActiveQueue.Limits()
        limits.messages = 100
        var queue = ActiveQueue(limits: limits)
        for id in 0..<60 as Range<Int64> { add(id...id, to: .nextHop(NextHop("d\(id % 6).example")!), &queue) }
        let eviction = queue.evict(now: epoch + .seconds(3600))
        #expect(eviction.ids.isEmpty && eviction.lookAgain == nil)
    }
}
