// Message content: what ends it, what is refused, what passes through; and that it costs no memory and little time.

import MailSyntax
import NIOCore
import Testing
@testable import SMTP

private func session(_ bytes: [UInt8], pieces: Int? = nil, configuration: ServerSession.Configuration = ServerScript.configuration) -> ServerTranscript {
    var script = ServerScript(configuration)
    script.greet()
    guard let pieces else {
        script.receive(bytes)
        return script.transcript
    }
    var start = 0
    while start < bytes.count {
        let end = min(bytes.count, start + pieces)
        script.receive(bytes[start..<end])
        start = end
    }
    return script.transcript
}

private let envelope = Array("EHLO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example>\r\n".utf8)

/// The outcome alone, without how the dialogue began.
private func outcome(_ transcript: ServerTranscript) -> [String] {
    Array(transcript.events.drop { !$0.hasPrefix("begin") }.dropFirst())
}

@Suite("Message content")
struct ServerContentTests {
    /// All that looks like the end of a message to a server that takes a bare LF or CR for a line end (CVE-2023-51764,
    /// CVE-2023-51765, CVE-2023-51766 and their kin).
    static let falseEnds = [
        "\\n.\\n", "\\n.\\r\\n", "\\r\\n.\\n", "\\r\\n.\\r", "\\r.\\r", "\\r.\\r\\n", "\\r.\\n", "\\n.\\r", "\\r\\n.\\r\\r\\n", "\\r\\r\\n.\\r\\r\\n",
        "\\n\\r.\\n\\r", "\\r\\n\\n.\\n\\r\\n", "\\r\\n.\\0\\r\\n", "\\r\\n\\0.\\r\\n", "\\0\\r\\n.\\r", "\\n\\n.\\n\\n", "\\r\\r.\\r\\r", "\\n.\\r\\r\\n", "\\r\\n.\\n\\n",
        "\\r\\n.\\r.\\r\\n", "\\r\\n.\\n.\\r\\n",
    ]

    /// A bare CR or LF is a matter of syntax, a NUL one of the content.
    private func code(of end: String) -> String {
        end.replacing("\\r\\n", with: "").contains { $0 == "r" || $0 == "n" } ? "5.5.2" : "5.6.0"
    }

    @Test("no variant of a false end ends a message, and the message is refused", arguments: falseEnds)
    func falseEnd(_ end: String) {
        let smuggled = "MAIL FROM:<evil@b.example>\r\nRCPT TO:<carol@example>\r\nDATA\r\nsmuggled"
        let bytes = envelope + Array("DATA\r\nSubject: x\r\n\r\nbody".utf8) + unescaped(end) + Array("\(smuggled)\r\n.\r\nNOOP\r\n".utf8)
        for pieces in [nil, 1, 2, 3, 7] {
            let got = session(bytes, pieces: pieces)
            let events = outcome(got)
            #expect(got.messages.isEmpty)
            #expect(events.count == 2 && events[0] == "abandon" && events[1].hasPrefix("refused 550 \(code(of: end)) "), "\(events)")
            #expect(got.replies.hasSuffix("\n250 2.0.0 Ok\n"), "the session goes on")
        }
    }

    @Test("a BDAT message with a false end is refused", arguments: falseEnds)
    func falseEndInChunk(_ end: String) {
        let content = Array("body".utf8) + unescaped(end) + Array("more\r\n".utf8)
        for pieces in [nil, 1, 2, 3, 7] {
            let got = session(envelope + Array("BDAT \(content.count) LAST\r\n".utf8) + content + Array("NOOP\r\n".utf8), pieces: pieces)
            #expect(got.messages.isEmpty)
            #expect(outcome(got).last?.hasPrefix("refused 550 \(code(of: end)) ") == true)
            #expect(got.replies.hasSuffix("\n250 2.0.0 Ok\n"))
        }
    }

    @Test("a bare LF or CR or a NUL anywhere is refused, whatever its place in a machine word", arguments: 0..<40)
    func flawAtAnyPlace(_ place: Int) {
        for (flaw, name) in [("\n", "<LF>"), ("\r", "<CR>"), ("\0", "NUL")] {
            let line = String(repeating: "\t", count: place % 5) + String(repeating: "x", count: place) + flaw + String(repeating: "y", count: 20)
            let got = session(envelope + Array("DATA\r\n\(line)\r\n.\r\n".utf8))
            #expect(outcome(got).last?.contains(name) == true)
        }
    }

