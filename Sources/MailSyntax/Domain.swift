// Domain names and address literals as mail uses them (RFC 5321 §4.1.2, RFC 6531 §3.3).
//
// A `Domain` is either a host name or an address literal in brackets. It keeps the spelling it came in,
// for output, and compares without case (RFC 5321 §2.4). It does no look-up and no IDNA mapping.

/// The part of an address after the `@`.
package struct Domain: Sendable {
    /// As it was written: `Example.ORG`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`, `bücher.example`.
    package let text: String
    /// The spelling that comparisons use: ASCII lower case, without a trailing dot.
    package let key: String

    /// RFC 1035 §2.3.4: 63 octets a label; RFC 5321 §4.5.3.1.2: 255 octets a domain.
    package static let longestLabel = 63
    package static let longest = 255

    /// Nil unless `text` is a domain or an address literal. Labels may hold letters, digits, `-` and `_` (which
    /// hosts in the wild do carry) and, for internationalized mail, anything beyond ASCII.
    package init?(_ text: String) {
        if text.utf8.first == UInt8(ascii: "[") {
            guard text.utf8.last == UInt8(ascii: "]"), Domain.literalAddress(in: text) != nil else { return nil }
        } else {
            guard Domain.isHostName(text.utf8) else { return nil }
        }
        self.init(valid: text)
    }

    /// For text that a parser has checked already.
    package init(valid text: String) {
        self.text = text
        key = lowercasedASCII(text.utf8.last == UInt8(ascii: ".") ? String(Substring(text.utf8.dropLast())) : text)
    }

    /// The address inside a literal, nil for a host name.
    package var literal: IPAddress? { Domain.literalAddress(in: text) }

    package var isASCII: Bool { text.utf8.allSatisfy { $0 < 0x80 } }

    private static func literalAddress(in text: String) -> IPAddress? {
        guard text.utf8.first == UInt8(ascii: "["), text.utf8.count > 2 else { return nil }
        let inner = Substring(text.utf8.dropFirst().dropLast())
        let colon = UInt8(ascii: ":")
        // RFC 5321 §4.1.3: IPv6-address-literal = "IPv6:" IPv6-addr; that may be the IPv4-mapped form, which `IPAddress`
        // turns into IPv4: the colon tells the two apart, not the result.
        if lowercasedASCII(String(inner.prefix(5))) == "ipv6:" {
            let bare = inner.dropFirst(5)
            return bare.utf8.contains(colon) ? IPAddress(String(bare)) : nil
        }
        return inner.utf8.contains(colon) ? nil : IPAddress(String(inner))
    }

    private static func isHostName(_ bytes: String.UTF8View) -> Bool {
        guard !bytes.isEmpty, bytes.count <= longest else { return false }
        var label = 0
        var previous = UInt8(ascii: ".")
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "."):
                guard label > 0, previous != UInt8(ascii: "-") else { return false }
                label = 0
            case UInt8(ascii: "-"):
                guard label > 0 else { return false }
                label += 1
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), 0x80...:
                label += 1
            default: return false
            }
            guard label <= longestLabel else { return false }
            previous = byte
        }
        return label > 0 && previous != UInt8(ascii: "-")
    }
}

extension Domain: Hashable, Comparable, CustomStringConvertible {
    package static func == (a: Domain, b: Domain) -> Bool { a.key == b.key }
    package static func < (a: Domain, b: Domain) -> Bool { a.key < b.key }
    package func hash(into hasher: inout Hasher) { hasher.combine(key) }
    package var description: String { text }
}

/// ASCII letters in lower case, all else untouched: what "without case" means for mail (RFC 5321 §2.4).
package func lowercasedASCII(_ text: String) -> String {
    guard text.utf8.contains(where: { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") }) else { return text }
    return String(decoding: text.utf8.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0 }, as: UTF8.self)
}
