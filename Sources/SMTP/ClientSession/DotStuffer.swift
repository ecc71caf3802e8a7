// Transparency of DATA (RFC 5321 §4.5.2): a dot goes in front of every line that begins with one, and the lone dot ends
// the message. Works on chunks of any size and copies only what it must: a chunk without such a line passes as it is.
//
// The content must have CRLF line ends only, as the spool promises; a bare CR or LF is passed on untouched.

package import NIOCore
internal import Glibc

package struct DotStuffer: Sendable {
    /// What the content so far ended with.
    private enum Position { case lineStart, afterCR, midLine }
    private var position = Position.lineStart

    package init() {}

    /// The chunk as it goes on the wire.
    package mutating func stuff(_ chunk: ByteBuffer) -> ByteBuffer {
        guard chunk.readableBytes > 0 else { return chunk }
        // Where a dot must be put in, as offsets from the chunk's beginning.
        var places: [Int] = []
        chunk.withUnsafeReadableBytes { bytes in
            if position == .lineStart, bytes[0] == UInt8(ascii: ".") { places.append(0) }
            if position == .afterCR, bytes.count > 1, bytes[0] == UInt8(ascii: "\n"), bytes[1] == UInt8(ascii: ".") { places.append(1) }
            DotStuffer.findDotLines(in: bytes, into: &places)
            position = DotStuffer.position(after: bytes, from: position)
        }
        guard !places.isEmpty else { return chunk }
        return DotStuffer.insertDots(at: places, in: chunk)
    }

    /// The end of the message. Content without a last line end gets one: the dot must stand on a line of its own.
    package func terminator() -> ByteBuffer {
        ByteBuffer(string: position == .lineStart ? ".\r\n" : "\r\n.\r\n")
    }

    private static func findDotLines(in bytes: UnsafeRawBufferPointer, into places: inout [Int]) {
        let start = bytes.baseAddress!
        let last = bytes.count - 1
        var offset = 0
        while offset < last, let found = memchr(start + offset, 0x0A, last - offset) {
            let lineFeed = UnsafeRawPointer(found) - start
            if bytes[lineFeed + 1] == UInt8(ascii: "."), lineFeed > 0, bytes[lineFeed - 1] == UInt8(ascii: "\r") {
                places.append(lineFeed + 1)
            }
            offset = lineFeed + 1
        }
    }

    private static func position(after bytes: UnsafeRawBufferPointer, from before: Position) -> Position {
        switch bytes[bytes.count - 1] {
        case UInt8(ascii: "\r"): return .afterCR
        case UInt8(ascii: "\n"):
            let follows = bytes.count > 1 ? bytes[bytes.count - 2] == UInt8(ascii: "\r") : before == .afterCR
            return follows ? .lineStart : .midLine
        default: return .midLine
        }
    }

    private static func insertDots(at places: [Int], in chunk: ByteBuffer) -> ByteBuffer {
        var result = ByteBufferAllocator().buffer(capacity: chunk.readableBytes + places.count)
        chunk.withUnsafeReadableBytes { bytes in
            var from = 0
            for place in places {
                result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[from..<place]))
                result.writeInteger(UInt8(ascii: "."))
                from = place
            }
            result.writeBytes(UnsafeRawBufferPointer(rebasing: bytes[from...]))
        }
        return result
    }
}
