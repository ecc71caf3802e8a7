// Address lists as RFC 5322's appendix A and mail in the wild write them.

import MailSyntax
import Testing

struct AddressListCase: Sendable, CustomTestStringConvertible {
    let text: String
    let addresses: [String]
    var flaws: [String] = []
    var testDescription: String { text }

    init(_ text: String, _ addresses: [String], flaws: [String] = []) {
        (self.text, self.addresses, self.flaws) = (text, addresses, flaws)
    }
}

@Test(
    "an address list yields its addresses in order, and names what is none",
    arguments: [
        // RFC 5322 appendix A.1.1, A.1.2
        AddressListCase("John Doe <jdoe@machine.example>", ["jdoe@machine.example"]),
        AddressListCase("\"Joe Q. Public\" <john.q.public@example.com>", ["john.q.public@example.com"]),
        AddressListCase("Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>", ["mary@x.test", "jdoe@example.org", "one@y.test"]),
        AddressListCase("<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>", ["boss@nil.test", "sysservices@example.net"]),
        // A.1.3: groups
        AddressListCase("A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;", ["c@a.test", "joe@where.test", "jdoe@one.test"]),
        AddressListCase("Undisclosed recipients:;", []),
        AddressListCase("a@x.test, G: b@x.test; c@x.test", ["a@x.test", "b@x.test", "c@x.test"]),
        // A.5: white space and comments
        AddressListCase("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", ["pete@silly.test"]),
        AddressListCase(
            "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n         joe@example.org,\r\n  John <jdoe@one.test> (my dear friend); (the end of the group)",
            ["c@public.example", "joe@example.org", "jdoe@one.test"]),
        AddressListCase("(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;", []),
        // A.6.1, A.6.3: obsolete forms
        AddressListCase("Joe Q. Public <john.q.public@example.com>", ["john.q.public@example.com"]),
        AddressListCase("Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example", ["mary@example.net", "jdoe@test.example"]),
        AddressListCase("Mary Smith <@a.test,@b.test:mary@example.net>", ["mary@example.net"]),
        AddressListCase("Mary Smith  <mary@example.net>", ["mary@example.net"]),
        AddressListCase("John Doe <jdoe@machine(comment).  example>", ["jdoe@machine.example"]),
        AddressListCase("1234   @   local(blah)  .machine .example", ["1234@local.machine.example"]),
        // Quoted local parts, literals
        AddressListCase("\"john smith\"@x.test, \"a,b\"@x.test, \"q\\\"q\"@x.test", ["\"john smith\"@x.test", "\"a,b\"@x.test", "\"q\\\"q\"@x.test"]),
        AddressListCase("<\"a > b\"@x.test>", ["\"a > b\"@x.test"]),
        AddressListCase("joe@[192.0.2.1], <ann@[IPv6:2001:db8::1]>", ["joe@[192.0.2.1]", "ann@[IPv6:2001:db8::1]"]),
        AddressListCase("G: joe@[IPv6:2001:db8::1];", ["joe@[IPv6:2001:db8::1]"]),
        // Line ends of both kinds; UTF-8
        AddressListCase("a@x.test,\n b@x.test,\r\n\tc@x.test\r\n", ["a@x.test", "b@x.test", "c@x.test"]),
        AddressListCase("Grüße <grüße@пример.example>", ["grüße@пример.example"]),
        AddressListCase("a@x.test,\u{301}b <b@x.test>", ["a@x.test", "b@x.test"]),
        // In the wild
        AddressListCase("alice, bob", ["alice", "bob"]),
        AddressListCase("", []),
        AddressListCase(" , ,, ", []),
        AddressListCase("a@x.test;b@x.test", ["a@x.test", "b@x.test"]),
        AddressListCase("<a@x.test> <b@x.test>", ["a@x.test", "b@x.test"]),
        AddressListCase("<a@x.test", ["a@x.test"]),
        // What is none
        AddressListCase("alice bob", [], flaws: ["alice bob"]),
        AddressListCase("a@x.test b@x.test", [], flaws: ["a@x.test b@x.test"]),
        AddressListCase("good@x.test, bad@@x.test, @x.test", ["good@x.test"], flaws: ["bad@@x.test", "@x.test"]),
        AddressListCase("<a@x.test, b@x.test", [], flaws: ["a@x.test, b@x.test"]),
        AddressListCase("a@x.test (not closed, b@x.test", ["a@x.test"], flaws: ["(not closed, b@x.test"]),
        AddressListCase("\"not closed <a@x.test>", [], flaws: ["\"not closed <a@x.test>"]),
    ])
func addressList(_ given: AddressListCase) {
    let (addresses, flaws) = AddressList.parse(given.text)
    let texts = addresses.map { bare in bare.domain.map { "\(Address(localPart: bare.localPart, domain: $0))" } ?? bare.localPart }
    #expect(texts == given.addresses)
    #expect(flaws == given.flaws)
}

@Test(
    "one copy for two recipients brings the reports that either of them asks for",
    arguments: [
        (.unspecified, .unspecified, .unspecified),
        (.never, .never, .never),
        (.never, .unspecified, .unspecified),
        (.success, .never, .success),
        (.success, .failure, [.success, .failure]),
        (.unspecified, .success, [.success, .failure, .delay]),
    ] as [(Notify, Notify, Notify)])
func notifyIsCombined(one: Notify, other: Notify, both: Notify) {
    #expect(one.combined(with: other) == both)
    #expect(other.combined(with: one) == both)
}
