// What administrators do to many messages at once: statements over a stretch of the queue instead of one for each message, which
// is ten to twenty times as fast. A stretch is as long as the caller wants a transaction to last; others write in between.

internal import MailSyntax

extension SpoolStore {
    /// Messages that follow each other by id, and the queues of those that are meant.
    struct Stretch: Sendable {
        let after: QueueID
        let last: QueueID
        fileprivate let queues: Set<QueueName>

        fileprivate var isWhole: Bool { queues.count == QueueName.allCases.count }

        /// The rows of `message`, with the first two parameters; as `QueueName` has it.
        fileprivate var rows: String {
            let conditions = QueueName.allCases.filter(queues.contains).map { name in
                switch name {
                case .hold: "held<>0"
                case .active: "held=0 AND lease_until<>0"
                case .deferred: "held=0 AND lease_until=0 AND attempts>0"
                case .incoming: "held=0 AND lease_until=0 AND attempts<=0"
                }
            }
            return isWhole ? "id>?1 AND id<=?2" : "id>?1 AND id<=?2 AND (\(conditions.joined(separator: " OR ")))"
        }

        /// The rows of another table that belong to them. `condition`: to those that it is true of.
        fileprivate func rowsOfMessages(where condition: String? = nil) -> String {
            let range = "message>?1 AND message<=?2"
            // Without a subquery SQLite changes each row as it comes by, instead of noting them first.
            if isWhole, condition == nil { return range }
            return "\(range) AND message IN (SELECT id FROM message WHERE \(rows) AND \(condition ?? "1"))"
        }
    }

    /// The next `limit` messages after `id` that are not newer than `newest`; nil: there are none.
    func stretch(after id: QueueID, upTo newest: QueueID, limit: Int, _ queues: Set<QueueName>) throws(DatabaseError) -> Stretch? {
        var last: QueueID?
        try prepared("SELECT max(id) FROM (SELECT id FROM message WHERE id>?1 AND id<=?2 ORDER BY id LIMIT ?3)")
            .bind(id.rawValue).bind(newest.rawValue).bind(limit).forEachRow { row in
                last = row.isNull(0) ? nil : QueueID(rawValue: row.integer(0))
                return false
            }
        return last.map { Stretch(after: id, last: $0, queues: queues) }
    }

    /// Those that somebody works on.
    func leased(in stretch: Stretch) throws(DatabaseError) -> [QueueID] { try ids(stretch, "lease_until<>0") }

    /// All of them.
    func all(in stretch: Stretch) throws(DatabaseError) -> [QueueID] { try ids(stretch, "1") }

    private func ids(_ stretch: Stretch, _ condition: String) throws(DatabaseError) -> [QueueID] {
        var ids: [QueueID] = []
        try prepared("SELECT id FROM message WHERE \(stretch.rows) AND \(condition)")
            .bind(stretch.after.rawValue).bind(stretch.last.rawValue).forEachRow { row in
                ids.append(QueueID(rawValue: row.integer(0)))
                return true
            }
        return ids
    }

    /// Those that nobody works on, without those of which one row shows that nothing would change: the only recipient's address leads to
    /// one target, where it led before. That is most of most queues, and they need not be read whole.
    func toBeRouted(in stretch: Stretch, _ route: (Address) -> [RecipientTarget]) throws(DatabaseError) -> [QueueID] {
        var (ids, previous, readableSender): ([QueueID], QueueID?, String?) = ([], nil, nil)
        try prepared(
            """
            SELECT id, sender, state, copies, original, address, user FROM message CROSS JOIN recipient ON recipient.message=id
            WHERE \(stretch.rows) AND lease_until=0 ORDER BY id
            """
        ).bind(stretch.after.rawValue).bind(stretch.last.rawValue).forEachRow { row in
            let id = QueueID(rawValue: row.integer(0))
            if let text = row.text(1), text != readableSender { readableSender = Address(text) == nil ? nil : text }
            let isFirst = previous != id
            previous = id
            guard isFirst, row.isNull(1) || readableSender != nil, row.integer(2) == StoredRecipient.State.pending.rawValue, row.integer(3) == 1,
                let original = row.text(4).flatMap({ Address($0) }), case let targets = route(original), targets.count == 1,
                targets[0].name == row.text(6), targets[0].address.description == row.text(5)
            else {
                if ids.last != id { ids.append(id) }
                return true
            }
            return true
        }
        return ids
    }

    // Each says how many messages it changed.

    /// Makes due now what waits and is not on hold.
    func makeDue(_ stretch: Stretch, now: Timestamp) throws(DatabaseError) -> Int {
        // `+`: by id, not by the index of what is due.
        try run("UPDATE message SET due=?3 WHERE \(stretch.rows) AND lease_until=0 AND held=0 AND +due>?3", stretch, now)
    }

    func hold(_ stretch: Stretch) throws(DatabaseError) -> Int {
        try run("UPDATE message SET held=1 WHERE \(stretch.rows) AND held=0", stretch)
    }

    /// Off hold, and due now.
    func release(_ stretch: Stretch, now: Timestamp) throws(DatabaseError) -> Int {
        try run("UPDATE message SET held=0, due=?3 WHERE \(stretch.rows) AND held=1", stretch, now)
    }

    /// As if those that nobody works on had just come; where they go is the caller's to say. `areIdle`: all of them are.
    func startOver(_ stretch: Stretch, areIdle: Bool, now: Timestamp) throws(DatabaseError) -> Int {
        try run(
            """
            UPDATE recipient SET reply_code=NULL, reply_enhanced=NULL, reply_text=NULL, relay=NULL, answers=NULL
            WHERE \(stretch.rowsOfMessages(where: areIdle ? nil : "lease_until=0")) AND state=\(StoredRecipient.State.pending.rawValue)
                AND reply_code IS NOT NULL
            """, stretch)
        return try run("UPDATE message SET due=?3, attempts=0, held=0 WHERE \(stretch.rows) AND lease_until=0", stretch, now)
    }

    /// Those that nobody works on are to be given up: now, or, on hold and not `evenHeld`, when they are released.
    func expire(_ stretch: Stretch, evenHeld: Bool, now: Timestamp) throws(DatabaseError) -> Int {
        let flag = StoredMessage.Flags.forcedExpire.rawValue
        let due = evenHeld ? "due=?3, held=0" : "due=CASE WHEN held=0 THEN ?3 ELSE due END"
        return try run("UPDATE message SET flags=flags|\(flag), \(due) WHERE \(stretch.rows) AND lease_until=0", stretch, now)
    }

    /// With the files of those whose bodies are files, which are the caller's to remove.
    func delete(_ stretch: Stretch) throws(DatabaseError) -> (count: Int, files: [String]) {
        let files = try ids(stretch, "flags&\(StoredMessage.Flags.bodyInFile.rawValue)<>0").map(bodyPath)
        // The message last: the others are found by it.
        for table in ["recipient", "body"] { try run("DELETE FROM \(table) WHERE \(stretch.rowsOfMessages())", stretch) }
        return (try run("DELETE FROM message WHERE \(stretch.rows)", stretch), files)
    }

    @discardableResult
    private func run(_ sql: String, _ stretch: Stretch, _ now: Timestamp? = nil) throws(DatabaseError) -> Int {
        let statement = try prepared(sql).bind(stretch.after.rawValue).bind(stretch.last.rawValue)
        if let now { statement.bind(now.microseconds) }
        try statement.run()
        return database.changes
    }
}
