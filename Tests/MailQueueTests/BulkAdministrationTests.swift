// What is done to all messages at once, where they are more than one transaction changes.

import MailSyntax
import Telemetry
import Testing

@testable import MailQueue

@Suite(.timeLimit(.minutes(1)))
struct BulkAdministrationTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }
    private static let many = 1300

    /// Messages on hold; the recipients of message `number` are `recipients(number)`.
    private func fill(_ recipients: @escaping @Sendable (Int) -> [String] = { _ in ["alice@example.org"] }) async throws {
        try await withSpool(path) { spool in
            try await spool.perform { store in
                for number in 1...BulkAdministrationTests.many {
                    let id = QueueID(rawValue: epoch.microseconds - 10_000 + Int64(number))
                    try store.insert(incoming(id, to: recipients(number)), leased: false)
                    _ = try store.setHeld(id, true, now: epoch)
                }
            }
        }
    }

    private func change(_ post: Post, _ verb: QueueVerb, _ queues: Set<QueueName> = Set(QueueName.allCases)) async throws -> Int {
        try await post.scheduler.change(verb, where: QueueSelection(queues: queues))
    }

    @Test("all are released, tried, held and deleted, those of other queues and later ones are not")
    func holdReleaseDelete() async throws {
        try await fill()
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            #expect(try await change(post, .flush) == 0)
            #expect(try await change(post, .hold) == 0)
            #expect(try await change(post, .release, [.deferred, .incoming]) == 0)
            #expect(try await change(post, .release) == BulkAdministrationTests.many)
            try await post.settle { try await post.list().allSatisfy { !$0.isLeased && $0.attempts > 0 } }
            #expect(agent.attempts.count == BulkAdministrationTests.many)
            #expect(try await change(post, .hold, [.deferred]) == BulkAdministrationTests.many)
            let later = try await post.send()
            #expect(try await change(post, .delete, [.deferred]) <= 1)
            let kept = try await post.list().contains { $0.id == later } ? 1 : 0
            #expect(try await change(post, .delete, [.hold]) == BulkAdministrationTests.many)
            #expect(post.spool.count == kept)
        }
        try await withSpool(path) { spool in
            let rows = try await spool.perform { store in try ["recipient", "body"].map { try store.rows(of: $0) } }
            #expect(rows == [spool.count, spool.count])
        }
    }

    @Test("what is being delivered is held, and deleted, with the others")
    func running() async throws {
        try await fill()
        let agent = FakeAgent(isHeld: true) { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = try await post.send()
            await until { agent.running == 1 }
            #expect(try await change(post, .hold) == 1)
            #expect(try await change(post, .delete) == BulkAdministrationTests.many + 1)
            agent.release()
            await until { agent.running == 0 }
            #expect(try await post.list().isEmpty)
            #expect(post.spool.count == 0 && agent.attempts.map(\.id) == [id])
        }
    }

    @Test("all are requeued: each goes where its address leads now, and nothing is said of the last attempt")
    func requeue() async throws {
        try await fill { $0 == 700 ? ["old@example.org", "bob@example.org"] : $0 == 701 ? ["gone@example.org"] : ["alice@example.org"] }
        let agent = FakeAgent { _, recipient in recipient.target.address.localPart == "sender" ? [.delivered] : [.deferred] }
        let routes = ["old@example.org": ["new@example.org"], "gone@example.org": []]
        try await Post.open(path, mailboxes: agent, routes: routes) { post in
            #expect(try await change(post, .requeue, [.deferred]) == 0)
            #expect(try await change(post, .requeue, [.hold]) == BulkAdministrationTests.many)
            try await post.settle { try await post.list().allSatisfy { !$0.isLeased && $0.attempts == 1 && !$0.isHeld } }
            let addresses = agent.addresses
            #expect(addresses.count { $0 == "alice@example.org" } == BulkAdministrationTests.many - 2)
            #expect(addresses.filter { $0 != "alice@example.org" }.sorted() == ["bob@example.org", "new@example.org", "sender@example.org"])
            agent.hold()
            #expect(try await change(post, .requeue) == BulkAdministrationTests.many - 1)
            #expect(try await post.list().allSatisfy { $0.attempts == 0 && $0.recipients.allSatisfy { $0.reply == nil } })
        }
    }

    @Test("one that cannot be read stays as it is, and those beside it are requeued")
    func requeueBesideDamage() async throws {
        try await fill { $0 == 700 ? ["old@example.org"] : ["alice@example.org"] }
        let id = QueueID(rawValue: epoch.microseconds - 10_000 + 701)
        try await withSpool(path) { spool in
            try await spool.perform { try $0.database.execute("UPDATE recipient SET address='no address' WHERE message=\(id.rawValue)") }
        }
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent, routes: ["old@example.org": ["new@example.org"]]) { post in
            #expect(try await change(post, .requeue) == BulkAdministrationTests.many - 1)
            try await post.settle { try await post.list().allSatisfy { $0.id == id || !$0.isLeased && $0.attempts == 1 } }
            let damaged = try #require(try await post.list().first { $0.id == id })
            #expect(damaged.isDamaged && damaged.isHeld)
            #expect(agent.addresses.sorted() == (Array(repeating: "alice@example.org", count: BulkAdministrationTests.many - 2) + ["new@example.org"]).sorted())
        }
    }

    @Test("a long queue is given up after the command, untried, and each sender hears of it; held mail when it is released")
    func expire() async throws {
        try await fill()
        let agent = FakeAgent()
        try await Post.open(path, mailboxes: agent) { post in
            #expect(try await change(post, .expireUnlessHeld) == BulkAdministrationTests.many)
            #expect(try await post.list().allSatisfy { $0.isHeld && $0.isForcedToExpire })
            #expect(try await change(post, .expire) == BulkAdministrationTests.many)
            try await post.settle { post.spool.count == 0 }
            #expect(post.count(.bounceQueued) == BulkAdministrationTests.many)
            #expect(agent.addresses.count == BulkAdministrationTests.many && Set(agent.addresses) == ["sender@example.org"])
        }
    }
}

extension SpoolStore {
    fileprivate func rows(of table: String) throws -> Int {
        var count = 0
        try database.prepare("SELECT count(*) FROM \(table)").forEachRow { row in
            count = Int(row.integer(0))
            return false
        }
        return count
    }
}
