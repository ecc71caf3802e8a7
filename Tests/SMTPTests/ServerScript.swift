// A shell for `ServerSession` that acts by rules instead of sockets and stores, and notes what happened. What it notes does
// not depend on how the octets came: runs of content are joined, replies are one text.

import MailSyntax
import NIOCore
@testable import SMTP

/// What a session did with some input, in a form to compare.
struct ServerTranscript: Equatable {
    /// All replies, lines ended by LF.
    var replies = ""
    /// `sender …`, `recipient …`, `begin …`, `commit`, `abandon`, `refused …`, `close`, in order.
    var events: [String] = []
    /// Content of each committed message.
    var messages: [[UInt8]] = []
}

/// Rules: senders at `full.example` get 452 4.3.1, recipients named `nobody…` get 550 5.1.1, `later…` 450 4.2.0; a message
/// that contains `spoil` gets 451 4.3.0 at its end; all else is accepted. A login by PLAIN with the password `secret` is right;
/// by LOGIN it is asked for name and password.
struct ServerScript: ~Copyable {
    var session: ServerSession
    private(set) var transcript = ServerTranscript()
    private var content: [UInt8]?
    private var loginParts = 0
    /// The longest output that one turn left to be written.
    private(set) var largestOutput = 0
    private(set) var isClosed = false

    static let configuration = ServerSession.Configuration(
        hostname: Domain("mx.example")!, origin: Domain("example")!, messageSizeLimit: 1000, recipientLimit: 3)

    init(_ configuration: ServerSession.Configuration = configuration) {
        session = ServerSession(configuration: configuration)
    }

    mutating func greet() {
        session.greet()
        turn()
    }

    mutating func receive(_ bytes: some Sequence<UInt8>) {
        session.receive(ByteBuffer(bytes: bytes))
        turn()
    }

