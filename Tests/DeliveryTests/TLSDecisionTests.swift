import DNS
import MailSyntax
import TLS
import Testing

@testable import Delivery

private func hop(_ text: String) -> NextHop { NextHop(text)! }
private let record = CertificateAssociations.Record(usage: 3, selector: 1, matchingType: 1, data: [UInt8](repeating: 1, count: 32))
private let unusable = CertificateAssociations.Record(usage: 1, selector: 0, matchingType: 1, data: [UInt8](repeating: 1, count: 32))
private func found(_ records: CertificateAssociations.Record..., base: String = "mx.host.example") -> Lookup<CertificateAssociations> {
    .found(CertificateAssociations(base: Domain(base)!, records: records))
}

/// In short: `clear`, `may any sni=…`, `must dane base=… names=…`, `skip 4.7.5`.
private func text(_ decision: TLSDecision) -> String {
    switch decision {
    case .clear: return "clear"
    case .skip(let reply): return "skip \(reply.enhanced!)"
    case .encrypt(let requirement, let mayGoClear):
        let whom =
            switch requirement.verification {
            case .none: "any"
            case .names(let names): "names \(names.joined(separator: " "))"
            case .dane(let base, let names, let records): "dane \(base) \(names.joined(separator: " ")) \(records.count)"
            }
        return "\(mayGoClear ? "may" : "must") \(whom), sni \(requirement.serverName ?? "none")"
    }
}

