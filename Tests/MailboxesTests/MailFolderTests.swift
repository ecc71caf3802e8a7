// Mailboxes as their owners read them.

import Glibc
import Testing

@testable import Mailboxes

private func letter(_ number: Int, status: String = "", body: String = "body\n") -> String {
    "From s\(number)@example.net  Tue Nov 24 13:0\(number):09 2026\nReturn-Path: <s\(number)@example.net>\nFrom: S <s\(number)@example.net>\n"
        + "Subject: letter \(number)\n" + (status.isEmpty ? "" : "Status: \(status)\n") + "\n\(body)\n"
}

private func scan(_ text: String, pieces: Int = .max) -> [MboxEntry] {
    var scanner = MboxScanner()
    let bytes = Array(text.utf8)
    for start in stride(from: 0, to: bytes.count, by: min(pieces, max(1, bytes.count))) {
        bytes[start..<min(bytes.count, start + min(pieces, bytes.count))].withUnsafeBytes { scanner.take($0) }
    }
    return scanner.finish()
}

@Suite("Finding messages in an mbox")
struct MboxScannerTests {
    static let text = letter(1) + letter(2, status: "RO", body: "a\n\nFrom here on it is text\n>From quoted\n") + letter(3, body: "")

    @Test("each message has its place, sender, date, fields, lines and header", arguments: [Int.max, 1, 7])
    func entries(pieces: Int) {
        let entries = scan(MboxScannerTests.text, pieces: pieces)
        #expect(entries.map(\.sender) == ["s1@example.net", "s2@example.net", "s3@example.net"])
        #expect(entries.map(\.date) == ["Tue Nov 24 13:01:09 2026", "Tue Nov 24 13:02:09 2026", "Tue Nov 24 13:03:09 2026"])
        #expect(entries.map(\.subject) == ["letter 1", "letter 2", "letter 3"])
        #expect(entries.map(\.status) == ["", "RO", ""])
        #expect(entries.map(\.lines) == [7, 11, 6])
        #expect(entries[0].offset == 0 && entries[1].offset == entries[0].length && entries[2].offset + entries[2].length == MboxScannerTests.text.utf8.count)
        #expect(entries.allSatisfy { $0.headerLength > 0 && $0.headerLength < $0.length })
        #expect(entries == scan(MboxScannerTests.text), "in one piece")
    }

