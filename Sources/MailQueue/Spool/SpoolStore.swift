// The statements of the spool. Belongs to the writer thread; every call runs inside the transaction that `Spool` holds
// open, and is on disk only after that is committed.

internal import MailSyntax
internal import NIOCore

final class SpoolStore {
    let database: Database
    private let owner: String
    /// The database was made just now.
    let isNew: Bool
    private let beginTransaction: Database.Statement
    private let commitTransaction: Database.Statement
    private let insertMessage: Database.Statement
    private let insertRecipient: Database.Statement
    private let insertBody: Database.Statement
    private let deleteMessage: Database.Statement
    private let deleteRecipients: Database.Statement
    private let deleteBody: Database.Statement
    private let deleteRecipient: Database.Statement
    private let updateRecipient: Database.Statement
    private let updateMessage: Database.Statement
    private let leaseMessage: Database.Statement
    private let delayMessage: Database.Statement
    private let updateMark: Database.Statement
    /// Statements that few spools ever need, by their text.
    private var administration: [String: Database.Statement] = [:]
    private let selectMessage: Database.Statement
    private let selectDue: Database.Statement
    private let selectPage: Database.Statement
    private let selectRecipients: Database.Statement
    private let selectRecipientsOfAll: Database.Statement
    private let selectBody: Database.Statement

    static let messageColumns = "id, sender, received, size, flags, envelope_id, due, attempts, lease_until, held, verp"
    /// A lease of this node's never runs out while it lives: it is given back at the next start.
    private static let leaseForever = Int64.max
    /// How far ahead of the ids in use the mark on disk is set, in microseconds: so it is written once a minute at most.
    private static let markAhead: Int64 = 60_000_000
    /// As it is on disk; 0 where that is not certain.
    private var idMark: Int64 = 0

    /// Opens or creates the database at `path`. `owner` names this node in leases.
    init(path: String, owner: String) throws(DatabaseError) {
        let database = try Database(path: path)
        try database.execute(SpoolSchema.connection)
        isNew = try SpoolStore.prepareTables(database)
        self.database = database
        self.owner = owner
        beginTransaction = try database.prepare("BEGIN IMMEDIATE")
        commitTransaction = try database.prepare("COMMIT")
        insertMessage = try database.prepare("INSERT INTO message VALUES(?,?,?,?,?,?,?,0,?,?,0,?)")
        insertRecipient = try database.prepare("INSERT INTO recipient VALUES(?,?,?,?,?,?,?,?,NULL,NULL,NULL,NULL,NULL,?)")
        insertBody = try database.prepare("INSERT INTO body VALUES(?,?)")
        deleteMessage = try database.prepare("DELETE FROM message WHERE id=?")
        deleteRecipients = try database.prepare("DELETE FROM recipient WHERE message=?")
        deleteBody = try database.prepare("DELETE FROM body WHERE message=?")
        deleteRecipient = try database.prepare("DELETE FROM recipient WHERE message=? AND number=?")
        updateRecipient = try database.prepare(
            "UPDATE recipient SET state=?, reply_code=?, reply_enhanced=?, reply_text=?, relay=?, answers=? WHERE message=? AND number=?")
        updateMessage = try database.prepare("UPDATE message SET due=?, attempts=attempts+1, lease_owner=NULL, lease_until=0 WHERE id=?")
        leaseMessage = try database.prepare("UPDATE message SET lease_owner=?, lease_until=? WHERE id=?")
        delayMessage = try database.prepare("UPDATE message SET due=? WHERE id=?")
        updateMark = try database.prepare("UPDATE id_mark SET id=max(id,?)")
        let columns = SpoolStore.messageColumns
        selectMessage = try database.prepare("SELECT \(columns) FROM message WHERE id=?")
        selectDue = try database.prepare("SELECT \(columns) FROM message WHERE lease_until=0 AND held=0 AND due<=? ORDER BY due LIMIT ?")
        selectPage = try database.prepare("SELECT \(columns) FROM message WHERE id>? ORDER BY id LIMIT ?")
        let recipientColumns =
            "number, original, address, user, notify, original_recipient, state, reply_code, reply_enhanced, reply_text, relay, answers, copies"
        selectRecipients = try database.prepare("SELECT \(recipientColumns) FROM recipient WHERE message=? ORDER BY number")
        selectRecipientsOfAll = try database.prepare(
            "SELECT \(recipientColumns), message FROM recipient WHERE message>? AND message<=? ORDER BY message, number")
        selectBody = try database.prepare("SELECT data FROM body WHERE message=?")
    }

