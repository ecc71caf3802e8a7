// Replies, enhanced codes, xtext, NOTIFY, and times.

import MailSyntax
import Testing

struct ReplyTests {
    @Test("a reply is written line by line, each with its codes", arguments: [
        (Reply(250, nil, "Ok"), "250 Ok\r\n"),
        (Reply(250, EnhancedCode(2, 1, 0), "Ok"), "250 2.1.0 Ok\r\n"),
        (Reply(550, EnhancedCode(5, 1, 1), lines: ["No", "such user"]), "550-5.1.1 No\r\n550 5.1.1 such user\r\n"),
        (Reply(250, lines: ["a.example", "PIPELINING", "SIZE 1"]), "250-a.example\r\n250-PIPELINING\r\n250 SIZE 1\r\n"),
        (Reply(354, lines: []), "354 \r\n"),
    ])
    func written(reply: Reply, text: String) {
        var bytes: [UInt8] = []
        reply.write(to: &bytes)
        #expect(String(decoding: bytes, as: UTF8.self) == text)
    }

    @Test("a reply is positive, transient or permanent", arguments: [(UInt16(250), 0), (354, 0), (421, 1), (452, 1), (500, 2), (554, 2)])
    func kinds(code: UInt16, kind: Int) {
        let reply = Reply(code, nil, "")
        #expect([reply.isPositive, reply.isTransient, reply.isPermanent] == (0..<3).map { $0 == kind })
    }

    @Test("the summary is one line") func summary() {
        #expect(Reply(550, EnhancedCode(5, 1, 1), lines: ["No", "such user"]).summary == "550 5.1.1 No such user")
    }