    @Test(
        "only a line with address and date after an empty line begins a message",
        arguments: [
            ("From a@b Tue Nov 24 13:05:09 2026", true), ("From a@b  Tue Nov  4 13:05 2026", true), ("From a@b Tue Nov 24 13:05:09 CET 2026", true),
            ("From a b Tue Nov 24 13:05:09 +0100 2026", true), ("From here on", false), ("From a@b", false), ("From a@b Tue Foo 24 13:05:09 2026", false),
            (">From a@b Tue Nov 24 13:05:09 2026", false), ("from a@b Tue Nov 24 13:05:09 2026", false),
        ])
    func envelopes(line: String, isEnvelope: Bool) { #expect((MboxScanner.envelope(Array(line.utf8)) != nil) == isEnvelope) }

    @Test("a file without messages has none", arguments: ["", "\n", "text\n", "From nobody\n"])
    func none(text: String) { #expect(scan(text).isEmpty) }

    @Test("a line of a million octets costs no more than others")
    func longLines() {
        let entries = scan(letter(1, body: String(repeating: "x", count: 1_000_000) + "\n") + letter(2))
        #expect(entries.count == 2 && entries[0].length > 1_000_000)
    }
}

@Suite("Reading a mailbox")
struct MailFolderTests {
    let box = TestMailboxes()
    static let letters = [letter(1), letter(2, status: "O"), letter(3, status: "RO")]
    static let text = letters.joined()

    private func open(_ user: String = "alice", disk: any Disk = SystemDisk()) throws -> any MailFolder { try openFolder(box.path, user, disk: disk) }

    private func text(_ folder: any MailFolder, _ index: Int) throws -> String { String(decoding: try folder.text(of: index), as: UTF8.self) }

    @Test("an mbox is listed, its messages are as they stand there, and locks are gone")
    func mbox() throws {
        box.write("alice", MailFolderTests.text)
        let folder = try open()
        #expect(folder.messages.map(\.state) == [.new, .unread, .read])
        #expect(try (0..<3).map { try text(folder, $0) } == MailFolderTests.letters)
        #expect(box.names("") == ["alice"])
    }

    @Test("deleted messages go, the others stay octet by octet, and Status says what was read")
    func commit() throws {
        box.write("alice", "garbage before\n\n" + MailFolderTests.text)
        chmod("\(box.path)/alice", 0o640)
        try open().commit(deleting: [1], states: [.unread, .unread, .read])
        #expect(box.read("alice") == "garbage before\n\n" + letter(1, status: "O") + letter(3, status: "RO"))
        #expect(try open().messages.map(\.state) == [.unread, .read])
        var status = stat()
        stat("\(box.path)/alice", &status)
        #expect(status.st_mode & 0o777 == 0o640)
        #expect(box.names("") == ["alice"])
    }

    @Test("mail that arrives meanwhile stays, and all can be deleted")
    func arrival() throws {
        box.write("alice", MailFolderTests.text)
        let folder = try open()
        #expect(MboxStore(disk: SystemDisk()).deliver([copy(box.location("alice", .mbox))]) == [nil])
        try folder.commit(deleting: [0, 1, 2], states: [.new, .unread, .read])
        let rest = try #require(box.read("alice"))
        #expect(rest.hasPrefix("From sender@example.org") && rest.hasSuffix("\nbody\n\n"))
        #expect(try open().messages.count == 1)
        try open().commit(deleting: [0], states: [.new])
        #expect(box.read("alice") == "")
    }

    @Test("what another program changed is noticed, and then nothing is")
    func conflict() throws {
        box.write("alice", MailFolderTests.text)
        let folder = try open()
        for other in [letter(2) + letter(3), letter(1, body: "BODY\n") + letter(2, status: "O") + letter(3, status: "RO"), ""] {
            box.write("alice", other)
            #expect(throws: FolderError.changed) { try folder.commit(deleting: [0], states: [.new, .unread, .read]) }
            #expect(box.read("alice") == other)
            #expect(throws: FolderError.changed) { _ = try folder.text(of: 0) }
        }
    }

    @Test("a mailbox that another program has locked is neither read nor changed")
    func locked() throws {
        box.write("alice", MailFolderTests.text)
        let folder = try open()
        box.write("alice.lock", "123")
        #expect(throws: FolderError.mailbox(.locked(.dotLock))) { try folder.commit(deleting: [0], states: [.new, .unread, .read]) }
        #expect(box.read("alice") == MailFolderTests.text)
    }

    @Test("whenever the power goes, the old mailbox is there or the new one", arguments: 0..<14)
    func power(step: Int) throws {
        box.write("alice", MailFolderTests.text)
        let folder = try open()
        let disk = FaultyDisk(.powerLoss(beforeStep: step))
        let changed = try? openFolder(box.path, "alice", disk: disk)
        try? changed?.commit(deleting: [0], states: [.new, .unread, .unread])
        disk.losePower(undoingRenames: false)
        let text = box.read("alice")
        #expect(text == MailFolderTests.text || text == letter(2, status: "O") + letter(3, status: "O"), "before step \(step): \(disk.steps)")
        // And whoever comes next gets at it.
        if text == MailFolderTests.text {
            try folder.commit(deleting: [0], states: [.new, .unread, .unread])
            #expect(box.read("alice") == letter(2, status: "O") + letter(3, status: "O"))
        }
    }

    @Test("a disk that refuses leaves the mailbox as it was", arguments: ["write", "fsync", "renameat", "fchmod"])
    func refusal(call: String) throws {
        box.write("alice", MailFolderTests.text)
        let disk = FaultyDisk(.failing(call, occurrence: call == "write" ? 3 : 1, code: ENOSPC))
        let folder = try open(disk: disk)
        #expect(throws: FolderError.self) { try folder.commit(deleting: [0], states: [.new, .unread, .read]) }
        #expect(box.read("alice") == MailFolderTests.text)
        #expect(box.names("") == ["alice"])
    }

    @Test("a Maildir is listed by arrival; what was read moves to cur with its flag, what is deleted goes")
    func maildir() throws {
        box.makeMaildir()
        box.write("alice/cur/1764000000.M2Q1R0.mx,S=9:2,FS", "Return-Path: <old@example.net>\nFrom: Old <old@example.net>\nSubject: old\n\nold\n")
        box.write("alice/new/1764000009.M1Q2R0.mx", "Return-Path: <>\nSubject: newest\n\nx\n")
        box.write("alice/new/1764000005.M1Q2R0.mx", "Return-Path: <n@example.net>\nSubject: new\n\nFrom the text\n")
        box.write("alice/new/.hidden", "")
        let folder = try open()
        #expect(folder.messages.map(\.subject) == ["old", "new", "newest"])
        #expect(folder.messages.map(\.sender) == ["old@example.net", "n@example.net", "MAILER-DAEMON"])
        #expect(folder.messages.map(\.state) == [.read, .new, .new])
        #expect(try text(folder, 1) == "From n@example.net  Mon Nov 24 16:00:05 2025\nReturn-Path: <n@example.net>\nSubject: new\n\nFrom the text\n\n")
        box.write("alice/new/1764000010.M1Q3R0.mx", "Subject: meanwhile\n\n")
        try folder.commit(deleting: [0], states: [.read, .read, .unread])
        #expect(box.names("alice/cur") == ["1764000005.M1Q2R0.mx:2,S", "1764000009.M1Q2R0.mx:2,"])
        #expect(box.names("alice/new") == [".hidden", "1764000010.M1Q3R0.mx"])
    }

    @Test("a mailbox that is not there is missing")
    func missing() {
        #expect(throws: FolderError.missing) { _ = try openFolder(box.path, "nobody") }
        #expect(throws: FolderError.missing) { _ = try openFolder("\(box.path)/none", "nobody") }
    }
}