    /// True: there was none.
    private static func prepareTables(_ database: Database) throws(DatabaseError) -> Bool {
        let version = try SpoolSchema.version(of: database)
        if version == 0 {
            try database.execute("BEGIN IMMEDIATE; \(SpoolSchema.tables) COMMIT")
        } else if version > SpoolSchema.version {
            throw DatabaseError(code: 1, message: "the spool has schema version \(version); this valija reads up to version \(SpoolSchema.version)")
        }
        for step in SpoolSchema.steps.dropFirst(Int(max(version, 1)) - 1) where version > 0 {
            try database.execute("BEGIN IMMEDIATE; \(step) COMMIT")
        }
        return version == 0
    }

    func begin() throws(DatabaseError) { try beginTransaction.run() }
    func commit() throws(DatabaseError) { try commitTransaction.run() }
    /// SQLite rolls back by itself where it could not write, and then has nothing to roll back here.
    func rollback() {
        try? database.execute("ROLLBACK")
        idMark = 0
    }

    /// Moves the log into the database and empties it, so that a stopped spool is one file; with the mark at `lastID` exactly.
    func close(lastID: Int64) throws(DatabaseError) {
        try database.execute("UPDATE id_mark SET id=\(lastID); PRAGMA wal_checkpoint(TRUNCATE)")
    }

    /// A write that changes nothing.
    func touch() throws(DatabaseError) { try database.execute("PRAGMA user_version=\(SpoolSchema.version)") }

    // MARK: Messages in and out

    /// `leased`: the caller works on it at once; else it is due now for whoever loads it.
    func insert(_ message: IncomingMessage, leased: Bool) throws(DatabaseError) {
        let id = message.id.rawValue
        if id > idMark { try mark(id: id + SpoolStore.markAhead) }
        try insertMessage.bind(id).bind(message.envelope.sender?.description).bind(message.received.microseconds).bind(message.content.size)
            .bind(message.flags.rawValue).bind(message.envelope.envelopeID)
            .bind(message.received.microseconds).bind(leased ? owner : nil).bind(leased ? SpoolStore.leaseForever : 0)
            .bind(message.envelope.verp?.delimiters).run()
        for recipient in message.recipients { try insert(recipient, of: message.id) }
        for recipient in message.expansions { try insert(recipient, of: message.id, as: .expanded) }
        if case .inline(let bytes) = message.content { try insertBody.bind(id).run(binding: bytes) }
    }

    func insert(_ recipient: QueuedRecipient, of id: QueueID, as state: StoredRecipient.State = .pending) throws(DatabaseError) {
        try insertRecipient.bind(id.rawValue).bind(recipient.number).bind(recipient.original.description).bind(recipient.target.address.description)
            .bind(recipient.target.name).bind(Int64(recipient.notify.rawValue)).bind(recipient.originalRecipient).bind(state.rawValue)
            .bind(recipient.copies).run()
    }

    /// Promises that no id up to `id` is given out again, whatever the clock says after a restart.
    func mark(id: Int64) throws(DatabaseError) {
        try updateMark.bind(id).run()
        idMark = id
    }

    enum Deletion { case none, withRow, withFile }

    /// Whether there was such a message, and where its body was.
    func delete(_ id: QueueID) throws(DatabaseError) -> Deletion {
        try deleteMessage.bind(id.rawValue).run()
        guard database.changes > 0 else { return .none }
        try deleteRecipients.bind(id.rawValue).run()
        try deleteBody.bind(id.rawValue).run()
        return database.changes > 0 ? .withRow : .withFile
    }

    func delete(_ id: QueueID, recipient number: Int) throws(DatabaseError) {
        try deleteRecipient.bind(id.rawValue).bind(number).run()
    }

