import Testing

@testable import Mailboxes

@Suite("Text on its way into a mailbox")
struct LineEndsTests {
    static let lineEnds: [(wire: String, kept: String)] = [
        ("", ""), ("a", "a"), ("a\r\n", "a\n"), ("a\r\nb\r\n", "a\nb\n"), ("\r\n\r\n", "\n\n"), ("a\nb\n", "a\nb\n"),
        ("a\rb\r\n", "a\rb\n"), ("\r\r\n", "\r\n"), ("a\r", "a\r"), ("\r", "\r"), ("\n\r\r\r\n\r", "\n\r\r\n\r"),
    ]

    @Test("CRLF becomes LF and all else stays, wherever the text is cut", arguments: lineEnds)
    func convertsLineEnds(wire: String, kept: String) {
        let octets = Array(wire.utf8)
        #expect(octets.withUnsafeBytes { LineEnds.convert($0) } == Array(kept.utf8))
        for pieces in cuts(of: octets) {
            var converter = LineEnds()
            var result: [UInt8] = []
            var buffer = [UInt8](repeating: 0, count: octets.count + 1)
            for piece in pieces {
                let count = piece.withUnsafeBytes { input in buffer.withUnsafeMutableBytes { converter.convert(input, to: $0) } }
                result += buffer[..<count]
            }
            let count = buffer.withUnsafeMutableBytes { converter.finish(to: $0) }
            #expect(result + buffer[..<count] == Array(kept.utf8), "cut into \(pieces.map(\.count))")
        }
    }

    static let quotings: [(text: String, quoted: String)] = [
        ("", ""), ("From a\n", ">From a\n"), ("a\nFrom b\n", "a\n>From b\n"), ("From", "From"), ("From ", ">From "), ("From\n", "From\n"),
        (">From a\n", ">From a\n"), ("a From b\n", "a From b\n"), ("FFrom a\nFrom: b\n", "FFrom a\nFrom: b\n"),
        ("\nFrom a\nFro\nFrom b", "\n>From a\nFro\n>From b"), ("from a\n", "from a\n"), ("F", "F"), ("\n\n", "\n\n"),
        ("From From x\nFrom \n", ">From From x\n>From \n"),
    ]

    @Test("a line that starts with From and a space is quoted, and no other, wherever the text is cut", arguments: quotings)
    func quotesFrom(text: String, quoted: String) {
        for pieces in cuts(of: Array(text.utf8)) {
            var quoting = FromQuoting()
            var result: [UInt8] = []
            for piece in pieces { piece.withUnsafeBytes { quoting.quote($0, to: &result) } }
            quoting.finish(to: &result)
            #expect(String(decoding: result, as: UTF8.self) == quoted, "cut into \(pieces.map(\.count))")
        }
    }

    /// In one piece, octet by octet, and in two pieces at each place.
    private func cuts(of octets: [UInt8]) -> [[[UInt8]]] {
        [[octets], octets.map { [$0] }] + octets.indices.map { [Array(octets[..<$0]), Array(octets[$0...])] }
    }
}
