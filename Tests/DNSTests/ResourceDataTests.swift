import MailSyntax
import Testing

@testable import DNS

@Suite("Resource data")
struct ResourceDataTests {
    private static func label(_ text: String) -> [UInt8] { [UInt8(text.utf8.count)] + Array(text.utf8) }

    private static let longLabel = String(repeating: "a", count: 63)

    @Test(
        "MX rdata is read to the octet or not at all",
        arguments: [
            ([0, 10] + label("mx") + label("example") + [0], .host(MailExchanger(preference: 10, host: Domain("mx.example")!))),
            ([0xFF, 0xFF] + label("MX") + [0], .host(MailExchanger(preference: 65535, host: Domain("mx")!))),
            ([0, 0, 0], .null),
            ([0, 9, 0], .null),
            ([0, 1] + label(longLabel) + [0], .host(MailExchanger(preference: 1, host: Domain(longLabel)!))),
            // Too short, without an end, with something behind the end, with labels longer than what is there.
            ([], nil), ([0], nil), ([0, 10], nil),
            ([0, 10] + label("mx"), nil),
            ([0, 10] + label("mx") + [0, 0], nil),
            ([0, 10] + label("mx") + [0] + label("mx") + [0], nil),
            ([0, 10, 5] + Array("mx".utf8) + [0], nil),
            // A compression pointer; a label of 64 octets; more than 255 octets in all.
            ([0, 10, 0xC0, 0x0C], nil),
            ([0, 10, 64] + [UInt8](repeating: 0x61, count: 64) + [0], nil),
            ([0, 10] + label(longLabel) + label(longLabel) + label(longLabel) + label(longLabel) + label("b") + [0], nil),
            // What would be syntax in a host name.
            ([0, 10] + label("mx.example") + [0], nil),
            ([0, 10] + label("[192") + [0], nil),
            ([0, 10] + label("m x") + [0], nil),
            ([0, 10] + label("m\r\nx") + [0], nil),
            ([0, 10] + label("\u{FC}") + [0], nil),
        ] as [([UInt8], ResourceData.Exchanger?)])
    func mailExchanger(rdata: [UInt8], want: ResourceData.Exchanger?) {
        #expect(ResourceData.mailExchanger(rdata) == want)
    }

    @Test("addresses have four or sixteen octets")
    func addresses() {
        #expect(ResourceData.address([192, 0, 2, 1], .a) == IPAddress("192.0.2.1"))
        #expect(ResourceData.address([192, 0, 2], .a) == nil)
        #expect(ResourceData.address([192, 0, 2, 1], .aaaa) == nil)
        #expect(ResourceData.address([0x20, 1, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1], .aaaa) == IPAddress("2001:db8::1"))
    }

    @Test("a null MX counts only where it stands alone, and malformed records only where all are")
    func exchange() {
        let host: [UInt8] = [0, 5] + Self.label("mx") + [0]
        #expect(MailExchange(rdata: [[0, 0, 0]]) == MailExchange.none)
        #expect(MailExchange(rdata: [[0, 0, 0], host]) == .hosts([MailExchanger(preference: 5, host: Domain("mx")!)]))
        #expect(MailExchange(rdata: [[1], host]) == .hosts([MailExchanger(preference: 5, host: Domain("mx")!)]))
        #expect(MailExchange(rdata: [[1]]) == nil)
    }

    @Test("the strings of TXT are joined, and cut ones are no text")
    func texts() {
        #expect(ResourceData.text([2] + Array("ab".utf8) + [1] + Array("c".utf8)) == Array("abc".utf8))
        #expect(ResourceData.text([0]) == [])
        #expect(ResourceData.text([3] + Array("ab".utf8)) == nil)
        #expect(ResourceData.text([]) == nil)
    }

    @Test("TLSA has three octets and data")
    func associations() {
        let record = ResourceData.certificateAssociation([3, 1, 1, 0xAB, 0x0C])
        #expect(record == CertificateAssociations.Record(usage: 3, selector: 1, matchingType: 1, data: [0xAB, 0x0C]))
        #expect(record?.description == "3 1 1 ab0c")
        #expect(ResourceData.certificateAssociation([3, 1, 1]) == nil)
    }

    @Test("reverse names are nibbles and octets backwards")
    func reverseNames() {
        #expect(IPAddress("192.0.2.1")!.reverseName == "1.2.0.192.in-addr.arpa.")
        #expect(
            IPAddress("2001:db8::1")!.reverseName
                == "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa.")
    }
}
