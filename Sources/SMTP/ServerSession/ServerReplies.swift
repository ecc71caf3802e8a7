// The session's own replies: codes of RFC 5321 §4.2 and RFC 3463, wording close to Postfix, which administrators and log
// scripts know. And how replies are written, so that none can break the protocol whatever text it carries.

package import MailSyntax
package import NIOCore

extension Reply {
    static let spokeTooEarly = Reply(554, EnhancedCode(5, 5, 0), "Error: SMTP protocol synchronization: wait for the greeting")
    static let needHello = Reply(503, EnhancedCode(5, 5, 1), "Error: send HELO/EHLO first")
    static let needMail = Reply(503, EnhancedCode(5, 5, 1), "Error: need MAIL command")
    static let nestedMail = Reply(503, EnhancedCode(5, 5, 1), "Error: nested MAIL command")
    static let contentBegun = Reply(503, EnhancedCode(5, 5, 1), "Error: the message has begun, no more recipients")
    static let dataAfterChunk = Reply(503, EnhancedCode(5, 5, 1), "Error: DATA after BDAT, send RSET first")
    /// RFC 3030 §3: binary content cannot come by DATA.
    static let dataForBinary = Reply(503, EnhancedCode(5, 5, 1), "Error: BINARYMIME needs BDAT")
    static let needLocalHello = Reply(503, EnhancedCode(5, 5, 1), "Error: send LHLO first")
    static let inTransaction = Reply(503, EnhancedCode(5, 5, 1), "Error: MAIL transaction in progress")
    static let notAuthorized = Reply(550, EnhancedCode(5, 7, 0), "Error: insufficient authorization")
    static let noRecipients = Reply(554, EnhancedCode(5, 5, 1), "Error: no valid recipients")
    static let tooManyRecipients = Reply(452, EnhancedCode(4, 5, 3), "Error: too many recipients")
    static let messageTooLarge = Reply(552, EnhancedCode(5, 3, 4), "Message size exceeds fixed limit")
}

extension SyntaxFlaw {
    var reply: Reply {
        switch self {
        case .lineTooLong(let limit): Reply(500, EnhancedCode(5, 5, 2), "Error: line too long, the limit is \(limit) octets")
        case .bareLineFeed: Reply(550, EnhancedCode(5, 5, 2), "Error: bare <LF> received, lines end with <CR><LF>")
        case .bareCarriageReturn: Reply(500, EnhancedCode(5, 5, 2), "Error: bare <CR> received, lines end with <CR><LF>")
        case .nulOctet: Reply(500, EnhancedCode(5, 5, 2), "Error: NUL octet in command")
        case .unknownCommand: Reply(500, EnhancedCode(5, 5, 2), "Error: command not recognized")
        case .notOffered: Reply(502, EnhancedCode(5, 5, 1), "Error: command not implemented")
        case .foreignProtocol: Reply(554, EnhancedCode(5, 7, 0), "Error: this is a mail server, it speaks SMTP")
        case .usage(let form): Reply(501, EnhancedCode(5, 5, 4), "Syntax: \(form)")
        // RFC 2034 §3: no enhanced code in the replies to HELO and EHLO.
        case .helloUsage(let form): Reply(501, nil, "Syntax: \(form)")
        case .badChunk: Reply(521, EnhancedCode(5, 5, 4), "Syntax: BDAT count [LAST]")
        case .badSender: Reply(501, EnhancedCode(5, 1, 7), "Bad sender address syntax")
        case .badRecipient: Reply(501, EnhancedCode(5, 1, 3), "Bad recipient address syntax")
        case .needsSMTPUTF8: Reply(553, EnhancedCode(5, 6, 7), "Error: address needs SMTPUTF8")
        case .unknownParameter(let name): Reply(555, EnhancedCode(5, 5, 4), "Unsupported option: \(name)")
        case .badParameter(let name): Reply(501, EnhancedCode(5, 5, 4), "Bad option: \(name)")
        case .duplicateParameter(let name): Reply(501, EnhancedCode(5, 5, 4), "Option given twice: \(name)")
        }
    }
}

extension ContentScanner.Flaws {
    /// The refusal for the gravest flaw: always the same, however the octets came.
    var reply: Reply? {
        if isEmpty { nil }
        else if contains(.tooLarge) { .messageTooLarge }
        else if contains(.bareLineFeed) {
            Reply(550, EnhancedCode(5, 5, 2), "Error: bare <LF> in message, lines end with <CR><LF> (RFC 5321 section 2.3.8)")
        } else if contains(.bareCarriageReturn) {
            Reply(550, EnhancedCode(5, 5, 2), "Error: bare <CR> in message, lines end with <CR><LF> (RFC 5321 section 2.3.8)")
        } else {
            Reply(550, EnhancedCode(5, 6, 0), "Error: NUL octet in message (RFC 5322 section 4)")
        }
    }
}

extension ByteBuffer {
    ///     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    /// RFC 2034 §4: the enhanced code is on every line. Text that would not be one line (RFC 5321 §4.2: printable) or is too
    /// long is mended: a reply may quote what a next hop or a client wrote.
    package mutating func writeReply(_ reply: Reply) {
        if reply.lines.isEmpty { writeReplyLine(reply, "", isLast: true) }
        for index in reply.lines.indices { writeReplyLine(reply, reply.lines[index], isLast: index == reply.lines.count - 1) }
    }

    /// In one piece: to write octet by octet would take longer than to find out what to say.
    private mutating func writeReplyLine(_ reply: Reply, _ text: String, isLast: Bool) {
        var text = text
        text.withUTF8 { text in
            // Beside the longest enhanced code and its space.
            var end = min(text.count, GrammarLimits.replyText - 12)
            // No character of UTF-8 is cut in two.
            while end < text.count, end > 0, text[end] & 0xC0 == 0x80 { end -= 1 }
            let text = text[..<end]
            writeWithUnsafeMutableBytes(minimumWritableBytes: text.count + LineWriter.mostAround) { space in
                var line = LineWriter(space: space)
                line.writeDecimal(reply.code)
                line.write(isLast ? UInt8(ascii: " ") : UInt8(ascii: "-"))
                if let enhanced = reply.enhanced {
                    line.writeDecimal(enhanced.category)
                    line.write(UInt8(ascii: "."))
                    line.writeDecimal(enhanced.subject)
                    line.write(UInt8(ascii: "."))
                    line.writeDecimal(enhanced.detail)
                    line.write(UInt8(ascii: " "))
                }
                for octet in text { line.write(octet >= 0x20 && octet != 0x7F ? octet : UInt8(ascii: "?")) }
                line.write(carriageReturn)
                line.write(lineFeed)
                return line.count
            }
        }
    }
}

private struct LineWriter {
    /// Octets of a line beside its text: four numbers of up to five digits, as only a damaged queue has them, each with what follows
    /// it, and CRLF.
    static let mostAround = 4 * 6 + 2

    let space: UnsafeMutableRawBufferPointer
    var count = 0

    mutating func write(_ octet: UInt8) {
        space[count] = octet
        count += 1
    }

    mutating func writeDecimal(_ number: UInt16) {
        if number >= 10 { writeDecimal(number / 10) }
        write(UInt8(ascii: "0") + UInt8(number % 10))
    }
}
