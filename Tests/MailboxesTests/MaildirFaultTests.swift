import Glibc
import MailSyntax
import Testing

@testable import Mailboxes

@Suite("Maildir delivery on a disk that fails")
struct MaildirFaultTests {
    let box = TestMailboxes()

    private func deliver(_ copies: [MailboxCopy], on disk: any Disk) -> [MailboxError?] {
        MaildirStore(disk: disk).deliver(copies, host: "mx.mydom.com")
    }

    private func batch(_ count: Int) -> [MailboxCopy] {
        (0..<count).map { copy(box.location("user\($0 % 2)"), message("number \($0)\n"), number: $0) }
    }

    private static let beforeRename: [FaultyDisk.Fault] = [
        .failing("opendir", code: EACCES, times: 9), .failing("mkdirat", code: EROFS, times: 9), .failing("open", code: EACCES, times: 9),
        .failing("write", code: ENOSPC, times: 9), .failing("fsync", code: EIO, times: 9), .failing("renameat", code: EDQUOT, times: 9),
    ]

    @Test("a failed step is reported, and nothing stays in tmp or comes into new", arguments: beforeRename, [1, 4])
    func reports(fault: FaultyDisk.Fault, count: Int) {
        let results = deliver(batch(count), on: FaultyDisk(fault))
        #expect(!results.contains(nil), "\(results)")
        for user in ["user0", "user1"] {
            #expect(box.names("\(user)/tmp").isEmpty)
            #expect(box.names("\(user)/new").isEmpty)
        }
        #expect(deliver(batch(count), on: FaultyDisk()) == batch(count).map { _ in nil }, "the repeat")
    }

    @Test("a group sync that fails leaves the whole group undelivered, for it does not tell whose octets were lost")
    func groupSyncFails() {
        let results = deliver(batch(6), on: FaultyDisk(.failing("syncfs", code: EIO)))
        #expect(results == (0..<6).map { _ in .disk(DiskError(code: EIO, call: "syncfs")) })
        #expect(box.names("user0/tmp") + box.names("user0/new") + box.names("user1/tmp") + box.names("user1/new") == [])
    }

    @Test("where only the last sync fails, nothing is reported as delivered, and a repeat makes no second copy")
    func directorySyncFails() {
        box.makeMaildir()
        #expect(deliver([copy(box.location())], on: FaultyDisk(.failing("fsync", occurrence: 2, code: EIO))) == [.disk(DiskError(code: EIO, call: "fsync"))])
        #expect(deliver([copy(box.location())], on: FaultyDisk()) == [nil])
        #expect(box.contents(of: "alice/new") == [whole])
    }

    @Test("short writes are carried on", arguments: [1, 7, 100])
    func shortWrites(longest: Int) {
        #expect(deliver([copy(box.location())], on: FaultyDisk(longestWrite: longest)) == [nil])
        #expect(box.contents(of: "alice/new") == [whole])
    }

    @Test("one copy's failure is its own")
    func failsAlone() {
        let results = deliver(batch(6), on: FaultyDisk(.failing("write", occurrence: 3, code: ENOSPC)))
        #expect(results == [nil, nil, .disk(DiskError(code: ENOSPC, call: "write")), nil, nil, nil])
        #expect(box.names("user0/new").count == 2)
        #expect(box.names("user1/new").count == 3)
        #expect(box.names("user0/tmp").isEmpty)
    }

    /// 1: fsync each. 5: one sync for the files, fsync of two directories. 5 in 5 mailboxes: a second one for those.
    @Test("without power at any step: no torn message in new, none delivered is lost, and a repeat leaves exactly one of each",
        arguments: [(1, 1), (5, 2), (5, 5)], [false, true])
    func losesPower(_ shape: (count: Int, users: Int), undoingRenames: Bool) {
        func copies(_ box: TestMailboxes) -> [MailboxCopy] {
            (0..<shape.count).map { copy(box.location("user\($0 % shape.users)"), message("number \($0)\n"), number: $0) }
        }
        func found(_ box: TestMailboxes) -> [String] {
            (0..<shape.users).flatMap { box.contents(of: "user\($0)/new") }.sorted()
        }
        let want = (0..<shape.count).map { trace + "number \($0)\n" }.sorted()
        var step = 0
        var isComplete = false
        while !isComplete {
            let box = TestMailboxes()
            let disk = FaultyDisk(.powerLoss(beforeStep: step))
            let results = deliver(copies(box), on: disk)
            isComplete = !results.contains { $0 != nil }
            disk.losePower(undoingRenames: undoingRenames)
            let survivors = found(box)
            #expect(Set(survivors).isSubset(of: want), "torn before step \(step): \(disk.steps.last ?? "")")
            for (index, error) in results.enumerated() where error == nil {
                #expect(survivors.contains(trace + "number \(index)\n"), "lost before step \(step)")
            }
            #expect(deliver(copies(box), on: FaultyDisk()).allSatisfy { $0 == nil })
            #expect(found(box) == want, "after the repeat, power gone before step \(step)")
            step += 1
        }
        #expect(step > 5 * shape.users, "every step was tried")
    }
}
