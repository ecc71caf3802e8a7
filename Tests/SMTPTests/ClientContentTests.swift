import NIOCore
import Testing

@testable import SMTP

@Suite("Client: content")
struct ClientContentTests {
    private func stuffed(_ pieces: [[UInt8]]) -> String {
        var stuffer = DotStuffer()
        var result = ByteBuffer()
        for piece in pieces { result.writeImmutableBuffer(stuffer.stuff(ByteBuffer(bytes: piece))) }
        result.writeImmutableBuffer(stuffer.terminator())
        return String(buffer: result)
    }

    @Test(
        "lines that begin with a dot get another, and the end stands on a line of its own",
        arguments: [
            ("", ".\r\n"),
            ("a\r\n", "a\r\n.\r\n"),
            ("a", "a\r\n.\r\n"),
            (".", "..\r\n.\r\n"),
            (".\r\n", "..\r\n.\r\n"),
            ("..\r\n", "...\r\n.\r\n"),
            ("a\r\n.b\r\n.\r\n..\r\nc.d\r\n", "a\r\n..b\r\n..\r\n...\r\nc.d\r\n.\r\n"),
            ("\r\n.\r\n.\r\n.", "\r\n..\r\n..\r\n..\r\n.\r\n"),
            ("a\r", "a\r\r\n.\r\n"),
            ("a\r\r\n.b\r\n", "a\r\r\n..b\r\n.\r\n"),
            ("a\n.b\r\n", "a\n.b\r\n.\r\n"),
            ("a\n", "a\n\r\n.\r\n"),
        ])
    func stuffing(content: String, want: String) {
        let bytes = Array(content.utf8)
        #expect(stuffed([bytes]) == want)
        #expect(stuffed(bytes.map { [$0] }) == want)
        for split in bytes.indices {
            #expect(stuffed([Array(bytes[..<split]), Array(bytes[split...])]) == want, "split at \(split)")
        }
    }

    @Test("a chunk without dots at line starts is passed on uncopied")
    func uncopied() {
        let chunk = ByteBuffer(string: "Subject: x\r\n\r\nbody.\r\n")
        var stuffer = DotStuffer()
        let result = stuffer.stuff(chunk)
        let before = chunk.withUnsafeReadableBytes { $0.baseAddress }
        #expect(result.withUnsafeReadableBytes { $0.baseAddress } == before)
    }

    @Test(
        "8-bit octets are found, in the header and in the body",
        arguments: [
            ("Subject: x\r\n\r\nbody of some length\r\n", false, false),
            ("Subject: \u{E9}\r\n\r\nbody\r\n", true, true),
            ("Subject: x\r\n\r\nbod\u{E9} and so on, and so on\r\n", false, true),
            ("Subject: x\r\nX: y\r\n\r\nsome length, then the last is \u{E9}", false, true),
            ("\r\n\u{E9}", false, true),
            ("Subject: x\r\n \r\n\u{E9}: y\r\n", true, true),
            ("", false, false),
        ])
    func traits(content: String, header: Bool, any: Bool) {
        let bytes = Array(content.utf8)
        var dripped = ContentTraits()
        for byte in bytes { dripped.scan(ByteBuffer(bytes: [byte])) }
        for traits in [ContentTraits(of: ByteBuffer(bytes: bytes)), dripped] {
            #expect(traits.hasEightBitHeader == header)
            #expect(traits.hasEightBit == any)
        }
    }
}
