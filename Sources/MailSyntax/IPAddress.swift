// IP addresses, networks in CIDR notation, and socket addresses in text. No look-up.

internal import Glibc

/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address becomes the IPv4 address that it stands for, so that a client
/// is the same client on a dual-stack listener.
package struct IPAddress: Hashable, Sendable {
    /// Network byte order: 4 or 16 octets.
    package let bytes: [UInt8]

    package var isV6: Bool { bytes.count == 16 }

    package init(bytes: [UInt8]) {
        precondition(bytes.count == 4 || bytes.count == 16)
        let mapped = bytes.count == 16 && bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xFF && bytes[11] == 0xFF
        self.bytes = mapped ? Array(bytes[12...]) : bytes
    }

    package init?(_ text: String) {
        guard !text.utf8.contains(0) else { return nil }  // C would not see what follows
        var v4 = in_addr()
        var v6 = in6_addr()
        if inet_pton(AF_INET, text, &v4) == 1 {
            self.init(bytes: withUnsafeBytes(of: &v4) { Array($0) })
        } else if inet_pton(AF_INET6, text, &v6) == 1 {
            self.init(bytes: withUnsafeBytes(of: &v6) { Array($0) })
        } else {
            return nil
        }
    }

    package var isLoopback: Bool { isV6 ? bytes[..<15].allSatisfy { $0 == 0 } && bytes[15] == 1 : bytes[0] == 127 }
}

extension IPAddress: CustomStringConvertible {
    package var description: String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(INET6_ADDRSTRLEN)) { buffer in
            _ = bytes.withUnsafeBytes { inet_ntop(isV6 ? AF_INET6 : AF_INET, $0.baseAddress!, buffer.baseAddress!, socklen_t(buffer.count)) }
            return String(cString: buffer.baseAddress!)
        }
    }

    /// As an address literal of a mail domain (RFC 5321 §4.1.3): `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    package var literal: String { isV6 ? "[IPv6:\(self)]" : "[\(self)]" }
}

/// A block of addresses: `192.0.2.0/24`, `2001:db8::/32`, or a single address.
package struct Network: Hashable, Sendable, CustomStringConvertible {
    package let base: IPAddress
    package let prefixLength: Int

    package enum Flaw: Error, Hashable {
        case notAnAddress
        case badPrefixLength
        /// Bits are set beyond the prefix: most likely a typing error. `corrected` is the block that holds the address.
        case hostBitsSet(corrected: String)
    }

    package init(parsing text: String) throws(Flaw) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let base = IPAddress(String(parts[0])) else { throw .notAnAddress }
        let width = base.bytes.count * 8
        var length = width
        if parts.count == 2 {
            guard let parsed = Int(parts[1]), (0...width).contains(parsed), isDigits(parts[1]) else { throw .badPrefixLength }
            length = parsed
        }
        let masked = Network.masked(base.bytes, to: length)
        guard masked == base.bytes else {
            throw .hostBitsSet(corrected: "\(IPAddress(bytes: masked))/\(length)")
        }
        self.base = base
        prefixLength = length
    }

    package func contains(_ address: IPAddress) -> Bool {
        guard address.bytes.count == base.bytes.count else { return false }
        let whole = prefixLength / 8
        for index in 0..<whole where address.bytes[index] != base.bytes[index] { return false }
        let rest = prefixLength % 8
        return rest == 0 || (address.bytes[whole] ^ base.bytes[whole]) >> (8 - rest) == 0
    }

    /// A single address.
    package var isHost: Bool { prefixLength == base.bytes.count * 8 }

    package var description: String {
        prefixLength == base.bytes.count * 8 ? base.description : "\(base)/\(prefixLength)"
    }

    private static func masked(_ bytes: [UInt8], to length: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in
            let bits = min(8, max(0, length - index * 8))
            return bits == 0 ? 0 : byte & (0xFF << (8 - bits))
        }
    }
}

/// An address and a port to listen at: `0.0.0.0:25`, `[::]:25`.
package struct Endpoint: Hashable, Sendable, CustomStringConvertible {
    package let address: IPAddress
    package let port: UInt16

    package init(address: IPAddress, port: UInt16) {
        self.address = address
        self.port = port
    }

    package init?(_ text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let number = text[text.utf8.index(after: colon)...]
        guard isDigits(number), let port = UInt16(number) else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            guard let address = IPAddress(host), host.contains(":") else { return nil }
            self.init(address: address, port: port)
        } else {
            guard let address = IPAddress(host), !address.isV6 else { return nil }
            self.init(address: address, port: port)
        }
    }

    package var description: String { address.isV6 ? "[\(address)]:\(port)" : "\(address):\(port)" }
}

/// Swift's integers also read a sign.
func isDigits(_ text: Substring) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }
}
