// A thin wrapper of the sqlite3 C interface: statements prepared once, values bound by position, errors as values.
//
// Not thread-safe: one thread owns a connection. GRDB was looked at and not taken (docs/decisions/0004-spool.md).

internal import CSQLite
internal import NIOCore

/// What SQLite answered when it could not do something.
struct DatabaseError: Error, CustomStringConvertible {
    let code: CInt
    let message: String

    var description: String { "SQLite \(code): \(message)" }

    /// The disk is full, or a quota is used up.
    var isFull: Bool { code & 0xFF == SQLITE_FULL }
    /// Another process has the database open.
    var isInUse: Bool { code & 0xFF == SQLITE_BUSY }
    /// Its octets are not those of a database, or not of one that hangs together.
    var isDamage: Bool { [SQLITE_CORRUPT, SQLITE_NOTADB].contains(code & 0xFF) || code == SQLITE_IOERR | (2 << 8) /* SQLITE_IOERR_SHORT_READ */ }
}

final class Database {
    private let handle: OpaquePointer

    init(path: String) throws(DatabaseError) {
        var handle: OpaquePointer?
        let code = sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, nil)
        guard code == SQLITE_OK, let handle else {
            let message = handle.map { String(cString: sqlite3_errmsg($0)) } ?? "out of memory"
            sqlite3_close_v2(handle)
            throw DatabaseError(code: code, message: message)
        }
        self.handle = handle
    }

    deinit { sqlite3_close_v2(handle) }

    func execute(_ sql: String) throws(DatabaseError) {
        let code = sqlite3_exec(handle, sql, nil, nil, nil)
        guard code == SQLITE_OK else { throw error(code) }
    }

    func prepare(_ sql: String) throws(DatabaseError) -> Statement {
        var statement: OpaquePointer?
        let code = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard code == SQLITE_OK, let statement else { throw error(code) }
        return Statement(statement, of: self)
    }

    /// Rows that the last INSERT, UPDATE or DELETE touched.
    var changes: Int { Int(sqlite3_changes(handle)) }

    fileprivate func error(_ code: CInt) -> DatabaseError {
        DatabaseError(code: code, message: String(cString: sqlite3_errmsg(handle)))
    }

    /// A prepared statement. Bind from left to right, then `run` or `row` until it returns false.
    final class Statement {
        private let statement: OpaquePointer
        private unowned let database: Database
        private var position: CInt = 0

        fileprivate init(_ statement: OpaquePointer, of database: Database) {
            self.statement = statement
            self.database = database
        }

        deinit { sqlite3_finalize(statement) }

        /// SQLITE_TRANSIENT: SQLite takes a copy of a bound text before the call returns.
        private static var copied: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

        @discardableResult
        func bind(_ value: Int64?) -> Statement {
            position += 1
            if let value { sqlite3_bind_int64(statement, position, value) } else { sqlite3_bind_null(statement, position) }
            return self
        }

        @discardableResult
        func bind(_ value: Int) -> Statement { bind(Int64(value)) }

        @discardableResult
        func bind(_ value: String?) -> Statement {
            position += 1
            guard var value else {
                sqlite3_bind_null(statement, position)
                return self
            }
            value.withUTF8 { text in
                _ = sqlite3_bind_text(statement, position, text.baseAddress.map { UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self) }, CInt(text.count), Statement.copied)
            }
            return self
        }

        /// The value of a row of another statement, as it is.
        func bind(_ row: borrowing Row, column: CInt) {
            position += 1
            sqlite3_bind_value(statement, position, sqlite3_column_value(row.statement, column))
        }

        /// Runs the statement to its end, with `blob` as the next value. The octets are not copied: they only need to
        /// live as long as the call.
        func run(binding blob: ByteBuffer) throws(DatabaseError) {
            position += 1
            let code = blob.withUnsafeReadableBytes { bytes in
                sqlite3_bind_blob64(statement, position, bytes.baseAddress, UInt64(bytes.count), nil)
                return finish()
            }
            guard code == SQLITE_DONE else { throw database.error(code) }
        }

        func run() throws(DatabaseError) {
            let code = finish()
            guard code == SQLITE_DONE else { throw database.error(code) }
        }

        private func finish() -> CInt {
            var code = sqlite3_step(statement)
            while code == SQLITE_ROW { code = sqlite3_step(statement) }
            sqlite3_reset(statement)
            sqlite3_clear_bindings(statement)
            position = 0
            return code
        }

        /// Calls `visit` for each row; ends early when it returns false.
        func forEachRow(_ visit: (borrowing Row) throws(DatabaseError) -> Bool) throws(DatabaseError) {
            defer {
                sqlite3_reset(statement)
                sqlite3_clear_bindings(statement)
                position = 0
            }
            while true {
                let code = sqlite3_step(statement)
                if code == SQLITE_DONE { return }
                guard code == SQLITE_ROW else { throw database.error(code) }
                guard try visit(Row(statement: statement)) else { return }
            }
        }
    }

    struct Row: ~Copyable {
        fileprivate let statement: OpaquePointer

        func integer(_ column: CInt) -> Int64 { sqlite3_column_int64(statement, column) }
        func isNull(_ column: CInt) -> Bool { sqlite3_column_type(statement, column) == SQLITE_NULL }
        func text(_ column: CInt) -> String? { sqlite3_column_text(statement, column).map { String(cString: $0) } }

        func blob(_ column: CInt) -> ByteBuffer {
            let count = Int(sqlite3_column_bytes(statement, column))
            var buffer = ByteBufferAllocator().buffer(capacity: count)
            if let bytes = sqlite3_column_blob(statement, column) { buffer.writeBytes(UnsafeRawBufferPointer(start: bytes, count: count)) }
            return buffer
        }
    }
}
