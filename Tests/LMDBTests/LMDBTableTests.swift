// Postfix's lmdb: tables. What Debian's own postmap makes of them is in t-19-commands.

import Glibc
import LMDB
import Testing

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A name for a table in a directory of its own.
private final class Scratch {
    let directory: String
    var table: String { directory + "/table" }

    init() {
        var template = Array("/tmp/valija-lmdb-XXXXXX".utf8CString)
        directory = String(cString: mkdtemp(&template)!)
    }

    deinit {
        unlink(table + ".lmdb")
        rmdir(directory)
    }

    var entries: [String] {
        get throws {
            var entries: [String] = []
            try LMDBTable(table, .reading).forEach { entries.append(String(decoding: $0 + [UInt8(ascii: "=")] + $1, as: UTF8.self)) }
            return entries
        }
    }

    func write(_ entries: [(String, String)], _ access: LMDBTable.Access = .replacing, terminator: LMDBTable.Terminator = .either) throws {
        try LMDBTable.change(table, access, terminator: terminator) { table in
            for (key, value) in entries { _ = try table.insert(octets(key), octets(value), replacing: true) }
        }
    }
}

@Test("what was written is found, and listed in the order of the keys")
func roundTrip() throws {
    let scratch = Scratch()
    try scratch.write([("b", "2"), ("a", "1"), ("c", "")])
    let table = try LMDBTable(scratch.table, .reading)
    #expect(try table.value(of: octets("b")) == octets("2"))
    #expect(try table.value(of: octets("c")) == [])
    #expect(try table.value(of: octets("d")) == nil)
    #expect(try table.value(of: []) == nil)
    #expect(try scratch.entries == ["a=1", "b=2", "c="])
}

@Test("keys and values end with NUL or not: either is found unless one is asked for", arguments: [LMDBTable.Terminator.always, .never])
func terminators(written: LMDBTable.Terminator) throws {
    let scratch = Scratch()
    try scratch.write([("a", "1")], terminator: written)
    #expect(try LMDBTable(scratch.table, .reading).value(of: octets("a")) == octets("1"))
    for asked in [LMDBTable.Terminator.always, .never] {
        let found = try LMDBTable(scratch.table, .reading, terminator: asked).value(of: octets("a"))
        #expect((found != nil) == (asked == written), "written \(written), asked for \(asked)")
    }
}

@Test("a table that is replaced has nothing of the old one; one that is updated has")
func access() throws {
    let scratch = Scratch()
    try scratch.write([("a", "1"), ("b", "2")])
    try scratch.write([("c", "3"), ("b", "4")], .updating)
    #expect(try scratch.entries == ["a=1", "b=4", "c=3"])
    try scratch.write([("d", "5")])
    #expect(try scratch.entries == ["d=5"])
}

@Test("of a key that stands twice the first counts, unless the second is to replace it")
func duplicates() throws {
    let scratch = Scratch()
    try LMDBTable.change(scratch.table, .replacing) { table in
        let inserted = try [("a", "1", false), ("a", "2", false), ("b", "1", true), ("b", "2", true)].map { key, value, replacing in
            try table.insert(octets(key), octets(value), replacing: replacing)
        }
        #expect(inserted == [true, false, true, true])
    }
    #expect(try scratch.entries == ["a=1", "b=2"])
}

@Test("a deleted key is gone; one that was not there says so")
func deletion() throws {
    let scratch = Scratch()
    try scratch.write([("a", "1"), ("b", "2")])
    try LMDBTable.change(scratch.table, .updating) { table in
        let deleted = try [table.delete(octets("a")), table.delete(octets("a"))]
        #expect(deleted == [true, false])
    }
    #expect(try scratch.entries == ["b=2"])
}

@Test("a change that is not committed leaves the table as it was")
func givenUp() throws {
    struct Stop: Error {}
    let scratch = Scratch()
    try scratch.write([("a", "1")])
    #expect(throws: Stop.self) {
        try LMDBTable.change(scratch.table, .replacing) { table in
            _ = try table.insert(octets("b"), octets("2"), replacing: false)
            throw Stop()
        }
    }
    #expect(try scratch.entries == ["a=1"])
}

@Test("a table of 40 MB grows beyond the size that LMDB begins with")
func growth() throws {
    let scratch = Scratch()
    let value = [UInt8](repeating: UInt8(ascii: "x"), count: 4000)
    try LMDBTable.change(scratch.table, .replacing) { table in
        for number in 0..<10_000 { _ = try table.insert(octets("key\(number)"), value, replacing: false) }
    }
    #expect(try LMDBTable(scratch.table, .reading).value(of: octets("key9999")) == value)
}

@Test("what cannot be opened or stored is said in Postfix's words")
func faults() throws {
    let scratch = Scratch()
    #expect {
        _ = try LMDBTable(scratch.table, .reading)
    } throws: { error in
        "\(error)" == "open database \(scratch.table).lmdb: No such file or directory"
    }
    #expect(throws: LMDBError.self) {
        try LMDBTable.change(scratch.table, .replacing) { table in
            _ = try table.insert([UInt8](repeating: 1, count: LMDBTable.longestKey + 1), [1], replacing: false)
        }
    }
}
