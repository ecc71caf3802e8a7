// From a next hop to the addresses to try, in order (RFC 5321 §5.1). What the names on the net say against it becomes a
// reply, whose class says whether that is for ever: 4xx ask again later, 5xx never.

package import DNS
package import MailSyntax

/// One server to connect to.
package struct Target: Hashable, Sendable {
    /// The name that led here; for an address given as such, the address.
    package let host: String
    package let address: IPAddress
    package let port: UInt16

    package init(host: String, address: IPAddress, port: UInt16) {
        self.host = host
        self.address = address
        self.port = port
    }

    /// `mx.example.net[192.0.2.1]`, as Postfix writes it.
    package var peer: String { "\(host)[\(address)]" }
    /// `mx.example.net[192.0.2.1]:25`, the `relay` of log lines.
    package var relay: String { "\(peer):\(port)" }
}

package struct NextHopLookup: Sendable {
    /// How many addresses of a next hop one delivery tries: a sender has other mail to care for. Postfix has five too
    /// (`smtp_mx_address_limit`).
    package static let mostTargets = 5

    let names: any NameService
    /// This server, to see that mail comes back to it.
    let hostname: Domain

    package init(names: any NameService, hostname: Domain) {
        self.names = names
        self.hostname = hostname
    }

    /// Not empty on success. `generator` spreads the load over exchangers of equal preference.
    package func targets(
        of hop: NextHop, using generator: inout some RandomNumberGenerator & Sendable
    ) async -> Result<[Target], Reply> {
        switch hop.host {
        case .address(let address): return .success([Target(host: address.description, address: address, port: hop.port)])
        case .name(let name): return await targets(of: [name], port: hop.port)
        case .mailExchangers(let domain):
            switch await names.mailExchangers(of: domain) {
            case .found(.hosts(let exchangers)):
                let hosts = NextHopLookup.order(exchangers, before: hostname, using: &generator)
                return hosts.isEmpty ? .failure(loop(domain)) : await targets(of: hosts, port: hop.port)
            case .found(.implicit):
                return domain == hostname ? .failure(loop(domain)) : await targets(of: [domain], port: hop.port)
            case .found(.none):
                // RFC 7505 §4.1, RFC 7504 §4.
                return .failure(Reply(556, EnhancedCode(5, 1, 10), "domain \(domain) does not accept mail (null MX)"))
            case .noSuchName:
                return .failure(Reply(550, EnhancedCode(5, 1, 2), "domain \(domain) not found"))
            case .noRecords:
                return .failure(Reply(550, EnhancedCode(5, 4, 4), "no mail exchanger for domain \(domain)"))
            case .failure(let reason):
                return .failure(Reply(451, EnhancedCode(4, 4, 3), "mail exchangers of \(domain) could not be looked up: \(reason)"))
            }
        }
    }

    /// RFC 5321 §5.1: by preference, those of equal preference in random order. A relay that finds itself among the
    /// exchangers drops itself and all that are not preferred to it: mail must come nearer to its goal with every hop.
    package static func order(
        _ exchangers: [MailExchanger], before own: Domain, using generator: inout some RandomNumberGenerator
    ) -> [Domain] {
        let limit = exchangers.filter { $0.host == own }.map(\.preference).min()
        let nearer = exchangers.filter { exchanger in limit.map { exchanger.preference < $0 } ?? true }
        let byPreference = Dictionary(grouping: nearer, by: \.preference)
        return byPreference.keys.sorted().flatMap { byPreference[$0]!.map(\.host).shuffled(using: &generator) }
    }

    private func loop(_ domain: Domain) -> Reply {
        Reply(554, EnhancedCode(5, 4, 6), "mail for \(domain) loops back to myself")
    }

    /// The addresses of these hosts, in their order. Hosts that cannot be found are passed over as long as another can.
    private func targets(of hosts: [Domain], port: UInt16) async -> Result<[Target], Reply> {
        var targets: [Target] = []
        var obstacle: Reply?
        for host in hosts where targets.count < NextHopLookup.mostTargets {
            switch await names.addresses(of: host) {
            case .found(let addresses):
                for address in addresses where !targets.contains(where: { $0.address == address }) {
                    targets.append(Target(host: host.key, address: address, port: port))
                }
            case .noSuchName, .noRecords:
                obstacle = obstacle ?? Reply(550, EnhancedCode(5, 4, 4), "host \(host) not found")
            case .failure(let reason):
                obstacle = Reply(451, EnhancedCode(4, 4, 3), "host \(host) could not be looked up: \(reason)")
            }
        }
        guard targets.isEmpty else { return .success(Array(targets.prefix(NextHopLookup.mostTargets))) }
        return .failure(obstacle ?? Reply(550, EnhancedCode(5, 4, 4), "host not found"))
    }
}
