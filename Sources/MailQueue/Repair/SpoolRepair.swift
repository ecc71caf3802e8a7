// Makes a damaged spool one that can be served: what can be read goes into a fresh database, which takes the place of the damaged
// one when it is complete and on disk; until then nothing is changed. Blocks.
//
// Nothing is thrown away. The damaged database, content without a message, and messages without content or recipients go to
// lost+found/, where an administrator finds `ID.eml` and `ID.envelope`. Mail that was delivered just before the damage
// may be delivered again: the other choice is to lose some.

internal import CSQLite
internal import Glibc
package import MailSyntax
internal import NIOCore

package struct SpoolRepair: Sendable {
    /// Messages in the repaired spool.
    package private(set) var messages = 0
    /// Contents and envelopes in lost+found.
    package private(set) var keptAside = 0
    /// Places where the database could not be read.
    package private(set) var gaps = 0
    package let lostAndFound: String

    private let files: SpoolFiles
    private var fresh: String { files.directory + "/spool.db.repaired" }
    private var patched: String { files.directory + "/spool.db.patched" }

    /// Fails where another process has the spool open, where a later version wrote it, or where the disk does not let it; then
    /// the spool is as it was.
    package init(directory: String, now: Timestamp) throws(SpoolFailure) {
        files = SpoolFiles(directory)
        lostAndFound = files.lostAndFound
        guard files.size(files.database) != nil else { throw SpoolFailure.other("\(files.database): there is no spool") }
        do {
            try removeAttempts()
            try salvage()
            try takePlace(now: now)
        } catch let error as DatabaseError where error.isInUse {
            throw SpoolFailure.inUse(directory)
        } catch {
            throw SpoolFailure(error)
        }
    }

    private func removeAttempts() throws {
        for path in [fresh, patched] { for suffix in ["", "-wal", "-shm", "-journal"] { unlink(path + suffix) } }
    }

    /// The database as far as it can be read; one of which not even the beginning can, with another's beginning.
    private func openDamaged() throws -> Database {
        do throws(DatabaseError) {
            let database = try Database(path: files.database)
            try database.execute(SpoolSchema.connection)
            try database.execute("BEGIN IMMEDIATE; COMMIT")
            let version = try SpoolSchema.version(of: database)
            guard version <= SpoolSchema.version else { throw DatabaseError(code: 1, message: "the spool has schema version \(version)") }
            _ = try database.prepare("SELECT id FROM message LIMIT 1")
            return database
        } catch {
            guard error.isDamage else { throw error }
        }
        try copyFile(files.database, to: patched)
        try transplantFirstPage(from: fresh, to: patched)
        let database = try Database(path: patched)
        try database.execute("PRAGMA locking_mode=EXCLUSIVE")
        return database
    }

    private mutating func salvage() throws {
        let target = try Database(path: fresh)
        // All in one: what is half done is begun anew.
        try target.execute("PRAGMA page_size=4096; PRAGMA journal_mode=DELETE; PRAGMA synchronous=OFF; \(SpoolSchema.tables)")
        let source = try openDamaged()
        try target.execute("BEGIN")
        var salvage = Salvage(from: source, to: target)
        let known = try SpoolSchema.version(of: source)
        for (table, key, columns) in SpoolSchema.columns {
            try salvage.copy(table, key: key, columns: columns.filter { $0.since <= max(known, 1) || known == 0 }.map(\.name))
        }
        gaps = salvage.gaps
        let leases = "UPDATE message SET lease_owner=NULL, lease_until=0"
        let mark = "UPDATE id_mark SET id=max(id, ifnull((SELECT max(id) FROM message), 0), ifnull((SELECT max(message) FROM body), 0))"
        try target.execute("\(leases); \(mark)")
        try setAside(target)
        try target.execute("COMMIT")
        try target.prepare("SELECT count(*) FROM message").forEachRow { row in
            messages = Int(row.integer(0))
            return false
        }
    }

    /// What belongs to no message that can be delivered.
    private mutating func setAside(_ database: Database) throws {
        let broken = """
            SELECT id FROM message WHERE NOT EXISTS (SELECT 1 FROM recipient WHERE message=id)
                OR flags & \(StoredMessage.Flags.bodyInFile.rawValue) = 0 AND NOT EXISTS (SELECT 1 FROM body WHERE message=id)
            """
        var ids = Set<Int64>()
        for query in [
            broken, "SELECT message FROM body WHERE message NOT IN (SELECT id FROM message)",
            "SELECT DISTINCT message FROM recipient WHERE message NOT IN (SELECT id FROM message)",
        ] {
            try database.prepare(query).forEachRow { row in
                ids.insert(row.integer(0))
                return true
            }
        }
        let inFiles = try database.prepare("SELECT id FROM message WHERE flags & \(StoredMessage.Flags.bodyInFile.rawValue) <> 0")
        var wanted = Set<Int64>()
        try inFiles.forEachRow { row in
            wanted.insert(row.integer(0))
            return true
        }
        let present = Set(files.bodyIDs().map(\.rawValue))
        ids.formUnion(wanted.subtracting(present))
        for id in ids.sorted() { try setAside(id, database) }
        for id in present where !wanted.contains(id) || ids.contains(id) {
            let name = "\(QueueID(rawValue: id))"
            try files.keepAside("\(files.bodies)/\(name)", as: "\(name).eml")
            keptAside += 1
        }
    }

    private mutating func setAside(_ id: Int64, _ database: Database) throws {
        let name = "\(QueueID(rawValue: id))"
        var (envelope, content): (String, ByteBuffer?) = ("", nil)
        try database.prepare("SELECT sender, received FROM message WHERE id=?").bind(id).forEachRow { row in
            envelope += "arrived: \(Timestamp(microseconds: row.integer(1)).rfc3339)\nsender: \(row.text(0) ?? "<>")\n"
            return false
        }
        try database.prepare("SELECT address, original, user FROM recipient WHERE message=?").bind(id).forEachRow { row in
            envelope += "recipient: \(row.text(0) ?? "") (as \(row.text(1) ?? ""))\n"
            return true
        }
        try database.prepare("SELECT data FROM body WHERE message=?").bind(id).forEachRow { row in
            content = row.blob(0)
            return false
        }
        if let content { try files.write(content, as: "\(name).eml") }
        if !envelope.isEmpty { try files.write(ByteBuffer(string: envelope), as: "\(name).envelope") }
        keptAside += 1
        try database.execute("DELETE FROM message WHERE id=\(id); DELETE FROM recipient WHERE message=\(id); DELETE FROM body WHERE message=\(id)")
    }

    /// The fresh database is on disk before it gets the name of the damaged one.
    private func takePlace(now: Timestamp) throws {
        let descriptor = open(fresh, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(fresh)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw IOError(errnoCode: errno, reason: "fsync \(fresh)") }
        // Its log first: beside a fresh database it would be taken for the log of that one.
        for suffix in ["-wal", ""] where files.size(files.database + suffix) != nil {
            try files.keepAside(files.database + suffix, as: "spool.db.\(now.seconds)\(suffix)")
        }
        try files.move(fresh, to: files.database)
        for suffix in ["", "-wal", "-shm"] { unlink(patched + suffix) }
        try syncDirectory(files.directory)
    }
}

private func copyFile(_ source: String, to target: String) throws {
    let (from, to) = (open(source, O_RDONLY | O_CLOEXEC), open(target, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0o600))
    defer { close(from); close(to) }
    guard from >= 0, to >= 0 else { throw IOError(errnoCode: errno, reason: "copy \(source)") }
    while true {
        let count = sendfile(to, from, nil, 16 << 20)
        if count == 0 { return }
        guard count > 0 else { throw IOError(errnoCode: errno, reason: "copy \(source)") }
    }
}
