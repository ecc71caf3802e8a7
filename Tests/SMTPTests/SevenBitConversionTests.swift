// Messages as 7-bit ones: what is encoded, what stays, and what cannot be done.

import NIOCore
import Testing

@testable import SMTP

@Suite("Client: 8-bit content for 7-bit servers")
struct SevenBitConversionTests {
    private func convert(_ text: String) -> String? { convert(Array(text.utf8)) }
    private func convert(_ bytes: [UInt8]) -> String? { SevenBitConversion.convert(ByteBuffer(bytes: bytes)).map { String(buffer: $0) } }

    private static let simple = """
        Subject: x\r
        MIME-Version: 1.0\r
        Content-Type: text/plain; charset=utf-8\r
        Content-Transfer-Encoding: 8bit\r
        \r
        Gr\u{FC}\u{DF}e = 1 \r
        \r
        .end\r

        """

    @Test("a text becomes quoted-printable, its label with it")
    func text() {
        #expect(convert(Self.simple) == """
            Subject: x\r
            MIME-Version: 1.0\r
            Content-Type: text/plain; charset=utf-8\r
            Content-Transfer-Encoding: quoted-printable\r
            \r
            Gr=C3=BC=C3=9Fe =3D 1=20\r
            \r
            .end\r

            """)
    }

    @Test("text without MIME fields is declared as what it is (RFC 1428)")
    func undeclared() {
        #expect(convert("Subject: x\r\n\r\n\u{E9}\r\n") == """
            Subject: x\r
            MIME-Version: 1.0\r
            Content-Type: text/plain; charset=unknown-8bit\r
            Content-Transfer-Encoding: quoted-printable\r
            \r
            =C3=A9\r

            """)
    }

    private static let multipart = """
        Content-Type: multipart/mixed;\r
        \tboundary="a b"\r
        Content-Transfer-Encoding: 8bit\r
        \r
        pre\u{E4}mble\r
        --a b\r
        Content-Type: text/plain\r
        \r
        seven = 7\r
        --a b\r
        Content-Type: application/octet-stream\r
        Content-Transfer-Encoding: 8bit\r
        \r
        \u{E9}\r
        --a b\r
        Content-Type: message/rfc822\r
        Content-Transfer-Encoding: 8bit\r
        \r
        Subject: inner\r
        Content-Type: text/plain\r
        \r
        \u{E9}\r
        --a b--\r
        end\r

        """

    @Test("of a multipart only the parts that need it change; parts that are no text are base64; messages in it are followed")
    func parts() {
        #expect(convert(Self.multipart) == """
            Content-Type: multipart/mixed;\r
            \tboundary="a b"\r
            Content-Transfer-Encoding: 7bit\r
            \r
            pre??mble\r
            --a b\r
            Content-Type: text/plain\r
            \r
            seven = 7\r
            --a b\r
            Content-Type: application/octet-stream\r
            Content-Transfer-Encoding: base64\r
            \r
            w6k=\r
            --a b\r
            Content-Type: message/rfc822\r
            Content-Transfer-Encoding: 7bit\r
            \r
            Subject: inner\r
            Content-Type: text/plain\r
            Content-Transfer-Encoding: quoted-printable\r
            \r
            =C3=A9\r
            --a b--\r
            end\r

            """)
    }

    @Test("however the content is cut, the same comes out", arguments: [simple, multipart])
    func cut(_ text: String) {
        let whole = convert(text)
        for size in 1...40 {
            let pieces = stride(from: 0, to: text.utf8.count, by: size).map { Array(text.utf8.dropFirst($0).prefix(size)) }
            var survey = SevenBitConversion()
            for piece in pieces { _ = survey.feed(ByteBuffer(bytes: piece)) }
            let plan = survey.finishSurvey()
            #expect(plan != nil)
            guard let plan else { continue }
            var conversion = SevenBitConversion(plan)
            var result = ByteBuffer()
            for piece in pieces { result.writeImmutableBuffer(conversion.feed(ByteBuffer(bytes: piece))) }
            result.writeImmutableBuffer(conversion.finish())
            #expect(String(buffer: result) == whole, "pieces of \(size)")
        }
    }

    @Test("binary content becomes base64, whatever it holds, and the octets come back")
    func binary() {
        let octets: [UInt8] = [0, 10, 13, 255, 13, 10, 65, 10] + Array(repeating: 66, count: 2000)
        let head = Array("Content-Type: text/plain\r\nContent-Transfer-Encoding: binary\r\n\r\n".utf8)
        let result = convert(head + octets) ?? ""
        #expect(result.hasPrefix("Content-Type: text/plain\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\nAAoN/w0KQQpC"))
        #expect(result.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 76 })
        #expect(!result.utf8.contains { $0 >= 0x80 || $0 == 0 })
    }

    @Test("7-bit content stays as it is", arguments: ["Subject: x\r\n\r\nx = y\r\n", "Subject: x\r\n\r\nno end", "Subject: x\r\n", ""])
    func untouched(_ text: String) { #expect(convert(text) == text) }

    @Test("long lines of text are broken softly, at 76 at most")
    func longLines() {
        let result = convert("Content-Transfer-Encoding: 8bit\r\n\r\n\(String(repeating: "\u{E9}", count: 200))\r\n") ?? ""
        #expect(result.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 76 })
        #expect(result.split(separator: "\r\n").dropFirst(3).map { $0.hasSuffix("=") ? $0.dropLast() : $0 }.joined() == String(repeating: "=C3=A9", count: 200))
    }

    @Test("what no encoding of the content can change is not done", arguments: [
        // in a header section; encoded by its label and not in fact; what must not be encoded
        "Subject: \u{E9}\r\n\r\nx\r\n", "Content-Transfer-Encoding: base64\r\n\r\n\u{E9}\r\n", "Content-Type: message/partial; id=1; number=1\r\n\r\n\u{E9}\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment; filename=\u{E9}\r\n\r\nx\r\n--b--\r\n",
    ])
    func impossible(_ text: String) { #expect(convert(text) == nil) }

    @Test("no bare CR or LF and no NUL of binary content gets into lines: where it stands in the structure, nothing is done", arguments: [
        "Subject: x\n.\nMAIL FROM:<>\r\n\r\nx\r\n", "Subject: x\n\nx\r\n", "Subject: x\r.\r\r\n\r\nx\r\n", "Subject: x\0\r\n\r\nx\r\n", "Subject: x\r", "Subject: x\r\n\nx\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\n\r\n\0\r\n--b--\r\n", "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nA: x\n.\n\r\n\0\r\n--b--\r\n",
        "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n\0\r\n--b--\r\r\n",
    ])
    func bareInStructure(_ text: String) { #expect(convert(text) == nil) }

    @Test("nor between the parts, where nobody is shown it")
    func bareInMargin() {
        let got = convert("Content-Type: multipart/mixed; boundary=b\r\n\r\na\n.\nb\r.\r\0\r\n--b\r\n\r\nx\n.\n\r\n--b--\r\nc\n.\r\nd\r") ?? ""
        #expect(got.hasPrefix("Content-Type: multipart/mixed; boundary=b\r\n\r\na?.?b?.??\r\n--b\r\n"), "\(got)")
        #expect(got.hasSuffix("--b--\r\nc?.\r\nd?"), "\(got)")
        #expect(!got.replacing("\r\n", with: "").utf8.contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 })
    }
}
