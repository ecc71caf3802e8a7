// From accept to gone, with agents that do what a test says and a clock that a test moves.

import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Telemetry
import Testing

@testable import MailQueue

/// A scheduler on a spool of its own, with what surrounds it.
final class Post: Sendable {
    let spool: Spool
    let scheduler: DeliveryScheduler
    let mailboxes: FakeAgent
    let nextHops: FakeAgent
    let clock = TestClock()
    let log: EventLog
    let loop = NIOAsyncTestingEventLoop()

    init(_ path: String, mailboxes: FakeAgent = FakeAgent(), nextHops: FakeAgent = FakeAgent(), limits: ActiveQueue.Limits = ActiveQueue.Limits(), routes: [String: [String]] = [:],
        reports: ReportPolicy = ReportPolicy()
    ) throws {
        var limits = limits
        limits.gathering = .zero  // the loop of these tests moves its clock only when told
        _ = FaultyDisk.shared
        spool = try Spool(directory: path, owner: "test")
        (self.mailboxes, self.nextHops) = (mailboxes, nextHops)
        log = EventLog(level: .error, descriptor: -1) { "t" }
        let clock = clock
        let configuration = DeliveryScheduler.Configuration(
            hostname: Domain("mail.example.org")!, origin: Domain("example.org")!,
            schedule: RetrySchedule(minimum: .seconds(300), maximum: .seconds(14_400), lifetime: .seconds(432_000), bounceLifetime: .seconds(86_400)),
            reports: reports,
            place: { target, _ in place(target) }, route: { address in (routes[address.description] ?? [address.description]).map { queued($0).target } })
        scheduler = DeliveryScheduler(
            spool: spool, mailboxes: mailboxes, nextHops: nextHops, configuration: configuration, limits: limits, log: log, loop: loop, now: { clock.now })
    }

    /// Runs `body` with a post that is started before and stopped after.
    static func open<Result>(
        _ path: String, mailboxes: FakeAgent = FakeAgent(), nextHops: FakeAgent = FakeAgent(), limits: ActiveQueue.Limits = ActiveQueue.Limits(),
        routes: [String: [String]] = [:], reports: ReportPolicy = ReportPolicy(), after wait: Duration = .zero, _ body: (Post) async throws -> Result
    ) async throws -> Result {
        let post = try Post(path, mailboxes: mailboxes, nextHops: nextHops, limits: limits, routes: routes, reports: reports)
        post.clock.move(by: wait)
        post.scheduler.start()
        do {
            let result = try await body(post)
            await post.close()
            return result
        } catch {
            await post.close()
            throw error
        }
    }

    func close() async {
        mailboxes.release()
        nextHops.release()
        await scheduler.stop(grace: .zero)
        await spool.close()
        log.close()
        await loop.shutdownGracefully()
    }

    func accept(_ message: IncomingMessage) async throws(SpoolFailure) {
        let failure = await withCheckedContinuation { continuation in
            scheduler.accept(message) { continuation.resume(returning: $0) }
        }
        if let failure { throw failure }
    }

    func change(_ verb: QueueVerb, _ id: QueueID) async throws -> QueueChange { try await scheduler.change(verb, [id])[0].change }

    @discardableResult
    func send(to recipients: [String] = ["alice@example.org"], from sender: String? = "sender@example.org", notify: Notify = .unspecified, body: String = "Subject: x\r\n\r\nHello\r\n") async throws -> QueueID {
        let id = spool.nextID(now: clock.now)
        try await accept(incoming(id, from: sender, to: recipients, notify: notify, body: body, received: clock.now))
        return id
    }

    /// Moves the clock; timers that are due fire.
    func pass(_ duration: Duration) async {
        clock.move(by: duration)
        await loop.advanceTime(by: .microseconds(duration.inMicroseconds))
    }

    /// Until nothing is under way, with timers firing that the clock has reached.
    func settle(_ condition: () async throws -> Bool) async throws {
        try await until {
            await loop.advanceTime(by: .hours(2))
            return try await condition()
        }
    }