    @Test("an enhanced code is read or refused", arguments: [
        ("2.0.0", EnhancedCode(2, 0, 0)), ("4.999.1", EnhancedCode(4, 999, 1)), ("5.1.10", EnhancedCode(5, 1, 10)), ("3.0.0", nil), ("5.1", nil),
        ("5.1.1.1", nil), ("5..1", nil), ("5.1.1000", nil), ("5.1.+1", nil), ("", nil), ("5.1.a", nil),
    ] as [(String, EnhancedCode?)])
    func enhanced(text: String, code: EnhancedCode?) { #expect(EnhancedCode(text) == code) }

    @Test("xtext is decoded to what was encoded", arguments: ["", "abc", "a+b=c", "rfc822;Bob Smith@example.org", "é\u{0}\u{7F}", "++"])
    func xtext(text: String) {
        let encoded = XText.encode(text)
        #expect(encoded.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F })
        #expect(XText.decode(encoded) == text)
    }

    @Test("xtext encodes + and = and what is not printable (RFC 3461 §4)") func xtextForm() { #expect(XText.encode("a+b= é") == "a+2Bb+3D+20+C3+A9") }

    @Test("an ORCPT of type utf-8 is written in ASCII (RFC 6533 §3)", arguments: [
        ("rfc822;a+b@example.org", "rfc822;a+2Bb@example.org"), ("utf-8;jürgen@example.org", #"utf-8;j\x{FC}rgen@example.org"#),
        ("UTF-8;a+b=漢@example.org", #"UTF-8;a\x{2B}b\x{3D}\x{6F22}@example.org"#), (#"utf-8;"a\ b"@example.org"#, #"utf-8;"a\x{5C}\x{20}b"@example.org"#),
        ("rfc822;", "rfc822;"),
    ])
    func originalRecipient(text: String, written: String) {
        #expect(XText.encode(originalRecipient: text) == written)
        if text.hasPrefix("utf-8;") { #expect(XText.decode(utf8Recipient: String(written.dropFirst(6))) == String(text.dropFirst(6))) }
    }

    @Test("an address of type utf-8 is read in its forms, and mixed (RFC 6533 §3)", arguments: [
        (#"j\x{FC}rgen@b\x{fc}cher.example"#, "jürgen@bücher.example"), ("jürgen@bücher.example", "jürgen@bücher.example"),
        (#"jü\x{5C}\x{2B}\x{3D}\x{20}\x{1F4E8}\x{10FFFF}@a.example"#, "jü\\+= \u{1F4E8}\u{10FFFF}@a.example"), ("plain@a.example", "plain@a.example"), ("a+b@x", "a+b@x"), ("", ""),
    ])
    func utf8Recipient(written: String, text: String) { #expect(XText.decode(utf8Recipient: written) == text) }

    @Test("what is neither form of it is refused", arguments: [
        #"\"#, #"a\"#, #"\x"#, #"\x{"#, #"\x{FC"#, #"\x{}"#, #"\x{F}"#, #"\x{0000FC}x\x{0000041}"#, #"\x{110000}"#, #"\x{D800}"#, #"\x{+FC}"#, #"\x{FG}"#, #"\X{FC}"#, #"\y{FC}"#, "a b",
        "a\tb", "a\u{7F}",
    ])
    func noUTF8Recipient(text: String) { #expect(XText.decode(utf8Recipient: text) == nil) }

    @Test("what is no xtext is refused", arguments: ["a b", "a=b", "+", "+4", "+4g", "+4a", "+FF", "é", "a\r\n", "++41"])
    func noXText(text: String) { #expect(XText.decode(text) == nil) }

    @Test("NOTIFY asks for failures unless it says otherwise (RFC 3461 §4.1)", arguments: [
        (Notify.unspecified, true, ""), (.never, false, "NEVER"), (.success, false, "SUCCESS"), (.failure, true, "FAILURE"), (.delay, false, "DELAY"),
        ([.success, .failure, .delay], true, "SUCCESS,FAILURE,DELAY"),
    ] as [(Notify, Bool, String)])
    func notify(notify: Notify, wantsFailure: Bool, parameter: String) {
        #expect(notify.wantsFailure == wantsFailure)
        #expect(notify.parameter == parameter)
    }
}

struct TimestampTests {
    // Reference values by date(1).
    @Test("a point in time has its texts", arguments: [
        (Int64(0), "Thu, 1 Jan 1970 00:00:00 +0000", "1970-01-01T00:00:00.000000Z", "Thu Jan  1 00:00:00 1970"),
        (951_782_399_999_999, "Mon, 28 Feb 2000 23:59:59 +0000", "2000-02-28T23:59:59.999999Z", "Mon Feb 28 23:59:59 2000"),
        (951_825_600_000_001, "Tue, 29 Feb 2000 12:00:00 +0000", "2000-02-29T12:00:00.000001Z", "Tue Feb 29 12:00:00 2000"),
        (1_795_525_509_123_456, "Tue, 24 Nov 2026 13:05:09 +0000", "2026-11-24T13:05:09.123456Z", "Tue Nov 24 13:05:09 2026"),
        (4_107_542_400_000_000, "Mon, 1 Mar 2100 00:00:00 +0000", "2100-03-01T00:00:00.000000Z", "Mon Mar  1 00:00:00 2100"),
        (-1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59.999999Z", "Wed Dec 31 23:59:59 1969"),
    ])
    func texts(microseconds: Int64, rfc5322: String, rfc3339: String, asctime: String) {
        let time = Timestamp(microseconds: microseconds)
        #expect(time.rfc5322 == rfc5322)
        #expect(time.rfc3339 == rfc3339)
        #expect(time.asctime == asctime)
    }

    @Test("times and durations add up") func arithmetic() {
        let time = Timestamp(seconds: 100)
        #expect(time + .seconds(5) == Timestamp(seconds: 105))
        #expect(time + .milliseconds(-1) < time)
        #expect(time - Timestamp(seconds: 160) == .seconds(-60))
        #expect(Duration.milliseconds(1500).inMicroseconds == 1_500_000)
    }
}