    mutating func turn() {
        while let action = session.next() { perform(action) }
        if let output = session.takeOutput() {
            largestOutput = max(largestOutput, output.readableBytes)
            transcript.replies += String(decoding: output.readableBytesView.filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
        }
    }

    private mutating func perform(_ action: ServerSession.Action) {
        switch action {
        case .judgeSender(let sender, let size):
            transcript.events.append("sender <\(sender?.description ?? "")>" + (size.map { " size=\($0)" } ?? ""))
            let isFull = sender?.domain.key == "full.example"
            session.answer(isFull ? Reply(452, EnhancedCode(4, 3, 1), "Insufficient system storage") : Reply(250, EnhancedCode(2, 1, 0), "Ok"))
        case .judgeRecipient(let recipient, _):
            transcript.events.append("recipient \(ServerScript.describe(recipient))")
            session.answer(verdict(on: recipient.address))
        case .judgeVerify(let argument):
            transcript.events.append("verify \(argument)")
            session.answer(Reply(252, EnhancedCode(2, 0, 0), argument))
        case .judgeExpand(let argument):
            transcript.events.append("expand \(argument)")
            session.answer(Reply(250, EnhancedCode(2, 0, 0), lines: ["<alice@example>", "<bob@example>"]))
        case .runQueue(let node):
            transcript.events.append("run queue of \(node.includesSubdomains ? "all below " : "")\(node.domain)")
            session.answer(Reply(250, EnhancedCode(2, 0, 0), "Queuing started"))
        case .override(let claims): transcript.events.append("override \(ServerScript.describe(claims))")
        case .beginLogin(let mechanism, let initial): beginLogin(mechanism, initial)
        case .continueLogin(let response): continueLogin(response)
        case .startTLS:
            transcript.events.append("start TLS")
            session.answer(ServerSession.tlsUnavailable)
        case .cancelLogin: transcript.events.append("cancel login")
        case .beginContent(let envelope):
            transcript.events.append("begin \(ServerScript.describe(envelope)) by \(session.protocolName)" + (session.forwarded.map { " for \(ServerScript.describe($0))" } ?? ""))
            content = []
        case .content(let slice): content?.append(contentsOf: slice.readableBytesView)
        case .commit: commit()
        case .abandonContent:
            transcript.events.append("abandon")
            content = nil
        case .refused(let reply, let command, _): transcript.events.append("refused \(reply.summary) | \(command)")
        case .close:
            transcript.events.append("close")
            isClosed = true
        }
    }

    private mutating func beginLogin(_ mechanism: String, _ initial: [UInt8]?) {
        transcript.events.append("login \(mechanism)\(initial.map { " \(escaped($0))" } ?? "")")
        loginParts = 0
        guard let initial else { return session.challenge(Array((mechanism == "LOGIN" ? "Username:" : "").utf8)) }
        continueLogin(initial, by: mechanism)
    }

    private mutating func continueLogin(_ response: [UInt8], by mechanism: String? = nil) {
        if mechanism == nil { transcript.events.append("response \(escaped(response))") }
        loginParts += 1
        let parts = response.split(separator: 0, omittingEmptySubsequences: false)
        if parts.count == 3 {
            return parts[2].elementsEqual("secret".utf8)
                ? session.loggedIn(as: String(decoding: parts[1], as: UTF8.self)) : session.answer(ServerSession.loginFailed)
        }
        if loginParts == 1 { return session.challenge(Array("Password:".utf8)) }
        if response.elementsEqual("secret".utf8) { session.loggedIn(as: "alice") } else { session.answer(ServerSession.loginFailed) }
    }

    private func verdict(on address: Address) -> Reply {
        if address.localPart.hasPrefix("nobody") { return Reply(550, EnhancedCode(5, 1, 1), "<\(address)>: no such user") }
        if address.localPart.hasPrefix("later") { return Reply(450, EnhancedCode(4, 2, 0), "<\(address)>: try later") }
        return Reply(250, EnhancedCode(2, 1, 5), "Ok")
    }

    private mutating func commit() {
        let message = content ?? Array("commit without content".utf8)
        content = nil
        if String(decoding: message, as: UTF8.self).contains("spoil") {
            transcript.events.append("commit failed")
            return session.answer(Reply(451, EnhancedCode(4, 3, 0), "Error: queue file write error"))
        }
        transcript.messages.append(message)
        transcript.events.append("commit \(escaped(message))\(session.contentHasEightBitOctets ? " 8bit" : "")")
        session.answer(Reply(250, EnhancedCode(2, 0, 0), "Ok: queued as \(transcript.messages.count)"))
    }

    static func describe(_ recipient: EnvelopeRecipient) -> String {
        var text = "<\(recipient.address)>"
        if recipient.notify != .unspecified { text += " notify=\(recipient.notify.parameter)" }
        if let original = recipient.originalRecipient { text += " orcpt=\(original)" }
        return text
    }

    static func describe(_ claims: ClientClaims) -> String {
        let order: [ClientClaims.Attribute] = [
            .name, .address, .port, .protocolName, .helo, .login, .destinationAddress, .destinationPort, .identifier, .source,
        ]
        return order.compactMap { attribute in
            switch claims[attribute] {
            case nil: nil
            case .known(let text): "\(attribute.rawValue)=\(text)"
            case .unavailable: "\(attribute.rawValue)=?"
            case .temporarilyUnavailable: "\(attribute.rawValue)=later"
            }
        }.joined(separator: " ")
    }

    static func describe(_ envelope: Envelope) -> String {
        var text = "<\(envelope.sender?.description ?? "")> → " + envelope.recipients.map { "<\($0.address)>" }.joined(separator: ",")
        if envelope.body != .sevenBit { text += " body=\(envelope.body.rawValue)" }
        if let ret = envelope.returnContent { text += " ret=\(ret.rawValue)" }
        if let id = envelope.envelopeID { text += " envid=\(id)" }
        return text
    }
}

/// Octets in one line of printable ASCII: `\r \n \0 \\ \xHH`.
func escaped(_ bytes: some Sequence<UInt8>) -> String {
    bytes.reduce(into: "") { text, byte in
        switch byte {
        case UInt8(ascii: "\r"): text += "\\r"
        case UInt8(ascii: "\n"): text += "\\n"
        case 0: text += "\\0"
        case UInt8(ascii: "\\"): text += "\\\\"
        case 0x20...0x7E: text.unicodeScalars.append(Unicode.Scalar(byte))
        default: text += "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }
    }
}

func unescaped(_ text: some StringProtocol) -> [UInt8] {
    var result: [UInt8] = []
    var bytes = text.utf8.makeIterator()
    while let byte = bytes.next() {
        guard byte == UInt8(ascii: "\\"), let kind = bytes.next() else {
            result.append(byte)
            continue
        }
        switch kind {
        case UInt8(ascii: "r"): result.append(UInt8(ascii: "\r"))
        case UInt8(ascii: "n"): result.append(UInt8(ascii: "\n"))
        case UInt8(ascii: "0"): result.append(0)
        case UInt8(ascii: "x"):
            let digits = [bytes.next(), bytes.next()].compactMap { $0 }
            result.append(UInt8(String(decoding: digits, as: UTF8.self), radix: 16)!)
        default: result.append(kind)
        }
    }
    return result
}
