// What the shell can ask of a session: greeting, refusing, waiting, timing out, shutting down.

import MailSyntax
import NIOCore
import Testing
@testable import SMTP

@Suite("Server session")
struct ServerSessionTests {
    private func script(_ input: String = "", greeted: Bool = true) -> ServerScript {
        var script = ServerScript()
        if greeted { script.greet() }
        if !input.isEmpty { script.receive(Array(input.utf8)) }
        return script
    }

    private let message = "HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example>\r\nDATA\r\n"

    @Test("a client that speaks before the greeting is refused")
    func earlyTalker() {
        var script = script("EHLO c\r\n", greeted: false)
        #expect(script.transcript.replies == "")
        script.greet()
        #expect(script.transcript.replies.hasPrefix("554 5.5.0 "))
        #expect(script.transcript.events.last == "close")
    }

    @Test("a session can be refused instead of greeted, and then obeys nothing")
    func refused() {
        var script = script(greeted: false)
        script.session.refuse(Reply(421, EnhancedCode(4, 7, 0), "mx.example Error: too many connections"))
        script.receive(Array("EHLO c\r\n".utf8))
        #expect(script.transcript.replies == "421 4.7.0 mx.example Error: too many connections\n")
        #expect(script.transcript.events == ["close"])
    }

    @Test("while an answer is awaited nothing else happens, and replies keep the order of commands")
    func waiting() {
        var session = ServerSession(configuration: ServerScript.configuration)
        session.greet()
        session.receive(ByteBuffer(string: "HELO c\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example>\r\nNOOP\r\n"))
        guard case .judgeSender? = session.next() else { return _ = Issue.record("no question") }
        #expect(session.isWaitingForAnswer == true)
        #expect(session.next() == nil)
        session.timeOut()
        session.receive(ByteBuffer(string: "QUIT\r\n"))
        #expect(session.next() == nil)
        #expect(session.unconsumedInput == 35)
        _ = session.takeOutput()
        session.answer(Reply(250, EnhancedCode(2, 1, 0), "Ok"))
        guard case .judgeRecipient? = session.next() else { return _ = Issue.record("no question") }
        session.answer(Reply(550, EnhancedCode(5, 1, 1), "No"))
        guard case .close? = session.next() else { return _ = Issue.record("not closed") }
        session.answer(Reply(250, nil, "late"))
        #expect(session.takeOutput().map { String(buffer: $0) } == "250 2.1.0 Ok\r\n550 5.1.1 No\r\n250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n")
        #expect(session.next() == nil)
    }

    @Test("a timeout inside a message abandons it and closes")
    func timeout() {
        var script = script(message + "half")
        script.session.timeOut()
        script.turn()
        #expect(script.transcript.events.suffix(2) == ["abandon", "close"])
        #expect(script.transcript.replies.hasSuffix("421 4.4.2 mx.example Error: timeout exceeded\n"))
    }

    @Test("a shutdown between commands closes at once")
    func shutdownAtOnce() {
        var script = script("HELO c\r\nMAIL FROM:<a@b.example>\r\n")
        script.session.shutDown()
        script.turn()
        #expect(script.transcript.replies.hasSuffix("250 2.1.0 Ok\n421 4.3.2 mx.example Service not available: shutting down\n"))
        #expect(script.transcript.events.last == "close")
    }

    @Test("a shutdown inside a message waits for its reply")
    func shutdownInContent() {
        var script = script(message + "half")
        script.session.shutDown()
        script.turn()
        #expect(script.isClosed == false)
        script.receive(Array("\r\n.\r\nNOOP\r\n".utf8))
        #expect(script.transcript.replies.hasSuffix("queued as 1\n421 4.3.2 mx.example Service not available: shutting down\n"))
        #expect(script.isClosed == true)
    }

    @Test("a shutdown before the greeting greets with 421")
    func shutdownBeforeGreeting() {
        var script = script(greeted: false)
        script.session.shutDown()
        script.turn()
        #expect(script.transcript.replies.hasPrefix("421 4.3.2 "))
        #expect(script.isClosed == true)
    }

    @Test("a message that is accepted clears the count of errors")
    func errorsAreForgiven() {
        var script = script("HELO c\r\n" + String(repeating: "BAD\r\n", count: 19))
        script.receive(Array((message + ".\r\n" + String(repeating: "BAD\r\n", count: 19)).utf8))
        #expect(script.isClosed == false)
        script.receive(Array("BAD\r\n".utf8))
        #expect(script.isClosed == true)
        #expect(script.transcript.replies.hasSuffix("421 4.7.0 mx.example Error: too many errors\n"))
    }

    @Test("twenty guessed recipients end the session")
    func guessing() {
        var script = script("HELO c\r\nMAIL FROM:<a@b.example>\r\n" + String(repeating: "RCPT TO:<nobody@example>\r\n", count: 30))
        #expect(script.transcript.events.filter { $0.hasPrefix("recipient") }.count == 20)
        #expect(script.isClosed == true)
        script.receive(Array("NOOP\r\n".utf8))
        #expect(script.session.unconsumedInput == 0)
    }

    @Test("without a limit, SIZE is 0 and every message is accepted")
    func noSizeLimit() {
        var configuration = ServerScript.configuration
        configuration.messageSizeLimit = 0
        var script = ServerScript(configuration)
        script.greet()
        script.receive(Array("EHLO c\r\nMAIL FROM:<a@b.example> SIZE=99999999999\r\n".utf8))
        #expect(script.transcript.replies.contains("250-SIZE 0\n"))
        #expect(script.transcript.replies.hasSuffix("250 2.1.0 Ok\n"))
    }

    @Test("replies stay one line each, printable and within 512 octets, whatever their text")
    func replyText() {
        var buffer = ByteBuffer()
        buffer.writeReply(Reply(550, EnhancedCode(5, 1, 1), lines: ["a\r\n250 Ok\u{0}", String(repeating: "x", count: 600), ""]))
        let lines = String(buffer: buffer).split(separator: "\r\n", omittingEmptySubsequences: false)
        #expect(lines.count == 4)
        #expect(lines[0] == "550-5.1.1 a??250 Ok?")
        #expect(lines[1].utf8.count <= 510)
        #expect(lines[2] == "550 5.1.1 ")
        var cut = ByteBuffer()
        cut.writeReply(Reply(550, EnhancedCode(5, 1, 1), "x" + String(repeating: "ä", count: 300)))
        #expect(String(buffer: cut).utf8.count <= 512 && !String(buffer: cut).unicodeScalars.contains("\u{FFFD}"))
        var empty = ByteBuffer()
        empty.writeReply(Reply(250, nil, lines: []))
        #expect(String(buffer: empty) == "250 \r\n")
    }
}
