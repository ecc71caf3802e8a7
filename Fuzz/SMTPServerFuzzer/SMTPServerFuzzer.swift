// Any octets at all as the client's side of a session by SMTP or LMTP, with a shell that accepts nearly everything.
//
// The first two octets say where the rest is cut in two (and the first bit of them, that it is LMTP); the session must then do
// the same as with the rest in one piece. The octets are read as a header of the PROXY protocol too.
// Beyond that: nothing crashes, replies are well formed and bounded by the input, content that is committed has neither bare
// LF nor bare CR nor NUL and ends with CRLF, actions come in an order that a shell can follow.

import FuzzDriver
import MailSyntax
import NIOCore
import SMTP

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let bytes = UnsafeBufferPointer(start: start, count: count)
    guard bytes.count >= 2 else { return 0 }
    let input = ByteBuffer(bytes: bytes.dropFirst(2))
    let cut = input.readableBytes == 0 ? 0 : (Int(bytes[0] & 0x7F) << 8 | Int(bytes[1])) % (input.readableBytes + 1)
    let dialect: ServerSession.Dialect = bytes[0] & 0x80 == 0 ? .smtp : .lmtp
    checkProxyHeader(input)
    var whole = Shell(dialect)
    whole.run([input])
    var halves = Shell(dialect)
    halves.run([input.getSlice(at: 0, length: cut)!, input.getSlice(at: cut, length: input.readableBytes - cut)!])
    precondition(whole.replies == halves.replies, "the replies depend on how the input was cut")
    precondition(whole.events == halves.events, "the events depend on how the input was cut")
    precondition(whole.messages == halves.messages, "the messages depend on how the input was cut")
    return 0
}

