// The options of postmap(1) and postalias(1). Pure: arguments in, options or a usage error out.

import LMDB

struct PostmapOptions: Equatable {
    enum Program: String {
        case postmap, postalias

        /// Letters that both know; -b -h -m (keys from a message) and -F (values from files) are postmap's and not here.
        var letters: String { self == .postmap ? "bc:d:fFhimnNopq:rsuUvw" : "Nc:d:finopq:rsuvw" }
        var usage: String { "usage: \(rawValue) [-finNoprsuvw] [-d key] [-q key] [map_type:]file..." }
    }

    enum Work: Equatable {
        case write
        /// -i: entries of standard input, added to what is there.
        case add
        /// A key, or nil: keys of standard input.
        case query(String?)
        case delete(String?)
        case list
    }

    enum Duplicates: Equatable { case warned, replaced, ignored }

    struct Table: Equatable {
        /// As given; nil: Postfix's default_database_type.
        let type: String?
        let path: String

        init(_ text: String) {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            type = parts.count > 1 ? String(parts[0]) : nil
            path = String(parts.last!)
        }
    }

    var work = Work.write
    var duplicates = Duplicates.warned
    var terminator = LMDBTable.Terminator.either
    /// Not -f.
    var foldsKeys = true
    /// -o
    var staysRoot = false
    /// Not -p.
    var keepsMode = true
    /// Not -u.
    var refusesOtherThanUTF8 = true
    var tables: [Table] = []

    struct UsageError: Error, Equatable { let text: String }

    init(_ arguments: [String], as program: Program) throws(UsageError) {
        let read: CommandOptions
        do throws(CommandOptions.UsageError) {
            read = try CommandOptions(arguments, program.letters)
        } catch {
            throw UsageError(text: "\(error.text); \(program.usage)")
        }
        for option in read.options { try take(option.letter, option.value) }
        tables = read.operands.map(Table.init)
        if tables.isEmpty { throw UsageError(text: program.usage) }
    }

    private mutating func take(_ letter: Character, _ value: String) throws(UsageError) {
        switch letter {
        case "q": try take(.query(value == "-" ? nil : value))
        case "d": try take(.delete(value == "-" ? nil : value))
        case "s": try take(.list)
        case "i": if work == .write { work = .add }
        case "f": foldsKeys = false
        case "n": terminator = .never
        case "N": terminator = .always
        case "o": staysRoot = true
        case "p": keepsMode = false
        case "r": duplicates = .replaced
        case "w": duplicates = .ignored
        case "u": refusesOtherThanUTF8 = false
        case "U", "v", "c": break  // no meaning here: there is no main.cf to read
        default: throw UsageError(text: "option -\(letter) is not supported here")
        }
    }

    private mutating func take(_ wanted: Work) throws(UsageError) {
        guard work == .write || work == .add else { throw UsageError(text: "specify only one of -s -q or -d") }
        work = wanted
    }
}
