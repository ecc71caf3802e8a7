// Reads message content as it streams by: removes dot-stuffing and finds the end after DATA (RFC 5321 §4.5.2), takes the
// octets of BDAT chunks as they are (RFC 3030 §2), and notes what makes a message unacceptable. It copies nothing and
// keeps nothing but its state; lines may be of any length (RFC 5321 §4.5.3.1.6 asks for 1000 octets at least, real mail
// exceeds that often, and what arrived passes on unchanged).
//
// Only CRLF ends a line, so only CRLF "." CRLF ends a message. A server that takes LF or CR for a line end reads a second
// message out of the content of the first, with an envelope of the attacker's choice ("SMTP smuggling", CVE-2023-51764).
// A message with a bare LF or CR is read to its real end and refused (RFC 5321 §2.3.8), so that it smuggles nothing past the
// next hop either.

struct ContentScanner {
    /// Where in a line the scanner stands. Next states:
    /// lineStart → middle, dot · middle → afterCR · afterCR → lineStart, middle · dot → dotCR, middle · dotCR → end, middle.
    private enum State {
        /// After CRLF, and at the start of the content: RFC 5321 §4.1.1.4 takes the CRLF of DATA as the one before the dot.
        case lineStart
        case middle
        case afterCR
        /// A dot at the start of a line was read: not part of the content, whatever follows (RFC 5321 §4.5.2).
        case dot
        case dotCR
    }

    /// What is wrong with the content, whatever the order in which it was found.
    struct Flaws: OptionSet {
        let rawValue: UInt8
        static let bareLineFeed = Flaws(rawValue: 1)
        static let bareCarriageReturn = Flaws(rawValue: 2)
        static let nulOctet = Flaws(rawValue: 4)
        static let tooLarge = Flaws(rawValue: 8)
    }

    struct Step {
        /// Octets of the message in what was scanned; they are contiguous.
        var content: Range<Int>
        /// How many octets were scanned; the next call begins after them.
        var consumed: Int
        /// CRLF "." CRLF was read.
        var isEnd = false
    }

    let isDotStuffed: Bool
    /// Octets of a message; RFC 1870 §5: line ends count, the dots of dot-stuffing do not.
    let sizeLimit: Int
    private(set) var flaws: Flaws = []
    /// Octets of content so far.
    private(set) var size = 0
    private(set) var hasEightBitOctets = false
    private var state = State.lineStart

    /// BODY=BINARYMIME (RFC 3030 §3): every octet is content, and there are no lines to be wrong.
    let isBinary: Bool

    init(isDotStuffed: Bool, sizeLimit: Int, isBinary: Bool = false) {
        self.isDotStuffed = isDotStuffed
        self.sizeLimit = sizeLimit
        self.isBinary = isBinary
    }

    var endsWithLineEnd: Bool { state == .lineStart }

    /// Goes on as far as the content is contiguous.
    mutating func scan(_ bytes: UnsafeRawBufferPointer) -> Step {
        let step = isBinary ? Step(content: 0..<bytes.count, consumed: bytes.count) : findRun(bytes)
        size += step.content.count
        if size > sizeLimit { flaws.insert(.tooLarge) }
        return step
    }

    /// No more octets will come: a CR at the end stays alone. A message by BDAT may lack the last CRLF, which every
    /// next hop and mailbox needs: returns whether it is to be added.
    mutating func finish() -> Bool {
        if isBinary { return false }
        if state == .afterCR { flaws.insert(.bareCarriageReturn) }
        guard state != .lineStart else { return false }
        size += 2
        if size > sizeLimit { flaws.insert(.tooLarge) }
        state = .lineStart
        return true
    }

    private mutating func findRun(_ bytes: UnsafeRawBufferPointer) -> Step {
        var start = 0
        var index = 0
        while index < bytes.count {
            switch state {
            case .middle:
                index = nextSpecial(in: bytes, from: index)
                guard index < bytes.count else { break }
                switch bytes[index] {
                case carriageReturn: state = .afterCR
                case lineFeed: flaws.insert(.bareLineFeed)
                default: flaws.insert(.nulOctet)
                }
                index += 1
            case .afterCR:
                if bytes[index] == lineFeed {
                    index += 1
                    state = .lineStart
                } else {
                    flaws.insert(.bareCarriageReturn)
                    state = .middle
                }
            case .lineStart:
                guard isDotStuffed, bytes[index] == UInt8(ascii: ".") else {
                    state = .middle
                    continue
                }
                state = .dot
                if index > start { return Step(content: start..<index, consumed: index + 1) }
                index += 1
                start = index
            case .dot:
                if bytes[index] == carriageReturn {
                    state = .dotCR
                    index += 1
                    start = index
                } else {
                    state = .middle
                }
            case .dotCR:
                if bytes[index] == lineFeed { return Step(content: start..<start, consumed: index + 1, isEnd: true) }
                // The CR is lost to the content, which is refused anyway.
                flaws.insert(.bareCarriageReturn)
                state = .middle
            }
        }
        return Step(content: start..<bytes.count, consumed: bytes.count)
    }

    /// The next CR, LF or NUL. Eight octets at a time: this loop sees every octet of every message.
    private mutating func nextSpecial(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int {
        let ones: UInt64 = 0x0101_0101_0101_0101
        let highBits: UInt64 = 0x8080_8080_8080_8080
        var index = start
        var seen: UInt64 = 0
        defer { if seen & highBits != 0 { hasEightBitOctets = true } }
        while index + 8 <= bytes.count {
            let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
            // The high bit of each octet below 14; above the first such octet borrows may set others, so only that one counts.
            let low = (word &- ones &* 14) & ~word & highBits
            if low == 0 {
                seen |= word
                index += 8
                continue
            }
            index += low.trailingZeroBitCount / 8
            if isSpecial(bytes[index]) {
                // The octets before it in this word, whose rest is read again.
                seen |= word & ((low & (0 &- low)) &- 1)
                return index
            }
            seen |= word & (low ^ (low &- 1))
            index += 1
        }
        while index < bytes.count {
            let byte = bytes[index]
            if isSpecial(byte) { return index }
            seen |= UInt64(byte)
            index += 1
        }
        return index
    }

    private func isSpecial(_ byte: UInt8) -> Bool { byte == carriageReturn || byte == lineFeed || byte == 0 }
}
