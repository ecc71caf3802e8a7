// Canonical, masquerade, generic and copies, in Postfix's order; and SRS against addresses that postsrsd made.

import MailSyntax
import Routing
import Testing

private func entries(_ pairs: KeyValuePairs<String, String>) -> [RewriteTable.Entry] {
    pairs.enumerated().map { number, pair in
        let result: RewriteTable.Result =
            if pair.value.hasPrefix("@") { .domain(Domain(String(pair.value.dropFirst()))!) }
            else if let address = Address(pair.value) { .address(address) }
            else { .name(pair.value) }
        return RewriteTable.Entry(key: pair.key, result: result, line: number + 1)
    }
}

private let all: AddressRewriting.Classes = [.envelopeSender, .envelopeRecipient, .headerSender, .headerRecipient]

private func rewriting(_ edit: (inout AddressRewriting.Configuration) -> Void) -> AddressRewriting {
    var configuration = AddressRewriting.Configuration(
        manifest: "mail.yaml", origin: Domain("example.org")!, localDomains: [Domain("local.example")!], extensionDelimiter: UInt8(ascii: "+"))
    edit(&configuration)
    return AddressRewriting(configuration)
}

private let canonical = rewriting {
    $0.canonical = .init(
        entries([
            "ajones@old.example": "alice.jones@example.org", "bob": "robert", "@old.example": "@new.example", "@gone.example": "nobody@example.org",
            "robert": "rob", "rob@example.org": "rob@example.org", "carol+x@old.example": "special@example.org",
        ]), classes: all)
}

@Test(
    "an address is looked up whole, without its extension, bare, and by its domain, until nothing changes",
    arguments: [
        ("ajones@old.example", "alice.jones@example.org"), ("AJones@Old.Example", "alice.jones@example.org"),
        ("ajones+lists@old.example", "alice.jones+lists@example.org"), ("carol+x@old.example", "special@example.org"), ("carol+y@old.example", "carol+y@new.example"),
        ("bob@example.org", "rob@example.org"), ("bob+x@local.example", "rob+x@example.org"), ("bob@elsewhere.example", "bob@elsewhere.example"),
        ("anyone@gone.example", "nobody@example.org"), ("dave@example.org", "dave@example.org"),
    ])
func canonicalOrder(_ from: String, _ to: String) {
    #expect(canonical.incoming(Address(from)!, .envelopeRecipient).description == to)
}

@Test("each table applies in its classes alone, the special ones before the common one")
func classes() {
    let tables = rewriting {
        $0.senderCanonical = .init(entries(["a@x.example": "b@x.example"]), classes: [.envelopeSender])
        $0.recipientCanonical = .init(entries(["a@x.example": "c@x.example"]), classes: [.headerRecipient])
        $0.canonical = .init(entries(["b@x.example": "d@x.example"]), classes: [.envelopeSender])
    }
    let address = Address("a@x.example")!
    #expect(tables.incoming(address, .envelopeSender).description == "d@x.example")
    #expect(tables.incoming(address, .headerSender).description == "a@x.example")
    #expect(tables.incoming(address, .envelopeRecipient).description == "a@x.example")
    #expect(tables.header(.recipient, BareAddress("a@x.example")!, domain: Domain("y.example")!).description == "c@x.example")
    #expect(tables.leaves(.envelopeRecipient) && !tables.leaves(.envelopeSender))
}

@Test(
    "masquerading hides subdomains by the first domain that fits, but for exempt ones and exceptions",
    arguments: [
        ("a@host.example.org", "a@example.org"), ("a@deep.host.example.org", "a@example.org"), ("a@example.org", "a@example.org"),
        ("a@mail.example.org", "a@mail.example.org"), ("a@x.mail.example.org", "a@x.mail.example.org"), ("root@host.example.org", "root@host.example.org"),
        ("a@notexample.org", "a@notexample.org"),
    ])
func masquerade(_ from: String, _ to: String) {
    let tables = rewriting {
        $0.masquerade = .init(
            domains: [(Domain("mail.example.org")!, true), (Domain("example.org")!, false)], exceptions: ["root"], classes: [.envelopeSender])
    }
    #expect(tables.incoming(Address(from)!, .envelopeSender).description == to)
    #expect(tables.incoming(Address(from)!, .envelopeRecipient).description == from)
}

