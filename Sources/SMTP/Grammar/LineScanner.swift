// Finds the command lines in a stream of octets (RFC 5321 §2.3.8). Only CRLF ends a line: a lone LF or CR is part of it,
// and makes it wrong. A line that is too long is dropped as it comes. Remembers how far it has looked, so that a client
// that sends octet by octet costs no more than one that sends all at once.

internal import Glibc

struct LineScanner {
    enum Outcome: Equatable {
        /// No whole line yet. The first `dropping` octets are of a line that is too long and are not looked at again.
        case needMore(dropping: Int)
        /// A line of `length` octets, then CRLF.
        case line(length: Int)
        /// A line that ends after `consuming` octets, its CRLF among them, and is none of the grammar.
        case wrong(SyntaxFlaw, consuming: Int)
    }

    let limit: Int
    /// Octets that were seen and hold no CRLF; the last of them may be a CR.
    private var seen = 0
    private var isDropping = false

    init(limit: Int) { self.limit = limit }

    /// `bytes` begins with what the last call left: the same octets as long as it said `needMore(dropping: 0)`.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let end = endOfLine(in: bytes) else {
            seen = bytes.count
            guard isDropping || bytes.count >= limit else { return .needMore(dropping: 0) }
            isDropping = true
            // A CR at the end may be the first half of the CRLF that ends the line.
            let kept = bytes.last == carriageReturn ? 1 : 0
            seen = kept
            return .needMore(dropping: bytes.count - kept)
        }
        let wasDropping = isDropping
        isDropping = false
        seen = 0
        let length = end - 2
        if wasDropping || end > limit { return .wrong(.lineTooLong(limit: limit), consuming: end) }
        let line = UnsafeRawBufferPointer(rebasing: bytes[..<length])
        // RFC 5321 §2.3.8: CR and LF come together or not at all. §4.1.2 leaves no place for NUL either.
        if contains(lineFeed, in: line) { return .wrong(.bareLineFeed, consuming: end) }
        if contains(carriageReturn, in: line) { return .wrong(.bareCarriageReturn, consuming: end) }
        if contains(0, in: line) { return .wrong(.nulOctet, consuming: end) }
        return .line(length: length)
    }

    /// The position after the first CRLF.
    private func endOfLine(in bytes: UnsafeRawBufferPointer) -> Int? {
        var position = seen
        while position < bytes.count, let found = memchr(bytes.baseAddress! + position, Int32(lineFeed), bytes.count - position) {
            let index = UnsafeRawPointer(found) - bytes.baseAddress!
            if index > 0, bytes[index - 1] == carriageReturn { return index + 1 }
            position = index + 1
        }
        return nil
    }

    private func contains(_ byte: UInt8, in bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count > 0 && memchr(bytes.baseAddress!, Int32(byte), bytes.count) != nil
    }
}

let carriageReturn = UInt8(ascii: "\r")
let lineFeed = UInt8(ascii: "\n")
