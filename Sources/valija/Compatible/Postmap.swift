// `postmap` and `postalias`: Postfix's lookup tables, written, asked and listed, as Postfix's commands of that name do and with
// their exit codes: 0 done or found; 1 not found, or an error that stands on standard error.
//
// Tables of type lmdb: and texthash: (text, to be read only). Berkeley DB (hash:, btree:) is not linked.

import Glibc
import LMDB
import PostfixFiles

struct Postmap {
    private let program: PostmapOptions.Program
    private let options: PostmapOptions

    static func run(_ arguments: [String], as program: PostmapOptions.Program) -> ExitStatus {
        if arguments == ["--help"] {
            print(help(program))
            return .ok
        }
        umask(0o022)
        do {
            let options = try PostmapOptions(arguments, as: program)
            return try Postmap(program: program, options: options).perform()
        } catch let error as PostmapOptions.UsageError {
            complain("\(program): fatal: \(error.text)")
        } catch let error as CommandError {
            complain("\(program): fatal: \(error.text)")
        } catch {
            complain("\(program): fatal: \(error)")
        }
        return .failure
    }

    private static func help(_ program: PostmapOptions.Program) -> String {
        """
        \(program.usage)

        Writes FILE.lmdb from FILE (lmdb:FILE), or looks into a table of type lmdb: or texthash:.

          -q KEY  print the value of KEY; exit 1 if no table has it. -q -: keys from standard input
          -d KEY  delete KEY; exit 1 if no table had it. -d -: keys from standard input
          -s      list all entries of the first table
          -i      add entries of standard input to the table
          -r, -w  replace an entry that is there already; keep it without a warning
          -f      do not fold the case of keys
          -n, -N  keys and values without, with a terminating NUL
          -o      as root: do not become the owner of the source file
          -p      do not take over the permissions of the source file
          -u      do not refuse what is not UTF-8
        """
    }

    private func perform() throws -> ExitStatus {
        switch options.work {
        case .write: for table in options.tables { try write(table) }
        case .add: for table in options.tables { try add(table) }
        case .query(let key?): return try query(Array(key.utf8))
        case .query(nil): return try queryAll()
        case .delete(let key): return try delete(key.map { [Array($0.utf8)] } ?? lines(readAll(0)))
        case .list: try list(options.tables[0])
        }
        return .ok
    }

    // MARK: Tables

    private enum Kind { case lmdb, textHash }

    private func kind(_ table: PostmapOptions.Table) throws(CommandError) -> Kind {
        let type = table.type ?? "hash"
        switch type {
        case "lmdb": return .lmdb
        case "texthash": return .textHash
        case "hash", "btree":
            let what = table.type == nil ? "\(table.path): without a type it would be hash:, and" : "\(type):\(table.path):"
            throw fatal("\(what) Berkeley DB is not supported; use lmdb:\(table.path), which Postfix reads too, or texthash:\(table.path)")
        default: throw fatal("unsupported dictionary type: \(type); there are lmdb and texthash")
        }
    }

    private func fatal(_ text: String) -> CommandError { CommandError(status: .failure, text: text) }

    private func warn(_ text: String) { complain("\(program): warning: \(text)") }

    private func folded(_ key: [UInt8]) -> [UInt8] { options.foldsKeys ? TableKey.folded(key) : key }

    private func read(_ path: String) throws -> [UInt8] {
        do { return try readFile(path) } catch let error as CommandError { throw fatal("open \(error.text)") }
    }

    // MARK: Writing

    private func write(_ table: PostmapOptions.Table) throws {
        if try kind(table) == .textHash { throw fatal("texthash:\(table.path) is read as it is and needs no \(program)") }
        let text = try read(table.path)
        var source = stat()
        stat(table.path, &source)
        let isFile = source.st_mode & S_IFMT == S_IFREG
        // A table shows nobody what its source does not.
        let mode: UInt32 = options.keepsMode && isFile ? 0o644 & ~(~source.st_mode & 0o077) : 0o644
        if !options.staysRoot, getuid() == 0, source.st_uid != geteuid() || source.st_gid != getegid() {
            // The table becomes the source's owner's, and what goes wrong from here on has no more rights than that one has.
            guard setegid(source.st_gid) == 0, seteuid(source.st_uid) == 0 else { throw fatal("cannot become the owner of \(table.path)") }
        }
        defer {
            if getuid() == 0 {
                seteuid(0)
                setegid(getgid())
            }
        }
        try store(text, named: table.path, in: table, .replacing, mode)
    }

    private func add(_ table: PostmapOptions.Table) throws {
        if try kind(table) == .textHash { throw fatal("texthash:\(table.path) map requires O_RDONLY access mode") }
        try store(readAll(0), named: "stdin", in: table, .updating, 0o644)
    }

    private func store(_ text: [UInt8], named name: String, in table: PostmapOptions.Table, _ access: LMDBTable.Access, _ mode: UInt32) throws {
        let source = TableText(
            text, name: name, syntax: program == .postalias ? .aliases : .map, refusesOtherThanUTF8: options.refusesOtherThanUTF8)
        for complaint in source.complaints { warn(complaint) }
        let room = 4 * text.count + (1 << 20)
        let repeats = try LMDBTable.change(table.path, access, terminator: options.terminator, mode: mode, room: room) { database in
            var repeats: [[UInt8]] = []
            for entry in source.entries {
                let key = folded(entry.key)
                if try !database.insert(key, entry.value, replacing: options.duplicates == .replaced) { repeats.append(key) }
            }
            if program == .postalias { try sign(database, replacing: options.duplicates == .replaced || access == .updating) }
            return repeats
        }
        guard options.duplicates == .warned else { return }
        for key in repeats { warn("lmdb:\(table.path): duplicate entry: \"\(String(decoding: key, as: UTF8.self))\"") }
    }

