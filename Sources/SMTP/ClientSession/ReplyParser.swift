// Reads the replies of an SMTP server (RFC 5321 §4.2) from a stream of bytes.
//
// Three outcomes: a reply, nil when more bytes are needed, or a flaw, after which the stream cannot be trusted any
// further. It knows nothing of the command that a reply answers. Bare LF is taken for a line end, as Postfix does:
// nothing can be smuggled in a reply, and such servers exist. Text reaches logs and reports, so control characters in
// it become `?`, and octets that are no UTF-8 the replacement character.

package import MailSyntax
package import NIOCore
internal import Glibc

package struct ReplyParser: Sendable {
    /// RFC 5321 §4.5.3.1.5 allows 512 octets with code and CRLF; servers put URLs in, so four times that, as Postfix does.
    package static let longestLine = 2048
    /// The longest honest reply is the one to EHLO, with some 25 keywords; policy texts of 40 lines have been seen.
    package static let mostLines = 128
    /// Bounds what one reply costs in memory, below `longestLine * mostLines`.
    package static let longestReply = 32 * 1024

    package enum Flaw: Error, Hashable, Sendable {
        case lineTooLong
        case tooManyLines
        case replyTooLong
        /// No reply code, or something else than space or hyphen behind it.
        case notAReply(String)
        /// RFC 5321 §4.2.1: the code must be the same on every line; otherwise none of them can be relied on.
        case codeChanges

        /// For people, as the end of a sentence.
        package var explanation: String {
            switch self {
            case .lineTooLong: "a reply line of more than \(ReplyParser.longestLine) octets"
            case .tooManyLines: "a reply of more than \(ReplyParser.mostLines) lines"
            case .replyTooLong: "a reply of more than \(ReplyParser.longestReply) octets"
            case .notAReply(let line): "a line that is no SMTP reply: \(line)"
            case .codeChanges: "a reply whose code differs from line to line"
            }
        }
    }

    private var code: UInt16?
    private var lines: [String] = []
    private var octets = 0

    package init() {}

    /// Takes whole lines off `buffer` until a reply is complete. What is left in `buffer` belongs to the next reply.
    ///
    ///     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    ///     Reply-code = %x32-35 %x30-35 %x30-39
    package mutating func next(in buffer: inout ByteBuffer) throws(Flaw) -> Reply? {
        while let line = try takeLine(from: &buffer) {
            if let reply = try take(line) { return reply }
        }
        return nil
    }

    private func takeLine(from buffer: inout ByteBuffer) throws(Flaw) -> ByteBuffer? {
        let window = min(buffer.readableBytes, ReplyParser.longestLine)
        let end: Int? = buffer.withUnsafeReadableBytes { bytes in
            guard window > 0, let found = memchr(bytes.baseAddress!, 0x0A, window) else { return nil }
            return UnsafeRawPointer(found) - bytes.baseAddress!
        }
        guard let end else {
            if window == ReplyParser.longestLine { throw .lineTooLong }
            return nil
        }
        var line = buffer.readSlice(length: end + 1)!
        line.moveWriterIndex(to: line.writerIndex - 1)
        if end > 0, line.getInteger(at: line.writerIndex - 1, as: UInt8.self) == UInt8(ascii: "\r") {
            line.moveWriterIndex(to: line.writerIndex - 1)
        }
        return line
    }

    /// A line without its end; the reply, when that line was its last.
    private mutating func take(_ line: ByteBuffer) throws(Flaw) -> Reply? {
        octets += line.readableBytes
        guard octets <= ReplyParser.longestReply else { throw .replyTooLong }
        guard lines.count < ReplyParser.mostLines else { throw .tooManyLines }
        guard let (lineCode, isLast, text) = line.withUnsafeReadableBytes(ReplyParser.split) else {
            throw .notAReply(line.withUnsafeReadableBytes { ReplyParser.printable(UnsafeRawBufferPointer(rebasing: $0.prefix(80))) })
        }
        guard code == nil || code == lineCode else { throw .codeChanges }
        lines.append(text)
        guard isLast else {
            code = lineCode
            return nil
        }
        let reply = ReplyParser.reply(lineCode, lines)
        self = ReplyParser()
        return reply
    }

    private static func split(_ bytes: UnsafeRawBufferPointer) -> (code: UInt16, isLast: Bool, text: String)? {
        guard bytes.count >= 3 else { return nil }
        var code: UInt16 = 0
        for byte in bytes.prefix(3) {
            guard (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
            code = code * 10 + UInt16(byte - UInt8(ascii: "0"))
        }
        // The second digit is not checked: codes beyond x5z are unknown to the RFC, and clear by their first digit.
        guard (200...599).contains(code) else { return nil }
        guard bytes.count > 3 else { return (code, true, "") }
        guard bytes[3] == UInt8(ascii: " ") || bytes[3] == UInt8(ascii: "-") else { return nil }
        return (code, bytes[3] == UInt8(ascii: " "), printable(UnsafeRawBufferPointer(rebasing: bytes.dropFirst(4))))
    }

    private static func printable(_ bytes: UnsafeRawBufferPointer) -> String {
        guard bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) else { return String(decoding: bytes, as: UTF8.self) }
        return String(
            decoding: bytes.map { byte in
                switch byte {
                case UInt8(ascii: "\t"): UInt8(ascii: " ")
                case ..<0x20, 0x7F: UInt8(ascii: "?")
                default: byte
                }
            }, as: UTF8.self)
    }

    /// RFC 2034 §4: the enhanced code heads the text of every line. It is taken for one only if its class is that of the
    /// reply code; otherwise it stays a part of the text.
    private static func reply(_ code: UInt16, _ lines: [String]) -> Reply {
        // By octets: a combining mark behind the code or the space would be part of its Character.
        let head = lines[0].utf8.prefix { $0 != UInt8(ascii: " ") }
        guard let enhanced = EnhancedCode(head), enhanced.category == code / 100 else { return Reply(code, lines: lines) }
        let stripped = lines.map { line in
            guard line.utf8.starts(with: head) else { return line }
            let rest = line.utf8.dropFirst(head.count)
            guard let separator = rest.first else { return "" }
            return separator == UInt8(ascii: " ") ? String(Substring(rest.dropFirst())) : line
        }
        return Reply(code, enhanced, lines: stripped)
    }
}
