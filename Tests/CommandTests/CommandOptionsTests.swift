// Options as getopt(3) reads them, and content as postcat prints it.

import Testing

@testable import valija

struct CommandOptionsTests {
    @Test("letters may stand together, a value in the same word or the next; the first other word ends them", arguments: [
        (["-qv", "ID"], "q v | ID"), (["-d", "ALL", "hold"], "d=ALL | hold"), (["-dALL"], "d=ALL |"), (["-vdALL", "-q"], "v d=ALL q |"), (["-q", "--", "-v"], "q | -v"),
        (["hold", "-q"], "| hold -q"), (["-d", "-"], "d=- |"), (["-", "-q"], "| - -q"), ([], "|"), (["-d", "-q"], "d=-q |"),
    ] as [([String], String)])
    func read(arguments: [String], wanted: String) throws {
        let options = try CommandOptions(arguments, "d:qv")
        let text = options.options.map { $0.value.isEmpty ? "\($0.letter)" : "\($0.letter)=\($0.value)" } + ["|"] + options.operands
        #expect(text.joined(separator: " ") == wanted)
    }

    @Test("what is wrong is said as getopt says it", arguments: [
        (["-x"], "invalid option -- 'x'"), (["-qx"], "invalid option -- 'x'"), (["-q:"], "invalid option -- ':'"), (["-d"], "option requires an argument -- 'd'"),
    ])
    func wrong(arguments: [String], text: String) {
        #expect(throws: CommandOptions.UsageError(text: text)) { try CommandOptions(arguments, "d:qv") }
    }

    @Test("content in pieces comes out line by line, with line feeds; the empty line belongs to the body", arguments: [1, 2, 3, 7, 100])
    func content(piece: Int) {
        let octets = Array("A: b\r\nC: d\r\n\r\nbody\r\n\r\nno end".utf8)
        func printed(_ prefix: String, header: Bool, body: Bool) -> String {
            var printer = ContentPrinter(prefix: Array(prefix.utf8), header: header, body: body)
            var out: [UInt8] = []
            for start in stride(from: 0, to: octets.count, by: piece) { out += printer.print(Array(octets[start..<min(start + piece, octets.count)])) }
            return String(decoding: out + printer.end(), as: UTF8.self)
        }
        #expect(printed("", header: true, body: true) == "A: b\nC: d\n\nbody\n\nno end\n")
        #expect(printed("", header: true, body: false) == "A: b\nC: d\n")
        #expect(printed("> ", header: false, body: true) == "> \n> body\n> \n> no end\n")
    }
}
