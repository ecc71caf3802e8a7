// Options as getopt(3) reads them, for the commands that stand in for Postfix's: letters in clusters, a value in the same
// word or the next, and `--` or the first other word ends them. Pure.

import Glibc

struct CommandOptions {
    struct UsageError: Error, Equatable {
        /// As getopt(3) says it.
        let text: String
    }

    /// In their order; the value is empty where the letter takes none.
    private(set) var options: [(letter: Character, value: String)] = []
    private(set) var operands: [String] = []

    /// `letters` as getopt(3) wants them: `c:qv`, a colon after those with a value.
    init(_ arguments: [String], _ letters: String) throws(UsageError) {
        let letters = Array(letters)
        var rest = arguments[...]
        while let argument = rest.first, argument.hasPrefix("-"), argument.count > 1 {
            rest.removeFirst()
            if argument == "--" { break }
            var cluster = argument.dropFirst()
            while let letter = cluster.popFirst() {
                guard letter != ":", let index = letters.firstIndex(of: letter) else { throw UsageError(text: "invalid option -- '\(letter)'") }
                guard index + 1 < letters.count, letters[index + 1] == ":" else {
                    options.append((letter, ""))
                    continue
                }
                if cluster.isEmpty {
                    guard let next = rest.popFirst() else { throw UsageError(text: "option requires an argument -- '\(letter)'") }
                    options.append((letter, next))
                } else {
                    options.append((letter, String(cluster)))
                }
                break
            }
        }
        operands = Array(rest)
    }

    func has(_ letter: Character) -> Bool { options.contains { $0.letter == letter } }
    /// The last one counts.
    func value(_ letter: Character) -> String? { options.last { $0.letter == letter }?.value }
}
