// The resolver of the server: /etc/hosts first, then the DNS by libunbound in this process, which caches.
//
// It forwards to the resolvers of /etc/resolv.conf, or to those given; with none it asks the authoritative servers
// from the root on. Every look-up ends within `Configuration.timeout`, and at once when its task is cancelled. Answers
// are not validated by DNSSEC: a forwarder such as a container engine's answers for private names that no signature covers.
// Names in UTF-8 are looked up as A-labels.

package import MailSyntax

package final class Resolver: NameService {
    package struct Configuration: Sendable {
        /// Whom to ask. Empty: recursion from the root.
        package var servers: [Endpoint]
        /// Appended to names without a dot that are not found as they stand; for addresses only, never for mail domains.
        package var search: [Domain]
        package var hosts: HostsTable
        /// Zones to be answered from here, without a question to anybody.
        package var zones: [Zone]
        /// One look-up. Below the minutes that libunbound may try for: a deferred message costs less than a stuck agent.
        package var timeout: Duration

        package static let defaultTimeout = Duration.seconds(20)
        /// RFC 1035 §4.2.
        package static let port: UInt16 = 53

        package init(
            servers: [Endpoint] = [], search: [Domain] = [], hosts: HostsTable = HostsTable(), zones: [Zone] = [],
            timeout: Duration = Configuration.defaultTimeout
        ) {
            self.servers = servers
            self.search = search
            self.hosts = hosts
            self.zones = zones
            self.timeout = timeout
        }

        /// As the system's files say. A file that is missing says nothing.
        package static func system(resolverFile: String = "/etc/resolv.conf", hostsFile: String = "/etc/hosts") -> Configuration {
            let file = readSystemFile(resolverFile).map(ResolverFile.init(parsing:)) ?? ResolverFile()
            return Configuration(
                servers: file.servers.map { Endpoint(address: $0, port: port) }, search: file.search,
                hosts: readSystemFile(hostsFile).map(HostsTable.init(parsing:)) ?? HostsTable())
        }
    }

    /// A zone with its records in the form of zone files: `mail.example.org. 60 IN A 192.0.2.1`.
    package struct Zone: Sendable {
        package let name: String
        package let records: [String]

        package init(name: String, records: [String]) {
            self.name = name
            self.records = records
        }
    }

    package struct Flaw: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private let configuration: Configuration
    private let unbound: UnboundThread

    /// Starts the resolver's thread; it ends with the resolver.
    package init(_ configuration: Configuration) throws(Flaw) {
        self.configuration = configuration
        unbound = try UnboundThread(configuration)
    }

    deinit { unbound.stop() }

    package func addresses(of host: Domain) async -> Lookup<[IPAddress]> {
        if let literal = host.literal { return .found([literal]) }
        if let known = configuration.hosts.addresses(of: host) { return .found(known) }
        guard let name = Punycode.ascii(host) else { return .noSuchName }
        let answer = await queryAddresses(of: name)
        guard !name.utf8.contains(UInt8(ascii: ".")) else { return answer }
        switch answer {
        case .found, .failure: return answer
        case .noSuchName, .noRecords:
            for domain in configuration.search {
                let longer = await queryAddresses(of: "\(name).\(domain.key)")
                if case .found = longer { return longer }
            }
            return answer
        }
    }

    /// IPv4 first: where a host has both, fewer receivers turn IPv4 away for want of a reverse name.
    private func queryAddresses(of name: String) async -> Lookup<[IPAddress]> {
        async let four = query(name, .a)
        async let six = query(name, .aaaa)
        let answers = await [(four, ResourceData.RecordType.a), (six, .aaaa)]
        var addresses: [IPAddress] = []
        var worst: Lookup<[IPAddress]> = .noRecords
        for (answer, type) in answers {
            switch answer {
            case .found(let records): addresses += records.compactMap { ResourceData.address($0, type) }
            // NXDOMAIN is about the name, so it holds for both types (RFC 2308 §2.1), whatever became of the other.
            case .noSuchName: return addresses.isEmpty ? .noSuchName : .found(addresses)
            case .noRecords: break
            case .failure(let reason): worst = .failure(reason: reason)
            }
        }
        return addresses.isEmpty ? worst : .found(addresses)
    }

    package func mailExchangers(of domain: Domain) async -> Lookup<MailExchange> {
        if domain.literal != nil { return .found(.implicit) }
        guard let name = Punycode.ascii(domain) else { return .noSuchName }
        switch await query(name, .mx) {
        case .found(let records):
            return MailExchange(rdata: records).map { .found($0) } ?? .failure(reason: "\(domain) has malformed MX records only")
        case .noRecords: return .found(.implicit)
        // A name of /etc/hosts need not be in the DNS at all.
        case .noSuchName: return configuration.hosts.addresses(of: domain) == nil ? .noSuchName : .found(.implicit)
        case .failure(let reason):
            return configuration.hosts.addresses(of: domain) == nil ? .failure(reason: reason) : .found(.implicit)
        }
    }

    package func names(of address: IPAddress) async -> Lookup<[Domain]> {
        if let known = configuration.hosts.names(of: address) { return .found(known) }
        switch await query(address.reverseName, .ptr) {
        case .found(let records):
            let names = records.compactMap(ResourceData.pointer)
            return names.isEmpty ? .noRecords : .found(names)
        case .noSuchName: return .noSuchName
        case .noRecords: return .noRecords
        case .failure(let reason): return .failure(reason: reason)
        }
    }

    private func query(_ name: String, _ type: ResourceData.RecordType) async -> Lookup<[[UInt8]]> {
        await unbound.ask(name, type, timeout: configuration.timeout)
    }
}
