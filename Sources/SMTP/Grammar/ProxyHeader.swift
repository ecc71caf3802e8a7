// The PROXY protocol, versions 1 and 2: how a load balancer tells which client it speaks for, before the client's first octet
// (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>). Strict, since what it says decides who may relay: what
// is not exactly a header ends the connection, and nothing is guessed.

package import MailSyntax

package struct ProxyHeader: Hashable, Sendable {
    package struct Side: Hashable, Sendable {
        package let address: IPAddress
        package let port: UInt16
    }

    package struct Ends: Hashable, Sendable {
        package let client: Side
        package let server: Side
    }

    /// Nil: the proxy speaks for itself (LOCAL, UNKNOWN), as its health checks do.
    package let ends: Ends?

    package enum Outcome: Equatable, Sendable {
        case needMore
        case header(ProxyHeader, length: Int)
        case wrong(String)
    }

    /// Version 1, §2.1: 107 octets hold the longest line.
    private static let longestLine = 107
    /// Version 2: 16 octets, addresses, and whatever a proxy adds (TLS names, tokens); it says 64 KiB at most, which nobody needs.
    private static let longestBlock = 4096

    private static let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]

    /// `bytes`: all that came since the connection was opened.
    package static func parse(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        guard let first = bytes.first else { return .needMore }
        return first == signature[0] ? parseBlock(bytes) : parseLine(bytes)
    }

    // MARK: Version 1

    ///     "PROXY" SP ( "TCP4" / "TCP6" ) SP src SP dst SP srcport SP dstport CRLF
    ///     "PROXY UNKNOWN" *OCTET CRLF
    private static func parseLine(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        let start = Array("PROXY ".utf8)
        for (byte, expected) in zip(bytes, start) where byte != expected { return .wrong("it does not begin as a PROXY header does") }
        let line = bytes.prefix(longestLine)
        guard let end = line.firstIndex(of: 0x0D) else {
            return bytes.count >= longestLine ? .wrong("the line is too long") : .needMore
        }
        guard end + 1 < bytes.count else { return end + 1 < longestLine ? .needMore : .wrong("the line is too long") }
        guard bytes[end + 1] == 0x0A, end + 2 <= longestLine, line[..<end].allSatisfy({ (0x20...0x7E).contains($0) }) else {
            return .wrong("the line does not end with CR LF")
        }
        let words = String(decoding: line[..<end], as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count > 1 else { return .wrong("the protocol is missing") }
        if words[1] == "UNKNOWN" { return .header(ProxyHeader(ends: nil), length: end + 2) }
        guard words.count == 6, words[1] == "TCP4" || words[1] == "TCP6" else { return .wrong("it is neither TCP4, TCP6 nor UNKNOWN with what belongs to it") }
        guard let client = side(words[2], words[4], isV6: words[1] == "TCP6"), let server = side(words[3], words[5], isV6: words[1] == "TCP6") else {
            return .wrong("an address or a port is wrong")
        }
        return .header(ProxyHeader(ends: Ends(client: client, server: server)), length: end + 2)
    }

    private static func side(_ address: Substring, _ port: Substring, isV6: Bool) -> Side? {
        // A port is 0 to 65535, without leading zeroes. IPv4 in IPv6's clothes is a TCP6 address all the same.
        guard address.contains(":") == isV6, let address = IPAddress(String(address)), port.utf8.allSatisfy(isDigit), port == "0" || port.first != "0",
            let port = UInt16(port)
        else { return nil }
        return Side(address: address, port: port)
    }

    // MARK: Version 2

    ///     signature(12) version-command(1) family-protocol(1) length(2) addresses tlvs
    private static func parseBlock(_ bytes: UnsafeRawBufferPointer) -> Outcome {
        for (byte, expected) in zip(bytes, signature) where byte != expected { return .wrong("it does not begin as a PROXY header does") }
        guard bytes.count >= 16 else { return .needMore }
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        guard bytes[12] >> 4 == 2 else { return .wrong("its version is not 2") }
        guard length <= longestBlock else { return .wrong("it is longer than \(longestBlock) octets") }
        guard bytes.count >= 16 + length else { return .needMore }
        let body = UnsafeRawBufferPointer(rebasing: bytes[16..<(16 + length)])
        switch (bytes[12] & 0x0F, bytes[13]) {
        // LOCAL: whatever follows is skipped (§2.2).
        case (0, _): return .header(ProxyHeader(ends: nil), length: 16 + length)
        case (1, 0x00): return .header(ProxyHeader(ends: nil), length: 16 + length)
        case (1, 0x11): return ends(body, octets: 4, total: 16 + length)
        case (1, 0x21): return ends(body, octets: 16, total: 16 + length)
        case (1, _): return .wrong("it is not about TCP")
        default: return .wrong("its command is unknown")
        }
    }

    private static func ends(_ body: UnsafeRawBufferPointer, octets: Int, total: Int) -> Outcome {
        guard body.count >= 2 * octets + 4 else { return .wrong("its addresses are cut short") }
        func port(_ offset: Int) -> UInt16 { UInt16(body[offset]) << 8 | UInt16(body[offset + 1]) }
        let client = Side(address: IPAddress(bytes: Array(body[..<octets])), port: port(2 * octets))
        let server = Side(address: IPAddress(bytes: Array(body[octets..<(2 * octets)])), port: port(2 * octets + 2))
        return .header(ProxyHeader(ends: Ends(client: client, server: server)), length: total)
    }
}
