// Quoted-printable and base64 (RFC 2045 §6.7, §6.8) of a stream.

internal import NIOCore

/// Lines of text, octets in any portions.
struct QuotedPrintableEncoder: Sendable {
    private var column = 0
    /// White space that is encoded if the line ends behind it (§6.7 rule 3).
    private var pending: UInt8?
    private static let digits = Array("0123456789ABCDEF".utf8)
    /// §6.7 rule 5: 76 with the soft line break.
    private static let longest = 75

    mutating func encode(_ bytes: some Sequence<UInt8>, to buffer: inout ByteBuffer) {
        for byte in bytes {
            flushPending(to: &buffer, isLineEnd: false)
            switch byte {
            case 0x20, 0x09: pending = byte
            case 0x21...0x7E where byte != UInt8(ascii: "="): put(byte, to: &buffer)
            default: putEncoded(byte, to: &buffer)
            }
        }
    }

    mutating func endLine(to buffer: inout ByteBuffer) {
        flushPending(to: &buffer, isLineEnd: true)
        buffer.writeString("\r\n")
        column = 0
    }

    /// The end of the part, without a line end.
    mutating func end(to buffer: inout ByteBuffer) {
        flushPending(to: &buffer, isLineEnd: true)
        column = 0
    }

    private mutating func flushPending(to buffer: inout ByteBuffer, isLineEnd: Bool) {
        guard let byte = pending else { return }
        pending = nil
        if isLineEnd { putEncoded(byte, to: &buffer) } else { put(byte, to: &buffer) }
    }

    private mutating func put(_ byte: UInt8, to buffer: inout ByteBuffer) {
        makeRoom(for: 1, &buffer)
        buffer.writeInteger(byte)
    }

    private mutating func putEncoded(_ byte: UInt8, to buffer: inout ByteBuffer) {
        makeRoom(for: 3, &buffer)
        buffer.writeInteger(UInt8(ascii: "="))
        buffer.writeInteger(QuotedPrintableEncoder.digits[Int(byte >> 4)])
        buffer.writeInteger(QuotedPrintableEncoder.digits[Int(byte & 15)])
    }

    private mutating func makeRoom(for count: Int, _ buffer: inout ByteBuffer) {
        if column + count > QuotedPrintableEncoder.longest {
            buffer.writeString("=\r\n")
            column = 0
        }
        column += count
    }
}

struct Base64Encoder: Sendable {
    private var group: (UInt8, UInt8) = (0, 0)
    private var filled = 0
    private var column = 0
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    mutating func encode(_ bytes: some Sequence<UInt8>, to buffer: inout ByteBuffer) {
        for byte in bytes {
            switch filled {
            case 0: group.0 = byte
            case 1: group.1 = byte
            default: put(UInt32(group.0) << 16 | UInt32(group.1) << 8 | UInt32(byte), characters: 4, to: &buffer)
            }
            filled = (filled + 1) % 3
        }
    }

    /// The last characters, and an end of the line.
    mutating func end(to buffer: inout ByteBuffer) {
        switch filled {
        case 1: put(UInt32(group.0) << 16, characters: 2, to: &buffer)
        case 2: put(UInt32(group.0) << 16 | UInt32(group.1) << 8, characters: 3, to: &buffer)
        default: break
        }
        if column > 0 { buffer.writeString("\r\n") }
        self = Base64Encoder()
    }

    private mutating func put(_ bits: UInt32, characters: Int, to buffer: inout ByteBuffer) {
        for index in 0..<4 {
            let value = Int(bits >> (18 - 6 * UInt32(index)) & 63)
            buffer.writeInteger(index < characters ? Base64Encoder.alphabet[value] : UInt8(ascii: "="))
        }
        column += 4
        if column == 76 {
            buffer.writeString("\r\n")
            column = 0
        }
    }
}
