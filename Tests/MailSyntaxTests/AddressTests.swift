// Addresses and domains: what is one, what is not, and that what goes out can be read again.

import MailSyntax
import Testing

struct AddressTests {
    @Test("a valid address is read, and written so that it reads the same", arguments: [
        // text, local part, domain, as written
        ("alice@example.org", "alice", "example.org", "alice@example.org"),
        ("Alice.B+tag@Example.ORG", "Alice.B+tag", "Example.ORG", "Alice.B+tag@Example.ORG"),
        ("\"john smith\"@example.org", "john smith", "example.org", "\"john smith\"@example.org"),
        ("\"a\\\"b\\\\c\"@example.org", "a\"b\\c", "example.org", "\"a\\\"b\\\\c\"@example.org"),
        ("\"needless\"@example.org", "needless", "example.org", "needless@example.org"),
        ("\"\"@example.org", "", "example.org", "\"\"@example.org"),
        ("\"a@b\"@example.org", "a@b", "example.org", "\"a@b\"@example.org"),
        ("\"a..b\"@example.org", "a..b", "example.org", "\"a..b\"@example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org", "!#$%&'*+-/=?^_`{|}~@example.org"),
        ("jürgen@bücher.example", "jürgen", "bücher.example", "jürgen@bücher.example"),
        ("x@[192.0.2.1]", "x", "[192.0.2.1]", "x@[192.0.2.1]"),
        ("x@[IPv6:2001:db8::1]", "x", "[IPv6:2001:db8::1]", "x@[IPv6:2001:db8::1]"),
    ])
    func valid(text: String, localPart: String, domain: String, written: String) throws {
        let address = try #require(Address(text))
        #expect(address.localPart == localPart)
        #expect(address.domain.text == domain)
        #expect(address.description == written)
        let again = try #require(Address(address.description))
        #expect(again == address && again.localPart == address.localPart)
    }

    @Test("what is no address is refused", arguments: [
        "", "@", "alice", "alice@", "@example.org", ".alice@example.org", "alice.@example.org", "a..b@example.org",
        "a b@example.org", "a@b@example.org", "<a@example.org>", "a@example.org.", "a@.example.org", "a@example..org",
        "a@-example.org", "a@example-.org", "\"open@example.org", "\"a\"b@example.org", "\"a\u{1}\"@example.org", "\"a\r\n\"@example.org",
        "a\r\n@example.org", "a@example.org\r\n", "a@exa\0mple.org", "a@[192.0.2.1", "a@[192.0.2.256]", "a@[2001:db8::1]",
        "a@[192.0.2.1\0x]", "a@[::ffff:192.0.2.1]", "a(comment)@example.org", "\"a\\é\"@example.org",
    ])
    func invalid(text: String) { #expect(Address(text) == nil) }

    /// A combining mark and the character before it are one `Character`: whoever cuts by characters loses the mark.
    @Test("a combining mark after a delimiter belongs to what follows, and does not vanish", arguments: [
        "alice@\u{301}example.org", "alice@[\u{301}192.0.2.1]",
    ])
    func combining(text: String) {
        let address = Address(text)
        #expect(address == nil || address?.description == text)
        #expect(address != Address("alice@example.org") && address != Address("alice@[192.0.2.1]"))
    }

    @Test("a local part may have 256 octets, a label 63, a domain 255")
    func limits() {
        #expect(Address(String(repeating: "a", count: 256) + "@example.org") != nil)
        #expect(Address(String(repeating: "a", count: 257) + "@example.org") == nil)
        #expect(Domain(String(repeating: "a", count: 63) + ".example") != nil)
        #expect(Domain(String(repeating: "a", count: 64) + ".example") == nil)
        let label = String(repeating: "a", count: 62) + "."
        #expect(Domain(label + label + label + label + "abc") != nil)
        #expect(Domain(label + label + label + label + "abcd") == nil)
    }

    @Test("addresses and domains compare without ASCII case, and hash alike")
    func comparison() {
        #expect(Address("Alice@EXAMPLE.org") == Address("alice@example.ORG"))
        #expect(Set([Address("Alice@EXAMPLE.org"), Address("alice@example.ORG")]).count == 1)
        #expect(Address("Ä@example.org") != Address("ä@example.org"))
        #expect(Domain("A.example") == Domain("a.EXAMPLE"))
        #expect(Domain(valid: "a.example.") == Domain("A.example"))
    }

    @Test("a bare name gets the origin as its domain")
    func bare() throws {
        let origin = try #require(Domain("example.org"))
        #expect(BareAddress("postmaster")?.qualified(with: origin).description == "postmaster@example.org")
        #expect(BareAddress("a@b.example")?.qualified(with: origin).description == "a@b.example")
        #expect(BareAddress("a@") == nil)
    }

    @Test("a domain literal holds the address that it says", arguments: [
        ("[192.0.2.1]", "192.0.2.1"), ("[IPv6:2001:db8::1]", "2001:db8::1"), ("[ipv6:::1]", "::1"), ("[IPv6:::ffff:192.0.2.1]", "192.0.2.1"),
    ])
    func literal(text: String, address: String) throws {
        let domain = try #require(Domain(text))
        #expect(domain.literal == IPAddress(address))
        #expect(domain.text == text)
    }

    @Test("a host name is no literal") func noLiteral() { #expect(Domain("192.0.2.1")?.literal == nil) }
}