@Test("a chain without an end ends all the same")
func endless() {
    let tables = rewriting { $0.canonical = .init(entries(["a@x.example": "b@x.example", "b@x.example": "a@x.example"]), classes: all) }
    #expect(tables.incoming(Address("a@x.example")!, .envelopeSender).domain == Domain("x.example")!)
}

@Test("generic makes one step, and gives no extension on unless told")
func generic() {
    let tables = rewriting { $0.generic = entries(["@host.internal": "office@example.org", "office@example.org": "never@example.org", "bob": "b@out.example"]) }
    #expect(tables.generic(Address("x+y@host.internal")!)?.description == "office@example.org")
    #expect(tables.generic(Address("bob+x@local.example")!)?.description == "b@out.example")
    #expect(tables.generic(Address("x@example.org")!) == nil)
}

@Test("copies go by sender, by each recipient, and always")
func copies() {
    let tables = rewriting {
        $0.senderBCC = entries(["alice": "archive"])
        $0.recipientBCC = entries(["@example.org": "in@archive.example", "bob@example.org": "bob.copy@example.org"])
        $0.alwaysBCC = RewriteTable.Entry(key: "", result: .name("all"), line: 9)
    }
    let found = tables.copies(sender: Address("alice+x@example.org")!, recipients: [Address("bob@example.org")!, Address("carol@example.org")!])
    #expect(found.map(\.address.description) == ["archive@example.org", "bob.copy@example.org", "in@archive.example", "all@example.org"])
    #expect(found.last?.rule == "mail.yaml:9 rewriting.always_bcc")
    #expect(tables.copies(sender: nil, recipients: []).count == 1)
}

// MARK: SRS

/// Day 20,000 is 2024-10-04.
private func srs(_ day: Int = 20_000, secrets: [String] = ["tops3cret"]) -> SRS {
    SRS(domain: Domain("forward.example")!, secrets: secrets.map { Array($0.utf8) }) { day }
}

@Test("a sender goes out under the own domain and comes back, through two forwarders too")
func srsThereAndBack() throws {
    let sender = Address("Alice@Example.NET")!
    let first = try #require(srs().forward(sender))
    #expect(first.domain == Domain("forward.example")! && first.localPart.hasPrefix("SRS0=") && first.localPart.hasSuffix("=Example.NET=Alice"))
    #expect(srs().reverse(first) == .sender(sender))
    let second = SRS(domain: Domain("second.example")!, secrets: [Array("other".utf8)]) { 20_001 }
    let guarded = try #require(second.forward(first))
    #expect(guarded.localPart.hasPrefix("SRS1=") && guarded.localPart.contains("=forward.example=="))
    #expect(second.reverse(guarded) == .sender(first))
    let third = SRS(domain: Domain("third.example")!, secrets: [Array("third".utf8)]) { 20_002 }
    let again = try #require(third.forward(guarded))
    #expect(again.localPart.contains("=forward.example==") && third.reverse(again) == .sender(first))
}

@Test("what was not signed here, is old, or is not whole, leads nowhere")
func srsRefusals() throws {
    let address = try #require(srs().forward(Address("alice@example.net")!))
    #expect(srs(secrets: ["new", "tops3cret"]).reverse(address) == .sender(Address("alice@example.net")!))
    #expect(srs(secrets: ["new"]).reverse(address) == .invalid("was not signed here"))
    #expect(srs(20_021).reverse(address) == .sender(Address("alice@example.net")!))
    #expect(srs(20_022).reverse(address) == .invalid("has expired"))
    #expect(srs(19_999).reverse(address) == .invalid("has expired"))
    let lower = Address(localPart: lowercasedASCII(address.localPart), domain: address.domain)
    #expect(srs().reverse(lower) == .sender(Address("alice@example.net")!))
    for local in ["SRS0=", "SRS0=abcd", "SRS0=abcd=AA=example.net=", "SRS0==AA=example.net=a", "SRS1=abcd=example.net=x", "SRS1=abcd=a b==x", "SRS0=abcd=AA=[1.2.3.4]=a"] {
        if case .invalid? = srs().reverse(Address(localPart: local, domain: Domain("forward.example")!)) {} else { Issue.record("\(local) passes") }
    }
    #expect(srs().reverse(Address("SRS2=a@forward.example")!) == nil && srs().reverse(Address("srsly@forward.example")!) == nil)
    #expect(srs().reverse(Address(localPart: address.localPart, domain: Domain("elsewhere.example")!)) == nil)
}
