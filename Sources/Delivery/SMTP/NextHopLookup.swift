// From a next hop to the addresses to try, in order (RFC 5321 §5.1). What the names on the net say against it becomes a
// reply, whose class says whether that is for ever: 4xx ask again later, 5xx never.

package import DNS
package import MailSyntax

/// One server to connect to.
package struct Target: Hashable, Sendable {
    /// The name that led here; for an address given as such, the address.
    package let host: String
    /// Nil: at a Unix socket.
    package let address: IPAddress?
    package let port: UInt16
    package let socket: String?
    /// Nobody led here whom the manifest, or DNSSEC, does not vouch for. Whether the address is secure is another question.
    package var isSecure: Bool

    package init(host: String, address: IPAddress, port: UInt16, isSecure: Bool = false) {
        self.isSecure = isSecure
        self.host = host
        self.address = address
        self.port = port
        socket = nil
    }

    package init(host: String, socket: String) {
        isSecure = true
        self.host = host
        self.socket = socket
        address = nil
        port = 0
    }

    /// `mx.example.net[192.0.2.1]`, as Postfix writes it; `mx.example.org[/run/lmtp]` with the name of this host for a socket.
    package var peer: String { "\(host)[\(address?.description ?? socket ?? "")]" }
    /// `mx.example.net[192.0.2.1]:25`, the `relay` of log lines.
    package var relay: String { socket == nil ? "\(peer):\(port)" : peer }
}

package struct NextHopLookup: Sendable {
    let names: any NameService
    /// This server, to see that mail comes back to it: by its name, and by where it listens.
    let hostname: Domain
    let ownEndpoints: Set<Endpoint>
    /// How many addresses of a next hop one delivery tries: a sender has other mail to care for (Postfix's `smtp_mx_address_limit`).
    let mostTargets: Int

    package init(names: any NameService, hostname: Domain, ownEndpoints: Set<Endpoint> = [], mostTargets: Int = 5) {
        self.mostTargets = mostTargets
        self.names = names
        self.hostname = hostname
        self.ownEndpoints = ownEndpoints
    }

    /// Not empty on success. `generator` spreads the load over exchangers of equal preference.
    package func targets(
        of hop: NextHop, using generator: inout some RandomNumberGenerator & Sendable
    ) async -> Result<[Target], Reply> {
        switch hop.host {
        case .socket(let path): return .success([Target(host: hostname.text, socket: path)])
        case .address(let address): return .success([Target(host: address.description, address: address, port: hop.port, isSecure: true)])
        case .name(let name): return await targets(of: [[name]], port: hop.port, for: nil, isSecure: true)
        case .mailExchangers(let domain):
            let answer = await names.mailExchangers(of: domain)
            switch answer.lookup {
            case .found(.hosts(let exchangers)):
                return await targets(of: NextHopLookup.order(exchangers, using: &generator), port: hop.port, for: domain, isSecure: answer.isSecure)
            case .found(.implicit): return await targets(of: [[domain]], port: hop.port, for: domain, isSecure: answer.isSecure)
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

    /// RFC 5321 §5.1: by preference, those of equal preference, which stand together, in random order.
    package static func order(_ exchangers: [MailExchanger], using generator: inout some RandomNumberGenerator) -> [[Domain]] {
        let byPreference = Dictionary(grouping: exchangers, by: \.preference)
        return byPreference.keys.sorted().map { byPreference[$0]!.map(\.host).shuffled(using: &generator) }
    }

    /// The addresses of these hosts, in their order. Hosts that cannot be found are passed over as long as another can.
    ///
    /// RFC 5321 §5.1: a relay for `domain` that finds itself among the exchangers drops itself and all that are not preferred
    /// to it: mail must come nearer to its goal with every hop.
    private func targets(of groups: [[Domain]], port: UInt16, for domain: Domain?, isSecure: Bool) async -> Result<[Target], Reply> {
        var targets: [Target] = []
        var obstacle: Reply?
        for group in groups where targets.count < mostTargets {
            let (found, flaw, isOwn) = await self.targets(of: group, port: port, until: domain != nil)
            if isOwn {
                obstacle = obstacle ?? Reply(554, EnhancedCode(5, 4, 6), "mail for \(domain!) loops back to myself")
                break
            }
            // What may pass outweighs what is for ever.
            if let flaw, obstacle == nil || flaw.isTransient { obstacle = flaw }
            for target in found where !targets.contains(where: { $0.address == target.address }) { targets.append(target) }
        }
        guard targets.isEmpty else {
            return .success(
                targets.prefix(mostTargets).map { target in
                    var target = target
                    target.isSecure = isSecure
                    return target
                })
        }
        return .failure(obstacle ?? Reply(550, EnhancedCode(5, 4, 4), "host not found"))
    }

    /// Of hosts of one preference. `isOwn`: one of them is this server.
    private func targets(of hosts: [Domain], port: UInt16, until looksForItself: Bool) async -> (found: [Target], flaw: Reply?, isOwn: Bool) {
        var found: [Target] = []
        var flaw: Reply?
        for host in hosts {
            if looksForItself, host == hostname { return ([], nil, true) }
            switch await names.addresses(of: host) {
            case .found(let addresses):
                if looksForItself, addresses.contains(where: { ownEndpoints.contains(Endpoint(address: $0, port: port)) }) { return ([], nil, true) }
                found += NextHopLookup.interleaved(addresses).map { Target(host: host.key, address: $0, port: port) }
            case .noSuchName, .noRecords:
                flaw = flaw ?? Reply(550, EnhancedCode(5, 4, 4), "host \(host) not found")
            case .failure(let reason):
                flaw = Reply(451, EnhancedCode(4, 4, 3), "host \(host) could not be looked up: \(reason)")
            }
            if found.count >= mostTargets, !looksForItself { break }
        }
        return (found, flaw, false)
    }

    /// One of each family in turn, the first family first: many addresses of one that is dead must not use up the attempts.
    private static func interleaved(_ addresses: [IPAddress]) -> [IPAddress] {
        guard let first = addresses.first else { return [] }
        let same = addresses.filter { $0.isV6 == first.isV6 }
        let other = addresses.filter { $0.isV6 != first.isV6 }
        return (0..<max(same.count, other.count)).flatMap { index in [same, other].compactMap { index < $0.count ? $0[index] : nil } }
    }
}
