// Reads what can be read of a damaged database, table by table, into a sound one.
//
// A table is read in the order of its key. Where SQLite meets a damaged page it stops; the first key beyond the damage is found by
// trying, and reading goes on from there, and from there backwards, so that of several damaged pages only those are lost.

internal import CSQLite
internal import Glibc
internal import NIOCore

struct Salvage {
    let source: Database
    let target: Database
    /// Places where a table could not be read.
    private(set) var gaps = 0

    /// Damage beyond this is not worth the search: each gap costs a few dozen look-ups.
    private static let mostGaps = 10_000

    init(from source: Database, to target: Database) {
        self.source = source
        self.target = target
    }

    /// `key`: an integer that begins the table's primary key.
    mutating func copy(_ table: String, key: String, columns: [String]) throws(DatabaseError) {
        let list = columns.joined(separator: ", ")
        let upwards = "SELECT \(key), \(list) FROM \(table) WHERE \(key)>? ORDER BY \(key)"
        let downwards = "SELECT \(key), \(list) FROM \(table) WHERE \(key)<=? AND \(key)>? ORDER BY \(key) DESC"
        let first = "SELECT \(key) FROM \(table) WHERE \(key)>? ORDER BY \(key) LIMIT 1"
        let insert = try target.prepare("INSERT OR IGNORE INTO \(table)(\(list)) VALUES(\(columns.map { _ in "?" }.joined(separator: ",")))")
        var position: Int64 = -1
        while gaps < Salvage.mostGaps {
            if try read(upwards, [position], into: insert, columns.count, &position) { return }
            gaps += 1
            guard let beyond = beyondDamage(first, after: position) else { return }
            var end = beyond
            _ = try read(downwards, [beyond, position], into: insert, columns.count, &end)
            position = beyond
        }
    }

    /// False: a damaged page was met. `position` is the key of the last row that was read. Throws where the target cannot be written.
    private func read(
        _ query: String, _ bounds: [Int64], into insert: Database.Statement, _ columns: Int, _ position: inout Int64
    ) throws(DatabaseError) -> Bool {
        var (last, failure): (Int64, DatabaseError?) = (position, nil)
        var isWhole = true
        do throws(DatabaseError) {
            let statement = try source.prepare(query)
            for bound in bounds { statement.bind(bound) }
            try statement.forEachRow { row in
                for column in 1...columns { insert.bind(row, column: CInt(column)) }
                do throws(DatabaseError) { try insert.run() } catch { failure = error }
                last = row.integer(0)
                return failure == nil
            }
        } catch {
            isWhole = false
        }
        position = last
        if let failure { throw failure }
        return isWhole
    }

    /// The least key, as far as can be found, from which the table can be read again; nil: none, or none that is worth it.
    private func beyondDamage(_ query: String, after position: Int64) -> Int64? {
        func canRead(_ key: Int64) -> Bool {
            do throws(DatabaseError) {
                try source.prepare(query).bind(key).forEachRow { _ in false }
                return true
            } catch {
                return false
            }
        }
        var step: Int64 = 1
        while !canRead(position &+ step) {
            let (next, isTooFar) = step.multipliedReportingOverflow(by: 2)
            guard !isTooFar, position <= Int64.max - next else { return nil }
            step = next
        }
        var (damaged, sound) = (position &+ step / 2, position &+ step)
        while sound - damaged > 1 {
            let middle = damaged + (sound - damaged) / 2
            if canRead(middle) { sound = middle } else { damaged = middle }
        }
        return sound
    }
}

/// Gives a copy of a database whose first page is damaged the first page of `model`, an empty database of the same schema: tables are
/// created in one order, and so begin at the same pages. The file's length takes the place of the number of pages that the
/// header would have (sqlite.org/fileformat.html §1.3.8: where the two change counters differ).
func transplantFirstPage(from model: String, to path: String) throws {
    let pageSize = 4096
    var page = [UInt8](repeating: 0, count: pageSize)
    let source = open(model, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw IOError(errnoCode: errno, reason: "open \(model)") }
    defer { close(source) }
    guard pread(source, &page, pageSize, 0) == pageSize else { throw IOError(errnoCode: EIO, reason: "read \(model)") }
    // No free pages; "version-valid-for" differs from the change counter, so that the file's length counts.
    for offset in 32..<40 { page[offset] = 0 }
    for offset in 92..<96 { page[offset] = 0xFF }
    let target = open(path, O_WRONLY | O_CLOEXEC)
    guard target >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
    defer { close(target) }
    guard pwrite(target, page, pageSize, 0) == pageSize, fsync(target) == 0 else { throw IOError(errnoCode: errno, reason: "write \(path)") }
}
