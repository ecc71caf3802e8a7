// Writes one JSON object (RFC 8259) into bytes, without a tree in between: logs are on the path of every message.

package struct JSONLine {
    package private(set) var bytes: [UInt8] = []
    private var needsComma = false
    /// `", "` and `": "` as Postfix's tools write them.
    private let isSpaced: Bool

    package init(reserving capacity: Int = 512, isSpaced: Bool = false) {
        self.isSpaced = isSpaced
        bytes.reserveCapacity(capacity)
        bytes.append(UInt8(ascii: "{"))
    }

    package mutating func field(_ name: StaticString, _ value: String?) {
        guard let value else { return }
        key(name)
        string(value)
    }

    package mutating func field(_ name: StaticString, _ value: Int?) {
        guard let value else { return }
        key(name)
        bytes.append(contentsOf: String(value).utf8)
    }

    package mutating func field(_ name: StaticString, _ value: Bool) {
        key(name)
        bytes.append(contentsOf: (value ? "true" : "false").utf8)
    }

    /// Seconds with three decimals.
    package mutating func field(_ name: StaticString, _ value: Duration) {
        key(name)
        let milliseconds = max(0, value.components.seconds * 1000 + value.components.attoseconds / 1_000_000_000_000_000)
        bytes.append(contentsOf: "\(milliseconds / 1000).\(String(1000 + milliseconds % 1000).dropFirst())".utf8)
    }

    package mutating func beginObject(_ name: StaticString) {
        key(name)
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
    }

    package mutating func endObject() {
        bytes.append(UInt8(ascii: "}"))
        needsComma = true
    }

    /// An array of objects; each between `beginElement` and `endObject`.
    package mutating func beginArray(_ name: StaticString) {
        key(name)
        bytes.append(UInt8(ascii: "["))
        needsComma = false
    }

    package mutating func beginElement() {
        if needsComma { comma() }
        bytes.append(UInt8(ascii: "{"))
        needsComma = false
    }

    package mutating func endArray() {
        bytes.append(UInt8(ascii: "]"))
        needsComma = true
    }

    /// Closes the object; with a line end.
    package mutating func finish() {
        bytes.append(UInt8(ascii: "}"))
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func key(_ name: StaticString) {
        if needsComma { comma() }
        needsComma = true
        bytes.append(UInt8(ascii: "\""))
        name.withUTF8Buffer { bytes.append(contentsOf: $0) }
        bytes.append(UInt8(ascii: "\""))
        bytes.append(UInt8(ascii: ":"))
        if isSpaced { bytes.append(UInt8(ascii: " ")) }
    }

    private mutating func comma() {
        bytes.append(UInt8(ascii: ","))
        if isSpaced { bytes.append(UInt8(ascii: " ")) }
    }

    ///     string = quotation-mark *char quotation-mark        ; RFC 8259 §7: controls, `"` and `\` are escaped
    private mutating func string(_ value: String) {
        bytes.append(UInt8(ascii: "\""))
        let isPlain = value.utf8.withContiguousStorageIfAvailable { text in
            guard text.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "\"") && $0 != UInt8(ascii: "\\") && $0 != 0x7F }) else { return false }
            bytes.append(contentsOf: text)
            return true
        }
        if isPlain != true { escape(value) }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func escape(_ value: String) {
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"):
                bytes.append(UInt8(ascii: "\\"))
                bytes.append(byte)
            case 0x0A: bytes.append(contentsOf: "\\n".utf8)
            case 0x0D: bytes.append(contentsOf: "\\r".utf8)
            case 0x09: bytes.append(contentsOf: "\\t".utf8)
            case 0..<0x20, 0x7F:
                let digits = Array("0123456789abcdef".utf8)
                bytes.append(contentsOf: "\\u00".utf8)
                bytes.append(digits[Int(byte >> 4)])
                bytes.append(digits[Int(byte & 15)])
            default: bytes.append(byte)
            }
        }
    }
}
