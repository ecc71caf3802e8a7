import Glibc
import MailSyntax
import Testing

@testable import Mailboxes

@Suite("Delivery into mbox files")
struct MboxStoreTests {
    let box = TestMailboxes()
    private let head = "From sender@example.org  Mon Nov 24 16:00:00 2025\n"

    private func deliver(_ texts: [String], quota: Int = 0, on disk: any Disk = SystemDisk()) -> [MailboxError?] {
        MboxStore(disk: disk).deliver(texts.enumerated().map { copy(box.location("alice", .mbox, quota: quota), message($1), number: $0) })
    }

    @Test("messages follow one another, each with its From line, trace header and an empty line at the end")
    func appends() {
        #expect(deliver(["a\n", "b\n"]) == [nil, nil])
        #expect(deliver(["c\n"]) == [nil])
        #expect(box.read("alice") == ["a", "b", "c"].map { "\(head)\(trace)\($0)\n\n" }.joined())
        #expect(box.names("") == ["alice"], "no lock stays")
    }

    @Test("the null sender is MAILER-DAEMON in the From line, and empty in Return-Path")
    func nullSender() {
        _ = MboxStore(disk: SystemDisk()).deliver([copy(box.location("alice", .mbox), message("a\n", from: nil))])
        #expect(box.read("alice")!.hasPrefix("From MAILER-DAEMON  Mon Nov 24 16:00:00 2025\nReturn-Path: <>\n"))
    }

    @Test("lines that start with From are quoted; a message without a last line end gets one", arguments: [
        ("x\n\nFrom here\n>From there\nFrom", "x\n\n>From here\n>From there\nFrom\n\n"), ("x", "x\n\n"), ("", "\n"), ("x\n\n", "x\n\n\n"),
    ])
    func quotes(text: String, kept: String) {
        #expect(deliver([text]) == [nil])
        #expect(box.read("alice") == head + trace + kept)
    }

    @Test("a message in a file is streamed in, quoted where the pieces meet too", arguments: 131_064...131_074)
    func streams(padding: Int) {
        box.write("spooled", String(repeating: "x", count: padding) + "\r\nFrom me\r\n")
        let content = MailboxMessage(sender: sender, received: arrival, content: .file(path: "\(box.path)/spooled"))
        #expect(MboxStore(disk: SystemDisk()).deliver([copy(box.location("alice", .mbox), content)]) == [nil])
        #expect(box.read("alice") == head + trace + String(repeating: "x", count: padding) + "\n>From me\n\n")
    }

    @Test("after a torn message the next starts on a line of its own", arguments: [
        ("", ""), ("From a  b\ntorn", "From a  b\ntorn\n\n"), ("From a  b\nx\n", "From a  b\nx\n\n"), ("From a  b\nx\n\n", "From a  b\nx\n\n"),
        ("\n", "\n"),
    ])
    func separates(before: String, kept: String) {
        box.write("alice", before)
        #expect(deliver(["a\n"]) == [nil])
        #expect(box.read("alice") == "\(kept)\(head)\(trace)a\n\n")
    }

    @Test("what does not fit into the quota is refused, a smaller message behind it is not")
    func refusesOverQuota() {
        let one = (head + trace + "a\n\n").utf8.count
        let results = deliver(["a\n", String(repeating: "x", count: 100), "b\n", "c\n"], quota: 2 * one)
        #expect(results == [nil, .overQuota(limit: 2 * one), nil, .overQuota(limit: 2 * one)])
        #expect(box.read("alice") == ["a", "b"].map { "\(head)\(trace)\($0)\n\n" }.joined())
    }

    @Test("a mailbox already above the quota takes nothing")
    func aboveQuota() {
        box.write("alice", String(repeating: "x\n\n", count: 100))
        #expect(deliver(["a\n"], quota: 10) == [.overQuota(limit: 10)])
        #expect(box.read("alice")!.utf8.count == 300)
    }

    @Test("a directory in the mbox's place is an error of its own")
    func refusesDirectories() {
        box.makeDirectory("alice")
        #expect(deliver(["a\n"]) == [.wrongKind])
        #expect(box.names("") == ["alice"])
    }

    @Test("a pipe or a symbolic link in the mbox's place gets nothing")
    func refusesOthers() {
        mkfifo("\(box.path)/alice", 0o600)
        #expect(deliver(["a\n"]) == [.wrongKind])
        unlink("\(box.path)/alice")
        symlink("elsewhere", "\(box.path)/alice")
        #expect(deliver(["a\n"]) == [.disk(DiskError(code: ELOOP, call: "openat", name: "alice"))])
        #expect(box.names("") == ["alice"])
    }

    @Test("the file is private to the server")
    func mode() {
        _ = deliver(["a\n"])
        var result = stat()
        #expect(stat("\(box.path)/alice", &result) == 0 && result.st_mode & 0o777 == 0o600)
    }
}

