import Glibc
import MailSyntax
import Testing

@testable import Mailboxes

@Suite("Delivery into Maildirs")
struct MaildirStoreTests {
    let box = TestMailboxes()

    private func deliver(_ copies: [MailboxCopy], on disk: any Disk = SystemDisk()) -> [MailboxError?] {
        MaildirStore(disk: disk).deliver(copies, host: "mx.mydom.com")
    }

    @Test("a message lies in new, under its own name, with the trace header in Postfix's order, and nothing stays in tmp")
    func deliversOne() {
        #expect(deliver([copy(box.location())]) == [nil])
        #expect(box.names("alice") == ["cur", "new", "tmp"])
        #expect(box.names("alice/new") == ["1764000000.M000042QABCR0.mx.mydom.com,S=\(whole.utf8.count)"])
        #expect(box.contents(of: "alice/new") == [whole])
        #expect(box.names("alice/tmp").isEmpty)
    }

    @Test("the null sender has an empty Return-Path; a local part that needs quotes has them")
    func writesReturnPaths() {
        let quoted = Address(localPart: "a b", domain: Domain("example.org")!)
        _ = deliver([copy(box.location(), message("x\n", from: nil)), copy(box.location(), message("x\n", from: quoted), number: 1)])
        #expect(box.contents(of: "alice/new").map { $0.prefix { $0 != "\n" } } == ["Return-Path: <>", "Return-Path: <\"a b\"@example.org>"])
    }

    @Test("mailboxes and files are private to the server")
    func modes() throws {
        _ = deliver([copy(box.location())])
        for (name, mode) in [("alice", 0o700), ("alice/new", 0o700), ("alice/new/\(box.names("alice/new")[0])", 0o600)] {
            var result = stat()
            #expect(stat("\(box.path)/\(name)", &result) == 0 && result.st_mode & 0o777 == mode, "\(name)")
        }
    }

    @Test("a batch fills the mailboxes of many users, whatever its size", arguments: [1, 3, 4, 50, 300])
    func deliversBatches(count: Int) {
        let copies = (0..<count).map { copy(box.location("user\($0 % 7)"), message("number \($0)\n"), number: $0) }
        #expect(deliver(copies) == copies.map { _ in nil })
        for user in 0..<min(7, count) {
            let wanted = stride(from: user, to: count, by: 7).map { trace + "number \($0)\n" }
            #expect(box.contents(of: "user\(user)/new").sorted() == wanted.sorted())
        }
    }

    @Test("a message in a file is streamed in, with CRLF made LF where the pieces meet too", arguments: [0, 1, 131_071, 131_072, 400_001])
    func streams(padding: Int) {
        // Octet 131,072 falls on and beside a CRLF, as the padding moves it.
        let text = String(repeating: "x", count: padding) + "\r\nend\r\n"
        box.write("spooled", text)
        let content = MailboxMessage(sender: sender, received: arrival, content: .file(path: "\(box.path)/spooled"))
        #expect(deliver([copy(box.location(), content)]) == [nil])
        let want = trace + String(repeating: "x", count: padding) + "\nend\n"
        #expect(box.contents(of: "alice/new") == [want])
        #expect(box.names("alice/new")[0].hasSuffix(",S=\(want.utf8.count)"))
    }

    @Test("a message whose file is gone stays queued, and harms no other of the batch")
    func missingSource() {
        let gone = MailboxMessage(sender: sender, received: arrival, content: .file(path: "\(box.path)/gone"))
        let results = deliver([copy(box.location(), gone), copy(box.location(), number: 1)])
        #expect(results == [.source(DiskError(code: ENOENT, call: "openat", name: "\(box.path)/gone")), nil])
        #expect(box.contents(of: "alice/new") == [whole])
        #expect(box.names("alice/tmp").isEmpty)
    }

    @Test("a left-over in tmp is overwritten, and what a repeated delivery finds in new is replaced")
    func repeats() {
        box.makeMaildir()
        box.write("alice/tmp/1764000000.M000042QABCR0.mx.mydom.com", String(repeating: "left over ", count: 100))
        for _ in 0..<2 { #expect(deliver([copy(box.location())]) == [nil]) }
        #expect(box.contents(of: "alice/new") == [whole])
        #expect(box.names("alice/tmp").isEmpty)
    }

    @Test("a Maildir that lacks a part gets it", arguments: ["tmp", "new", "cur"])
    func completes(part: String) {
        box.makeMaildir()
        rmdir("\(box.path)/alice/\(part)")
        #expect(deliver([copy(box.location())]) == [nil])
        #expect(box.names("alice") == ["cur", "new", "tmp"])
    }

    @Test("a file in a Maildir's place is an error of its own and stays as it is")
    func refusesFiles() {
        box.write("alice", "an mbox")
        #expect(deliver([copy(box.location()), copy(box.location("bob"), number: 1)]) == [.wrongKind, nil])
        #expect(box.read("alice") == "an mbox")
    }

    @Test("a missing directory of mailboxes is not created: its volume may not be mounted")
    func refusesMissingDirectory() throws {
        let location = try MailboxLocation(directory: "\(box.path)/unmounted", user: "alice", format: .maildir, quota: 0)
        guard case .noDirectory? = deliver([copy(location)])[0] else { Issue.record("expected noDirectory"); return }
        #expect(box.names("") == [])
    }

    @Test("few files are synced one by one, many by one sync of the file system, where that reports errors")
    func choosesSync() {
        for (count, reportsErrors, files, group) in [(3, true, 3, 0), (4, true, 0, 1), (4, false, 4, 0)] {
            let box = TestMailboxes()
            box.makeMaildir()
            let disk = FaultyDisk(reportsErrors: reportsErrors)
            _ = deliver((0..<count).map { copy(box.location(), number: $0) }, on: disk)
            #expect(disk.steps.filter { $0 == "syncfs" }.count == group)
            #expect(disk.steps.filter { $0 == "fsync" }.count == files + 1, "and one for the directory")
        }
    }

    @Test("the steps come in the order that makes a delivery durable")
    func order() {
        box.makeMaildir()
        let disk = FaultyDisk()
        _ = deliver([copy(box.location())], on: disk)
        #expect(disk.steps == ["open tmp/1764000000.M000042QABCR0.mx.mydom.com", "write", "fsync", "renameat", "fsync"])
    }
}
