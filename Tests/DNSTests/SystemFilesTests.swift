import MailSyntax
import Testing

@testable import DNS

@Suite("System files")
struct SystemFilesTests {
    @Test(
        "hosts(5) gives each name its addresses in order",
        arguments: [
            ("127.0.0.1 localhost\n", "localhost", ["127.0.0.1"]),
            ("::1 localhost ip6-localhost\n127.0.0.1\tlocalhost\n", "LOCALHOST", ["::1", "127.0.0.1"]),
            ("192.0.2.1 mail.example.org mail # the server\n", "mail", ["192.0.2.1"]),
            ("#192.0.2.1 mail\n", "mail", nil),
            ("192.0.2.1 a#b\n", "a", ["192.0.2.1"]),
            ("nonsense mail\n999.0.0.1 mail\n", "mail", nil),
            ("fe80::1%lo0 mail\n", "mail", nil),
            ("192.0.2.1 mail\r\n192.0.2.1 mail\r\n192.0.2.2 mail", "mail", ["192.0.2.1", "192.0.2.2"]),
            ("", "localhost", ["127.0.0.1", "::1"]),
            ("", "my.localhost", ["127.0.0.1", "::1"]),
            ("", "mail", nil),
        ] as [(String, String, [String]?)])
    func hosts(text: String, name: String, want: [String]?) {
        let got = HostsTable(parsing: text).addresses(of: Domain(name)!)
        #expect(got?.map(\.description) == want)
    }

    @Test("hosts(5) names an address by all its names, the loopback by localhost at least")
    func reverse() {
        let table = HostsTable(parsing: "192.0.2.1 mail.example.org mail\n")
        #expect(table.names(of: IPAddress("192.0.2.1")!) == [Domain("mail.example.org")!, Domain("mail")!])
        #expect(table.names(of: IPAddress("::1")!) == [Domain("localhost")!])
        #expect(table.names(of: IPAddress("192.0.2.2")!) == nil)
    }

    @Test(
        "resolv.conf(5) yields servers and search list",
        arguments: [
            ("nameserver 127.0.0.11\noptions ndots:0\n", ["127.0.0.11"], []),
            ("search a.example b.example.\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n", ["192.0.2.53", "2001:db8::53"], ["a.example", "b.example"]),
            ("domain a.example\nsearch b.example\n", [], ["b.example"]),
            ("; nameserver 192.0.2.1\n# nameserver 192.0.2.2\n  nameserver\t192.0.2.3 # third\n", ["192.0.2.3"], []),
            ("nameserver\nnameserver nonsense\nnameserver fe80::1%eth0\n", [], []),
            ("nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n", ["192.0.2.1", "192.0.2.2", "192.0.2.3"], []),
            ("", [], []),
        ] as [(String, [String], [String])])
    func resolverFile(text: String, servers: [String], search: [String]) {
        let file = ResolverFile(parsing: text)
        #expect(file.servers.map(\.description) == servers)
        #expect(file.search.map(\.text) == search)
    }

    @Test("files that are missing leave recursion and localhost")
    func missingFiles() {
        let configuration = Resolver.Configuration.system(resolverFile: "/nonexistent/resolv.conf", hostsFile: "/nonexistent/hosts")
        #expect(configuration.servers.isEmpty)
        #expect(configuration.hosts.addresses(of: Domain("localhost")!) != nil)
    }
}
