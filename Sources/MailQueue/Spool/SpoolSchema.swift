// The tables of the spool, and how the connection is set up so that a commit is on disk.

enum SpoolSchema {
    static let version: Int64 = 4

    static func version(of database: Database) throws(DatabaseError) -> Int64 {
        var version: Int64 = 0
        try database.prepare("PRAGMA user_version").forEachRow { row in
            version = row.integer(0)
            return false
        }
        return version
    }

    /// What a repair takes over of each table: with the integer that begins its key, and the version that each column is there since.
    static let columns: [(table: String, key: String, columns: [(name: String, since: Int64)])] = [
        (
            "message", "id",
            [
                ("id", 1), ("sender", 1), ("received", 1), ("size", 1), ("flags", 1), ("envelope_id", 1), ("due", 1), ("attempts", 1),
                ("lease_owner", 1), ("lease_until", 1), ("held", 2), ("verp", 3),
            ]
        ),
        (
            "recipient", "message",
            [
                ("message", 1), ("number", 1), ("original", 1), ("address", 1), ("user", 1), ("notify", 1), ("original_recipient", 1), ("state", 1),
                ("reply_code", 1), ("reply_enhanced", 1), ("reply_text", 1), ("relay", 1), ("answers", 2), ("copies", 2),
            ]
        ),
        ("body", "message", [("message", 1), ("data", 1)]),
    ]

    /// WAL with `synchronous=FULL`: every commit ends with an fdatasync of the log (sqlite.org/pragma.html#pragma_synchronous).
    /// `locking_mode=EXCLUSIVE` first: one appliance owns a spool, and the log needs no shared-memory file.
    /// `secure_delete=OFF`: Debian builds SQLite with it on, and zeroing delivered mail would double the writes.
    /// The log may grow to 32 MiB between checkpoints, so that a burst does not pay for many.
    static let connection = """
        PRAGMA page_size=4096;
        PRAGMA locking_mode=EXCLUSIVE;
        PRAGMA journal_mode=WAL;
        PRAGMA synchronous=FULL;
        PRAGMA secure_delete=OFF;
        PRAGMA temp_store=MEMORY;
        PRAGMA cache_size=-8192;
        PRAGMA wal_autocheckpoint=8192;
        PRAGMA journal_size_limit=67108864;
        """

    /// `message.lease_until` is 0 for a message that nobody works on; only those, unless they are held, are in the index of what
    /// is due, so that mail which is delivered at once costs no index entry. The lease names its owner, so that several nodes can
    /// share the schema on a shared database.
    /// Bodies have a table of their own: a retry rewrites the small row, never the message.
    static let tables = """
        CREATE TABLE message(
            id INTEGER PRIMARY KEY,        -- QueueID
            sender TEXT,                   -- NULL: the null reverse-path
            received INTEGER NOT NULL,     -- microseconds since the epoch, as are all times
            size INTEGER NOT NULL,         -- octets
            flags INTEGER NOT NULL,        -- StoredMessage.Flags
            envelope_id TEXT,              -- ENVID
            due INTEGER NOT NULL,          -- next attempt
            attempts INTEGER NOT NULL,
            lease_owner TEXT,
            lease_until INTEGER NOT NULL,
            held INTEGER NOT NULL DEFAULT 0,  -- 1: on hold; not to be tried
            verp TEXT                      -- the delimiters of VERP; NULL: each recipient gets it from the same sender
        );
        \(dueIndex)
        CREATE TABLE recipient(
            message INTEGER NOT NULL,
            number INTEGER NOT NULL,
            original TEXT NOT NULL,        -- as in RCPT
            address TEXT NOT NULL,         -- after aliases
            user TEXT,                     -- RecipientTarget.name: the mailbox; NULL: passed on by SMTP
            notify INTEGER NOT NULL,
            original_recipient TEXT,       -- ORCPT
            state INTEGER NOT NULL,        -- StoredRecipient.State
            reply_code INTEGER,            -- of the last attempt
            reply_enhanced TEXT,
            reply_text TEXT,
            relay TEXT,
            answers TEXT,                  -- the command that the next hop's reply answers; NULL: words of this server
            copies INTEGER NOT NULL DEFAULT 0,  -- how many recipients `original` led to; 0: not known
            PRIMARY KEY(message, number)
        ) WITHOUT ROWID;
        CREATE TABLE body(message INTEGER PRIMARY KEY, data BLOB NOT NULL);
        CREATE TABLE id_mark(id INTEGER NOT NULL);  -- one row: no message had a greater id
        INSERT INTO id_mark VALUES(0);
        PRAGMA user_version=\(version);
        """

    private static let dueIndex = "CREATE INDEX message_due ON message(due) WHERE lease_until = 0 AND held = 0;"

    /// From one version to the next, each in one transaction: `steps[n]` turns version n + 1 into n + 2.
    static let steps = [
        // Mail may be held, and requeued.
        """
        ALTER TABLE message ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
        DROP INDEX message_due;
        \(dueIndex)
        ALTER TABLE recipient ADD COLUMN answers TEXT;
        ALTER TABLE recipient ADD COLUMN copies INTEGER NOT NULL DEFAULT 0;
        PRAGMA user_version=2;
        """,
        // Senders may have an address for each recipient.
        """
        ALTER TABLE message ADD COLUMN verp TEXT;
        PRAGMA user_version=3;
        """,
        // Flags say what a message asks of TLS (StoredMessage.Flags). No column is new, but a version that does not know them would send in
        // clear what must not be: it is not to open this spool.
        "PRAGMA user_version=4;",
    ]
}
