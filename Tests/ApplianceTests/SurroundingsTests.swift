// Which addresses of the network around this process stand for many clients, by the kernel's tables as Docker's and Podman's
// containers have them.

import MailSyntax
import Policy
import Routing
import Testing

@testable import Appliance

private let docker4 = """
    Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
    eth0\t00000000\t010012AC\t0003\t0\t0\t0\t00000000\t0\t0\t0
    eth0\t000012AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0
    eth1\t0005000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0

    """
private let docker6 = """
    fd000000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
    fe800000000000000000000000000000 40 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000001 00000000 00000001     eth0
    00000000000000000000000000000000 00 00000000000000000000000000000000 00 fd000000000000000000000000000001 00000400 00000001 00000000 00000003     eth0
    00000000000000000000000000000001 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000004 00000000 80200001       lo
    fd000000000000000000000000000002 80 00000000000000000000000000000000 00 00000000000000000000000000000000 00000000 00000002 00000000 80200001     eth0
    ff000000000000000000000000000000 08 00000000000000000000000000000000 00 00000000000000000000000000000000 00000100 00000004 00000000 00000001     eth0

    """

private func addresses(_ surroundings: Surroundings) -> [String] { surroundings.standIns.keys.map(\.description).sorted() }

@Test("in a container, gateways, first addresses of its networks and its own addresses stand for many")
func container() {
    let found = Surroundings(ipv4: docker4, ipv6: docker6, own: ["127.0.0.1", "::1", "172.18.0.2"].map { IPAddress($0)! }, isContainer: true)
    #expect(addresses(found) == ["10.0.5.1", "172.18.0.1", "172.18.0.2", "fd00::1"])
}

@Test("on a host, its gateways do, and nothing else")
func host() {
    #expect(addresses(Surroundings(ipv4: docker4, ipv6: docker6, own: [], isContainer: false)) == ["172.18.0.1", "fd00::1"])
}

@Test("tables that are cut, strange or not there yield what can be read of them")
func strangeTables() {
    #expect(addresses(Surroundings(ipv4: "", ipv6: "", own: [], isContainer: true)) == [])
    #expect(addresses(Surroundings(ipv4: "Iface\nx y\neth0\tzz\t0\t3\t0\t0\t0\t0\n", ipv6: "00 00 00\n" + docker6.prefix(40), own: [], isContainer: true)) == [])
}

@Test("a network that covers such an address does not make it trusted, but its own name does; the advice says which and why")
func advice() throws {
    let surroundings = Surroundings(ipv4: docker4, ipv6: docker6, own: [], isContainer: true)
    func policy(_ networks: String...) throws -> AccessPolicy {
        var configuration = AccessPolicy.Configuration(manifest: "mail.yaml", networks: try networks.map { try Network(parsing: $0) }, networksLine: 9)
        configuration.standIns = Set(surroundings.standIns.keys)
        return AccessPolicy(configuration, router: Router(Router.Configuration(manifest: "mail.yaml", origin: Domain("example.org")!, domains: [])))
    }
    func mayRelay(_ policy: AccessPolicy, _ address: String) -> Bool { policy.mayRelay(ClientFacts(address: IPAddress(address)!)) }
    let wide = try policy("172.16.0.0/12", "fd00::/8")
    #expect(!mayRelay(wide, "172.18.0.1") && !mayRelay(wide, "fd00::1"))
    #expect(mayRelay(wide, "172.18.0.3") && mayRelay(wide, "fd00::3"))
    let text = try #require(surroundings.advice(on: wide.standInsCovered))
    #expect(text.hasPrefix("networks covers 172.18.0.1 by 172.16.0.0/12: that is the gateway of this container's network, "))
    #expect(text.contains("networks covers fd00::1 by fd00::/8"))
    let named = try policy("172.16.0.0/12", "172.18.0.1")
    #expect(mayRelay(named, "172.18.0.1"))
    #expect(surroundings.advice(on: named.standInsCovered) == nil)
    #expect(surroundings.advice(on: try policy("127.0.0.0/8").standInsCovered) == nil)
}
