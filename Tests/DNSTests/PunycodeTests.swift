import MailSyntax
import Testing

@testable import DNS

@Suite("Punycode")
struct PunycodeTests {
    @Test(
        "names beyond ASCII become A-labels, label by label",
        arguments: [
            ("b\u{FC}cher.example", "xn--bcher-kva.example"),
            ("B\u{DC}CHER.Example", "xn--bcher-kva.example"),
            ("m\u{FC}nchen.de", "xn--mnchen-3ya.de"),
            ("\u{4F8B}\u{3048}.\u{30C6}\u{30B9}\u{30C8}", "xn--r8jz45g.xn--zckzah"),
            ("\u{43F}\u{440}\u{438}\u{43C}\u{435}\u{440}.example", "xn--e1afmkfd.example"),
            ("mail.example.org", "mail.example.org"),
            // A label that begins with a combining mark: Swift's Characters do not see the dot before it.
            ("a.\u{6DC}b.example", "a.xn--b-bxc.example"),
        ])
    func names(name: String, want: String) {
        #expect(Punycode.ascii(Domain(name)!) == want)
    }

    /// RFC 3492 §7.1, samples (A), (B) and (I).
    @Test(
        "the samples of the RFC are encoded as it says",
        arguments: [
            ("\u{644}\u{64A}\u{647}\u{645}\u{627}\u{628}\u{62A}\u{643}\u{644}\u{645}\u{648}\u{634}\u{639}\u{631}\u{628}\u{64A}\u{61F}", "egbpdaj6bu4bxfgehfvwxn"),
            ("\u{4ED6}\u{4EEC}\u{4E3A}\u{4EC0}\u{4E48}\u{4E0D}\u{8BF4}\u{4E2D}\u{6587}", "ihqwcrb4cv8a8dqg056pqjye"),
            (
                "\u{43F}\u{43E}\u{447}\u{435}\u{43C}\u{443}\u{436}\u{435}\u{43E}\u{43D}\u{438}\u{43D}\u{435}\u{433}\u{43E}\u{432}\u{43E}\u{440}\u{44F}\u{442}\u{43F}\u{43E}\u{440}\u{443}\u{441}\u{441}\u{43A}\u{438}",
                "b1abfaaepdrnnbgefbadotcwatmq2g4l"
            ),
        ])
    func samples(text: String, want: String) {
        #expect(Punycode.encode(text.unicodeScalars.map(\.value)) == want)
    }

    @Test("a label that becomes too long is no name")
    func tooLong() {
        let label = (0..<21).map { String(UnicodeScalar(0x4E00 + $0 * 997)!) }.joined()
        #expect(Punycode.ascii(Domain("\(label).example")!) == nil)
        #expect(Punycode.encode([UInt32](repeating: 0x10FFFF, count: 64)) == nil)
    }
}