    func count(_ event: Event) -> Int { log.counts.first { $0.event == event }!.count }
    func list() async throws -> [StoredMessage] { try await scheduler.list(after: QueueID(rawValue: 0), limit: 10_000) }
}

@Suite(.timeLimit(.minutes(2)))
struct DeliverySchedulerTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }

    @Test("an accepted message is delivered and leaves the spool")
    func delivered() async throws {
        try await Post.open(path) { post in
            let id = try await post.send(to: ["alice@example.org", "bob@b.example"])
            await until { post.spool.count == 0 }
            #expect(post.mailboxes.attempts == [FakeAgent.Attempt(id: id, address: "alice@example.org", place: "mailboxes")])
            #expect(post.nextHops.attempts == [FakeAgent.Attempt(id: id, address: "bob@b.example", place: "b.example:25")])
            #expect(try await post.list().isEmpty)
            #expect(post.count(.deliverySent) == 2 && post.count(.queueFailed) == 0)
            await until { post.scheduler.activeCount == 0 }
        }
    }

    @Test("a deferred recipient waits for its time, and is tried again then")
    func deferred() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = try await post.send()
            try await post.settle { try await post.list().first?.isLeased == false }
            let waiting = try #require(try await post.list().first)
            #expect(waiting.due == epoch + .seconds(300) && waiting.attempts == 1 && waiting.recipients[0].reply?.code == 450)
            await post.pass(.seconds(299))
            _ = try await post.list()
            #expect(agent.attempts.count == 1)
            await post.pass(.seconds(1))
            try await post.settle { try await post.list().first.map { $0.attempts == 2 && !$0.isLeased } ?? false }
            #expect(try await post.list().first?.due == epoch + .seconds(900))
            agent.decide { _, _ in [.delivered] }
            await post.pass(.seconds(600))
            try await post.settle { post.spool.count == 0 }
            #expect(agent.attempts == Array(repeating: FakeAgent.Attempt(id: id, address: "alice@example.org", place: "mailboxes"), count: 3))
            #expect(post.count(.deliveryDeferred) == 2 && post.count(.deliverySent) == 1)
        }
    }

    @Test("who got the message does not get it again after a kill; who did not, does")
    func partialThenKilled() async throws {
        let all = (0..<50).map { "u\($0)@example.org" }
        let agent = FakeAgent { _, recipient in recipient.number % 5 == 0 ? [.deferred] : [.delivered] }
        let image = try await Post.open(path, mailboxes: agent) { post in
            post.nextHops.hold()
            try await post.send(to: all)
            try await post.send(to: ["y@slow.example"])  // under way when the image is taken
            try await post.settle { try await post.list().first?.recipients.count == 10 }
            return try await post.spool.perform { [path] _ in crashImage(of: path) }
        }
        try await Post.open(image.path, after: .seconds(300)) { post in
            try await post.settle { post.spool.count == 0 }
            #expect(post.mailboxes.addresses == all.indices.filter { $0 % 5 == 0 }.map { all[$0] })
            #expect(post.nextHops.addresses == ["y@slow.example"])
        }
    }

    @Test("failures make one report that names all of them, and the rest goes on")
    func failures() async throws {
        let agent = FakeAgent { _, recipient in recipient.original.domain.key != "b.example" ? [.delivered] : recipient.number == 3 ? [.deferred] : [.failed] }
        try await Post.open(path, nextHops: agent) { post in
            post.mailboxes.hold()
            let id = try await post.send(to: ["alice@example.org", "one@b.example", "two@b.example", "three@b.example"])
            try await post.settle { post.mailboxes.running == 1 && agent.attempts.count == 3 }
            post.mailboxes.release()
            post.mailboxes.hold()
            try await post.settle { post.spool.count == 2 && post.mailboxes.running == 1 }
            let queue = try await post.list()
            let original = try #require(queue.first { $0.id == id }), report = try #require(queue.first { $0.id != id })
            #expect(original.recipients.map(\.recipient.original.description) == ["three@b.example"] && original.due == epoch + .seconds(300))
            #expect(report.sender == nil && report.recipients.map(\.recipient.target) == [queued("sender@example.org").target])
            let text = try #require(try await post.spool.text(report))
            #expect(text.contains("Final-Recipient: rfc822; one@b.example") && text.contains("Final-Recipient: rfc822; two@b.example"))
            #expect(!text.contains("three@b.example") && !text.contains("alice@"))
            #expect(post.count(.bounceQueued) == 1 && post.count(.deliveryBounced) == 2)
            post.mailboxes.release()
            try await post.settle { post.mailboxes.addresses == ["alice@example.org", "sender@example.org"] && post.spool.count == 1 }
        }
    }

    @Test("success is reported where NOTIFY asks for it")
    func success() async throws {
        try await Post.open(path) { post in
            post.nextHops.hold()
            try await post.send(to: ["alice@example.org"], from: "s@b.example", notify: .success)
            try await post.settle { post.nextHops.running == 1 }
            let report = try #require(try await post.list().first)
            let text = try #require(try await post.spool.text(report))
            #expect(text.contains("Subject: Successful Mail Delivery Report") && text.contains("Action: delivered") && !text.contains("Hello"))
            post.nextHops.release()
            try await post.settle { post.spool.count == 0 }
        }
    }

    @Test("what cannot be reported is dropped and logged", arguments: [nil, "nobody@example.org"] as [String?])
    func droppedReport(sender: String?) async throws {
        try await Post.open(path, mailboxes: FakeAgent { _, _ in [.failed] }, routes: ["nobody@example.org": []]) { post in
            try await post.send(from: sender)
            try await post.settle { post.spool.count == 0 }
            #expect(post.count(.bounceDropped) == 1 && post.count(.bounceQueued) == 0)
        }
    }

    @Test("a report that fails makes no report") func failedReport() async throws {
        try await Post.open(path, mailboxes: FakeAgent { _, _ in [.failed] }) { post in
            try await post.send()
            try await post.settle { post.spool.count == 0 && post.count(.bounceDropped) == 1 }
            #expect(post.mailboxes.addresses == ["alice@example.org", "sender@example.org"])
            #expect(post.count(.bounceQueued) == 1)
        }
    }

    @Test("after its lifetime a message is given up, and the sender hears so")
    func expired() async throws {
        let agent = FakeAgent { request, _ in request.sender == nil ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            try await post.send()
            try await post.settle { try await post.list().first?.isLeased == false }
            await post.pass(.seconds(432_000))
            try await post.settle { post.spool.count == 0 }
            #expect(agent.addresses == ["alice@example.org", "alice@example.org", "sender@example.org"])
            #expect(post.count(.deliveryExpired) == 1 && post.count(.bounceQueued) == 1)
        }
    }

    @Test("a report that a crash kept from being sent is sent at the next start")
    func noticeAfterCrash() async throws {
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 1)), leased: true)
            try await spool.perform { try $0.update(QueueID(rawValue: 1), recipient: 0, state: .failed, reply: Reply(550, nil, "No"), relay: "mx") }
        }
        try await Post.open(path) { post in
            try await post.settle { post.spool.count == 0 }
            #expect(post.mailboxes.addresses == ["sender@example.org"] && post.count(.bounceQueued) == 1)
        }
    }

    // MARK: Agents that do not keep their word

    @Test("a recipient that is not reported is tried again, and not forgotten")
    func missingReport() async throws {
        let agent = FakeAgent { _, recipient in recipient.number == 1 ? [] : [.delivered] }
        try await Post.open(path, mailboxes: agent) { post in
            try await post.send(to: ["a@example.org", "b@example.org"])
            try await post.settle { try await post.list().first?.isLeased == false }
            #expect(try await post.list().first?.recipients.map(\.recipient.number) == [1])
            #expect(post.scheduler.activeCount == 0)
            agent.decide { _, _ in [.delivered] }
            await post.pass(.seconds(300))
            try await post.settle { post.spool.count == 0 }
            #expect(agent.addresses == ["a@example.org", "b@example.org", "b@example.org"])
        }
    }

    @Test("a second report of a recipient does not stand for another's")
    func doubleReport() async throws {
        let agent = FakeAgent { _, recipient in recipient.number == 0 ? [.delivered, .delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            try await post.send(to: ["a@example.org", "b@example.org"])
            try await post.settle { try await post.list().first?.isLeased == false }
            #expect(try await post.list().first?.recipients.map(\.recipient.number) == [1])
        }
    }

    // MARK: Faults of the disk

    @Test("on a full disk nothing is accepted, outcomes are kept until there is room, and no failure goes unreported")
    func fullDisk() async throws {
        let agent = FakeAgent(isHeld: true) { request, recipient in request.sender == nil || recipient.number == 0 ? [.delivered] : [.failed] }
        try await Post.open(path, mailboxes: agent, nextHops: FakeAgent(isHeld: true) { _, _ in [.failed] }) { post in
            try await post.send(to: ["a@example.org", "b@example.org", "c@c.example"])
            await until { agent.running == 1 && post.nextHops.running == 1 }
            FaultyDisk.shared[path].isFull = true
            let failure = await #expect(throws: SpoolFailure.self) { try await post.send() }
            #expect(failure?.reply.code == 452)
            agent.release()
            await until { post.count(.queueFailed) == 1 }
            await post.pass(.seconds(1))
            await until { post.count(.queueFailed) == 2 }
            FaultyDisk.shared[path].isFull = false
            // The last recipient concludes the message before the others are written again.
            post.nextHops.release()
            try await post.settle { post.spool.count == 0 }
            #expect(agent.addresses == ["a@example.org", "b@example.org", "sender@example.org"], "each once")
            #expect(post.count(.bounceQueued) == 1 && post.count(.deliveryBounced) == 2)
        }
    }

    @Test("a damaged message is said to be so, stays, and holds up nobody")
    func damaged() async throws {
        try await withSpool(path) { spool in
            for id in 1...3 as ClosedRange<Int64> { try await spool.put(incoming(QueueID(rawValue: id), body: id == 1 ? "" : "Subject: x\r\n\r\n")) }
            try await spool.perform { try $0.update(QueueID(rawValue: 1), recipient: 0, state: .pending, reply: Reply(450, nil, "x"), relay: "r") }
        }
        #expect(run(["/usr/bin/python3", "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute(\"update recipient set address='?' where message=1\"); c.commit()", path + "/spool.db"]).status == 0)
        try await Post.open(path) { post in
            try await post.settle { post.spool.count == 1 && post.count(.queueFailed) == 1 }
            #expect(post.mailboxes.attempts.map(\.id.rawValue) == [2, 3])
            #expect(try await post.list().first?.isDamaged == true)
            #expect(try await post.change(.delete, QueueID(rawValue: 1)) == .changed)
        }
    }

    // MARK: Administrators

    @Test("flush tries at once what waits, one or all", arguments: [false, true])
    func flush(all: Bool) async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let ids = [try await post.send(), try await post.send()]
            try await post.settle { try await post.list().allSatisfy { !$0.isLeased } }
            agent.decide { _, _ in [.delivered] }
            await post.pass(.seconds(1))
            if all {
                #expect(try await post.scheduler.change(.flush, where: QueueSelection()) == 2)
            } else {
                #expect(try await post.change(.flush, ids[1]) == .changed)
            }
            try await post.settle { post.spool.count == (all ? 0 : 1) }
            #expect(try await post.list().map(\.id) == (all ? [] : [ids[0]]))
            #expect(try await post.change(.flush, QueueID(rawValue: 1)) == .missing)
        }
    }

    @Test("a deleted message that waits for its turn is gone, without a report")
    func deleteWaiting() async throws {
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxBatch) = (1, 1)
        try await Post.open(path, mailboxes: FakeAgent(isHeld: true), limits: limits) { post in
            let ids = [try await post.send(), try await post.send()]
            await until { post.mailboxes.running == 1 }
            #expect(try await post.change(.delete, ids[1]) == .changed)
            #expect(try await post.change(.delete, ids[1]) == .missing)
            post.mailboxes.release()
            try await post.settle { post.spool.count == 0 }
            #expect(post.mailboxes.attempts.map(\.id) == [ids[0]])
            #expect(post.count(.bounceQueued) == 0)
        }
    }

    @Test("a message deleted while it is under way stays deleted, whatever comes of it", arguments: ["delivered", "deferred", "failed"])
    func deleteRunning(outcome: String) async throws {
        let agent = FakeAgent(isHeld: true) { _, _ in [outcome == "delivered" ? .delivered : outcome == "deferred" ? .deferred : .failed] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = try await post.send()
            await until { agent.running == 1 }
            #expect(try await post.change(.delete, id) == .changed)
            #expect(post.spool.count == 0 && post.scheduler.activeCount == 0)
            agent.release()
            await until { agent.running == 0 }
            try await post.send()  // what comes later finds its way
            try await post.settle { agent.attempts.count >= 2 && agent.running == 0 }
            #expect(try await !post.list().contains { $0.id == id })
        }
    }

    @Test("a message deleted with its body in a file takes the file along")
    func deleteBody() async throws {
        try await Post.open(path) { post in
            for id in 1...2 as ClosedRange<Int64> {
                let file = try BodyFile(spool: post.spool, id: QueueID(rawValue: id))
                try file.append(ByteBuffer(string: "Subject: large\r\n\r\nx\r\n"))
                try file.finish()
                post.mailboxes.decide { request, _ in request.sender == nil || request.id.rawValue == 1 ? [.delivered] : [.failed] }
                try await post.accept(IncomingMessage(
                    id: QueueID(rawValue: id), envelope: Envelope(sender: Address("s@example.org")), recipients: [queued("a@example.org")], received: epoch,
                    content: .file(path: file.path, size: file.size)))
            }
            try await post.settle { post.spool.count == 0 && entries(path + "/large").isEmpty }
            #expect(post.count(.bounceQueued) == 1)
        }
    }

    // MARK: Load

    @Test("what exceeds memory waits in the spool and is delivered, once, in bounded memory")
    func overflow() async throws {
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.octets, limits.mailboxBatch) = (20, 4000, 3)
        let most = NIOLockedValueBox(0)
        try await Post.open(path, mailboxes: FakeAgent(isHeld: true), limits: limits) { post in
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<300 { group.addTask { _ = try? await post.send(body: String(repeating: "x", count: 100)) } }
            }
            #expect(post.spool.count == 300)
            #expect(post.scheduler.activeCount <= 20)
            post.mailboxes.decide { _, _ in
                most.withLockedValue { $0 = max($0, post.scheduler.activeCount) }
                return [.delivered]
            }
            post.mailboxes.release()
            try await post.settle { post.spool.count == 0 }
            #expect(Set(post.mailboxes.attempts).count == 300 && post.mailboxes.attempts.count == 300)
            #expect(most.withLockedValue { $0 } <= 20)
            #expect(post.mailboxes.mostRunning <= 2 && post.mailboxes.batches.allSatisfy { $0.count <= 3 })
        }
    }

    @Test("a message larger than all memory is delivered too")
    func largerThanMemory() async throws {
        var limits = ActiveQueue.Limits()
        limits.octets = 100
        try await Post.open(path, limits: limits) { post in
            for _ in 0..<3 { try await post.send(body: String(repeating: "x", count: 1000)) }
            try await post.settle { post.spool.count == 0 }
            #expect(post.mailboxes.attempts.count == 3)
        }
    }

    @Test("whatever happens in whatever order, each recipient is delivered once or reported once", arguments: 0..<4 as Range<UInt64>)
    func random(seed: UInt64) async throws {
        let seen = NIOLockedValueBox<[String: Int]>([:])
        let decide: FakeAgent.Decision = { request, recipient in
            guard request.sender != nil else { return [.delivered] }
            var random = SplitMix(state: seed &+ UInt64(bitPattern: request.id.rawValue) &* 31 &+ UInt64(recipient.number))
            let key = "\(request.id) \(recipient.number)"
            let kind = random.next() % 10
            let attempt = seen.withLockedValue { seen in
                seen[key, default: 0] += 1
                return seen[key]!
            }
            if kind < 3, attempt == 1 { return [.deferred] }
            return kind == 9 ? [.failed] : [.delivered]
        }
        var limits = ActiveQueue.Limits()
        (limits.messages, limits.mailboxBatch) = (30, 4)
        try await Post.open(path, mailboxes: FakeAgent(decide), nextHops: FakeAgent(decide), limits: limits) { post in
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<100 { group.addTask { _ = try? await post.send(to: ["a\(number)@example.org", "b@b\(number % 3).example", "c@example.org"]) } }
            }
            try await post.settle {
                post.clock.move(by: .seconds(60))
                return post.spool.count == 0
            }
            #expect(post.count(.deliverySent) + post.count(.deliveryBounced) == 300 + post.count(.bounceQueued))
            #expect(seen.withLockedValue { $0.count == 300 && $0.values.allSatisfy { $0 <= 2 } })
            #expect(post.scheduler.activeCount == 0)
        }
    }

    // MARK: The end

    @Test("stopping while deliveries are under way loses nothing and doubles nothing")
    func stop() async throws {
        let first = FakeAgent { _, _ in [.delivered] }
        let post = try Post(path, mailboxes: first, nextHops: FakeAgent(isHeld: true))
        post.scheduler.start()
        for number in 0..<40 { try await post.send(to: number % 2 == 0 ? ["a@example.org"] : ["b@b.example"]) }
        await until { first.attempts.count == 20 && post.nextHops.running > 0 }
        await post.scheduler.stop(grace: .zero)
        try await post.accept(incoming(post.spool.nextID(now: epoch)))  // sessions may still end
        let tried = Set(post.nextHops.attempts)
        await post.spool.close()
        try await Post.open(path, after: .seconds(300)) { again in
            try await again.settle { again.spool.count == 0 }
            #expect(again.mailboxes.attempts.count == 1)
            #expect(again.nextHops.attempts.count == 20)
            #expect(Set(again.nextHops.attempts).isSuperset(of: tried), "what was cut short is tried again")
        }
        post.log.close()
    }

    @Test("stopping at any moment neither loses nor doubles, though new mail comes in", arguments: 0..<5)
    func stopAtAnyMoment(round: Int) async throws {
        let accepted = NIOLockedValueBox<Set<Int64>>([]), delivered = NIOLockedValueBox<[Int64]>([])
        let decide: FakeAgent.Decision = { request, _ in
            delivered.withLockedValue { $0.append(request.id.rawValue) }
            return [.delivered]
        }
        let post = try Post(path, mailboxes: FakeAgent(decide))
        post.scheduler.start()
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<100 {
                group.addTask { if let id = try? await post.send() { accepted.withLockedValue { _ = $0.insert(id.rawValue) } } }
                if number == round * 20 { group.addTask { await post.scheduler.stop(grace: .zero) } }
            }
        }
        await post.scheduler.stop(grace: .zero)
        await post.spool.close()
        post.log.close()
        try await Post.open(path, mailboxes: FakeAgent(decide), after: .seconds(300)) { again in try await again.settle { again.spool.count == 0 } }
        #expect(delivered.withLockedValue { $0.sorted() } == accepted.withLockedValue { $0.sorted() })
    }
}
