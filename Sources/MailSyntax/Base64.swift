// Base64 (RFC 4648 §4), strict: padding is required, nothing beside the alphabet is skipped, unused bits are zero (§3.5), so
// that each sequence of octets has one encoding and no other.

package enum Base64 {
    package static func encode(_ octets: some Collection<UInt8>) -> String {
        var text: [UInt8] = []
        text.reserveCapacity((octets.count + 2) / 3 * 4)
        var pending: UInt32 = 0
        var held = 0
        for octet in octets {
            pending = pending << 8 | UInt32(octet)
            held += 1
            if held == 3 {
                for shift in [18, 12, 6, 0] { text.append(alphabet[Int(pending >> UInt32(shift) & 63)]) }
                (pending, held) = (0, 0)
            }
        }
        if held > 0 {
            pending <<= UInt32(8 * (3 - held))
            for place in 0..<4 { text.append(place <= held ? alphabet[Int(pending >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "=")) }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nil unless all of `text` is base64.
    package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        guard text.count % 4 == 0 else { return nil }
        var octets: [UInt8] = []
        octets.reserveCapacity(text.count / 4 * 3)
        var pending: UInt32 = 0
        var held = 0
        var padding = 0
        for character in text {
            if character == UInt8(ascii: "=") {
                padding += 1
                pending <<= 6
            } else {
                guard padding == 0, let value = value(of: character) else { return nil }
                pending = pending << 6 | UInt32(value)
            }
            held += 1
            guard held == 4 else { continue }
            guard padding <= 2 else { return nil }
            let unused = pending & ((1 << UInt32(8 * padding)) - 1)
            guard unused == 0 else { return nil }
            for place in 0..<(3 - padding) { octets.append(UInt8(truncatingIfNeeded: pending >> UInt32(16 - 8 * place))) }
            if padding > 0, octets.count != text.count / 4 * 3 - padding { return nil }
            (pending, held) = (0, 0)
        }
        return octets
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    private static func value(of character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): character - UInt8(ascii: "A")
        case UInt8(ascii: "a")...UInt8(ascii: "z"): character - UInt8(ascii: "a") + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0") + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }
}
