// Damaged spools: what is found, and what is saved.

import CSQLite
import Glibc
import MailSyntax
import NIOCore
import Testing

@testable import MailQueue

@Suite(.timeLimit(.minutes(2)))
struct SpoolRepairTests {
    private let directory = TemporaryDirectory()
    private var path: String { directory.path + "/spool" }

    /// A closed spool of so many messages with contents that span pages.
    private func fill(_ count: Int) async throws -> [QueueID] {
        try await withSpool(path) { spool in
            var ids: [QueueID] = []
            for number in 0..<count {
                let id = spool.nextID(now: epoch)
                try await spool.put(incoming(id, to: ["r\(number)@b.example", "s\(number)@b.example"], body: "Subject: \(number)\r\n\r\n" + String(repeating: "x", count: 3000)))
                ids.append(id)
            }
            return ids
        }
    }

    private func damage(_ pages: some Sequence<Int>) {
        let descriptor = open(path + "/spool.db", O_WRONLY)
        for page in pages { #expect(pwrite(descriptor, [UInt8](repeating: 0xA5, count: 4096), 4096, off_t(page * 4096)) == 4096) }
        close(descriptor)
    }

    @Test("a sound spool is found sound, and a repair keeps all that is in it")
    func sound() async throws {
        let ids = try await fill(50)
        let inspection = try SpoolInspection(directory: path)
        #expect(inspection.isSound && inspection.messages == 50 && inspection.findings.isEmpty)
        let repair = try SpoolRepair(directory: path, now: epoch)
        #expect(repair.messages == 50 && repair.keptAside == 0 && repair.gaps == 0)
        let messages = try await withSpool(path) { try await $0.allMessages() }
        #expect(messages.map(\.id) == ids && messages.allSatisfy { $0.recipients.count == 2 && !$0.isLeased })
    }

    @Test("whatever page is damaged, a repair ends with a sound spool, and saves what the page did not hold", arguments: 0..<40)
    func anyPage(page: Int) async throws {
        let ids = try await fill(40)
        damage([page])
        let repair = try SpoolRepair(directory: path, now: epoch)
        #expect(try SpoolInspection(directory: path).isSound)
        let saved = Set(try await withSpool(path) { try await $0.allMessages() }.map(\.id))
        #expect(saved.count == repair.messages && saved.isSubset(of: ids))
        // A page of the table of messages holds them all here; any other holds a few, or the way to them.
        if page == 0 || page == 2 { #expect(saved.count == 40) }
    }

    @Test("several damaged pages cost what they hold, not what lies between them")
    func several() async throws {
        _ = try await fill(400)
        let leaves = (0..<Int(fileSize() / 4096)).filter { pageKind($0) == 0x0D && $0 > 5 }
        damage([leaves[40], leaves[150], leaves[300]])
        let repair = try SpoolRepair(directory: path, now: epoch)
        #expect(repair.gaps >= 3 && repair.messages >= 380)
    }

    @Test("a spool in use, one that is not there and one of a later version are left alone")
    func refused() async throws {
        #expect(throws: SpoolFailure.self) { try SpoolRepair(directory: path, now: epoch) }
        try await withSpool(path) { _ in
            let failure = #expect(throws: SpoolFailure.self) { try SpoolRepair(directory: path, now: epoch) }
            #expect(failure?.isInUse == true)
            #expect(#expect(throws: SpoolFailure.self) { try SpoolInspection(directory: path) }?.isInUse == true)
        }
        var handle: OpaquePointer?
        sqlite3_open(path + "/spool.db", &handle)
        sqlite3_exec(handle, "PRAGMA user_version=99", nil, nil, nil)
        sqlite3_close(handle)
        #expect(throws: SpoolFailure.self) { try SpoolRepair(directory: path, now: epoch) }
        #expect(throws: SpoolFailure.self) { try SpoolInspection(directory: path) }
    }

    @Test("a spool whose database turned out damaged takes no more mail, and says so when it is probed")
    func damagedWhileOpen() async throws {
        let ids = try await fill(400)
        // Of the table of contents, which a start does not read: each of its pages holds one.
        damage((6..<Int(fileSize() / 4096)).filter { pageKind($0) == 0x0D && cellCount($0) == 1 }.dropFirst(100).prefix(100))
        try await withSpool(path) { spool in
            #expect(await spool.probe() == nil)
            for id in ids { _ = try? await spool.perform { store in try store.message(id).map { try store.content(of: $0) } } }
            #expect(await spool.probe()?.reason.contains("repair") == true)
            await #expect(throws: SpoolFailure.self) { try await spool.put(incoming(spool.nextID(now: epoch))) }
        }
    }

    private func cellCount(_ page: Int) -> Int {
        let descriptor = open(path + "/spool.db", O_RDONLY)
        defer { close(descriptor) }
        var header = [UInt8](repeating: 0, count: 5)
        pread(descriptor, &header, 5, off_t(page * 4096))
        return Int(header[3]) << 8 | Int(header[4])
    }

    private func fileSize() -> Int64 {
        var figures = stat()
        stat(path + "/spool.db", &figures)
        return Int64(figures.st_size)
    }

    private func pageKind(_ page: Int) -> UInt8 {
        let descriptor = open(path + "/spool.db", O_RDONLY)
        defer { close(descriptor) }
        var kind: UInt8 = 0
        pread(descriptor, &kind, 1, off_t(page * 4096))
        return kind
    }
}
