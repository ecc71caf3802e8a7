// Tables of Postfix's type `lmdb:` (lmdb_table(5)): `NAME.lmdb`, an LMDB database in one file.
//
// The same file as Postfix's postmap(1) makes and reads: keys and values end with a NUL octet, which is how it writes
// them by default; those without are found too. LMDB's own lock file is not used: as in Postfix, who writes holds an
// exclusive fcntl(2) lock of the database, who reads a shared one. A change is one transaction: whoever reads, or opens
// the table after a crash, finds the old table or the new one.

internal import CLMDB
internal import Glibc

package struct LMDBError: Error, Hashable, Sendable, CustomStringConvertible {
    /// In Postfix's words: `open database t.lmdb: No such file or directory`.
    package let description: String
}

/// An open table; closed, and its change given up unless `commit` was called, with the value's end.
package final class LMDBTable {
    package enum Access: Sendable { case reading, updating, replacing }
    /// Whether keys and values end with a NUL octet.
    package enum Terminator: Sendable { case either, always, never }
    package enum Failure: Error { case full }

    private let environment: OpaquePointer
    private let name: String
    private let terminator: Terminator
    private var transaction: OpaquePointer?
    private var database: MDB_dbi = 0

    /// What LMDB takes for a key by default, without the NUL.
    package static let longestKey = 510
    /// postconf(5) lmdb_map_size.
    private static let smallest = 16 << 20

    /// Waits for programs that hold the lock.
    /// - Parameter name: without `.lmdb`.
    /// - Parameter mode: of a file that is created.
    /// - Parameter room: octets that the table may grow to; it takes only what it needs.
    package init(_ name: String, _ access: Access, terminator: Terminator = .either, mode: UInt32 = 0o644, room: Int = 0) throws(LMDBError) {
        self.name = name
        self.terminator = terminator
        let path = "\(name).lmdb"
        var opened: OpaquePointer?
        var status = mdb_env_create(&opened)
        if status == 0, access != .reading { status = mdb_env_set_mapsize(opened, max(LMDBTable.smallest, room)) }
        // LMDB would create a table that is to be read or to be changed; Postfix does so for a new one only.
        let flags = UInt32(MDB_NOSUBDIR) | UInt32(MDB_NOLOCK) | (access == .reading ? UInt32(MDB_RDONLY) : 0)
        if status == 0 { status = mdb_env_open(opened, path, flags, mode_t(mode)) }
        guard status == 0, let opened else {
            if let opened { mdb_env_close(opened) }
            throw LMDBError(description: "open database \(path): \(reason(status))")
        }
        environment = opened
        try check(lock(exclusive: access != .reading), "lock")
        try check(mdb_txn_begin(opened, nil, access == .reading ? UInt32(MDB_RDONLY) : 0, &transaction), "reading")
        try check(mdb_dbi_open(transaction, nil, 0, &database), "reading")
        if access == .replacing { try check(mdb_drop(transaction, database, 0), "updating") }
    }

    deinit {
        if let transaction { mdb_txn_abort(transaction) }
        mdb_env_close(environment)
    }

    private func lock(exclusive: Bool) -> CInt {
        var descriptor: CInt = -1
        let status = mdb_env_get_fd(environment, &descriptor)
        guard status == 0 else { return status }
        var whole = flock()
        whole.l_type = Int16(exclusive ? F_WRLCK : F_RDLCK)
        whole.l_whence = Int16(SEEK_SET)
        while fcntl(descriptor, F_SETLKW, &whole) != 0 {
            if errno != EINTR { return errno }
        }
        return 0
    }

    private func check(_ status: CInt, _ doing: String) throws(LMDBError) {
        if status != 0 { throw LMDBError(description: "error \(doing) lmdb:\(name): \(reason(status))") }
    }

    // MARK: Reading

    package func value(of key: [UInt8]) throws(LMDBError) -> [UInt8]? {
        for isTerminated in forms {
            if let value = try stored(key, terminated: isTerminated) { return unterminated(value) }
        }
        return nil
    }

    /// All entries, in the order of the keys.
    package func forEach(_ body: (_ key: [UInt8], _ value: [UInt8]) -> Void) throws(LMDBError) {
        var cursor: OpaquePointer?
        try check(mdb_cursor_open(transaction, database, &cursor), "reading")
        defer { mdb_cursor_close(cursor) }
        var (key, value) = (MDB_val(), MDB_val())
        var status = mdb_cursor_get(cursor, &key, &value, MDB_FIRST)
        while status == 0 {
            body(unterminated(octets(key)), unterminated(octets(value)))
            status = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)
        }
        if status != MDB_NOTFOUND { try check(status, "reading") }
    }

    // MARK: Changing

    /// False, and nothing changed: the key is there already, and is not to be replaced.
    /// - Parameter isTerminated: for this entry, whatever the table's own form.
    package func insert(_ key: [UInt8], _ value: [UInt8], replacing: Bool, isTerminated: Bool? = nil) throws -> Bool {
        let ends = (isTerminated ?? (terminator != .never)) ? [UInt8(0)] : []
        var status: CInt = 0
        withValue(key + ends) { key in
            withValue(value + ends) { value in
                status = mdb_put(transaction, database, &key, &value, replacing ? 0 : UInt32(MDB_NOOVERWRITE))
            }
        }
        if status == MDB_KEYEXIST { return false }
        if status == MDB_MAP_FULL { throw Failure.full }
        try check(status, "updating")
        return true
    }

    /// False: there is no such key.
    package func delete(_ key: [UInt8]) throws -> Bool {
        for isTerminated in forms {
            var status: CInt = 0
            withValue(isTerminated ? key + [0] : key) { key in status = mdb_del(transaction, database, &key, nil) }
            if status == MDB_NOTFOUND { continue }
            if status == MDB_MAP_FULL { throw Failure.full }
            try check(status, "deleting")
            return true
        }
        return false
    }

    /// Makes the change durable. The table is read no more.
    package func commit() throws {
        let status = mdb_txn_commit(transaction)
        transaction = nil
        if status == MDB_MAP_FULL { throw Failure.full }
        try check(status, "closing")
    }

    // MARK: Octets

    private var forms: [Bool] {
        switch terminator {
        case .either: [true, false]
        case .always: [true]
        case .never: [false]
        }
    }

    private func stored(_ key: [UInt8], terminated: Bool) throws(LMDBError) -> [UInt8]? {
        let key = terminated ? key + [0] : key
        // LMDB refuses an empty key, which no table holds.
        guard !key.isEmpty else { return nil }
        var value = MDB_val()
        var status: CInt = 0
        withValue(key) { key in status = mdb_get(transaction, database, &key, &value) }
        if status == MDB_NOTFOUND { return nil }
        try check(status, "reading")
        return octets(value)
    }

    private func octets(_ value: MDB_val) -> [UInt8] { Array(UnsafeRawBufferPointer(start: value.mv_data, count: value.mv_size)) }

    private func unterminated(_ octets: [UInt8]) -> [UInt8] { octets.last == 0 ? octets.dropLast() : octets }

    private func withValue(_ octets: [UInt8], _ body: (inout MDB_val) -> Void) {
        octets.withUnsafeBytes { buffer in
            var value = MDB_val(mv_size: buffer.count, mv_data: UnsafeMutableRawPointer(mutating: buffer.baseAddress))
            body(&value)
        }
    }
}

extension LMDBTable {
    /// Opens the table, lets `body` change it, and commits. A table that proves too small is opened again with twice the
    /// room, so `body` may run more than once.
    package static func change<Value>(
        _ name: String, _ access: Access, terminator: Terminator = .either, mode: UInt32 = 0o644, room: Int = 0, _ body: (LMDBTable) throws -> Value
    ) throws -> Value {
        var room = max(smallest, room)
        while true {
            do {
                let table = try LMDBTable(name, access, terminator: terminator, mode: mode, room: room)
                let value = try body(table)
                try table.commit()
                return value
            } catch Failure.full {
                room *= 2
            }
        }
    }
}

/// What LMDB, or the system below it, says.
private func reason(_ status: CInt) -> String { mdb_strerror(status).map { String(cString: $0) } ?? "error \(status)" }
