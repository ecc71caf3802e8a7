import DNS
import MailSyntax
import Testing

@testable import Delivery

@Suite("SMTP: next hops")
struct SMTPNextHopLookupTests {
    /// Always the same numbers.
    struct Dice: RandomNumberGenerator, Sendable {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state
        }
    }

    private static func exchangers(_ list: [(UInt16, String)]) -> Lookup<MailExchange> {
        .found(.hosts(list.map { MailExchanger(preference: $0.0, host: Domain($0.1)!) }))
    }

    private static func found(_ addresses: String...) -> Lookup<[IPAddress]> { .found(addresses.map { IPAddress($0)! }) }

    private static let table = NameTable(
        hosts: [
            Domain("a.example")!: found("192.0.2.1", "2001:db8::1"),
            Domain("b.example")!: found("192.0.2.2"),
            Domain("me.example")!: found("192.0.2.99"),
            Domain("many.example")!: found("192.0.2.11", "192.0.2.12", "192.0.2.13", "192.0.2.14", "192.0.2.15", "192.0.2.16"),
            Domain("mixed.example")!: found("192.0.2.21", "192.0.2.22", "192.0.2.23", "192.0.2.24", "192.0.2.25", "2001:db8::21"),
            Domain("alsome.example")!: found("198.51.100.1", "192.0.2.98"),
            Domain("broken.example")!: .failure(reason: "SERVFAIL"),
            Domain("empty.example")!: .noRecords,
        ],
        exchangers: [
            Domain("two.example")!: exchangers([(20, "b.example"), (10, "a.example")]),
            Domain("half.example")!: exchangers([(10, "missing.example"), (20, "b.example")]),
            Domain("gone.example")!: exchangers([(10, "missing.example")]),
            Domain("shaky.example")!: exchangers([(10, "missing.example"), (20, "broken.example")]),
            Domain("backup.example")!: exchangers([(10, "a.example"), (20, "ME.example"), (20, "b.example"), (30, "b.example")]),
            Domain("loop.example")!: exchangers([(10, "me.example"), (20, "a.example")]),
            Domain("otherme.example")!: exchangers([(10, "a.example"), (20, "b.example"), (20, "alsome.example"), (30, "mixed.example")]),
            Domain("lost.example")!: exchangers([(10, "broken.example"), (20, "me.example")]),
            Domain("null.example")!: .found(.none),
            Domain("fail.example")!: .failure(reason: "SERVFAIL"),
        ])

    @Test(
        "a next hop becomes addresses in order, or the reply that says why not",
        arguments: [
            ("[192.0.2.7]:2525", "192.0.2.7[192.0.2.7]:2525"),
            ("[IPv6:2001:db8::7]", "2001:db8::7[2001:db8::7]:25"),
            ("[a.example]:26", "a.example[192.0.2.1]:26 a.example[2001:db8::1]:26"),
            ("[missing.example]", "550 5.4.4 host missing.example not found"),
            ("[empty.example]", "550 5.4.4 host empty.example not found"),
            ("[broken.example]", "451 4.4.3 host broken.example could not be looked up: SERVFAIL"),
            ("[many.example]", (1...5).map { "many.example[192.0.2.1\($0)]:25" }.joined(separator: " ")),
            ("two.example", "a.example[192.0.2.1]:25 a.example[2001:db8::1]:25 b.example[192.0.2.2]:25"),
            ("half.example", "b.example[192.0.2.2]:25"),
            ("gone.example", "550 5.4.4 host missing.example not found"),
            ("shaky.example", "451 4.4.3 host broken.example could not be looked up: SERVFAIL"),
            // Implicit MX, null MX, ourselves among the exchangers.
            ("b.example", "b.example[192.0.2.2]:25"),
            ("null.example", "556 5.1.10 domain null.example does not accept mail (null MX)"),
            ("backup.example", "a.example[192.0.2.1]:25 a.example[2001:db8::1]:25"),
            ("loop.example", "554 5.4.6 mail for loop.example loops back to myself"),
            ("otherme.example", "a.example[192.0.2.1]:25 a.example[2001:db8::1]:25"),
            ("alsome.example", "554 5.4.6 mail for alsome.example loops back to myself"),
            // Elsewhere than where it listens, and by the host itself, it is no loop.
            ("alsome.example:26", "alsome.example[198.51.100.1]:26 alsome.example[192.0.2.98]:26"),
            ("[alsome.example]", "alsome.example[198.51.100.1]:25 alsome.example[192.0.2.98]:25"),
            // What is nearer could not be looked up: not a loop, but not now.
            ("lost.example", "451 4.4.3 host broken.example could not be looked up: SERVFAIL"),
            // Both families get their turn.
            (
                "[mixed.example]",
                "mixed.example[192.0.2.21]:25 mixed.example[2001:db8::21]:25 mixed.example[192.0.2.22]:25 mixed.example[192.0.2.23]:25 mixed.example[192.0.2.24]:25"
            ),
            ("me.example", "554 5.4.6 mail for me.example loops back to myself"),
            ("missing.example", "550 5.1.2 domain missing.example not found"),
            ("fail.example", "451 4.4.3 mail exchangers of fail.example could not be looked up: SERVFAIL"),
        ])
    func targets(hop: String, want: String) async {
        var dice = Dice(state: 1)
        let lookup = NextHopLookup(
            names: Self.table, hostname: Domain("me.example")!, ownEndpoints: [Endpoint("192.0.2.98:25")!])
        let got =
            switch await lookup.targets(of: NextHop(hop)!, using: &dice) {
            case .success(let targets): targets.map(\.relay).joined(separator: " ")
            case .failure(let reply): reply.summary
            }
        #expect(got == want)
    }

    @Test("exchangers of equal preference come in any order, those of different preference never")
    func spread() {
        let list = [
            MailExchanger(preference: 10, host: Domain("a.example")!), MailExchanger(preference: 10, host: Domain("b.example")!),
            MailExchanger(preference: 5, host: Domain("c.example")!),
        ]
        var dice = Dice(state: 7)
        var seen: Set<[[Domain]]> = []
        for _ in 0..<100 { seen.insert(NextHopLookup.order(list, using: &dice)) }
        let (a, b, c) = (Domain("a.example")!, Domain("b.example")!, Domain("c.example")!)
        #expect(seen == [[[c], [a, b]], [[c], [b, a]]])
    }
}