/// A header is the same however much follows it, and nothing is one before it is whole.
private func checkProxyHeader(_ input: ByteBuffer) {
    guard case .header(let header, let length) = input.withUnsafeReadableBytes({ ProxyHeader.parse($0) }) else { return }
    precondition(length > 0 && length <= input.readableBytes, "a header longer than the input")
    for count in 0...length {
        let outcome = input.withUnsafeReadableBytes { ProxyHeader.parse(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
        precondition(outcome == (count == length ? .header(header, length: length) : .needMore), "a header depends on how the input was cut")
    }
}

private struct Shell: ~Copyable {
    private(set) var replies: [UInt8] = []
    private(set) var events: [String] = []
    private(set) var messages: [[UInt8]] = []
    private var content: [UInt8]?
    private var isBinary = false
    private var session: ServerSession
    private static let messageSizeLimit = 2000

    init(_ dialect: ServerSession.Dialect) {
        var configuration = ServerSession.Configuration(
            hostname: Domain("mx.example")!, origin: Domain("example")!, messageSizeLimit: Shell.messageSizeLimit, recipientLimit: 3)
        configuration.dialect = dialect
        configuration.offersEXPN = true
        configuration.offersETRN = true
        configuration.encryption = .may
        configuration.logins = .init(mechanisms: ["PLAIN", "LOGIN"], needsTLS: false)
        session = ServerSession(configuration: configuration)
        session.privileges = [.override, .forward]
    }

    mutating func run(_ pieces: [ByteBuffer]) {
        session.greet()
        turn(received: 0)
        for piece in pieces {
            session.receive(piece)
            turn(received: piece.readableBytes)
        }
        session.endOfInput()
        turn(received: 0)
        precondition(events.last == "close" && session.next() == nil, "the session goes on after its end")
        precondition(content == nil, "content was begun, and neither committed nor abandoned")
        checkReplies()
    }

    private mutating func turn(received: Int) {
        while let action = session.next() { perform(action) }
        precondition(!session.isWaitingForAnswer)
        precondition(session.unconsumedInput <= ServerLimits().loginLine, "input piles up")
        guard let output = session.takeOutput() else { return }
        // The longest of short commands' replies, times as many as are not errors yet.
        precondition(output.readableBytes <= 40_000 + 8 * received, "output piles up")
        replies += output.readableBytesView
    }

    private mutating func perform(_ action: ServerSession.Action) {
        precondition(events.last != "close", "an action after close")
        switch action {
        case .judgeSender(let sender, let size):
            events.append("sender \(sender?.description ?? "<>") \(size ?? -1)")
            if let sender { precondition(Address(sender.description) == sender, "an address that cannot be written") }
            session.answer(Reply(250, EnhancedCode(2, 1, 0), "Ok"))
        case .judgeRecipient(let recipient, _):
            events.append("recipient \(recipient.address) \(recipient.notify.parameter) \(recipient.originalRecipient ?? "")")
            precondition(Address(recipient.address.description) == recipient.address, "an address that cannot be written")
            precondition(recipient.originalRecipient?.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } ?? true)
            let isAccepted = recipient.address.localPart.utf8.count % 5 != 4
            session.answer(isAccepted ? Reply(250, EnhancedCode(2, 1, 5), "Ok") : Reply(550, EnhancedCode(5, 1, 1), "no such user"))
        case .judgeVerify(let argument):
            events.append("verify \(argument)")
            session.answer(Reply(252, EnhancedCode(2, 0, 0), argument))
        case .judgeExpand(let argument):
            events.append("expand \(argument)")
            session.answer(Reply(250, EnhancedCode(2, 0, 0), argument))
        case .runQueue(let node):
            events.append("run \(node.domain)")
            session.answer(Reply(250, EnhancedCode(2, 0, 0), "Ok"))
        case .override(let claims): events.append("override \(claims.value(.name) ?? "") \(claims.address?.description ?? "")")
        case .beginLogin(let mechanism, let initial):
            precondition(["PLAIN", "LOGIN"].contains(mechanism), "a mechanism that was not offered")
            events.append("login \(mechanism)")
            answerLogin(initial)
        case .continueLogin(let response): answerLogin(response)
        case .startTLS:
            events.append("tls")
            session.answer(ServerSession.tlsUnavailable)
        case .cancelLogin: events.append("cancel login")
        case .beginContent(let envelope):
            isBinary = envelope.body == .binary
            precondition(content == nil && (1...3).contains(envelope.recipients.count))
            events.append("begin \(envelope.recipients.count)")
            content = []
        case .content(let slice): content! += slice.readableBytesView
        case .commit:
            if isBinary { precondition(content!.count <= Shell.messageSizeLimit) } else { checkContent(content!) }
            events.append("commit")
            messages.append(content!)
            content = nil
            session.answer(Reply(250, EnhancedCode(2, 0, 0), "Ok: queued"))
        case .abandonContent:
            precondition(content != nil)
            content = nil
            events.append("abandon")
        case .refused(let reply, let command, _):
            precondition(command.utf8.count <= 128 && command.utf8.allSatisfy { (0x20...0x7E).contains($0) })
            events.append("refused \(reply.summary) \(command)")
        case .close: events.append("close")
        }
    }

    /// Three kinds of answers, by what was said.
    private mutating func answerLogin(_ response: [UInt8]?) {
        precondition(session.login == nil, "a login after a login")
        events.append("response \(response?.count ?? -1)")
        switch (response?.count ?? 0) % 3 {
        case 0: session.challenge(Array((response ?? []).prefix(300)))
        case 1: session.answer(ServerSession.loginFailed)
        default:
            session.loggedIn(as: "user")
            precondition(session.login == "user")
        }
    }

    private func checkContent(_ message: [UInt8]) {
        precondition(message.count <= Shell.messageSizeLimit)
        precondition(message.isEmpty || message.suffix(2) == [13, 10], "a message without its last line end")
        for (index, byte) in message.enumerated() {
            precondition(byte != 0, "NUL in a message")
            precondition(byte != 10 || index > 0 && message[index - 1] == 13, "a bare LF in a message")
            precondition(byte != 13 || index + 1 < message.count && message[index + 1] == 10, "a bare CR in a message")
        }
    }

    ///     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    private func checkReplies() {
        precondition(replies.suffix(2) == [13, 10])
        var lineStart = 0
        for (index, byte) in replies.enumerated() where byte == 10 {
            let line = replies[lineStart..<index - 1]
            precondition(line.count >= 4 && line.count <= 510 && line.prefix(3).allSatisfy { (0x30...0x39).contains($0) })
            precondition(line[lineStart + 3] == 0x20 || line[lineStart + 3] == 0x2D)
            precondition(line.allSatisfy { $0 >= 0x20 && $0 != 0x7F })
            lineStart = index + 1
        }
    }
}
