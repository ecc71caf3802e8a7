// The commands MAIL and RCPT with the parameters that the server offers, and what stands against a message at a server
// that does not offer what it needs.

package import MailSyntax
package import NIOCore

extension ClientSession {
    /// Why this message cannot go to this recipient through this server. Nil when it can.
    func obstacle(to message: OutgoingMessage, for recipient: EnvelopeRecipient) -> Reply? {
        let envelope = message.envelope
        // No address that was parsed holds these, but a command that one could break out of would be another's command.
        guard ClientSession.isSafe(recipient.address), envelope.sender.map(ClientSession.isSafe) ?? true else {
            return Reply(553, EnhancedCode(5, 1, 3), "the address holds control characters")
        }
        // RFC 1870 §4: a message beyond the announced limit need not be tried.
        if let limit = extensions.largestMessage, message.size > limit {
            return Reply(552, EnhancedCode(5, 3, 4), "message size \(message.size) exceeds size limit \(limit) of server \(peer)")
        }
        if !extensions.internationalized {
            // RFC 6531 §3.1, §3.5: the extension is needed for what is in UTF-8, not for the mere wish of a client.
            let isNeeded =
                !recipient.address.isASCII || !(envelope.sender?.isASCII ?? true)
                || envelope.isInternationalized && message.traits.hasEightBitHeader
            if isNeeded { return Reply(553, EnhancedCode(5, 6, 7), "SMTPUTF8 is required, but was not offered by host \(peer)") }
        }
        // RFC 6152 §3, RFC 3030 §3: content is not sent as 8-bit or binary to a server that did not offer that. What can be
        // converted has been by now.
        if envelope.body.isBinary, !takesBinary {
            return Reply(554, EnhancedCode(5, 6, 3), "binary content, but BINARYMIME was not offered by host \(peer)")
        }
        if message.traits.hasEightBit, !extensions.eightBitMIME {
            return Reply(554, EnhancedCode(5, 6, 3), "8-bit content, but 8BITMIME was not offered by host \(peer)")
        }
        return nil
    }

    /// RFC 3030 §3: binary content travels in chunks. By LMTP only lines are sent: it is unsaid how many replies a last chunk
    /// has when no recipient was accepted.
    var takesBinary: Bool { extensions.binaryMIME && extensions.chunking && dialect == .smtp }

    /// Whether the message has to be made one of 7 bits before it can go to this server; only after `ready`.
    package func needsSevenBit(_ message: OutgoingMessage) -> Bool {
        message.traits.hasEightBit && !extensions.eightBitMIME || message.envelope.body.isBinary && !takesBinary
    }

    /// Content goes in one round trip with its envelope where nothing is lost if the envelope is refused: a server that took
    /// BDAT by its announcement has to read a chunk whatever it thinks of the recipients (RFC 3030 §2), and a
    /// message so small costs it no more than the segments that a connection begins with.
    static let largestEagerChunk = 10 * 1024

    func transfer(of message: OutgoingMessage) -> ClientTransaction.Transfer {
        if message.envelope.body.isBinary { return .chunks }
        let isEager = extensions.chunking && extensions.pipelining && dialect == .smtp && message.isInMemory
        return isEager && message.size <= ClientSession.largestEagerChunk ? .eagerChunk : .lines
    }

    ///     bdat-cmd ::= "BDAT" SP chunk-size [ SP end-marker ] CR LF          ; RFC 3030 §2
    package static func chunkHeader(size: Int, isLast: Bool) -> ByteBuffer {
        ByteBuffer(string: isLast ? "BDAT \(size) LAST\r\n" : "BDAT \(size)\r\n")
    }

    ///     mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF          ; RFC 5321 §4.1.1.2
    func writeMail(_ message: OutgoingMessage, to buffer: inout ByteBuffer) {
        let envelope = message.envelope
        buffer.writeString("MAIL FROM:<\(envelope.sender?.description ?? "")>")
        if extensions.size { buffer.writeString(" SIZE=\(message.size)") }
        if envelope.body.isBinary {
            buffer.writeString(" BODY=BINARYMIME")
        } else if extensions.eightBitMIME, message.traits.hasEightBit || envelope.body == .eightBitMIME {
            buffer.writeString(" BODY=8BITMIME")
        }
        if extensions.internationalized, needsUTF8(message) { buffer.writeString(" SMTPUTF8") }
        // RFC 8689 §2. Whoever gives the message to this session has seen to it that the server is in TLS and known.
        let requiresTLS = envelope.tlsOption == .required && takesRequireTLS
        if requiresTLS { buffer.writeString(" REQUIRETLS") }
        if extensions.deliveryStatus {
            // RFC 8689 §5: RET=FULL counts for nothing then.
            if let content = envelope.returnContent, !requiresTLS || content == .headers { buffer.writeString(" RET=\(content.rawValue)") }
            if let id = envelope.envelopeID { buffer.writeString(" ENVID=\(XText.encode(id))") }
        }
        buffer.writeString("\r\n")
    }

    private func needsUTF8(_ message: OutgoingMessage) -> Bool {
        let envelope = message.envelope
        return envelope.isInternationalized || !(envelope.sender?.isASCII ?? true)
            || envelope.recipients.contains { !$0.address.isASCII }
    }

    ///     rcpt = "RCPT TO:" Forward-path [SP Rcpt-parameters] CRLF            ; RFC 5321 §4.1.1.3
    func writeRecipient(_ recipient: EnvelopeRecipient, to buffer: inout ByteBuffer) {
        buffer.writeString("RCPT TO:<\(recipient.address)>")
        if extensions.deliveryStatus {
            if recipient.notify != .unspecified { buffer.writeString(" NOTIFY=\(recipient.notify.parameter)") }
            if let original = recipient.originalRecipient { buffer.writeString(" ORCPT=\(XText.encode(originalRecipient: original))") }
        }
        buffer.writeString("\r\n")
    }

    private static func isSafe(_ address: Address) -> Bool {
        let isPrintable = { (text: String) in text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F } }
        return isPrintable(address.localPart) && isPrintable(address.domain.text)
    }
}

extension Envelope.BodyType {
    /// RFC 3030: neither lines nor 7-bit.
    package var isBinary: Bool { self == .binary }
}
