// The options of postmap and postalias.

import LMDB
import Testing

@testable import valija


private func options(_ line: String, _ tables: [String] = ["lmdb:t"], _ set: (inout PostmapOptions) -> Void = { _ in }) -> (String, PostmapOptions) {
    var options = try! PostmapOptions(tables, as: .postmap)
    set(&options)
    return (line, options)
}

@Test(
    "options are read as Postfix reads them",
    arguments: [
        options("lmdb:t"),
        options("lmdb:t texthash:u", ["lmdb:t", "texthash:u"]),
        options("-q alice lmdb:t") { $0.work = .query("alice") },
        options("-qalice lmdb:t") { $0.work = .query("alice") },
        options("-q - lmdb:t") { $0.work = .query(nil) },
        options("-d alice lmdb:t") { $0.work = .delete("alice") },
        options("-d - lmdb:t") { $0.work = .delete(nil) },
        options("-s lmdb:t") { $0.work = .list },
        options("-ir lmdb:t") { ($0.work, $0.duplicates) = (.add, .replaced) },
        options("-w lmdb:t") { $0.duplicates = .ignored },
        options("-fN lmdb:t") { ($0.foldsKeys, $0.terminator) = (false, .always) },
        options("-nopu lmdb:t") { ($0.terminator, $0.staysRoot, $0.keepsMode, $0.refusesOtherThanUTF8) = (.never, true, false, false) },
        options("-v -c /etc/postfix lmdb:t"),
    ])
func postmapLines(line: String, want: PostmapOptions) throws {
    #expect(try PostmapOptions(line.split(separator: " ").map(String.init), as: .postmap) == want)
}

@Test(
    "a wrong command line says what is wrong with it",
    arguments: [
        ("", "usage: postmap"),
        ("-Z lmdb:t", "invalid option -- 'Z'"),
        ("-q", "option requires an argument -- 'q'"),
        ("-s -q x lmdb:t", "specify only one of -s -q or -d"),
        ("-q x -d x lmdb:t", "specify only one of -s -q or -d"),
        ("-b -q - lmdb:t", "option -b is not supported here"),
    ])
func postmapFaults(line: String, want: String) throws {
    do throws(PostmapOptions.UsageError) {
        _ = try PostmapOptions(line.split(separator: " ").map(String.init), as: .postmap)
        Issue.record("taken")
    } catch {
        #expect(error.text.hasPrefix(want))
    }
}

@Test("a table's name has a type or not", arguments: [("lmdb:/a:b", "lmdb", "/a:b"), ("/etc/aliases", nil, "/etc/aliases"), (":x", "", "x")] as [(String, String?, String)])
func tableNames(text: String, type: String?, path: String) {
    #expect(PostmapOptions.Table(text).type == type)
    #expect(PostmapOptions.Table(text).path == path)
}
