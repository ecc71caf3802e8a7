// Encoded words of header fields (RFC 2047).

import Testing

@testable import MailSyntax

@Test(
    "ASCII stays; all else becomes words of at most 75 characters, each of whole characters",
    arguments: [
        ("plain (text)", "plain (text)"), ("", ""), ("é", "=?UTF-8?B?w6k=?="), ("Grüße", "=?UTF-8?B?R3LDvMOfZQ==?="),
        (String(repeating: "ü", count: 30), "=?UTF-8?B?\(String(repeating: "w7zDvMO8", count: 7))w7w=?=\n =?UTF-8?B?\(String(repeating: "w7zDvMO8", count: 2))w7zDvA==?="),
    ])
func encodedWords(text: String, want: String) {
    let got = EncodedWord.encode(text)
    #expect(got == want)
    #expect(got.split(separator: "\n").allSatisfy { $0.count <= 76 })
}
