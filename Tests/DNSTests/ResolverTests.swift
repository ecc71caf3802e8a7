import MailSyntax
import Testing

@testable import DNS

/// libunbound itself, answering from local zones: nothing leaves the machine.
@Suite("Resolver")
struct ResolverTests {
    private static let zone = Resolver.Zone(
        name: "example.org.",
        records: [
            "mail.example.org. 60 IN A 192.0.2.1",
            "mail.example.org. 60 IN AAAA 2001:db8::1",
            "four.example.org. 60 IN A 192.0.2.4",
            "xn--bcher-kva.example.org. 60 IN A 192.0.2.5",
            "six.example.org. 60 IN AAAA 2001:db8::6",
            "text.example.org. 60 IN TXT \"nothing\"",
            "two.example.org. 60 IN MX 20 second.example.org.",
            "two.example.org. 60 IN MX 10 first.example.org.",
            "null.example.org. 60 IN MX 0 .",
        ])

    private static let reverse = Resolver.Zone(
        name: "2.0.192.in-addr.arpa.", records: ["1.2.0.192.in-addr.arpa. 60 IN PTR mail.example.org.", "4.2.0.192.in-addr.arpa. 60 IN PTR mail.example.org."])

    private func resolver(search: [String] = [], hosts: String = "") throws -> Resolver {
        try Resolver(
            Resolver.Configuration(
                search: search.map { Domain($0)! }, hosts: HostsTable(parsing: hosts), zones: [Self.zone, Self.reverse]))
    }

    @Test(
        "addresses of both families come together, and absence is told apart",
        arguments: [
            ("mail.example.org", .found(["192.0.2.1", "2001:db8::1"])),
            ("MAIL.Example.ORG", .found(["192.0.2.1", "2001:db8::1"])),
            ("four.example.org", .found(["192.0.2.4"])),
            ("six.example.org", .found(["2001:db8::6"])),
            ("text.example.org", .noRecords),
            ("missing.example.org", .noSuchName),
            ("[192.0.2.9]", .found(["192.0.2.9"])),
            ("[IPv6:2001:db8::9]", .found(["2001:db8::9"])),
            ("localhost", .found(["127.0.0.1", "::1"])),
            ("b\u{FC}cher.example.org", .found(["192.0.2.5"])),
        ] as [(String, Lookup<[String]>)])
    func addresses(name: String, want: Lookup<[String]>) async throws {
        let got: Lookup<[String]> =
            switch try await resolver().addresses(of: Domain(name)!) {
            case .found(let addresses): .found(addresses.map(\.description))
            case .noSuchName: .noSuchName
            case .noRecords: .noRecords
            case .failure(let reason): .failure(reason: reason)
            }
        #expect(got == want)
    }

    @Test(
        "mail exchangers are listed, implicit, or none",
        arguments: [
            ("null.example.org", .found(.none)),
            ("mail.example.org", .found(.implicit)),
            ("missing.example.org", .noSuchName),
            ("inhosts.example.org", .found(.implicit)),
            ("[192.0.2.9]", .found(.implicit)),
        ] as [(String, Lookup<MailExchange>)])
    func exchangers(name: String, want: Lookup<MailExchange>) async throws {
        #expect(try await resolver(hosts: "192.0.2.7 inhosts.example.org").mailExchangers(of: Domain(name)!).lookup == want)
    }

    @Test("all mail exchangers come with their preference")
    func listed() async throws {
        guard case .found(.hosts(let hosts)) = try await resolver().mailExchangers(of: Domain("two.example.org")!).lookup else {
            Issue.record("no hosts")
            return
        }
        #expect(
            Set(hosts) == [
                MailExchanger(preference: 10, host: Domain("first.example.org")!),
                MailExchanger(preference: 20, host: Domain("second.example.org")!),
            ])
    }

    @Test("the hosts table goes before the DNS")
    func hostsFirst() async throws {
        let resolver = try resolver(hosts: "198.51.100.1 mail.example.org")
        #expect(await resolver.addresses(of: Domain("mail.example.org")!) == .found([IPAddress("198.51.100.1")!]))
        #expect(await resolver.names(of: IPAddress("198.51.100.1")!) == .found([Domain("mail.example.org")!]))
    }

    @Test("a name without a dot is tried in the search domains")
    func search() async throws {
        // The zone of the bare name keeps the question from leaving.
        let bare = Resolver.Zone(name: "four.", records: [])
        let resolver = try Resolver(
            Resolver.Configuration(search: [Domain("missing.example.org")!, Domain("example.org")!], zones: [Self.zone, bare]))
        #expect(await resolver.addresses(of: Domain("four")!) == .found([IPAddress("192.0.2.4")!]))
    }

    @Test("an address has the name that the reverse zone gives it")
    func names() async throws {
        let resolver = try resolver()
        #expect(await resolver.names(of: IPAddress("192.0.2.1")!) == .found([Domain("mail.example.org")!]))
        #expect(await resolver.names(of: IPAddress("192.0.2.2")!) == .noSuchName)
    }

    @Test(
        "a client's name is one that leads back to its address",
        arguments: [
            ("192.0.2.1", .confirmed(Domain("mail.example.org")!)), ("192.0.2.4", .unconfirmed(Domain("mail.example.org")!)), ("192.0.2.2", .none),
            ("127.0.0.1", .confirmed(Domain("localhost")!)),
        ] as [(String, ClientName)])
    func clientNames(address: String, want: ClientName) async throws {
        #expect(try await resolver().clientName(of: IPAddress(address)!) == want)
    }

    @Test("TXT records come with their strings joined")
    func texts() async throws {
        let resolver = try resolver()
        #expect(await resolver.texts(of: Domain("text.example.org")!) == .found([Array("nothing".utf8)]))
        #expect(await resolver.texts(of: Domain("mail.example.org")!) == .noRecords)
    }

    @Test("many questions at once are all answered")
    func concurrent() async throws {
        let resolver = try resolver()
        let found = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<200 {
                group.addTask {
                    let name = number % 2 == 0 ? "mail.example.org" : "missing\(number).example.org"
                    let answer = await resolver.addresses(of: Domain(name)!)
                    return number % 2 == 0 ? answer != .noSuchName : answer == .noSuchName
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(found == 200)
    }

    @Test("a resolver that does not answer is a failure, in bounded time")
    func deadServer() async throws {
        // Port 9 of a loopback address where nothing listens.
        let resolver = try Resolver(
            Resolver.Configuration(servers: [Endpoint("127.0.0.99:9")!], timeout: .milliseconds(100)))
        guard case .failure = await resolver.addresses(of: Domain("mail.example.net")!) else {
            Issue.record("not a failure")
            return
        }
    }

    @Test("a cancelled look-up ends at once")
    func cancelled() async throws {
        let resolver = try Resolver(Resolver.Configuration(servers: [Endpoint("127.0.0.99:9")!], timeout: .seconds(3600)))
        let task = Task { await resolver.addresses(of: Domain("mail.example.net")!) }
        task.cancel()
        guard case .failure = await task.value else {
            Issue.record("not a failure")
            return
        }
    }
}