    /// What sendmail and NIS look for in an alias database, and Postfix's postalias(1) writes: that it is complete, when it was
    /// written and where. The latter two without a NUL.
    private func sign(_ database: LMDBTable, replacing: Bool) throws {
        var host = [CChar](repeating: 0, count: Int(HOST_NAME_MAX) + 1)
        gethostname(&host, host.count - 1)
        var seconds = Array("\(time(nil))".utf8)
        seconds = [UInt8](repeating: UInt8(ascii: "0"), count: max(0, 10 - seconds.count)) + seconds
        _ = try database.insert(Array("@".utf8), Array("@".utf8), replacing: replacing)
        _ = try database.insert(Array("YP_LAST_MODIFIED".utf8), seconds, replacing: replacing, isTerminated: false)
        let name = host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
        _ = try database.insert(Array("YP_MASTER_NAME".utf8), name, replacing: replacing, isTerminated: false)
    }

    private func delete(_ keys: [[UInt8]]) throws -> ExitStatus {
        var isFound = false
        for table in options.tables {
            if try kind(table) == .textHash { throw fatal("texthash:\(table.path) map requires O_RDONLY access mode") }
            guard access("\(table.path).lmdb", F_OK) == 0 else {
                throw fatal("open database \(table.path).lmdb: \(String(cString: strerror(errno)))")
            }
            let count = try LMDBTable.change(table.path, .updating, terminator: options.terminator) { database in
                try keys.filter { try database.delete(folded($0)) }.count
            }
            isFound = isFound || count > 0
        }
        return isFound ? .ok : .failure
    }

    // MARK: Asking

    private enum Opened {
        case database(LMDBTable)
        case text([[UInt8]: [UInt8]])
    }

    private func open(_ table: PostmapOptions.Table) throws -> Opened {
        switch try kind(table) {
        case .lmdb:
            warnIfOld(table)
            return .database(try LMDBTable(table.path, .reading, terminator: options.terminator))
        case .textHash: return .text(Dictionary(try textEntries(table).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first }))
        }
    }

    private func warnIfOld(_ table: PostmapOptions.Table) {
        var (source, database) = (stat(), stat())
        guard stat(table.path, &source) == 0, stat("\(table.path).lmdb", &database) == 0 else { return }
        // A source that changed seconds ago may be on its way into the table.
        guard source.st_mtim.tv_sec > database.st_mtim.tv_sec, source.st_mtim.tv_sec < time(nil) - 100 else { return }
        warn("database \(table.path).lmdb is older than source file \(table.path)")
    }

    /// By folded keys; of a key that stands more than once the entry that counts.
    private func textEntries(_ table: PostmapOptions.Table) throws -> [TableText.Entry] {
        let text: [UInt8]
        do { text = try readFile(table.path) } catch let error as CommandError { throw fatal("open database \(error.text)") }
        let source = TableText(text, name: table.path, syntax: .textHash, refusesOtherThanUTF8: options.refusesOtherThanUTF8)
        for complaint in source.complaints { warn(complaint) }
        var places: [[UInt8]: Int] = [:]
        var entries: [TableText.Entry] = []
        for entry in source.entries {
            let folded = TableText.Entry(key: folded(entry.key), value: entry.value, line: entry.line)
            guard let place = places[folded.key] else {
                places[folded.key] = entries.count
                entries.append(folded)
                continue
            }
            switch options.duplicates {
            case .replaced: entries[place] = folded
            case .ignored: break
            case .warned: warn("\(table.path), line \(entry.line): duplicate entry: \"\(String(decoding: entry.key, as: UTF8.self))\"")
            }
        }
        return entries
    }

    private func value(of key: [UInt8], in table: Opened) throws -> [UInt8]? {
        switch table {
        case .database(let database): try database.value(of: folded(key))
        case .text(let entries): entries[folded(key)]
        }
    }

    private func query(_ key: [UInt8]) throws -> ExitStatus {
        for table in options.tables {
            if let value = try value(of: key, in: open(table)) {
                valija.write(value + [UInt8(ascii: "\n")], to: 1)
                return .ok
            }
        }
        return .failure
    }

    private func queryAll() throws -> ExitStatus {
        // A table is opened when a key comes that those before it do not have.
        var opened: [Opened] = []
        var output: [UInt8] = []
        for key in lines(try readAll(0)) {
            for (index, table) in options.tables.enumerated() {
                if index == opened.count { opened.append(try open(table)) }
                guard let value = try value(of: key, in: opened[index]) else { continue }
                output += shown(key, value)
                break
            }
        }
        valija.write(output, to: 1)
        return output.isEmpty ? .failure : .ok
    }

    private func list(_ table: PostmapOptions.Table) throws {
        var output: [UInt8] = []
        switch try kind(table) {
        case .lmdb: try LMDBTable(table.path, .reading, terminator: options.terminator).forEach { key, value in output += shown(key, value) }
        case .textHash: for entry in try textEntries(table) { output += shown(entry.key, entry.value) }
        }
        valija.write(output, to: 1)
    }

    private func shown(_ key: [UInt8], _ value: [UInt8]) -> [UInt8] {
        key + (program == .postalias ? [UInt8(ascii: ":")] : []) + [UInt8(ascii: "\t")] + value + [UInt8(ascii: "\n")]
    }

    private func lines(_ text: [UInt8]) -> [[UInt8]] {
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map(Array.init)
        if lines.last?.isEmpty ?? false { lines.removeLast() }
        return lines
    }
}