@Suite("TLS out: decision")
struct TLSDecisionTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let level: TLSPolicy.Level
        var names: [String] = []
        var minimum = TLSMinimum.any
        var isImplicit = false
        var hop = "you.example"
        var isSecure = true
        var associations: Lookup<CertificateAssociations>?
        let want: String
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "none is none", level: .none, want: "clear"),
        Case(name: "none with a login that must be hidden is TLS", level: .none, minimum: .encrypted, want: "must any, sni mx.host.example"),
        Case(name: "may may go without", level: .may, want: "may any, sni mx.host.example"),
        Case(name: "may with a login must have TLS", level: .may, minimum: .encrypted, want: "must any, sni mx.host.example"),
        Case(name: "may in TLS from the first octet has no other way", level: .may, isImplicit: true, want: "must any, sni mx.host.example"),
        Case(name: "none in TLS from the first octet has no other way", level: .none, isImplicit: true, want: "must any, sni mx.host.example"),
        Case(name: "encrypt takes any certificate", level: .encrypt, want: "must any, sni mx.host.example"),
        Case(name: "verify is for the domain, not for what an MX record says", level: .verify, want: "must names you.example .you.example, sni mx.host.example"),
        Case(name: "verify of a host is for that host", level: .verify, hop: "[relay.example]:587", want: "must names relay.example, sni mx.host.example"),
        Case(name: "verify is for the names that are given", level: .verify, names: ["a.example", ".b.example"], want: "must names a.example .b.example, sni mx.host.example"),
        Case(name: "verify asks no DNS", level: .verify, associations: found(record), want: "must names you.example .you.example, sni mx.host.example"),
        Case(name: "dane with a record must have it", level: .dane, associations: found(record), want: "must dane mx.host.example you.example 1, sni mx.host.example"),
        Case(name: "dane asks for the name at which the records are", level: .dane, associations: found(record, base: "real.host.example"),
             want: "must dane real.host.example you.example 1, sni real.host.example"),
        Case(name: "dane leaves out what cannot be used", level: .dane, associations: found(unusable, record, record),
             want: "must dane mx.host.example you.example 2, sni mx.host.example"),
        Case(name: "dane with nothing that can be used is TLS with anybody", level: .dane, associations: found(unusable), want: "must any, sni mx.host.example"),
        Case(name: "dane without records is may", level: .dane, associations: .noRecords, want: "may any, sni mx.host.example"),
        Case(name: "dane without such a name is may", level: .dane, associations: .noSuchName, want: "may any, sni mx.host.example"),
        Case(name: "dane that cannot be looked up is another server's turn", level: .dane, associations: .failure(reason: "SERVFAIL"), want: "skip 4.7.5"),
        Case(name: "dane behind an MX record that anybody could forge is may", level: .dane, isSecure: false, associations: found(record),
             want: "may any, sni mx.host.example"),
        Case(name: "dane of a host in brackets needs no MX record", level: .dane, hop: "[mx.host.example]", associations: found(record),
             want: "must dane mx.host.example  1, sni mx.host.example"),
        Case(name: "dane without records for a login is TLS", level: .dane, minimum: .encrypted, associations: .noRecords, want: "must any, sni mx.host.example"),
        Case(name: "a message that must be authenticated, by DANE where there is", level: .may, minimum: .authenticated, associations: found(record),
             want: "must dane mx.host.example you.example 1, sni mx.host.example"),
        Case(name: "a message that must be authenticated, by an authority elsewhere", level: .none, minimum: .authenticated, associations: .noRecords,
             want: "must names you.example .you.example mx.host.example, sni mx.host.example"),
        Case(name: "a message that must be authenticated, where anybody could have led here", level: .may, minimum: .authenticated, isSecure: false,
             associations: found(record), want: "must names you.example .you.example, sni mx.host.example"),
        Case(name: "a message that must be authenticated, for the names that are given", level: .verify, names: ["a.example"], minimum: .authenticated,
             want: "must names a.example, sni mx.host.example"),
        Case(name: "a message that must be authenticated takes no record that cannot be used for one", level: .dane, minimum: .authenticated,
             associations: found(unusable), want: "must names you.example .you.example mx.host.example, sni mx.host.example"),
        Case(name: "a message that must be authenticated where the DNS fails", level: .encrypt, minimum: .authenticated,
             associations: .failure(reason: "SERVFAIL"), want: "skip 4.7.5"),
    ]

    @Test("what is asked and what is known decide", arguments: cases)
    func decides(_ test: Case) {
        let target = Target(host: "mx.host.example", address: IPAddress("192.0.2.1")!, port: 25, isSecure: test.isSecure)
        let demand = TLSDemand(TLSPolicy.Rule(test.level, names: test.names), minimum: test.minimum, isImplicit: test.isImplicit)
        #expect(text(TLSDecision.decide(demand, hop(test.hop), target, associations: test.associations)) == test.want)
    }

    @Test("an address is no name to ask for, and no certificate is for it")
    func addresses() {
        let target = Target(host: "192.0.2.1", address: IPAddress("192.0.2.1")!, port: 25, isSecure: true)
        let decision = { (level: TLSPolicy.Level) in text(TLSDecision.decide(TLSDemand(TLSPolicy.Rule(level)), hop("[192.0.2.1]"), target)) }
        #expect(decision(.may) == "may any, sni none")
        #expect(decision(.verify) == "must names 192.0.2.1, sni none")
        #expect(decision(.dane) == "may any, sni none")
        #expect(!TLSDecision.needsAssociations(TLSDemand(TLSPolicy.Rule(.dane)), target))
    }

    @Test("a certificate has names in ASCII")
    func internationalNames() {
        let target = Target(host: "mx.bücher.example", address: IPAddress("192.0.2.1")!, port: 25)
        let decision = TLSDecision.decide(TLSDemand(TLSPolicy.Rule(.verify)), hop("bücher.example"), target)
        #expect(text(decision) == "must names xn--bcher-kva.example .xn--bcher-kva.example, sni mx.xn--bcher-kva.example")
    }

    @Test("the rule of a hop is its own, that of a domain above it, or the one for all")
    func rules() {
        var policy = TLSPolicy(level: .may)
        policy.hops = [hop("bank.example"): .init(.verify), hop("[mx.example]:26"): .init(.none), hop("a.b.example"): .init(.encrypt)]
        policy.subdomains = ["bank.example": .init(.dane), "example": .init(.encrypt, names: ["x"])]
        for (text, want) in [
            ("bank.example", TLSPolicy.Rule(.verify)), ("bank.example:26", .init(.may)), ("www.bank.example", .init(.dane)), ("x.www.bank.example", .init(.dane)),
            ("WWW.BANK.example", .init(.dane)), ("other.example", .init(.encrypt, names: ["x"])), ("example", .init(.may)), ("elsewhere.net", .init(.may)),
            ("[mx.example]:26", .init(.none)), ("[mx.example]", .init(.may)), ("[www.bank.example]", .init(.may)), ("lmtp:[bank.example]", .init(.none)),
        ] { #expect(policy.rule(for: hop(text)) == want, "\(text)") }
    }

    @Test("port 465 is in TLS from the first octet, unless the manifest says otherwise")
    func implicit() {
        var policy = TLSPolicy(level: .may)
        policy.implicit = [hop("[a.example]:465"): false, hop("[a.example]:2465"): true]
        let hops = ["[a.example]:465", "[a.example]:2465", "[b.example]:465", "[b.example]:587", "lmtp:[b.example]:465"]
        #expect(hops.map { policy.isImplicit(hop($0)) } == [false, true, true, false, false])
    }
}