    /// `answers`: the command of ours that a next hop answered so; nil: words of this server's own.
    func update(
        _ id: QueueID, recipient number: Int, state: StoredRecipient.State, reply: Reply, relay: String, answers: String? = nil
    ) throws(DatabaseError) {
        try updateRecipient.bind(state.rawValue).bind(Int64(reply.code)).bind(reply.enhanced?.description)
            .bind(reply.lines.joined(separator: "\n")).bind(relay).bind(answers).bind(id.rawValue).bind(number).run()
    }

    /// Gives the lease back until `due`, and counts the attempt.
    func postpone(_ id: QueueID, until due: Timestamp) throws(DatabaseError) {
        try updateMessage.bind(due.microseconds).bind(id.rawValue).run()
    }

    /// Makes a message due now that waits and is not on hold. False: it does not wait.
    func makeDue(_ id: QueueID, now: Timestamp) throws(DatabaseError) -> Bool {
        try prepared("UPDATE message SET due=?1 WHERE id=?2 AND lease_until=0 AND held=0 AND due>?1")
            .bind(now.microseconds).bind(id.rawValue).run()
        return database.changes > 0
    }

    /// Puts a message on hold, or takes it off and makes it due. False: it was so already, or is not there.
    func setHeld(_ id: QueueID, _ isHeld: Bool, now: Timestamp) throws(DatabaseError) -> Bool {
        let change = isHeld ? "held=1 WHERE id=?1 AND held=0" : "held=0, due=?2 WHERE id=?1 AND held=1"
        let statement = try prepared("UPDATE message SET \(change)").bind(id.rawValue)
        if !isHeld { statement.bind(now.microseconds) }
        try statement.run()
        return database.changes > 0
    }

    /// Adds facts to a message.
    func mark(_ id: QueueID, _ flags: StoredMessage.Flags) throws(DatabaseError) {
        try prepared("UPDATE message SET flags=flags|? WHERE id=?").bind(flags.rawValue).bind(id.rawValue).run()
    }

    /// As if it had just come: due now, no attempt was made, nobody works on it, not on hold.
    func startOver(_ id: QueueID, now: Timestamp) throws(DatabaseError) {
        try prepared("UPDATE message SET due=?, attempts=0, lease_owner=NULL, lease_until=0, held=0 WHERE id=?")
            .bind(now.microseconds).bind(id.rawValue).run()
    }

    /// Gives the lease back without counting an attempt: none was made.
    func returnLease(_ id: QueueID) throws(DatabaseError) {
        try prepared("UPDATE message SET lease_owner=NULL, lease_until=0 WHERE id=?").bind(id.rawValue).run()
    }

    /// The same, to be looked at no earlier than `due`.
    func giveBack(_ id: QueueID, due: Timestamp) throws(DatabaseError) {
        try database.prepare("UPDATE message SET due=?, lease_owner=NULL, lease_until=0 WHERE id=?").bind(due.microseconds).bind(id.rawValue).run()
    }

    /// Whatever an earlier process of this node was working on, it works on no longer.
    func returnLeases() throws(DatabaseError) {
        try database.execute("UPDATE message SET lease_owner=NULL, lease_until=0 WHERE lease_until<>0")
    }

    /// What administrators do. Each use runs a statement to its end.
    func prepared(_ sql: String) throws(DatabaseError) -> Database.Statement {
        if let statement = administration[sql] { return statement }
        let statement = try database.prepare(sql)
        administration[sql] = statement
        return statement
    }

    // MARK: Reading

    struct Due: Sendable {
        var messages: [(StoredMessage, MessageContent)] = []
        var damaged: [QueueID] = []
        /// An administrator gave them up; they are to be reported, and not to be tried.
        var expired: [QueueID] = []
    }

