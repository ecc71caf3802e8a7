// Hold, release and requeue: what is tried, what is not, and who gets the message.

import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import Telemetry
import Testing

@testable import MailQueue

@Suite(.timeLimit(.minutes(1)))
struct QueueAdministrationTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }

    /// A message whose first attempt is over and failed for now.
    private func deferred(_ post: Post, to recipients: [String] = ["alice@example.org"]) async throws -> QueueID {
        let id = try await post.send(to: recipients)
        try await waits(post)
        return id
    }

    private func waits(_ post: Post) async throws { try await post.settle { try await post.list().allSatisfy { !$0.isLeased && $0.attempts > 0 } } }

    @Test("a message on hold is not tried and not given up, over a restart too; once released it is tried at once")
    func hold() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        let id = try await Post.open(path, mailboxes: agent) { post in
            let id = try await deferred(post)
            #expect(try await post.change(.hold, id) == .changed)
            #expect(try await post.change(.hold, id) == .unchanged)
            #expect(try await post.change(.flush, id) == .unchanged)
            #expect(try await post.scheduler.change(.flush, where: QueueSelection()) == 0)
            return id
        }
        try await Post.open(path, mailboxes: agent, after: .seconds(864_000)) { post in
            #expect(try await post.list().map(\.queue) == [.hold])
            try await post.send(to: ["bob@example.org"])  // what comes later is tried, what is held is not
            try await post.settle { agent.attempts.contains { $0.address == "bob@example.org" } }
            #expect(agent.attempts.count { $0.id == id } == 1 && post.count(.deliveryExpired) == 0)
            agent.decide { _, _ in [.delivered] }
            #expect(try await post.change(.release, id) == .changed)
            #expect(try await post.change(.release, id) != .changed)
            try await post.settle { post.spool.count == 1 }
            #expect(agent.attempts.count { $0.id == id } == 2)
        }
    }

    @Test("of a message that waits for its turn nothing is started after hold; its place is free for others")
    func holdWaiting() async throws {
        var limits = ActiveQueue.Limits()
        (limits.mailboxConcurrency, limits.mailboxBatch, limits.messages) = (1, 1, 2)
        try await Post.open(path, mailboxes: FakeAgent(isHeld: true), limits: limits) { post in
            let ids = [try await post.send(), try await post.send(), try await post.send()]
            await until { post.mailboxes.running == 1 }
            #expect(try await post.change(.hold, ids[1]) == .changed)
            #expect(try await post.list().map(\.queue).prefix(2) == [.active, .hold])
            #expect(try await post.list()[1].attempts == 0)
            post.mailboxes.release()
            try await post.settle { post.spool.count == 1 }
            #expect(post.mailboxes.attempts.map(\.id) == [ids[0], ids[2]])
        }
    }

    @Test("an attempt that is under way is not called back: what it delivers is delivered, what it does not is on hold")
    func holdRunning() async throws {
        let agent = FakeAgent(isHeld: true) { _, recipient in recipient.number == 0 ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = try await post.send(to: ["alice@example.org", "bob@example.org"])
            await until { agent.running == 1 }
            #expect(try await post.change(.hold, id) == .changed)
            agent.release()
            try await waits(post)
            let stored = try #require(try await post.list().first)
            #expect(stored.queue == .hold && stored.recipients.map(\.recipient.number) == [1] && stored.recipients[0].reply != nil)
            await post.pass(.seconds(10_000))
            #expect(agent.attempts.count == 2)
        }
    }

    @Test("a selection means its queues and its site, and says how many")
    func selection() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent, nextHops: agent) { post in
            let ids = [try await deferred(post), try await deferred(post, to: ["x@third.example"]), try await deferred(post, to: ["alice@example.org", "y@Third.example"])]
            let third = QueueSelection(site: Domain("third.example"))
            #expect(try await post.scheduler.change(.hold, where: QueueSelection(queues: [.hold, .active])) == 0)
            #expect(try await post.scheduler.change(.hold, where: third) == 2)
            #expect(try await post.list().filter(\.isHeld).map(\.id) == [ids[1], ids[2]])
            #expect(try await post.scheduler.change(.delete, where: QueueSelection(queues: [.hold])) == 2)
            #expect(try await post.list().map(\.id) == [ids[0]] && post.spool.count == 1)
        }
    }

    // MARK: Requeue

    private func requeue(routes: [String: [String]], _ recipients: [QueuedRecipient], done: Set<Int> = []) async throws -> [String] {
        let agent = FakeAgent { _, recipient in done.contains(recipient.number) ? [.delivered] : [.deferred] }
        return try await Post.open(path, mailboxes: agent, nextHops: agent, routes: routes) { post in
            let id = post.spool.nextID(now: post.clock.now)
            try await post.accept(IncomingMessage(
                id: id, envelope: Envelope(sender: Address("sender@example.org")!), recipients: recipients, received: post.clock.now,
                content: .inline(ByteBuffer(string: "Subject: x\r\n\r\n"))))
            try await waits(post)
            #expect(try await post.change(.hold, id) == .changed)
            #expect(try await post.change(.requeue, id) == .changed)
            try await waits(post)
            let stored = try #require(try await post.list().first { $0.id == id })
            #expect(stored.attempts == 1 && !stored.isHeld)
            return stored.recipients.map { "\($0.recipient.number) \($0.recipient.original) \($0.recipient.target.address)" }
        }
    }

    private func copy(_ number: Int, of original: String, at target: String, copies: Int) -> QueuedRecipient {
        QueuedRecipient(
            number: number, original: Address(original)!, target: queued(target).target, notify: .unspecified, originalRecipient: nil, copies: copies)
    }

    @Test("an address of which nothing was delivered goes where it leads now, and a recipient that stays keeps its number")
    func requeueWhole() async throws {
        let found = try await requeue(
            routes: ["info@example.org": ["new@x.example", "bob@example.org"]],
            [copy(0, of: "info@example.org", at: "old@x.example", copies: 2), copy(1, of: "info@example.org", at: "bob@example.org", copies: 2)])
        #expect(found == ["1 info@example.org bob@example.org", "2 info@example.org new@x.example"])
    }

    @Test("of an address that was delivered in part only the rest is routed on: nobody gets it twice")
    func requeueRest() async throws {
        let found = try await requeue(
            routes: ["info@example.org": ["a@x.example", "new@x.example"], "old@x.example": ["moved@y.example"]],
            [copy(0, of: "info@example.org", at: "a@x.example", copies: 3), copy(1, of: "info@example.org", at: "old@x.example", copies: 3), copy(2, of: "info@example.org", at: "bob@example.org", copies: 3)],
            done: [0])
        #expect(found == ["2 info@example.org bob@example.org", "3 info@example.org moved@y.example"])
    }

    @Test("two addresses that lead to one place now become one copy")
    func requeueMerges() async throws {
        let found = try await requeue(
            routes: ["a@example.org": ["c@x.example"], "b@example.org": ["c@x.example"]],
            [copy(0, of: "a@example.org", at: "a@example.org", copies: 1), copy(1, of: "b@example.org", at: "b@example.org", copies: 1)])
        #expect(found == ["2 a@example.org c@x.example"])
    }

    @Test("an address that leads nowhere any more comes back to the sender")
    func requeueUnknown() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent, nextHops: agent, routes: ["gone@example.org": []]) { post in
            let id = try await deferred(post, to: ["gone@example.org"])
            #expect(try await post.change(.requeue, id) == .changed)
            try await post.settle { post.count(.bounceQueued) == 1 }
            let report = try #require(try await post.list().first)
            #expect(report.sender == nil && report.id != id && report.recipients.map(\.recipient.target.address.description) == ["sender@example.org"])
        }
    }

    @Test("a message that is being delivered is requeued after that, without what was delivered")
    func requeueRunning() async throws {
        let agent = FakeAgent(isHeld: true) { _, recipient in recipient.number == 0 ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent, routes: ["bob@example.org": ["carol@example.org"]]) { post in
            let id = try await post.send(to: ["alice@example.org", "bob@example.org"])
            await until { agent.running == 1 }
            #expect(try await post.change(.requeue, id) == .changed)
            agent.release()
            try await post.settle { agent.addresses.contains("carol@example.org") }
            try await waits(post)
            #expect(agent.addresses == ["alice@example.org", "bob@example.org", "carol@example.org"])
            #expect(try await post.list().map(\.isHeld) == [false])
        }
    }

    // MARK: The schema

    @Test("a spool of version 1 is brought to the present version, with all its mail")
    func migration() async throws {
        try await withSpool(path) { try await $0.put(incoming(QueueID(rawValue: 7), to: ["a@example.org", "b@x.example"])) }
        let script = """
            import sqlite3, sys
            c = sqlite3.connect(sys.argv[1])
            c.executescript('''
                DROP INDEX message_due;
                ALTER TABLE message DROP COLUMN verp;
                ALTER TABLE message DROP COLUMN held;
                ALTER TABLE recipient DROP COLUMN answers;
                ALTER TABLE recipient DROP COLUMN copies;
                CREATE INDEX message_due ON message(due) WHERE lease_until = 0;
                PRAGMA user_version=1;
            ''')
            """
        #expect(run(["/usr/bin/python3", "-c", script, path + "/spool.db"]).status == 0)
        for _ in 0..<2 {  // and opens again
            try await withSpool(path) { spool in
                let stored = try await spool.allMessages()
                #expect(stored.map(\.id.rawValue) == [7] && stored[0].recipients.map(\.recipient.copies) == [0, 0] && !stored[0].isHeld && !stored[0].isDamaged)
                #expect(try await spool.text(stored[0]) != nil)
            }
        }
    }
}
