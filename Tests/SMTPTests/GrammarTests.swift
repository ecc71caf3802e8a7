// The grammar by itself: round trips, and that no octets whatever bring it down.

import MailSyntax
import NIOCore
import Testing
@testable import SMTP

private func parse(_ bytes: [UInt8]) -> CommandLine { bytes.withUnsafeBytes { CommandLine($0) } }

@Suite("Grammar")
struct GrammarTests {
    @Test("an address that is written is read as it was", arguments: 0..<500)
    func addressRoundTrip(seed: Int) throws {
        var random = SmallRandom(seed: UInt64(seed))
        let alphabet = Array("ab.Z9_+-=/ @\"\\<>,:;()[]é漢".unicodeScalars)
        var localPart = ""
        for _ in 0..<Int.random(in: 0...20, using: &random) { localPart.unicodeScalars.append(alphabet.randomElement(using: &random)!) }
        let address = Address(localPart: localPart, domain: Domain(["example.org", "[192.0.2.1]", "[IPv6:2001:db8::1]", "bücher.example"].randomElement(using: &random)!)!)
        // A quoted-pair is a backslash and ASCII; all else of the alphabet stands for itself.
        guard case .success(.mail(let command)) = parse(Array("MAIL FROM:<\(address)> SMTPUTF8".utf8)).command else {
            Issue.record("not read: \(address)")
            return
        }
        #expect(command.sender == BareAddress("\(address)"))
        #expect(command.sender?.localPart == localPart)
        guard case .success(.recipient(let recipient)) = parse(Array("RCPT TO:<@relay.example:\(address)>".utf8)).command else {
            Issue.record("not read as a recipient: \(address)")
            return
        }
        #expect(recipient.recipient == command.sender)
    }

    @Test("ENVID and ORCPT are read as they were written", arguments: 0..<200)
    func xtextRoundTrip(seed: Int) {
        var random = SmallRandom(seed: UInt64(seed))
        let text = String(decoding: (0..<Int.random(in: 1...33, using: &random)).map { _ in UInt8.random(in: 0x20...0x7E, using: &random) }, as: UTF8.self)
        if case .success(.mail(let command)) = parse(Array("MAIL FROM:<> ENVID=\(XText.encode(text))".utf8)).command {
            #expect(command.envelopeID == text)
        } else {
            Issue.record("ENVID not read: \(text)")
        }
        if case .success(.recipient(let command)) = parse(Array("RCPT TO:<a@b.example> ORCPT=rfc822;\(XText.encode(text))".utf8)).command {
            #expect(command.originalRecipient == "rfc822;\(text)")
        } else {
            Issue.record("ORCPT not read: \(text)")
        }
    }

    @Test("ORCPT of type utf-8 is the address that it stands for; in ASCII it needs no SMTPUTF8 (RFC 6533 §3)", arguments: [
        (#"utf-8;j\x{FC}rgen@b.example"#, "utf-8;jürgen@b.example", true), ("UTF-8;jürgen@b.example", "UTF-8;jürgen@b.example", false),
        (#"utf-8;\x{22}a\x{20}b\x{22}@b.example"#, #"utf-8;"a b"@b.example"#, true), ("rfc822;j+FC@b.example", nil, true), ("rfc822;jürgen@b.example", nil, true),
        (#"utf-8;a\x{0D}\x{0A}b@b.example"#, nil, true), (#"utf-8;a\x{85}b@b.example"#, nil, true), (#"utf-8;a\x{7F}b@b.example"#, nil, true), (#"utf-8;a\x{FC@b.example"#, nil, true),
    ] as [(String, String?, Bool)])
    func utf8OriginalRecipient(written: String, address: String?, isASCII: Bool) {
        let command = parse(Array("RCPT TO:<a@b.example> ORCPT=\(written)".utf8)).command
        guard case .success(.recipient(let command)) = command else { return #expect(address == nil, "\(command)") }
        #expect(command.originalRecipient == address)
        #expect(command.isASCII == isASCII)
    }

    @Test("NOTIFY is read as it is written", arguments: 0..<8)
    func notifyRoundTrip(bits: Int) {
        let notify = bits == 0 ? Notify.never : Notify(rawValue: UInt8(bits) << 1)
        guard case .success(.recipient(let command)) = parse(Array("RCPT TO:<a@b.example> notify=\(notify.parameter.lowercased())".utf8)).command else {
            Issue.record("not read")
            return
        }
        #expect(command.notify == notify)
    }

    @Test("no octets bring the parser down, and verbs are told apart from the rest", arguments: 0..<300)
    func noise(seed: Int) {
        var random = SmallRandom(seed: UInt64(seed))
        let seeds = ["MAIL FROM:<a@b> SIZE=1 ENVID=+41", "RCPT TO:<\"a\\b\"@[1.2.3.4]> ORCPT=rfc822;x NOTIFY=NEVER", "BDAT 12 LAST", "VRFY x SMTPUTF8", "EHLO x"]
        for _ in 0..<50 {
            var line = Array(seeds.randomElement(using: &random)!.utf8)
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let index = Int.random(in: 0..<line.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: line[index] = UInt8.random(in: 0...255, using: &random)
                case 1: line.insert(UInt8.random(in: 0...255, using: &random), at: index)
                default: if line.count > 1 { line.remove(at: index) }
                }
            }
            let got = parse(line)
            if case .failure(.unknownCommand) = got.command { #expect(got.verb == .unknown) }
            // What is accepted can be written and read again.
            if case .success(.mail(let command)) = got.command, let sender = command.sender {
                #expect(BareAddress(sender.qualified(with: Domain("origin.example")!).description) != nil)
            }
        }
    }

    @Test("a number is read within its digits", arguments: [
        ("0", 0), ("007", 7), ("9223372036854775807", Int.max), ("9223372036854775808", Int.max), ("99999999999999999999", Int.max),
        ("100000000000000000000", nil), ("", nil), ("-1", nil),
    ] as [(String, Int?)])
    func number(_ text: String, _ want: Int?) {
        let got = Array(text.utf8).withUnsafeBytes { bytes in
            var cursor = Cursor(bytes)
            return cursor.takeNumber()
        }
        #expect(got == want)
    }

    @Test("the line scanner tells need more, a line and wrong apart", arguments: [
        ("", .needMore(dropping: 0)), ("NOOP", .needMore(dropping: 0)), ("NOOP\r", .needMore(dropping: 0)),
        ("NOOP\r\nX", .line(length: 4)), ("\r\n", .line(length: 0)), ("A\nB\r\n", .wrong(.bareLineFeed, consuming: 5)),
        ("A\rB\r\n", .wrong(.bareCarriageReturn, consuming: 5)), ("A\0\r\n", .wrong(.nulOctet, consuming: 4)),
        ("01234567890123456789", .needMore(dropping: 20)), ("0123456789012345678\r", .needMore(dropping: 19)),
        ("012345678901234567\r\n", .line(length: 18)), ("0123456789012345678\r\n", .wrong(.lineTooLong(limit: 20), consuming: 21)),
    ] as [(String, LineScanner.Outcome)])
    func lines(_ text: String, _ want: LineScanner.Outcome) {
        var scanner = LineScanner(limit: 20)
        #expect(Array(text.utf8).withUnsafeBytes { scanner.scan($0) } == want)
    }
}
