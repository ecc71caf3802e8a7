// The PROXY protocol's headers, whole, cut and wrong.

import MailSyntax
import Testing
@testable import SMTP

private func parse(_ bytes: [UInt8]) -> ProxyHeader.Outcome { bytes.withUnsafeBytes { ProxyHeader.parse($0) } }

private let signature: [UInt8] = [0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A]
private let ends4: [UInt8] = [192, 0, 2, 7, 192, 0, 2, 25, 0xC0, 0x00, 0, 25]

private func block(_ command: UInt8, _ family: UInt8, _ body: [UInt8], length: Int? = nil) -> [UInt8] {
    let length = length ?? body.count
    return signature + [0x20 | command, family, UInt8(length >> 8), UInt8(length & 0xFF)] + body
}

@Test("a header of either version names the client and the server, and ends where it ends", arguments: [
    (Array("PROXY TCP4 192.0.2.7 192.0.2.25 49152 25\r\n".utf8), "192.0.2.7:49152 192.0.2.25:25"),
    (Array("PROXY TCP6 2001:db8::7 2001:db8::25 1 25\r\n".utf8), "2001:db8::7:1 2001:db8::25:25"),
    (Array("PROXY TCP6 ::ffff:192.0.2.7 2001:db8::25 0 25\r\n".utf8), "192.0.2.7:0 2001:db8::25:25"),
    (Array("PROXY UNKNOWN\r\n".utf8), "itself"),
    (Array("PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n".utf8), "itself"),
    (block(1, 0x11, ends4), "192.0.2.7:49152 192.0.2.25:25"),
    (block(1, 0x11, ends4 + [0x04, 0x00, 0x01, 0x00]), "192.0.2.7:49152 192.0.2.25:25"),
    (block(1, 0x21, [UInt8](repeating: 0x20, count: 32) + [0, 1, 0, 25]), "2020:2020:2020:2020:2020:2020:2020:2020:1 2020:2020:2020:2020:2020:2020:2020:2020:25"),
    (block(0, 0x00, []), "itself"), (block(0, 0x11, ends4), "itself"), (block(1, 0x00, [1, 2, 3]), "itself"),
])
func proxyHeaders(bytes: [UInt8], meaning: String) {
    let rest = Array("EHLO x\r\n".utf8)
    guard case .header(let header, bytes.count) = parse(bytes + rest) else { return _ = Issue.record("\(parse(bytes + rest))") }
    let text = header.ends.map { "\($0.client.address):\($0.client.port) \($0.server.address):\($0.server.port)" } ?? "itself"
    #expect(text == meaning)
    for count in 0..<bytes.count { #expect(parse(Array(bytes[..<count])) == .needMore, "\(count) octets") }
}

@Test("what is not exactly a header is none", arguments: [
    "EHLO x\r\n", "proxy TCP4 192.0.2.7 192.0.2.25 1 25\r\n", "PROXY\r\n", "PROXY TCP4\r\n", "PROXY  TCP4 192.0.2.7 192.0.2.25 1 25\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.25 1\r\n", "PROXY TCP4 192.0.2.7 192.0.2.25 1 25 \r\n", "PROXY TCP4 192.0.2.7 192.0.2.25 1 65536\r\n",
    "PROXY TCP4 192.0.2.7 192.0.2.25 01 25\r\n", "PROXY TCP4 192.0.2.7 192.0.2.25 +1 25\r\n", "PROXY TCP4 2001:db8::7 192.0.2.25 1 25\r\n",
    "PROXY TCP6 192.0.2.7 192.0.2.25 1 25\r\n", "PROXY TCP4 192.0.2.700 192.0.2.25 1 25\r\n", "PROXY TCP4 192.0.2.7 192.0.2.25 1 25\rx",
    "PROXY TCP4 192.0.2.7 192.0.2.25 1 25\n\r\n", "PROXY UDP4 192.0.2.7 192.0.2.25 1 25\r\n", "PROXY UNKNOWN " + String(repeating: "x", count: 200),
])
func notProxyLines(text: String) {
    guard case .wrong = parse(Array(text.utf8)) else { return _ = Issue.record("\(parse(Array(text.utf8)))") }
}

@Test("nor is a block that is wrong", arguments: [
    block(2, 0x11, ends4), block(1, 0x12, ends4), block(1, 0x31, [UInt8](repeating: 0, count: 216)), block(1, 0x11, Array(ends4.dropLast())),
    block(1, 0x21, ends4), block(1, 0x11, [], length: 5000), Array(signature.dropLast()) + [0x0B], signature + [0x10, 0x11, 0, 0],
])
func notProxyBlocks(bytes: [UInt8]) {
    guard case .wrong = parse(bytes) else { return _ = Issue.record("\(parse(bytes))") }
}