    /// At most `limit` messages that are due, oldest first, leased to this node. A damaged one is left where it is until
    /// `lookAgain`: it must neither be lost nor hold up the others.
    func takeDue(now: Timestamp, limit: Int, octets: Int, lookAgain: Timestamp) throws(DatabaseError) -> Due {
        var messages: [StoredMessage] = []
        var room = octets
        try selectDue.bind(now.microseconds).bind(limit).forEachRow { row in
            let message = SpoolStore.message(row)
            let size = message.flags.contains(.bodyInFile) ? 0 : message.size
            guard room >= size || messages.isEmpty else { return false }
            room -= size
            messages.append(message)
            return true
        }
        var due = Due()
        for var message in messages {
            try addRecipients(to: &message)
            if message.flags.contains(.forcedExpire), !message.isDamaged {
                try delayMessage.bind(lookAgain.microseconds).bind(message.id.rawValue).run()
                due.expired.append(message.id)
            } else if !message.isDamaged, let content = try content(of: message) {
                try leaseMessage.bind(owner).bind(SpoolStore.leaseForever).bind(message.id.rawValue).run()
                due.messages.append((message, content))
            } else {
                try delayMessage.bind(lookAgain.microseconds).bind(message.id.rawValue).run()
                due.damaged.append(message.id)
            }
        }
        return due
    }

    /// Makes what is due after `latest`, later than any schedule has it, due now. How many messages.
    func mendDue(now: Timestamp, latest: Timestamp) throws(DatabaseError) -> Int {
        try database.prepare("UPDATE message SET due=? WHERE lease_until=0 AND held=0 AND due>?").bind(now.microseconds).bind(latest.microseconds).run()
        return database.changes
    }

    /// When the next message that nobody works on is due.
    func nextDue() throws(DatabaseError) -> Timestamp? {
        var due: Timestamp?
        try database.prepare("SELECT min(due) FROM message WHERE lease_until=0 AND held=0").forEachRow { row in
            due = row.isNull(0) ? nil : Timestamp(microseconds: row.integer(0))
            return false
        }
        return due
    }

    func contains(_ id: QueueID) throws(DatabaseError) -> Bool {
        var isThere = false
        try prepared("SELECT 1 FROM message WHERE id=?").bind(id.rawValue).forEachRow { _ in
            isThere = true
            return false
        }
        return isThere
    }

    func count() throws(DatabaseError) -> Int {
        var count = 0
        try database.prepare("SELECT count(*) FROM message").forEachRow { row in
            count = Int(row.integer(0))
            return false
        }
        return count
    }

    /// The greatest id that a message has or had, or a greater one.
    func greatestID() throws(DatabaseError) -> Int64 {
        var id: Int64 = 0
        try database.prepare("SELECT max(id, ifnull((SELECT max(id) FROM message), 0)) FROM id_mark").forEachRow { row in
            id = row.integer(0)
            return false
        }
        return id
    }

    func message(_ id: QueueID) throws(DatabaseError) -> StoredMessage? {
        var found: StoredMessage?
        try selectMessage.bind(id.rawValue).forEachRow { row in
            found = SpoolStore.message(row)
            return false
        }
        if found != nil { try addRecipients(to: &found!) }
        return found
    }

    /// The messages after `id` in the order of their arrival, at most `limit`; no more once they have ten times as many recipients.
    func page(after id: QueueID, limit: Int) throws(DatabaseError) -> [StoredMessage] {
        var messages: [StoredMessage] = []
        try selectPage.bind(id.rawValue).bind(limit).forEachRow { row in
            messages.append(SpoolStore.message(row))
            return true
        }
        guard let last = messages.last else { return [] }
        let mostRecipients = limit * 10
        var (index, recipients) = (0, 0)
        try selectRecipientsOfAll.bind(id.rawValue).bind(last.id.rawValue).forEachRow { row in
            let id = QueueID(rawValue: row.integer(13))
            if messages[index].id < id {
                if recipients >= mostRecipients { return false }
                repeat { index += 1 } while messages[index].id < id
            }
            guard messages[index].id == id else { return true }
            recipients += 1
            if let recipient = SpoolStore.recipient(row) { messages[index].recipients.append(recipient) } else { messages[index].isDamaged = true }
            return true
        }
        if recipients >= mostRecipients { messages.removeLast(messages.count - index - 1) }
        return messages
    }

