// The spool: what it says is on disk is there after a kill and after a power cut, and what it says is not, is not.

import CSQLite
import Glibc
import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import Testing

@testable import MailQueue

@Suite(.timeLimit(.minutes(1)))
struct SpoolTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }

    private func ids(_ path: String) async throws -> [Int64] { try await withSpool(path) { try await $0.allMessages().map(\.id.rawValue) } }

    private func idsIn(_ spool: Spool) async throws -> [Int64] { try await spool.allMessages().map(\.id.rawValue) }

    // MARK: What is kept

    @Test("a message comes back from a closed spool as it went in")
    func roundTrip() async throws {
        let recipients = [
            queued("\"a b\"@example.org", number: 0, notify: [.success, .failure], originalRecipient: "rfc822;x+y@example.org"),
            QueuedRecipient(number: 1, original: Address("list@example.org")!, target: .remote(Address("jürgen@bücher.example")!), notify: .never, originalRecipient: nil),
        ]
        let message = IncomingMessage(
            id: QueueID(rawValue: 77), envelope: Envelope(sender: Address("Sender@Example.COM")!, body: .eightBitMIME, isInternationalized: true, returnContent: .headers, envelopeID: "id 1"),
            recipients: recipients, received: epoch, content: .inline(ByteBuffer(string: "a\0b\r\n")))
        try await withSpool(path) { try await $0.put(message) }
        try await withSpool(path) { spool in
            let stored = try #require(try await spool.allMessages().first)
            #expect(stored.id == message.id && stored.sender?.description == "Sender@Example.COM" && stored.received == epoch && stored.size == 5)
            #expect(stored.flags == [.eightBit, .internationalized, .returnHeaders] && stored.returnContent == .headers)
            #expect(stored.envelopeID == "id 1" && stored.due == epoch && stored.attempts == 0 && !stored.isLeased && !stored.isDamaged)
            #expect(stored.recipients.map(\.recipient) == recipients)
            #expect(stored.recipients.allSatisfy { $0.state == .pending && $0.reply == nil })
            #expect(try await spool.text(stored) == "a\0b\r\n")
            #expect(spool.count == 1)
        }
    }

    @Test("an empty body and the null sender are kept")
    func empty() async throws {
        try await withSpool(path) { try await $0.put(incoming(QueueID(rawValue: 1), from: nil, body: "")) }
        try await withSpool(path) { spool in
            let stored = try #require(try await spool.allMessages().first)
            #expect(stored.sender == nil && !stored.isDamaged)
            #expect(try await spool.text(stored) == "")
        }
    }

    @Test("the outcome of an attempt is kept, with a reply of several lines")
    func outcome() async throws {
        let reply = Reply(550, EnhancedCode(5, 1, 1), lines: ["No", "", "such user"])
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 5), to: ["a@example.org", "b@example.org", "c@example.org"]), leased: true)
            try await spool.perform { store in
                try store.delete(QueueID(rawValue: 5), recipient: 0)
                try store.update(QueueID(rawValue: 5), recipient: 1, state: .failed, reply: reply, relay: "mx")
                try store.postpone(QueueID(rawValue: 5), until: epoch + .seconds(60))
            }
        }
        try await withSpool(path) { spool in
            let stored = try #require(try await spool.allMessages().first)
            #expect(stored.recipients.map(\.recipient.number) == [1, 2])
            #expect(stored.recipients[0].state == .failed && stored.recipients[0].reply == reply && stored.recipients[0].relay == "mx")
            #expect(stored.attempts == 1 && stored.due == epoch + .seconds(60) && !stored.isLeased)
        }
    }

    @Test("after a kill everything completed is there, and nothing half", arguments: [0, 1, 20])
    func crash(count: Int) async throws {
        let image = try await withSpool(path) { spool in
            for id in 0..<count { try await spool.put(incoming(QueueID(rawValue: Int64(id + 1)), to: ["a@example.org", "b@example.org"]), leased: true) }
            // Taken inside a transaction that has written a message and is not committed.
            return try await spool.perform { [path] store in
                try store.insert(incoming(QueueID(rawValue: 1000)), leased: true)
                return crashImage(of: path)
            }
        }
        try await withSpool(image.path) { spool in
            let messages = try await spool.allMessages()
            #expect(messages.map(\.id.rawValue) == (0..<count).map { Int64($0 + 1) })
            #expect(messages.allSatisfy { $0.recipients.count == 2 && !$0.isLeased }, "leases of the dead process are returned")
            for message in messages { #expect(try await spool.text(message) != nil) }
            #expect(spool.count == count)
        }
    }

    @Test("after a power cut everything completed is there: a commit is synced before it is reported")
    func powerCut() async throws {
        let image = TemporaryDirectory()
        let reported = NIOLockedValueBox<[Int64]>([])
        FaultyDisk.shared[path].powerCutImage = image.path
        try await withSpool(path) { spool in
            for id in 1...50 as ClosedRange<Int64> {
                try await spool.put(incoming(QueueID(rawValue: id), body: String(repeating: "x", count: 5000)))
                reported.withLockedValue { $0.append(id) }
                if id % 7 == 0 { _ = try await spool.perform { try $0.delete(QueueID(rawValue: id)) } }
            }
            let cut = crashImage(of: image.path)
            let found = try await ids(cut.path)
            #expect(found == reported.withLockedValue { $0 }.filter { $0 % 7 != 0 })
        }
    }

    @Test("a message is reported as kept after the sync of its log, never before")
    func order() async throws {
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 1)))
            let isReported = NIOLockedValueBox(false)
            let wasReportedAtSync = NIOLockedValueBox<[Bool]>([])
            FaultyDisk.shared[path].beforeLogSync = { wasReportedAtSync.withLockedValue { $0.append(isReported.withLockedValue { $0 }) } }
            await withCheckedContinuation { continuation in
                spool.insert(incoming(QueueID(rawValue: 2)), leased: false) { _ in
                    isReported.withLockedValue { $0 = true }
                    continuation.resume()
                }
            }
            FaultyDisk.shared[path].beforeLogSync = nil
            #expect(wasReportedAtSync.withLockedValue { $0 } == [false])
        }
    }

    // MARK: Group commit

    @Test("whoever waits while the disk syncs shares the next sync")
    func groupCommit() async throws {
        try await withSpool(path) { spool in
            let isReached = Flag(), mayGoOn = Flag()
            let before = FaultyDisk.shared[path].logSyncs
            FaultyDisk.shared[path].beforeLogSync = {
                isReached.raise()
                mayGoOn.wait()
            }
            let done = NIOLockedValueBox(0)
            let insert = { (id: Int64) in spool.insert(incoming(QueueID(rawValue: id)), leased: true) { if $0 == nil { done.withLockedValue { $0 += 1 } } } }
            insert(1)
            isReached.wait()
            for id in 2...500 as ClosedRange<Int64> { insert(id) }
            mayGoOn.raise()
            await until { done.withLockedValue { $0 } == 500 }
            // The first alone, all others together; one more for the head of a fresh log.
            #expect(FaultyDisk.shared[path].logSyncs - before <= 3)
            #expect(spool.count == 500)
            FaultyDisk.shared[path].beforeLogSync = nil
        }
    }

    @Test("a new message does not wait for all that waits; all else keeps its order, and nothing is left behind", arguments: [false, true])
    func newMessageFirst(patient: Bool) async throws {
        try await withSpool(path) { spool in
            let mayGoOn = Flag()
            let done = NIOLockedValueBox<[Int]>([])
            spool.perform({ _ in mayGoOn.wait() }, completion: { _ in })
            for number in 1...8 {
                // Two of them, or three at most, are as much as one group takes.
                spool.perform(patient: patient) { _ in usleep(5000) } completion: { _ in done.withLockedValue { $0.append(number) } }
            }
            spool.insert(incoming(QueueID(rawValue: 1)), leased: false) { _ in done.withLockedValue { $0.append(0) } }
            mayGoOn.raise()
            await until { done.withLockedValue { $0.count } == 9 }
            let order = done.withLockedValue { $0 }
            #expect(order.filter { $0 > 0 } == Array(1...8))
            // The group that waited is over by its time already, so it may have taken one of them.
            #expect(order.firstIndex(of: 0)! <= 3, "\(order)")
        }
    }

    @Test("a page has fewer messages where they have many recipients, and the pages together have all")
    func pages() async throws {
        try await withSpool(path) { spool in
            let many = (0..<7).map { "user\($0)@example.org" }
            for id in 1...9 as ClosedRange<Int64> { try await spool.put(incoming(QueueID(rawValue: id), to: id % 3 == 0 ? ["alice@example.org"] : many)) }
            var pages: [[Int64]] = []
            var last = QueueID(rawValue: 0)
            while true {
                let page = try await spool.perform { [last] in try $0.page(after: last, limit: 2) }
                guard let end = page.last else { break }
                #expect(page.allSatisfy { $0.recipients.count == ($0.id.rawValue % 3 == 0 ? 1 : 7) })
                pages.append(page.map(\.id.rawValue))
                last = end.id
            }
            #expect(pages.flatMap { $0 } == Array(1...9))
            let ten = try await spool.perform { try $0.page(after: QueueID(rawValue: 0), limit: 4) }.map(\.id.rawValue)
            #expect(ten == [1, 2, 3, 4])
            try await spool.put(incoming(QueueID(rawValue: 10), to: (0..<30).map { "user\($0)@example.org" }))
            try await spool.put(incoming(QueueID(rawValue: 11)))
            let alone = try await spool.perform { try $0.page(after: QueueID(rawValue: 9), limit: 2) }.map(\.id.rawValue)
            #expect(alone == [10])
        }
    }

    @Test("a fault of one operation is not a fault of the others in its group")
    func isolation() async throws {
        struct Fault: Error {}
        try await withSpool(path) { spool in
            let mayGoOn = Flag()
            let results = NIOLockedValueBox<[Int64: Bool]>([:])
            let insert = { (id: Int64, key: Int64) in
                spool.insert(incoming(QueueID(rawValue: id)), leased: false) { failure in results.withLockedValue { $0[key] = failure == nil } }
            }
            spool.perform({ _ in mayGoOn.wait() }, completion: { _ in })
            insert(1, 1)
            insert(2, 2)
            insert(1, 3)  // the id is taken
            spool.perform({ store in
                try store.insert(incoming(QueueID(rawValue: 9)), leased: false)
                throw Fault()
            }, completion: { (result: Result<Void, SpoolFailure>) in results.withLockedValue { $0[4] = (try? result.get()) != nil } })
            insert(3, 5)
            mayGoOn.raise()
            await until { results.withLockedValue { $0.count } == 5 }
            #expect(results.withLockedValue { $0 } == [1: true, 2: true, 3: false, 4: false, 5: true])
            #expect(spool.count == 3)
            let kept = try await idsIn(spool)
            #expect(kept == [1, 2, 3])
        }
    }

    // MARK: Faults

    @Test("a full disk is 452 4.3.1, leaves nothing half-done, and is forgotten when there is room again")
    func fullDisk() async throws {
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 1)))
            FaultyDisk.shared[path].isFull = true
            for id in [2, 3] as [Int64] {
                let failure = await #expect(throws: SpoolFailure.self) { try await spool.put(incoming(QueueID(rawValue: id), body: String(repeating: "x", count: 60_000))) }
                #expect(failure?.reply.code == 452 && failure?.reply.enhanced == EnhancedCode(4, 3, 1))
            }
            #expect(await spool.probe()?.reply.code == 452)
            #expect(spool.count == 1)
            FaultyDisk.shared[path].isFull = false
            #expect(await spool.probe() == nil)
            try await spool.put(incoming(QueueID(rawValue: 3)))
            #expect(spool.count == 2)
        }
        #expect(try await ids(path) == [1, 3])
    }

    @Test("a sync that fails is 451, and the message is not in the spool")
    func failedSync() async throws {
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 1)))
            FaultyDisk.shared[path].failsSyncs = true
            let failure = await #expect(throws: SpoolFailure.self) { try await spool.put(incoming(QueueID(rawValue: 2))) }
            #expect(failure?.reply.code == 451 && failure?.reply.enhanced == EnhancedCode(4, 3, 0))
            FaultyDisk.shared[path].failsSyncs = false
            try await spool.put(incoming(QueueID(rawValue: 3)))
            #expect(try await idsIn(spool) == [1, 3])
        }
        #expect(try await ids(path) == [1, 3])
    }

    @Test("errors of files are told apart: no space and quota are 452, others 451", arguments: [(ENOSPC, 452), (EDQUOT, 452), (EIO, 451), (EACCES, 451)] as [(CInt, UInt16)])
    func fileErrors(code: CInt, reply: UInt16) { #expect(SpoolFailure(IOError(errnoCode: code, reason: "write")).reply.code == reply) }

    @Test("a second spool on the same directory is refused with the reason, in this process and in another")
    func inUse() async throws {
        try await withSpool(path) { spool in
            try await spool.put(incoming(QueueID(rawValue: 1)))
            let failure = #expect(throws: SpoolFailure.self) { try Spool(directory: path, owner: "other") }
            #expect(failure?.reason == "\(path): another process has this spool open")
            let script = "import sqlite3,sys; sqlite3.connect(sys.argv[1], timeout=0).execute('select count(*) from message')"
            #expect(run(["/usr/bin/python3", "-c", script, path + "/spool.db"]).status != 0)
            try await spool.put(incoming(QueueID(rawValue: 2)))
        }
        #expect(run(["/usr/bin/python3", "-c", "import sqlite3,sys; assert sqlite3.connect(sys.argv[1]).execute('select count(*) from message').fetchone() == (2,)", path + "/spool.db"]).status == 0)
    }

    @Test("a spool that a later version wrote is refused and left alone")
    func laterVersion() async throws {
        try await withSpool(path) { try await $0.put(incoming(QueueID(rawValue: 1))) }
        edit(path, "PRAGMA user_version=99")
        let failure = #expect(throws: SpoolFailure.self) { try Spool(directory: path, owner: "test") }
        #expect(failure?.reason.contains("schema version 99") == true)
        edit(path, "PRAGMA user_version=\(SpoolSchema.version)")
        #expect(try await ids(path) == [1])
    }

    @Test("a directory that cannot be made, or a file in its place, is refused with its path")
    func noDirectory() {
        writeFile(path, [])
        let failure = #expect(throws: SpoolFailure.self) { try Spool(directory: path, owner: "test") }
        #expect(failure?.reason.contains(path) == true)
    }

    @Test("a closed spool does nothing and says so; closing again is harmless")
    func closed() async throws {
        let spool = try Spool(directory: path, owner: "test")
        try await spool.put(incoming(QueueID(rawValue: 1)))
        await spool.close()
        await #expect(throws: SpoolFailure.self) { try await spool.put(incoming(QueueID(rawValue: 2))) }
        #expect(spool.count == 1)
        // The first is still alive, and has let go all the same.
        #expect(try await ids(path) == [1])
        #expect(entries(path) == ["large", "spool.db"], "a stopped spool is one file")
        await spool.close()
    }

    @Test("what was handed over before the end is written, whatever the order of the calls")
    func closeWhileBusy() async throws {
        let spool = try Spool(directory: path, owner: "test")
        let kept = NIOLockedValueBox<[Int64]>([]), refused = NIOLockedValueBox(0)
        await withTaskGroup(of: Void.self) { group in
            for id in 1...200 as ClosedRange<Int64> {
                group.addTask {
                    spool.insert(incoming(QueueID(rawValue: id)), leased: false) { failure in
                        if failure == nil { kept.withLockedValue { $0.append(id) } } else { refused.withLockedValue { $0 += 1 } }
                    }
                }
                if id == 100 { group.addTask { await spool.close() } }
            }
        }
        await until { kept.withLockedValue { $0.count } + refused.withLockedValue { $0 } == 200 }
        #expect(try await ids(path) == kept.withLockedValue { $0.sorted() })
    }

    // MARK: Bodies in files

    @Test("a body in a file is kept with its message and goes with it; one without a message goes at the next start")
    func bodyFiles() async throws {
        try await withSpool(path) { spool in
            let file = try BodyFile(spool: spool, id: QueueID(rawValue: 10))
            for _ in 0..<3 { try file.append(ByteBuffer(repeating: 0x61, count: 50_000)) }
            try file.finish()
            try await spool.put(IncomingMessage(
                id: QueueID(rawValue: 10), envelope: Envelope(sender: nil), recipients: [queued("a@example.org")], received: epoch,
                content: .file(path: file.path, size: file.size)))
            let orphan = try BodyFile(spool: spool, id: QueueID(rawValue: 11))
            try orphan.append(ByteBuffer(string: "lost"))
            try orphan.finish()
            let abandoned = try BodyFile(spool: spool, id: QueueID(rawValue: 12))
            abandoned.abandon()
            _ = try BodyFile(spool: spool, id: QueueID(rawValue: 13))  // dropped at once
            writeFile(path + "/large/notes.txt", [])
            #expect(entries(path + "/large") == ["A", "B", "notes.txt"])
        }
        try await withSpool(path) { spool in
            #expect(entries(path + "/large") == ["A", "notes.txt"], "what is no body is not touched")
            let stored = try #require(try await spool.allMessages().first)
            guard case .file(let body, 150_000)? = try await spool.perform({ try $0.content(of: stored) }) else { throw Unexpected() }
            #expect(readFile(body) == [UInt8](repeating: 0x61, count: 150_000))
            #expect(try await spool.perform { try $0.delete(stored.id) } == .withFile)
        }
    }

    /// Otherwise the second close would hit whatever file has the number by then.
    @Test("abandoning a finished body removes the file and closes nothing twice")
    func abandonFinished() async throws {
        try await withSpool(path) { spool in
            let file = try BodyFile(spool: spool, id: QueueID(rawValue: 1))
            try file.append(ByteBuffer(string: "x"))
            try file.finish()
            let other = open("/dev/null", O_RDONLY)  // gets the number that was freed
            file.abandon()
            file.abandon()
            #expect(fcntl(other, F_GETFD) >= 0)
            close(other)
            #expect(entries(path + "/large").isEmpty)
        }
    }

    // MARK: Ids

    @Test("ids rise though the clock stands still or is set back")
    func ids() async throws {
        try await withSpool(path) { spool in
            let ids = [epoch, epoch, epoch + .seconds(-3600), epoch + .seconds(1)].map { spool.nextID(now: $0).rawValue - epoch.microseconds }
            #expect(ids == [0, 1, 2, 1_000_000])
        }
    }

    @Test("no id comes twice, though the spool was emptied, the clock set back, and the process stopped or killed", arguments: [false, true])
    func idsAcrossRestarts(isKilled: Bool) async throws {
        let image = try await withSpool(path) { spool in
            let id = spool.nextID(now: epoch)
            try await spool.put(incoming(id))
            _ = try await spool.perform { try $0.delete(id) }
            return crashImage(of: path)
        }
        try await withSpool(isKilled ? image.path : path) { spool in
            let next = spool.nextID(now: epoch + .seconds(-3600)).rawValue
            #expect(next > epoch.microseconds)
            #expect(isKilled || next == epoch.microseconds + 1, "after an orderly end the ids do not run ahead of the clock")
        }
    }

    // MARK: What is due

    @Test("what is due is taken oldest first, within the bounds, once, and at least one")
    func due() async throws {
        try await withSpool(path) { spool in
            for id in 1...6 as ClosedRange<Int64> {
                try await spool.put(incoming(QueueID(rawValue: id), body: String(repeating: "x", count: 1000), received: epoch + .seconds(-id)))
            }
            let take = { (limit: Int, octets: Int) in
                try await spool.perform { try $0.takeDue(now: epoch + .seconds(-2), limit: limit, octets: octets, lookAgain: epoch).messages.map(\.0.id.rawValue) }
            }
            #expect(try await take(2, 1 << 20) == [6, 5])
            #expect(try await take(10, 1500) == [4])
            #expect(try await take(10, 10) == [3])
            #expect(try await take(10, 1 << 20) == [2], "1 is not due yet")
            #expect(try await take(10, 1 << 20) == [])
            #expect(try await nextDue(spool) == epoch + .seconds(-1))
        }
    }

    @Test("a damaged message is kept, set aside and told of; those behind it are taken", arguments: [
        "UPDATE recipient SET address='no address' WHERE message=1", "UPDATE recipient SET original='' WHERE message=1", "UPDATE recipient SET state=99 WHERE message=1",
        "UPDATE message SET sender='no address' WHERE id=1", "DELETE FROM body WHERE message=1",
    ])
    func damaged(sql: String) async throws {
        try await withSpool(path) { spool in for id in 1...2 as ClosedRange<Int64> { try await spool.put(incoming(QueueID(rawValue: id))) } }
        edit(path, sql)
        try await withSpool(path) { spool in
            let due = try await spool.perform { try $0.takeDue(now: epoch, limit: 10, octets: 1 << 20, lookAgain: epoch + .seconds(60)) }
            #expect(due.messages.map(\.0.id.rawValue) == [2])
            #expect(due.damaged.map(\.rawValue) == [1])
            #expect(try await nextDue(spool) == epoch + .seconds(60))
            #expect(try await spool.allMessages().count == 2)
        }
    }

    @Test("making due touches what waits, a page at a time, and nothing that is worked on")
    func makeDue() async throws {
        try await withSpool(path) { spool in
            for id in 1...4 as ClosedRange<Int64> { try await spool.put(incoming(QueueID(rawValue: id), received: epoch + .seconds(id * 100)), leased: id == 4) }
            #expect(try await !spool.perform { try $0.makeDue(QueueID(rawValue: 4), now: epoch) })
            #expect(try await !spool.perform { try $0.makeDue(QueueID(rawValue: 9), now: epoch) })
            #expect(try await spool.perform { try $0.makeDue(QueueID(rawValue: 2), now: epoch) })
            let dues = try await spool.allMessages().map(\.due)
            #expect(dues == [epoch + .seconds(100), epoch, epoch + .seconds(300), epoch + .seconds(400)])
            let made = try await spool.perform { store in
                let all = try store.stretch(after: QueueID(rawValue: -1), upTo: QueueID(rawValue: .max), limit: 10, Set(QueueName.allCases))
                return try all.map { try store.makeDue($0, now: epoch) }
            }
            #expect(made == 2)
        }
    }

    @Test("a spool of version 2 is brought up to date, with its mail; the next start finds nothing to do")
    func migration() async throws {
        let id = try await withSpool(path) { spool in
            let id = spool.nextID(now: epoch)
            try await spool.put(incoming(id, to: ["alice@example.org", "bob@b.example"]))
            return id
        }
        edit(path, "ALTER TABLE message DROP COLUMN verp; PRAGMA user_version=2")
        for _ in 0..<2 {
            let message = try await withSpool(path) { try await $0.allMessages() }
            #expect(message.map(\.id) == [id] && message[0].recipients.count == 2 && message[0].verp == nil)
        }
    }

    @Test("what a message asks of TLS is kept; a version that knows nothing of it cannot open the spool", arguments: [TLSOption.required, .notRequired, nil])
    func tlsOption(option: TLSOption?) async throws {
        try await withSpool(path) { spool in
            var message = incoming(spool.nextID(now: epoch), to: ["bob@b.example"])
            var envelope = message.envelope
            envelope.tlsOption = option
            message = IncomingMessage(id: message.id, envelope: envelope, recipients: message.recipients, received: message.received, content: message.content)
            #expect(StoredMessage(message).tlsOption == option)
            try await spool.put(message)
        }
        // Version 3 had no such flags, and nothing else is different.
        edit(path, "PRAGMA user_version=3")
        for _ in 0..<2 {
            let messages = try await withSpool(path) { try await $0.allMessages() }
            #expect(messages.map(\.tlsOption) == [option])
            let request = DeliveryRequest(messages[0], recipients: messages[0].recipients.map(\.recipient), content: .inline(ByteBuffer()))
            #expect(request.tlsOption == option)
        }
        #expect(SpoolSchema.version >= 4)
    }

    private func nextDue(_ spool: Spool) async throws -> Timestamp? { try await spool.perform { try $0.nextDue() } }

    private struct Unexpected: Error {}

    /// Changes a closed spool behind its back.
    private func edit(_ path: String, _ sql: String) {
        var handle: OpaquePointer?
        #expect(sqlite3_open(path + "/spool.db", &handle) == SQLITE_OK)
        #expect(sqlite3_exec(handle, sql, nil, nil, nil) == SQLITE_OK)
        sqlite3_close(handle)
    }
}
