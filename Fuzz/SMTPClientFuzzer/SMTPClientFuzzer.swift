// Fuzzes the client's side of SMTP and LMTP: the input is what a server says. Whatever it is, the session must not trap, must
// answer the same however the bytes are cut, must give each recipient of a message that was begun exactly one result (or
// one `unstarted` for all), and must say nothing more after `close`.

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
    // The first octet chooses how the rest is cut.
    guard let cut = bytes.first else { return 0 }
    let input = Array(bytes.dropFirst())
    let lump = replies(in: [input[...]])
    let size = max(1, Int(cut & 15))
    let pieces = stride(from: 0, to: input.count, by: size).map { input[$0..<min($0 + size, input.count)] }
    precondition(replies(in: pieces) == lump, "the replies depend on how the bytes are cut")
    converse(pieces, pausesInContent: cut & 16 != 0, by: cut & 32 != 0 ? .lmtp : .smtp, encryption: cut & 128 == 0 ? .none : cut & 16 == 0 ? .offered : .required, messages: cut & 64 != 0 ? binaryMessages : messages)
    return 0
}

/// The replies, and the flaw that ended them.
private func replies(in pieces: [ArraySlice<UInt8>]) -> [String] {
    var parser = ReplyParser()
    var buffer = ByteBuffer()
    var result: [String] = []
    for piece in pieces {
        buffer.writeBytes(piece)
        do {
            while let reply = try parser.next(in: &buffer) { result.append("\(reply)") }
        } catch {
            return result + ["\(error)"]
        }
    }
    return result
}

private func message(isInMemory: Bool, isBinary: Bool) -> OutgoingMessage {
    let addresses = ["a@example.org", "b@example.org", "\u{E9}@example.org"].map { Address($0)! }
    let content = ByteBuffer(string: isBinary ? "Subject: x\r\n\r\n\0\u{E9}" : "Subject: x\r\n\r\nx\r\n")
    var envelope = Envelope(
        sender: addresses[0],
        recipients: addresses.map { EnvelopeRecipient(address: $0, notify: .failure, originalRecipient: "rfc822;x@example.org") })
    if isBinary { envelope.body = .binary }
    return OutgoingMessage(envelope: envelope, size: content.readableBytes, traits: ContentTraits(of: content), isInMemory: isInMemory)
}

/// By DATA; by one BDAT with the envelope, where the server has CHUNKING; by BDATs behind it, or 7-bit where it has no BINARYMIME.
private let messages = [message(isInMemory: false, isBinary: false), message(isInMemory: true, isBinary: false), message(isInMemory: false, isBinary: false)]
private let binaryMessages = [message(isInMemory: false, isBinary: true), message(isInMemory: true, isBinary: false), message(isInMemory: true, isBinary: true)]

/// Plays the client that has three messages to send.
private func converse(
    _ pieces: [ArraySlice<UInt8>], pausesInContent: Bool, by dialect: NextHop.Dialect, encryption: ClientSession.Encryption, messages: [OutgoingMessage]
) {
    var session = ClientSession(heloName: Domain("me.example")!, peer: "mx[192.0.2.1]", dialect: dialect)
    session.logsIn = pausesInContent && dialect == .smtp
    session.encryption = encryption
    var left = messages.count
    var message = messages[0]
    // For one size of pieces.
    let cutsHandshake = pieces.first?.count == 3
    // How many results each recipient of the message under way has; nil when there is none.
    var results: [Int]?
    var isClosed = false

    func settle() {
        if let results { precondition(results.allSatisfy { $0 == 1 }, "a recipient has \(results) results") }
        results = nil
    }

    func perform(_ actions: [ClientSession.Action]) {
        var isReady = false
        var following: [ClientSession.Action] = []
        for action in actions {
            precondition(!isClosed, "an action after close")
            switch action {
            case .send: break
            case .sendContent: if !pausesInContent { session.contentSent() }
            case .sendChunks:
                precondition(dialect == .smtp, "chunks by LMTP")
                // Two that are not the last, and the last; or the last is still being written when replies come.
                if !message.isInMemory { (0..<2).forEach { _ in session.chunkSent() } }
                if !pausesInContent { session.contentSent() }
            case .result(let recipient, _, _): results![recipient] += 1
            case .chooseLogin(let offered):
                following = offered.isEmpty ? session.giveUpLogin(because: "nothing offered") : session.beginLogin("PLAIN", initial: Array(repeating: 65, count: offered.count * 100))
            case .respond(let challenge): following = session.respond(Array(challenge.prefix(9)))
            case .startTLS:
                precondition(encryption != .none && !session.isEncrypted, "a handshake that nobody asked for")
                // The input goes on in TLS, or the handshake fails.
                following = cutsHandshake ? session.tlsFailed("no", isUnverified: pausesInContent) : session.tlsEstablished()
            case .staysInClear: precondition(encryption == .offered && !session.isEncrypted)
            case .loggedIn: precondition(session.logsIn)
            case .ready:
                precondition(encryption != .required || session.isEncrypted, "in the clear where TLS is required")
                settle()
                isReady = true
            case .unstarted:
                precondition(results?.allSatisfy { $0 == 0 } == true, "not begun, and yet with results")
                results = nil
            case .close:
                settle()
                isClosed = true
            }
        }
        if !following.isEmpty { return perform(following) }
        guard isReady, !isClosed, session.phase == .idle else { return }
        guard left > 0 else { return perform(session.quit()) }
        message = messages[messages.count - left]
        left -= 1
        if session.needsSevenBit(message) { message.becomeSevenBit(size: message.size) }
        results = message.envelope.recipients.map { _ in 0 }
        perform(session.begin(message))
    }

    for piece in pieces { perform(session.receive(ByteBuffer(bytes: piece))) }
    if !isClosed { perform(session.connectionLost()) }
    precondition(isClosed, "a lost connection is not closed")
}
