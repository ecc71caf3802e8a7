// Who is told what: delays, failures, the postmaster, aliases that were expanded, and senders that name the recipient.

import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import Telemetry
import Testing

@testable import MailQueue

@Suite(.timeLimit(.minutes(1)))
struct ReporterTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }

    private func policy(_ change: (inout ReportPolicy) -> Void) -> ReportPolicy {
        var policy = ReportPolicy()
        change(&policy)
        return policy
    }

    @Test("mail that is late is reported when it is deferred after the warning time, once, to those who want to hear of it", arguments: [
        (.unspecified, 1), (.delay, 1), ([.delay, .failure], 1), (.never, 0), (.failure, 0), (.success, 0),
    ] as [(Notify, Int)])
    func delay(notify: Notify, reports: Int) async throws {
        let agent = FakeAgent { _, recipient in recipient.target.address.localPart == "sender" ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent, reports: policy { $0.delayWarning = .seconds(400) }) { post in
            try await post.send(to: ["alice@example.org"], notify: notify)
            func attempts(_ count: Int) async throws { try await post.settle { agent.attempts.count { $0.address == "alice@example.org" } == count } }
            try await attempts(1)
            #expect(post.count(.bounceQueued) == 0)
            for round in 2...4 {
                await post.pass(.seconds(3600))
                try await attempts(round)
            }
            try await post.settle { post.count(.bounceQueued) == reports && post.spool.count == 1 }
            #expect(agent.attempts.count { $0.address == "sender@example.org" } == reports)
        }
    }

    @Test("an alias of several is reported as expanded, when the first attempt is over")
    func expanded() async throws {
        let agent = FakeAgent { _, recipient in recipient.target.address.localPart == "bob" ? [.deferred] : [.delivered] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = post.spool.nextID(now: epoch)
            let list = queued("list@example.org", number: 2, notify: .success)
            try await post.accept(IncomingMessage(
                id: id, envelope: Envelope(sender: Address("sender@example.org")!),
                recipients: [queued("alice@example.org", notify: .never), queued("bob@example.org", number: 1, notify: .never)], received: epoch,
                content: .inline(ByteBuffer(string: "Subject: x\r\n\r\n")), expansions: [list]))
            try await post.settle { post.count(.bounceQueued) == 1 && post.spool.count == 1 }
            #expect(try await post.list()[0].recipients.map(\.recipient.number) == [1])
        }
    }

    @Test("with VERP each recipient is a transaction and a report of its own, over a restart too")
    func verp() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        var envelope = Envelope(sender: Address("list@example.org")!)
        envelope.verp = .usual
        let message = IncomingMessage(
            id: QueueID(rawValue: epoch.microseconds), envelope: envelope, recipients: [queued("a@b.example"), queued("c@b.example", number: 1)], received: epoch,
            content: .inline(ByteBuffer(string: "Subject: x\r\n\r\n")))
        try await Post.open(path, nextHops: agent) { post in
            try await post.accept(message)
            try await post.settle { agent.attempts.count == 2 && post.scheduler.activeCount == 0 }
        }
        let senders = Names()
        let again = FakeAgent { request, _ in
            senders.insert(request.sender!.description)
            return [.failed]
        }
        let mailboxes = FakeAgent()
        try await Post.open(path, mailboxes: mailboxes, nextHops: again, after: .seconds(400)) { post in
            try await post.settle { post.spool.count == 0 }
        }
        let wanted: Set = ["list+a=b.example@example.org", "list+c=b.example@example.org"]
        #expect(senders.values == wanted && Set(mailboxes.addresses) == wanted)
    }

    @Test("a report that cannot be delivered goes to the postmaster where the policy says so, and nothing answers that")
    func doubleBounce() async throws {
        let agent = FakeAgent { _, _ in [.failed] }
        let policy = policy { $0.doubleBounceNotice = Address("postmaster@b.example")! }
        try await Post.open(path, mailboxes: agent, nextHops: agent, reports: policy) { post in
            try await post.send(to: ["x@c.example"])
            try await post.settle { post.spool.count == 0 && post.count(.bounceDropped) == 1 }
            #expect(post.count(.bounceQueued) == 2)
            #expect(agent.addresses == ["x@c.example", "sender@example.org", "postmaster@b.example"])
        }
    }

    @Test("what is given up by an administrator is reported with its last reason, or that it was given up; held mail when it is released")
    func expire() async throws {
        let agent = FakeAgent { _, recipient in recipient.target.address.localPart == "sender" ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let ids = [try await post.send(), try await post.send(), try await post.send(notify: .never)]
            try await post.settle { try await post.list().allSatisfy { !$0.isLeased && $0.attempts > 0 } }
            #expect(try await post.change(.hold, ids[1]) == .changed)
            #expect(try await post.change(.expireUnlessHeld, ids[1]) == .changed)
            #expect(try await post.change(.expire, QueueID(rawValue: 1)) == .missing)
            #expect(try await post.list().map(\.isForcedToExpire) == [false, true, false])
            #expect(try await post.change(.expire, ids[0]) == .changed)
            #expect(try await post.change(.expire, ids[2]) == .changed)
            try await post.settle { post.spool.count == 1 && post.count(.deliverySent) == 1 }
            #expect(post.count(.bounceQueued) == 1 && post.count(.deliveryExpired) == 2)
            #expect(try await post.change(.release, ids[1]) == .changed)
            try await post.settle { post.spool.count == 0 && post.count(.deliverySent) == 2 }
            #expect(agent.attempts.count { $0.address == "alice@example.org" } == 3, "nothing is tried that was given up")
        }
    }

    @Test("an attempt under way is not called back by expire; what it does not deliver is given up when it is over")
    func expireRunning() async throws {
        let agent = FakeAgent(isHeld: true) { _, recipient in recipient.number == 0 ? [.delivered] : [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            let id = try await post.send(to: ["alice@example.org", "bob@example.org"])
            await until { agent.running == 1 }
            #expect(try await post.change(.expire, id) == .changed)
            agent.decide { _, recipient in recipient.target.address.localPart == "bob" ? [.deferred] : [.delivered] }
            agent.release()
            try await post.settle { post.spool.count == 0 && post.count(.bounceQueued) == 1 }
            #expect(post.count(.deliveryExpired) == 1)
        }
    }

    @Test("a clock that was set back does not keep mail waiting for the old time")
    func clockSetBack() async throws {
        let agent = FakeAgent { _, _ in [.deferred] }
        try await Post.open(path, mailboxes: agent) { post in
            try await post.send()
            try await post.settle { try await post.list().allSatisfy { !$0.isLeased && $0.attempts == 1 } }
            post.clock.move(by: .seconds(-100_000))
            try await post.settle {
                post.scheduler.loadIfDue()
                return try await post.list()[0].attempts == 2
            }
            #expect(post.count(.clockSetBack) == 1)
        }
    }
}

private final class Names: Sendable {
    private let box = NIOLockedValueBox(Set<String>())
    func insert(_ value: String) { box.withLockedValue { _ = $0.insert(value) } }
    var values: Set<String> { box.withLockedValue { $0 } }
}
