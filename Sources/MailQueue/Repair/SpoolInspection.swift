// Is everything in a spool as it should be? Looks at the database's own structure, and whether messages, recipients and bodies
// belong together. Changes nothing but what every start changes: the log is taken into the database. Blocks.

internal import MailSyntax
internal import NIOCore

package struct SpoolInspection: Sendable {
    package struct Finding: Sendable {
        /// Nothing is lost, and nothing has to be done.
        package let isNote: Bool
        package let id: QueueID?
        package let text: String
    }

    package private(set) var messages = 0
    package private(set) var findings: [Finding] = []
    /// All of them; `findings` has the first.
    package private(set) var faults = 0

    private static let mostShown = 1000
    private static let page = 1000

    package var isSound: Bool { faults == 0 }

    /// Fails where there is no spool, where another process has it open, or where a later version wrote it.
    package init(directory: String) throws(SpoolFailure) {
        let files = SpoolFiles(directory)
        guard files.size(files.database) != nil else { throw SpoolFailure.other("\(files.database): there is no spool") }
        do throws(DatabaseError) {
            let database = try Database(path: files.database)
            try database.execute(SpoolSchema.connection)
            try inspect(database, files)
        } catch {
            if error.isInUse { throw SpoolFailure.inUse(directory) }
            guard error.isDamage else { throw SpoolFailure(error) }
            add("the database cannot be read: \(error.message)")
        }
    }

    private mutating func add(_ text: String, _ id: QueueID? = nil, isNote: Bool = false) {
        if !isNote { faults += 1 }
        if findings.count < SpoolInspection.mostShown { findings.append(Finding(isNote: isNote, id: id, text: text)) }
    }

    private mutating func inspect(_ database: Database, _ files: SpoolFiles) throws(DatabaseError) {
        // Before anything is looked at that another process may be changing.
        try database.execute("BEGIN IMMEDIATE; COMMIT")
        let version = try SpoolSchema.version(of: database)
        guard (1...SpoolSchema.version).contains(version) else { throw DatabaseError(code: 1, message: "the spool has schema version \(version)") }
        if version < SpoolSchema.version { add("the database has schema version \(version); the next start brings it up to date", isNote: true) }
        try inspectStructure(database)
        // As far as they can be read.
        try despiteDamage { (inspection) throws(DatabaseError) in try inspection.inspectMessages(database, files) }
        try despiteDamage { (inspection) throws(DatabaseError) in try inspection.inspectOrphans(database, files) }
    }

    private mutating func despiteDamage(_ work: (inout SpoolInspection) throws(DatabaseError) -> Void) throws(DatabaseError) {
        do throws(DatabaseError) {
            try work(&self)
        } catch {
            guard error.isDamage else { throw error }
            if isSound { add("the database is damaged: \(error.message)") }
        }
    }

    private mutating func inspectStructure(_ database: Database) throws(DatabaseError) {
        var lines: [String] = []
        do throws(DatabaseError) {
            try database.prepare("PRAGMA integrity_check(100)").forEachRow { row in
                if let line = row.text(0), line != "ok" { lines.append(line) }
                return true
            }
        } catch {
            guard error.isDamage else { throw error }
            if lines.isEmpty { lines = [error.message] }
        }
        for line in lines { add("the database is damaged: \(line)") }
    }

    private mutating func inspectMessages(_ database: Database, _ files: SpoolFiles) throws(DatabaseError) {
        let messages = try database.prepare(
            """
            SELECT id, size, flags, sender, (SELECT length(data) FROM body WHERE message=id) FROM message WHERE id>? ORDER BY id LIMIT \(SpoolInspection.page)
            """)
        let recipients = try database.prepare("SELECT original, address FROM recipient WHERE message=?")
        var last = Int64.min
        while true {
            var page: [(id: QueueID, size: Int, isFile: Bool, sender: String?, stored: Int?)] = []
            try messages.bind(last).forEachRow { row in
                let flags = StoredMessage.Flags(rawValue: row.integer(2))
                page.append((QueueID(rawValue: row.integer(0)), Int(row.integer(1)), flags.contains(.bodyInFile), row.text(3), row.isNull(4) ? nil : Int(row.integer(4))))
                return true
            }
            guard let end = page.last else { return }
            last = end.id.rawValue
            for message in page {
                self.messages += 1
                let stored = message.isFile ? files.size("\(files.bodies)/\(message.id)") : message.stored
                if stored == nil { add("its content is missing", message.id) }
                if let stored, stored != message.size { add("its content has \(stored) octets; \(message.size) were received", message.id) }
                if let sender = message.sender, Address(sender) == nil { add("its sender's address cannot be read", message.id) }
                var (count, isReadable) = (0, true)
                try recipients.bind(message.id.rawValue).forEachRow { row in
                    count += 1
                    isReadable = isReadable && [row.text(0), row.text(1)].allSatisfy { $0.flatMap { Address($0) } != nil }
                    return true
                }
                if count == 0 { add("it has no recipients", message.id) }
                if !isReadable { add("the address of a recipient cannot be read", message.id) }
            }
        }
    }

    private mutating func inspectOrphans(_ database: Database, _ files: SpoolFiles) throws(DatabaseError) {
        for (query, text) in [
            ("SELECT message FROM body WHERE message NOT IN (SELECT id FROM message)", "content without a message"),
            ("SELECT DISTINCT message FROM recipient WHERE message NOT IN (SELECT id FROM message)", "recipients without a message"),
        ] {
            var ids: [QueueID] = []
            try database.prepare(query).forEachRow { row in
                ids.append(QueueID(rawValue: row.integer(0)))
                return ids.count < SpoolInspection.mostShown
            }
            for id in ids { add(text, id) }
        }
        let isThere = try database.prepare("SELECT 1 FROM message WHERE id=?")
        for id in files.bodyIDs() {
            var found = false
            try isThere.bind(id.rawValue).forEachRow { _ in
                found = true
                return false
            }
            if !found { add("a file in large/ that no message speaks of, of a message that was not accepted; the next start removes it", id, isNote: true) }
        }
    }
}
