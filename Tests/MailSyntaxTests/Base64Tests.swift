// RFC 4648 §10 has the vectors.

import MailSyntax
import Testing

@Test("Base64 is that of RFC 4648, both ways", arguments: [
    ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
])
func base64(_ text: String, _ encoded: String) {
    #expect(Base64.encode(Array(text.utf8)) == encoded)
    #expect(Base64.decode(encoded.utf8) == Array(text.utf8))
}

@Test("Octets of every value survive base64")
func base64AllOctets() {
    for length in 0...64 {
        let octets = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 37 + length * 11) }
        #expect(Base64.decode(Base64.encode(octets).utf8) == octets)
    }
}

@Test("What is not base64 is refused whole", arguments: ["Z", "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "====", "Z===", "Zm9v Zm9v", "Zm9v\n", "Zm-v", "Zg==Zg==", "=m9v"])
func notBase64(_ text: String) {
    #expect(Base64.decode(text.utf8) == nil)
}
