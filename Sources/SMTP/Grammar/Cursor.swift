// A reading position in the octets of one command line. No copies, no allocation, ASCII only; what is text becomes a
// String where it is kept. Valid only while the buffer that it points into is.

struct Cursor {
    private let bytes: UnsafeRawBufferPointer
    private(set) var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }
    var next: UInt8? { position < bytes.count ? bytes[position] : nil }
    var rest: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[position...]) }

    mutating func advance(by count: Int) { position += count }

    mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        position += 1
        return true
    }

    /// Takes `word`, which is upper case, in any case (RFC 5321 §2.4: verbs and keywords are case-insensitive).
    mutating func take(word: StaticString) -> Bool {
        guard bytes.count - position >= word.utf8CodeUnitCount else { return false }
        for index in 0..<word.utf8CodeUnitCount where uppercased(bytes[position + index]) != word.utf8Start[index] { return false }
        position += word.utf8CodeUnitCount
        return true
    }

    mutating func take(while belongs: (UInt8) -> Bool) -> UnsafeRawBufferPointer {
        let start = position
        while position < bytes.count, belongs(bytes[position]) { position += 1 }
        return UnsafeRawBufferPointer(rebasing: bytes[start..<position])
    }

    /// RFC 5321 §2.4 knows one space between words; more of them, and tabs, are harmless and occur.
    mutating func skipBlanks() {
        while position < bytes.count, isBlank(bytes[position]) { position += 1 }
    }

    ///     1*20DIGIT
    /// Nil where there is no digit or one too many; a number beyond Int is `Int.max`, which is beyond every limit.
    mutating func takeNumber() -> Int? {
        let digits = take(while: isDigit)
        guard (1...GrammarLimits.sizeDigits).contains(digits.count) else { return nil }
        var number = 0
        for digit in digits {
            let (product, tooLarge) = number.multipliedReportingOverflow(by: 10)
            let (sum, tooLargeToo) = product.addingReportingOverflow(Int(digit - UInt8(ascii: "0")))
            if tooLarge || tooLargeToo { return Int.max }
            number = sum
        }
        return number
    }
}

func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
func isLetter(_ byte: UInt8) -> Bool { byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z") }
func uppercased(_ byte: UInt8) -> UInt8 { byte >= UInt8(ascii: "a") && byte <= UInt8(ascii: "z") ? byte & 0xDF : byte }

extension UnsafeRawBufferPointer {
    var isASCII: Bool { allSatisfy { $0 < 0x80 } }

    /// Nil where it is not UTF-8. What is ASCII, as nearly all is, takes the short way.
    var utf8Text: String? { isASCII ? String(decoding: self, as: UTF8.self) : String(validating: self, as: UTF8.self) }

    func equals(word: StaticString) -> Bool {
        guard count == word.utf8CodeUnitCount else { return false }
        var cursor = Cursor(self)
        return cursor.take(word: word)
    }

    /// The client's own octets for a log or a reply: bounded, printable, one line.
    func excerpt(_ limit: Int) -> String {
        String(decoding: prefix(limit).map { (0x20...0x7E).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    }
}
