import MailSyntax
import NIOCore
import Testing

@testable import SMTP

@Suite("Client: reply parser")
struct ClientReplyParserTests {
    /// The replies of a stream that arrives in the given pieces, and the flaw at its end.
    private func parse(_ pieces: [[UInt8]]) -> (replies: [Reply], flaw: ReplyParser.Flaw?) {
        var parser = ReplyParser()
        var buffer = ByteBuffer()
        var replies: [Reply] = []
        for piece in pieces {
            buffer.writeBytes(piece)
            do {
                while let reply = try parser.next(in: &buffer) { replies.append(reply) }
            } catch {
                return (replies, error)
            }
        }
        return (replies, nil)
    }

    static let streams: [(String, [Reply])] = [
        ("220 mx.example.net ESMTP\r\n", [Reply(220, nil, "mx.example.net ESMTP")]),
        ("250\r\n", [Reply(250, nil, "")]),
        ("250 \r\n", [Reply(250, nil, "")]),
        ("250-one\r\n250-\r\n250 three\r\n", [Reply(250, lines: ["one", "", "three"])]),
        ("250-one\r\n250\r\n", [Reply(250, lines: ["one", ""])]),
        ("250 2.1.0 Ok\r\n", [Reply(250, EnhancedCode(2, 1, 0), "Ok")]),
        ("250 2.1.0\r\n", [Reply(250, EnhancedCode(2, 1, 0), "")]),
        ("550-5.1.1 No such\r\n550 5.1.1 user\r\n", [Reply(550, EnhancedCode(5, 1, 1), lines: ["No such", "user"])]),
        ("550-5.1.1 No such\r\n550 user\r\n", [Reply(550, EnhancedCode(5, 1, 1), lines: ["No such", "user"])]),
        ("550-5.1.1 No\r\n550 5.1.12 other\r\n", [Reply(550, EnhancedCode(5, 1, 1), lines: ["No", "5.1.12 other"])]),
        // The class must be that of the code, else it is text.
        ("550 2.1.1 No\r\n", [Reply(550, nil, "2.1.1 No")]),
        ("220 1.2.3.4 ready\r\n", [Reply(220, nil, "1.2.3.4 ready")]),
        ("250 a\n250 b\n", [Reply(250, nil, "a"), Reply(250, nil, "b")]),
        ("250 a\r\n354 b\r\n550 c\r\n", [Reply(250, nil, "a"), Reply(354, nil, "b"), Reply(550, nil, "c")]),
        ("250 \u{1}a\tb\u{7F}\r\n", [Reply(250, nil, "?a b?")]),
        ("250 \u{E9}\r\n", [Reply(250, nil, "\u{E9}")]),
        ("250 a\rb\r\n", [Reply(250, nil, "a?b")]),
    ]

    @Test("replies are the same whether they come in one lump, by drips, or split anywhere", arguments: streams)
    func replies(text: String, want: [Reply]) {
        let bytes = Array(text.utf8)
        #expect(parse([bytes]).replies == want)
        #expect(parse(bytes.map { [$0] }).replies == want)
        for split in bytes.indices {
            let got = parse([Array(bytes[..<split]), Array(bytes[split...])])
            #expect(got.replies == want, "split at \(split)")
            #expect(got.flaw == nil)
        }
    }

    @Test(
        "what is no reply is a flaw",
        arguments: [
            ("\r\n", .notAReply("")),
            ("25\r\n", .notAReply("25")),
            ("250x\r\n", .notAReply("250x")),
            ("2a0 ok\r\n", .notAReply("2a0 ok")),
            ("199 ok\r\n", .notAReply("199 ok")),
            ("600 ok\r\n", .notAReply("600 ok")),
            ("HTTP/1.1 400 Bad Request\r\n", .notAReply("HTTP/1.1 400 Bad Request")),
            ("250-a\r\n251 b\r\n", .codeChanges),
            (String(repeating: "a", count: ReplyParser.longestLine), .lineTooLong),
            (String(repeating: "250-a\r\n", count: ReplyParser.mostLines + 1), .tooManyLines),
            (String(repeating: "250-" + String(repeating: "a", count: 1000) + "\r\n", count: 40), .replyTooLong),
        ] as [(String, ReplyParser.Flaw)])
    func flaws(text: String, want: ReplyParser.Flaw) {
        #expect(parse([Array(text.utf8)]).flaw == want)
        #expect(parse(text.utf8.map { [$0] }).flaw == want)
    }

    @Test("a line of the greatest length is read")
    func longestLine() {
        let text = "250 " + String(repeating: "a", count: ReplyParser.longestLine - 6)
        #expect(parse([Array((text + "\r\n").utf8)]).replies == [Reply(250, nil, String(text.dropFirst(4)))])
    }

    @Test("octets that are no UTF-8 do not stop the reader")
    func notUTF8() {
        #expect(parse([[0x32, 0x35, 0x30, 0x20, 0xFF, 0x0D, 0x0A]]).replies == [Reply(250, nil, "\u{FFFD}")])
    }
}

@Suite("Client: extensions")
struct ClientExtensionsTests {
    @Test("keywords count without case, the first line never, a limit of 0 or nonsense is none")
    func keywords() {
        let all = PeerExtensions(
            Reply(250, lines: ["PIPELINING", "pipelining", "SIZE 1000", "8bitmime", "DSN", "SMTPUTF8", "", "XCLIENT A B"]))
        #expect(all.pipelining && all.size && all.eightBitMIME && all.deliveryStatus && all.internationalized)
        #expect(all.largestMessage == 1000)
        #expect(PeerExtensions(Reply(250, nil, "PIPELINING")) == PeerExtensions())
        for text in ["SIZE", "SIZE 0", "SIZE -5", "SIZE x", "SIZE 99999999999999999999"] {
            let offered = PeerExtensions(Reply(250, lines: ["mx", text]))
            #expect(offered.size && offered.largestMessage == nil, "\(text)")
        }
    }
}
