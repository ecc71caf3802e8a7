// What a client must know of a message before it says MAIL: the envelope, the size, and whether the content is 8-bit.

package import MailSyntax
package import NIOCore

package struct OutgoingMessage: Sendable {
    package var envelope: Envelope
    /// Octets of the content with CRLF line ends and without dot-stuffing: what SIZE counts (RFC 1870 §4).
    package var size: Int
    package var traits: ContentTraits
    /// The content is at hand as a whole.
    package var isInMemory: Bool

    package init(envelope: Envelope, size: Int, traits: ContentTraits, isInMemory: Bool = false) {
        self.envelope = envelope
        self.size = size
        self.traits = traits
        self.isInMemory = isInMemory
    }
}

extension OutgoingMessage {
    /// The content was, or will on its way be, converted by `SevenBitConversion`.
    package mutating func becomeSevenBit(size: Int) {
        self.size = size
        traits = .sevenBit
        envelope.body = .sevenBit
    }
}

/// Where a message's content holds octets beyond ASCII. Fed with the content, chunk by chunk.
package struct ContentTraits: Hashable, Sendable {
    /// UTF-8 in the header section needs SMTPUTF8 of the next hop (RFC 6532).
    package private(set) var hasEightBitHeader = false
    /// Anywhere, header section included: needs 8BITMIME of the next hop (RFC 6152).
    package private(set) var hasEightBit = false
    /// How much of CRLF CRLF, which ends the header section, was seen last; 4 is the body. A message may begin with the
    /// empty line, as if a CRLF stood before it.
    private var headerEnd: UInt8 = 2

    package init() {}

    static let sevenBit = ContentTraits()

    package init(of content: ByteBuffer) {
        scan(content)
    }

    package mutating func scan(_ chunk: ByteBuffer) {
        chunk.withUnsafeReadableBytes { bytes in
            var index = 0
            while headerEnd < 4, index < bytes.count {
                step(bytes[index])
                index += 1
            }
            if !hasEightBit { hasEightBit = ContentTraits.isEightBit(UnsafeRawBufferPointer(rebasing: bytes[index...])) }
        }
    }

    private mutating func step(_ byte: UInt8) {
        if byte >= 0x80 {
            hasEightBit = true
            hasEightBitHeader = true
        }
        switch (byte, headerEnd) {
        case (UInt8(ascii: "\r"), 2): headerEnd = 3
        case (UInt8(ascii: "\r"), _): headerEnd = 1
        case (UInt8(ascii: "\n"), 1): headerEnd = 2
        case (UInt8(ascii: "\n"), 3): headerEnd = 4
        default: headerEnd = 0
        }
    }

    private static func isEightBit(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var index = 0
        while index + 8 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self) & 0x8080_8080_8080_8080 != 0 { return true }
            index += 8
        }
        while index < bytes.count {
            if bytes[index] >= 0x80 { return true }
            index += 1
        }
        return false
    }
}