    /// The first messages after `id`, as far as they are in one of these queues, and the last that was looked at; nil: none was.
    /// `site`: with a recipient there that waits.
    func choose(after id: QueueID, limit: Int, _ selection: QueueSelection) throws(DatabaseError) -> (ids: [QueueID], last: QueueID)? {
        var (ids, last): ([QueueID], QueueID?) = ([], nil)
        try prepared("SELECT id, attempts, lease_until, held FROM message WHERE id>? ORDER BY id LIMIT ?").bind(id.rawValue).bind(limit).forEachRow { row in
            let queue = QueueName(isHeld: row.integer(3) != 0, isLeased: row.integer(2) != 0, attempts: Int(row.integer(1)))
            last = QueueID(rawValue: row.integer(0))
            if selection.queues.contains(queue) { ids.append(last!) }
            return true
        }
        guard let last else { return nil }
        guard let site = selection.site, !ids.isEmpty else { return (ids, last) }
        var there: Set<QueueID> = []
        try prepared("SELECT message, address FROM recipient WHERE message>? AND message<=? AND state=\(StoredRecipient.State.pending.rawValue)")
            .bind(id.rawValue).bind(last.rawValue).forEachRow { row in
                if let address = row.text(1), let at = address.utf8.lastIndex(of: UInt8(ascii: "@")),
                    Domain(String(address[address.utf8.index(after: at)...])) == site
                {
                    there.insert(QueueID(rawValue: row.integer(0)))
                }
                return true
            }
        return (ids.filter { there.contains($0) }, last)
    }

    /// Nil: the row is missing.
    func content(of message: StoredMessage) throws(DatabaseError) -> MessageContent? {
        if message.flags.contains(.bodyInFile) { return .file(path: bodyPath(message.id), size: message.size) }
        var bytes: ByteBuffer?
        try selectBody.bind(message.id.rawValue).forEachRow { row in
            bytes = row.blob(0)
            return false
        }
        return bytes.map { .inline($0) }
    }

    /// Where the bodies lie that are too large for a row.
    var bodyDirectory = ""
    func bodyPath(_ id: QueueID) -> String { "\(bodyDirectory)/\(id)" }

    private func addRecipients(to message: inout StoredMessage) throws(DatabaseError) {
        try selectRecipients.bind(message.id.rawValue).forEachRow { row in
            if let recipient = SpoolStore.recipient(row) { message.recipients.append(recipient) } else { message.isDamaged = true }
            return true
        }
    }

    private static func message(_ row: borrowing Database.Row) -> StoredMessage {
        let sender = row.text(1).map { Address($0) }
        var message = StoredMessage(
            id: QueueID(rawValue: row.integer(0)), sender: sender ?? nil, received: Timestamp(microseconds: row.integer(2)),
            size: Int(row.integer(3)), flags: StoredMessage.Flags(rawValue: row.integer(4)), envelopeID: row.text(5),
            due: Timestamp(microseconds: row.integer(6)), attempts: Int(row.integer(7)), isLeased: row.integer(8) != 0,
            isHeld: row.integer(9) != 0, recipients: [])
        message.verp = row.text(10).flatMap { VERP(delimiters: $0) }
        // Not the null sender: who takes it for that would never send a report.
        message.isDamaged = sender == .some(nil)
        return message
    }

    private static func recipient(_ row: borrowing Database.Row) -> StoredRecipient? {
        let (originalText, addressText) = (row.text(1), row.text(2))
        guard let original = originalText.flatMap({ Address($0) }),
            let address = addressText == originalText ? original : addressText.flatMap({ Address($0) }),
            let state = StoredRecipient.State(rawValue: row.integer(6))
        else { return nil }
        let target = RecipientTarget(name: row.text(3), address: address)
        let queued = QueuedRecipient(
            number: Int(row.integer(0)), original: original, target: target, notify: Notify(rawValue: UInt8(truncatingIfNeeded: row.integer(4))),
            originalRecipient: row.text(5), copies: Int(row.integer(12)))
        var reply: Reply?
        if !row.isNull(7) {
            let (text, end) = (row.text(9) ?? "", UInt8(ascii: "\n"))
            let lines = text.utf8.contains(end) ? text.utf8.split(separator: end, omittingEmptySubsequences: false).map { String(Substring($0)) } : [text]
            reply = Reply(UInt16(truncatingIfNeeded: row.integer(7)), row.text(8).flatMap { EnhancedCode($0) }, lines: lines)
        }
        return StoredRecipient(recipient: queued, state: state, reply: reply, relay: row.text(10), answers: row.text(11))
    }
}