@Suite("mbox delivery on a disk that fails, and beside other programs")
struct MboxFaultTests {
    let box = TestMailboxes()

    private func deliver(_ count: Int, on disk: any Disk) -> [MailboxError?] {
        MboxStore(disk: disk).deliver((0..<count).map { copy(box.location("alice", .mbox), message("number \($0)\n"), number: $0) })
    }

    @Test("a failed write is truncated away, whichever octet it stopped at; what came before it is kept", arguments: [1, 2, 3, 50, 51])
    func truncates(occurrence: Int) {
        box.write("alice", "From a  b\n\nold\n\n")
        let before = box.read("alice")!
        // Short writes: the failure strikes in the middle of a message. The first write is the signature of the lock file.
        let results = deliver(3, on: FaultyDisk(.failing("write", occurrence: occurrence + 1, code: ENOSPC), longestWrite: 10))
        let delivered = results.prefix { $0 == nil }.count
        #expect(results[delivered...].allSatisfy { $0 == .disk(DiskError(code: ENOSPC, call: "write")) })
        #expect(delivered < 3)
        let after = box.read("alice")!
        #expect(after.hasPrefix(before))
        #expect(after.hasSuffix("\n\n"))
        #expect(after.split(separator: "\n").count { $0.hasPrefix("number") } == delivered)
        #expect(after.split(separator: "\n").count { $0.hasPrefix("From ") } == delivered + 1)
    }

    @Test("where the sync fails nothing is delivered and the file is as before")
    func syncFails() {
        box.write("alice", "From a  b\n\nold\n\n")
        #expect(deliver(2, on: FaultyDisk(.failing("fsync", code: EIO))) == [.disk(DiskError(code: EIO, call: "fsync")), .disk(DiskError(code: EIO, call: "fsync"))])
        #expect(box.read("alice") == "From a  b\n\nold\n\n")
        #expect(box.names("") == ["alice"])
    }

    @Test("a step that fails before anything is written is reported, and leaves no lock", arguments: ["opendir", "open", "fcntl", "fstat", "lseek"])
    func reports(call: String) {
        #expect(!deliver(2, on: FaultyDisk(.failing(call, code: EACCES, times: 99))).contains(nil))
        #expect(!box.names("").contains("alice.lock"))
        #expect(deliver(2, on: SystemDisk()) == [nil, nil])
    }

    @Test("another program's dot-lock is waited for, and in the end the mail stays queued")
    func waitsForDotLock() {
        box.write("alice.lock", "")
        let disk = FaultyDisk()
        #expect(deliver(1, on: disk) == [.locked(.dotLock)])
        #expect(disk.pauses == LockPatience.attempts - 1)
        #expect(box.names("") == ["alice.lock"], "it is not ours to remove")
    }

    @Test("a dot-lock that a dead program left is removed")
    func removesStaleLock() {
        box.write("alice.lock", "")
        #expect(deliver(1, on: FaultyDisk(clock: .now() + .seconds(400))) == [.locked(.dotLock)])
        #expect(deliver(1, on: FaultyDisk(clock: .now() + .seconds(600))) == [nil])
        #expect(box.names("") == ["alice"])
    }

    @Test("a dot-lock that a killed appliance left is taken over at once; one that a living appliance holds is not")
    func takesOverOwnLock() throws {
        box.write("alice.lock", "valija\n")
        let holder = try SystemDisk().open("\(box.path)/alice.lock", at: nil, .updating)
        #expect(try SystemDisk().lock(holder))
        #expect(deliver(1, on: FaultyDisk()) == [.locked(.dotLock)])
        SystemDisk().close(holder)  // as the kernel does when a process dies
        let disk = FaultyDisk()
        #expect(deliver(1, on: disk) == [nil])
        #expect(disk.pauses == 0)
        #expect(box.names("") == ["alice"])
    }

    @Test("another program's file lock is waited for, and in the end the mail stays queued")
    func waitsForFileLock() throws {
        box.write("alice", "")
        let other = try SystemDisk().open("\(box.path)/alice", at: nil, .extending)
        #expect(try SystemDisk().lock(other))
        #expect(deliver(1, on: FaultyDisk()) == [.locked(.fileLock)])
        SystemDisk().close(other)
        #expect(deliver(1, on: FaultyDisk()) == [nil])
        #expect(box.names("") == ["alice"])
    }

    @Test("threads that deliver to one mailbox take turns and lose nothing")
    func concurrent() async {
        let disk = FaultyDisk()
        let store = MboxStore(disk: disk)
        let location = box.location("alice", .mbox)
        await withTaskGroup(of: Void.self) { group in
            for thread in 0..<8 {
                group.addTask {
                    for number in 0..<10 {
                        #expect(store.deliver([copy(location, message("\(thread) \(number)\n"))]) == [nil])
                    }
                }
            }
        }
        #expect(box.read("alice")!.split(separator: "\n").count { $0.hasPrefix("From ") } == 80)
        #expect(disk.pauses == 0)
    }
}
