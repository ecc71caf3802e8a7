// Whole dialogues as data: dialogues/*.txt. In each file `#` says why it exists, `@ name value` sets a limit, `C:` is a line
// from the client (escapes as in `escaped`, CRLF is added), `R:` the same without CRLF, `X:` a line repeated: `X: 20 NOOP`,
// `E:` the end of the client's input, `S:` a reply line expected, `A:` an event expected (see `ServerScript`). Replies and
// events are compared in order, each apart: how they interleave with the client's lines depends on how those come.

import Glibc
import MailSyntax
import NIOCore
import Testing
@testable import SMTP

struct Dialogue: CustomTestStringConvertible {
    let name: String
    var configuration = ServerScript.configuration
    var privileges: ServerSession.Privileges = []
    var input: [UInt8] = []
    var endsInput = false
    var wantedReplies = ""
    var wantedEvents: [String] = []

    var testDescription: String { name }

    static let all: [Dialogue] = {
        let folder = testFolder() + "/dialogues"
        return directoryEntries(folder).filter { $0.hasSuffix(".txt") }.sorted().map { Dialogue(name: $0, text: readText("\(folder)/\($0)")) }
    }()

    init(name: String, text: String) {
        self.name = name
        for line in text.split(separator: "\n") where !line.hasPrefix("#") {
            let value = line.dropFirst(3)
            switch line.prefix(2) {
            case "C:": input += unescaped(value) + [13, 10]
            case "R:": input += unescaped(value)
            case "E:": endsInput = true
            case "S:": wantedReplies += value + "\n"
            case "A:": wantedEvents.append(String(value))
            case "X:":
                let parts = value.split(separator: " ", maxSplits: 1)
                for _ in 0..<Int(parts[0])! { input += unescaped(parts[1]) + [13, 10] }
            case "@ ": set(line.dropFirst(2))
            default: fatalError("\(name): \(line)")
            }
        }
    }

    private mutating func set(_ setting: Substring) {
        let parts = setting.split(separator: " ")
        let number = Int(parts[1])!
        switch parts[0] {
        case "message_size": configuration.messageSizeLimit = number
        case "recipients": configuration.recipientLimit = number
        case "errors": configuration.limits.errors = number
        case "idle": configuration.limits.idleCommands = number
        case "overshoot": configuration.limits.recipientOvershoot = number
        case "logins": configuration.logins = .init(mechanisms: ["PLAIN", "LOGIN"], needsTLS: false)
        case "tls": configuration.encryption = .may
        case "tls_required": configuration.encryption = .encrypt
        case "login_required": configuration.logins?.isRequired = true
        case "login_needs_tls": configuration.logins?.needsTLS = true
        case "login_line": configuration.limits.loginLine = number
        case "line": configuration.limits.commandLine = number
        case "lmtp": configuration.dialect = .lmtp
        case "expn": configuration.offersEXPN = true
        case "etrn": configuration.offersETRN = true
        case "messages": configuration.messageLimit = number
        case "privileges": privileges = [.override, .forward]
        default: fatalError("\(name): \(setting)")
        }
    }

    func run(_ pieces: [ArraySlice<UInt8>]) -> ServerTranscript {
        var script = ServerScript(configuration)
        script.session.privileges = privileges
        script.greet()
        for piece in pieces { script.receive(piece) }
        if endsInput {
            script.session.endOfInput()
            script.turn()
        }
        return script.transcript
    }
}

@Suite("Server dialogues")
struct ServerDialogueTests {
    @Test("a dialogue sent in one piece has the replies and events of its file", arguments: Dialogue.all)
    func lump(_ dialogue: Dialogue) {
        let got = dialogue.run([dialogue.input[...]])
        #expect(got.replies == dialogue.wantedReplies)
        #expect(got.events == dialogue.wantedEvents)
    }

    @Test("a dialogue sent octet by octet has the same", arguments: Dialogue.all)
    func drip(_ dialogue: Dialogue) {
        let got = dialogue.run(dialogue.input.indices.map { dialogue.input[$0...$0] })
        #expect(got.replies == dialogue.wantedReplies)
        #expect(got.events == dialogue.wantedEvents)
    }

    @Test("a dialogue split at any octet has the same", arguments: Dialogue.all)
    func split(_ dialogue: Dialogue) {
        let want = dialogue.run([dialogue.input[...]])
        for index in dialogue.input.indices {
            let got = dialogue.run([dialogue.input[..<index], dialogue.input[index...]])
            #expect(got == want, "split at \(index)")
            if got != want { break }
        }
    }
}

// MARK: Files

func testFolder(_ path: String = #filePath) -> String { String(path[..<path.lastIndex(of: "/")!]) }

func directoryEntries(_ path: String) -> [String] {
    guard let directory = opendir(path) else { fatalError("cannot read \(path)") }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        names.append(withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names
}

func readText(_ path: String) -> String {
    guard let file = fopen(path, "r") else { fatalError("cannot read \(path)") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 65_536)
    while case let count = fread(&block, 1, block.count, file), count > 0 { bytes += block[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}
