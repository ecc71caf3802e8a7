// postcat(1) for queued messages: envelope and content, with line feeds as line ends, as Postfix shows its queue files.

import Appliance

enum Postcat {
    private static let usage = """
        postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] [-h (header text)] \
        [-q (access queue)] [-v] [file(s)...]
        """

    /// The letters that record types are in a queue file, for `-d`.
    private static let types: [String: Character] = [
        "message_size": "C", "message_arrival_time": "T", "create_time": "A", "named_attribute": "A", "sender": "S", "original_recipient": "O",
        "recipient": "R", "done_recipient": "D",
    ]

    static func run(_ arguments: [String]) -> ExitStatus {
        runCompatible("postcat", arguments, letters: "bc:dehoqv", usage: usage, usageStatus: .failure) { options in
            guard options.has("q") || options.operands.isEmpty else {
                throw CommandError(status: .failure, text: "queued messages are no files here: postcat -q queue_id shows one")
            }
            guard !options.operands.isEmpty else { return .ok }
            let directory = try options.queueDirectory()
            for id in options.operands {
                guard isPostfixQueueID(id) else { throw CommandError(status: .failure, text: "bad mail queue ID: \(id)") }
                guard isQueueID(id) else { throw missing(id) }
                try show(id.uppercased(), options, directory)
            }
            return .ok
        }
    }

    private static func show(_ id: String, _ options: CommandOptions, _ directory: String) throws {
        let parts: [Character] = ["e", "h", "b"]
        let named = Set(parts.filter { options.has($0) })
        let wanted = named.isEmpty ? Set(parts) : named
        let envelope = String(decoding: try get(directory, "/queue/\(id)?format=envelope", id), as: UTF8.self)
        let lines = envelope.split(separator: "\n")
        // `*** ENVELOPE RECORDS deferred/ID ***`: the queue stands in the marks of the other parts too.
        let place = lines.first?.split(separator: " ").dropLast().last.map(String.init) ?? id
        let decimal = options.has("d")
        let encoding = "named_attribute: encoding=8bit"
        if wanted.contains("e") {
            print(String(lines[0]))
            for line in lines.dropFirst() {
                let type = types[String(line.prefix { $0 != ":" })]
                print(decimal ? numbered(type, String(line)) : String(line))
            }
            print(decimal ? numbered("M", "*** MESSAGE CONTENTS \(place) ***") : "*** MESSAGE CONTENTS \(place) ***")
        }
        if wanted != ["e"] { try showContent(id, options, directory, wanted) }
        if wanted.contains("e") {
            let marks: [(Character, String)] = [("X", "*** HEADER EXTRACTED \(place) ***"), ("A", encoding), ("E", "*** MESSAGE FILE END \(place) ***")]
            for (type, line) in marks {
                // What Postfix found in the content it writes behind it as well.
                if line != encoding || lines.contains(Substring(encoding)) { print(decimal ? numbered(type, line) : line) }
            }
        }
    }

    private static func showContent(_ id: String, _ options: CommandOptions, _ directory: String, _ wanted: Set<Character>) throws {
        let prefix = options.has("d") ? numbered("N", "") : options.has("v") ? "regular_text: " : ""
        var printer = ContentPrinter(prefix: Array(prefix.utf8), header: wanted.contains("h"), body: wanted.contains("b"))
        var refusal: [UInt8] = []
        let connection = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
        let status = try connection.request("GET", "/queue/\(id)/content") { status, bytes in
            if status == 200 { write(printer.print(bytes), to: 1) } else { refusal += bytes }
        }
        try check(status, refusal, id)
        write(printer.end(), to: 1)
    }

    private static func get(_ directory: String, _ target: String, _ id: String) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let connection = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
        let status = try connection.request("GET", target) { bytes += $1 }
        try check(status, bytes, id)
        return bytes
    }

    private static func check(_ status: Int, _ bytes: [UInt8], _ id: String) throws {
        if status == 200 { return }
        if status == 404 { throw missing(id) }
        let text = String(decoding: bytes, as: UTF8.self)
        throw CommandError(status: .failure, text: text.split(separator: "\n").first.map(String.init) ?? text)
    }

    private static func missing(_ id: String) -> CommandError {
        CommandError(status: .failure, text: "open queue file \(id): No such file or directory")
    }

    private static func print(_ line: String) { write(Array("\(line)\n".utf8), to: 1) }

    private static func numbered(_ type: Character?, _ line: String) -> String {
        let number = String(type?.asciiValue ?? 0)
        return String(repeating: " ", count: max(0, 3 - number.count)) + number + " " + line
    }
}

/// Content as it comes, in pieces, line by line: line feeds for CRLF, something before each line, header or body or both.
struct ContentPrinter {
    let prefix: [UInt8]
    let header: Bool
    let body: Bool
    private var isInBody = false
    private var line: [UInt8] = []

    init(prefix: [UInt8], header: Bool, body: Bool) {
        self.prefix = prefix
        self.header = header
        self.body = body
    }

    mutating func print(_ bytes: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        var rest = bytes[...]
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            line += rest[..<end]
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            finishLine(&out)
            rest = rest[(end + 1)...]
        }
        line += rest
        return out
    }

    mutating func end() -> [UInt8] {
        var out: [UInt8] = []
        if !line.isEmpty { finishLine(&out) }
        return out
    }

    /// The empty line between the two is the body's, as postcat has it.
    private mutating func finishLine(_ out: inout [UInt8]) {
        if line.isEmpty { isInBody = true }
        if isInBody ? body : header { out += prefix + line + [UInt8(ascii: "\n")] }
        line.removeAll(keepingCapacity: true)
    }
}
