// IP addresses, networks, endpoints and next hops.

import MailSyntax
import Testing

struct NetworkTests {
    @Test("an IP address is read and written in its shortest form", arguments: [
        ("192.0.2.1", "192.0.2.1", false), ("2001:DB8:0:0:0:0:0:1", "2001:db8::1", true), ("::1", "::1", true),
        ("::ffff:192.0.2.1", "192.0.2.1", false),
    ])
    func address(text: String, written: String, isV6: Bool) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == written)
        #expect(address.isV6 == isV6)
        #expect(IPAddress(address.description) == address)
    }

    @Test("what is no IP address is refused", arguments: [
        "", "192.0.2", "192.0.2.256", "192.0.2.1/32", "1:2:3", "[::1]", " 192.0.2.1", "192.0.2.1 ", "192.0.2.1\0", "fe80::1%eth0", "example.org",
    ])
    func noAddress(text: String) { #expect(IPAddress(text) == nil) }

    @Test("loopback is 127/8 and ::1", arguments: [("127.0.0.1", true), ("127.255.0.9", true), ("::1", true), ("::2", false), ("128.0.0.1", false)])
    func loopback(text: String, isLoopback: Bool) { #expect(IPAddress(text)?.isLoopback == isLoopback) }

    @Test("a network contains its addresses and no other", arguments: [
        ("192.0.2.0/24", "192.0.2.255", true), ("192.0.2.0/24", "192.0.3.0", false), ("192.0.2.128/25", "192.0.2.127", false),
        ("10.0.0.0/9", "10.127.255.255", true), ("10.0.0.0/9", "10.128.0.0", false), ("0.0.0.0/0", "255.1.2.3", true),
        ("0.0.0.0/0", "::1", false), ("::/0", "1.2.3.4", false), ("2001:db8::/33", "2001:db8:7fff::1", true),
        ("2001:db8::/33", "2001:db8:8000::1", false), ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.0/24", "::ffff:192.0.2.9", true), ("192.0.2.1/32", "192.0.2.1", true),
    ])
    func contains(network: String, address: String, isContained: Bool) throws {
        #expect(try Network(parsing: network).contains(#require(IPAddress(address))) == isContained)
    }

    @Test("a network that is none says why", arguments: [
        ("example.org", Network.Flaw.notAnAddress), ("/24", .notAnAddress), ("192.0.2.0/33", .badPrefixLength), ("192.0.2.0/", .badPrefixLength),
        ("192.0.2.0/+24", .badPrefixLength), ("0.0.0.0/-0", .badPrefixLength), ("192.0.2.0/24/8", .badPrefixLength),
        ("192.0.2.1/24", .hostBitsSet(corrected: "192.0.2.0/24")), ("2001:db8::1/32", .hostBitsSet(corrected: "2001:db8::/32")),
    ])
    func noNetwork(text: String, flaw: Network.Flaw) { #expect(throws: flaw) { try Network(parsing: text) } }

    @Test("an endpoint is read, and written alike", arguments: ["0.0.0.0:25", "127.0.0.1:0", "[::]:25", "[2001:db8::1]:65535"])
    func endpoint(text: String) { #expect(Endpoint(text)?.description == text) }

    @Test("what is no endpoint is refused", arguments: [
        "", "25", ":25", "0.0.0.0", "0.0.0.0:", "0.0.0.0:65536", "0.0.0.0:+25", "0.0.0.0:-1", "::1:25", "[0.0.0.0]:25", "[::1]", "localhost:25", "[::1]:25 ",
    ])
    func noEndpoint(text: String) { #expect(Endpoint(text) == nil) }

    @Test("a next hop says whether MX records are asked, and at which port", arguments: [
        ("example.org", NextHop.Host.mailExchangers(of: Domain(valid: "example.org")), UInt16(25), "example.org:25"),
        ("Example.org:2525", .mailExchangers(of: Domain(valid: "example.org")), 2525, "example.org:2525"),
        ("[mx.example.org]", .name(Domain(valid: "mx.example.org")), 25, "[mx.example.org]:25"),
        ("[mx.example.org]:587", .name(Domain(valid: "mx.example.org")), 587, "[mx.example.org]:587"),
        ("[192.0.2.1]:26", .address(IPAddress("192.0.2.1")!), 26, "[192.0.2.1]:26"),
        ("[2001:db8::1]", .address(IPAddress("2001:db8::1")!), 25, "[2001:db8::1]:25"),
        ("[IPv6:2001:db8::1]:26", .address(IPAddress("2001:db8::1")!), 26, "[2001:db8::1]:26"),
    ])
    func nextHop(text: String, host: NextHop.Host, port: UInt16, written: String) throws {
        let hop = try #require(NextHop(text))
        #expect(hop.host == host)
        #expect(hop.port == port)
        #expect(hop.description == written)
        #expect(NextHop(written) == hop)
    }

    @Test("what is no next hop is refused", arguments: [
        "", ":25", "[]", "[example.org", "example.org]", "example.org:0", "example.org:65536", "example.org:+25", "example.org:", "[a]b", "[a]:", "[[192.0.2.1]]", "a b",
    ])
    func noNextHop(text: String) { #expect(NextHop(text) == nil) }
}
