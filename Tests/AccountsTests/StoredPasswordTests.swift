// Stored passwords of every scheme, with the vectors that their authors published.

@testable import Accounts
import Testing

private let stored = [
    // As `openssl passwd` makes them, another implementation (Drepper, "Unix crypt using SHA-256 and SHA-512").
    ("$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5", "Hello world!"),
    ("$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1", "Hello world!"),
    // The design's example.
    ("$6$valija0000$6Pf7OoPlRqLiWbdLIEbh.LF56G6O8FXQtLXoBK1IMCwNyjA6OaSHxP8oR2Kfy.w8L9sqxFeqDC3JBrWPQ3BkP/", "correo"),
    // Openwall crypt_blowfish, wrapper.c.
    ("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ("{BLF-CRYPT}$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", "U*U"),
    ("{SHA256}uU0nuZNNPgilLlLX2n2r+sSE7+N6U4DukIj3rOLvzek=", "hello world"),
    ("{SHA256.HEX}b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", "hello world"),
    ("{PLAIN}secret", "secret"),
    // RFC 7677 §3: the password is pencil.
    ("{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==,WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "pencil"),
    ("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=", "pencil"),
]

@Suite("Stored passwords")
struct StoredPasswordTests {
    @Test("the right password is right, and no other", arguments: stored)
    func verification(_ text: String, _ password: String) throws {
        let stored = try StoredPassword(text)
        #expect(stored.verify(Array(password.utf8)))
        #expect(!stored.verify(Array(password.utf8) + [0x20]))
        #expect(!stored.verify(Array(password.utf8) + [0, 0x61]), "what follows a NUL counts")
        #expect(!stored.verify([]))
        #expect(!stored.verify(Array(text.utf8)), "the hash is not the password")
        #expect("\(stored)" == "(hash)")
    }

    @Test("a new hash is right for its password, salted afresh", arguments: StoredPassword.Scheme.allCases)
    func making(_ scheme: StoredPassword.Scheme) throws {
        let password = Array("Pa§wörd".utf8)
        let first = try #require(StoredPassword.hash(password, scheme: scheme))
        #expect(try StoredPassword(first).verify(password))
        #expect(try !StoredPassword(first).verify(Array("other".utf8)))
        #expect(first != StoredPassword.hash(password, scheme: scheme))
    }

    @Test(
        "what is no stored password is refused, without a word of what it was",
        arguments: [
            ("", StoredPassword.Flaw.empty), ("!$6$salt$x", .locked), ("*", .locked), ("secret", .malformed), ("$6$salt", .malformed), ("$99$salt$hash", .malformed),
            ("{SHA256}", .malformed), ("{SHA256}uU0n", .malformed), ("{SSHA512}AAAA", .malformed), ("{PLAIN", .malformed),
            ("{SCRAM-SHA-256}0,AA==,AA==,AA==", .malformed), ("SCRAM-SHA-256$4096:AA==", .malformed), ("{NTLM}00", .unknownScheme("{NTLM}")), ("pass word", .malformed),
        ])
    func refusals(_ text: String, _ flaw: StoredPassword.Flaw) {
        #expect(throws: flaw) { try StoredPassword(text) }
    }
}