    @Test("octets beyond ASCII are noticed wherever they stand", arguments: 0..<40)
    func eightBitAtAnyPlace(_ place: Int) {
        for length in [place + 1, place + 3, place + 17] {
            var line = [UInt8](repeating: 0x78, count: length)
            var scanner = ContentScanner(isDotStuffed: true, sizeLimit: 1000)
            _ = (line + [13, 10]).withUnsafeBytes { scanner.scan($0) }
            #expect(!scanner.hasEightBitOctets)
            line[place] = 0xFC
            _ = (line + [13, 10]).withUnsafeBytes { scanner.scan($0) }
            #expect(scanner.hasEightBitOctets)
        }
    }

    @Test("what was dot-stuffed arrives as it was, in pieces of any length", arguments: 0..<200)
    func roundTrip(seed: Int) {
        var random = SmallRandom(seed: UInt64(seed))
        let message = (0..<Int.random(in: 0...12, using: &random)).flatMap { _ -> [UInt8] in
            let line = (0..<Int.random(in: 0...30, using: &random)).map { _ in UInt8(ascii: ["." as Unicode.Scalar, "a", "\t", " "].randomElement(using: &random)!) }
            return line + [13, 10]
        }
        var stuffed: [UInt8] = []
        var isLineStart = true
        for byte in message {
            if isLineStart, byte == UInt8(ascii: ".") { stuffed.append(byte) }
            stuffed.append(byte)
            isLineStart = byte == 10
        }
        let bytes = envelope + Array("DATA\r\n".utf8) + stuffed + Array(".\r\n".utf8)
        for pieces in [nil, 1, Int.random(in: 2...20, using: &random)] { #expect(session(bytes, pieces: pieces).messages == [message]) }
        let chunk = envelope + Array("BDAT \(message.count) LAST\r\n".utf8) + message
        #expect(session(chunk, pieces: 3).messages == [message])
    }

    @Test("lines of any length pass through unchanged")
    func longLine() {
        var configuration = ServerScript.configuration
        configuration.messageSizeLimit = 1_000_000
        let line = [UInt8](repeating: 0x61, count: 200_000) + [13, 10]
        let got = session(envelope + Array("DATA\r\n".utf8) + line + Array(".\r\n".utf8), configuration: configuration)
        #expect(got.messages == [line])
    }

    @Test("a message beyond the limit is read over without being kept")
    func swallowing() {
        var session = ServerSession(configuration: ServerScript.configuration)
        session.greet()
        session.receive(ByteBuffer(bytes: envelope + Array("DATA\r\n".utf8)))
        let block = ByteBuffer(repeating: 0x61, count: 65_536)
        var contentAfterRefusal = 0
        var isAbandoned = false
        for _ in 0..<50 {
            while let action = session.next() {
                switch action {
                case .judgeSender, .judgeRecipient: session.answer(Reply(250, nil, "Ok"))
                case .abandonContent: isAbandoned = true
                case .content(let slice): contentAfterRefusal += isAbandoned ? slice.readableBytes : 0
                default: break
                }
            }
            #expect(session.unconsumedInput == 0)
            session.receive(block)
        }
        #expect(isAbandoned)
        #expect(contentAfterRefusal == 0)
    }

    @Test("an endless command line is dropped as it comes")
    func endlessLine() {
        var script = ServerScript()
        script.greet()
        for _ in 0..<50 {
            script.receive([UInt8](repeating: 0x61, count: 65_536))
            #expect(script.session.unconsumedInput <= 1)
        }
        script.receive(Array("\r\nNOOP\r\n".utf8))
        #expect(script.transcript.replies.hasSuffix("limit is 2048 octets\n250 2.0.0 Ok\n"))
    }

    @Test("content is handed out without copying it")
    func slices() {
        var session = ServerSession(configuration: ServerScript.configuration)
        session.greet()
        session.receive(ByteBuffer(bytes: envelope + Array("DATA\r\n".utf8)))
        while let action = session.next() {
            switch action {
            case .judgeSender, .judgeRecipient: session.answer(Reply(250, nil, "Ok"))
            default: break
            }
        }
        let received = ByteBuffer(string: String(repeating: "x", count: 500))
        session.receive(received)
        guard case .content(let slice)? = session.next() else {
            Issue.record("no content")
            return
        }
        #expect(slice.withUnsafeReadableBytes { $0.baseAddress } == received.withUnsafeReadableBytes { $0.baseAddress })
    }
}

/// The same numbers for the same seed, so that a failure can be repeated (Steele, Lea, Flood: SplitMix).
struct SmallRandom: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 }
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
