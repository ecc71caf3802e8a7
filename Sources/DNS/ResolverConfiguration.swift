// What a resolver is told: whom to ask, what to believe, and what it knows by itself.

package import MailSyntax

extension Resolver {
    package struct Configuration: Hashable, Sendable {
        /// Whom to ask. Empty: recursion from the root.
        package var servers: [Endpoint]
        /// Appended to names without a dot that are not found as they stand; for addresses only, never for mail domains.
        package var search: [Domain]
        package var hosts: HostsTable
        package var validation: Validation
        package var trustAnchor: TrustAnchor
        /// What lies under these is not validated, whatever the zones above say.
        package var insecureDomains: [Domain]
        /// Zones to be answered from here, without a question to anybody.
        package var zones: [Zone]
        /// One look-up. Below the minutes that libunbound may try for: a deferred message costs less than a stuck agent.
        package var timeout: Duration

        package static let defaultTimeout = Duration.seconds(20)
        /// RFC 1035 §4.2.
        package static let port: UInt16 = 53

        package init(
            servers: [Endpoint] = [], search: [Domain] = [], hosts: HostsTable = HostsTable(), validation: Validation = .none,
            trustAnchor: TrustAnchor = .root, insecureDomains: [Domain] = [], zones: [Zone] = [], timeout: Duration = Configuration.defaultTimeout
        ) {
            self.servers = servers
            self.search = search
            self.hosts = hosts
            self.validation = validation
            self.trustAnchor = trustAnchor
            self.insecureDomains = insecureDomains
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

    /// Whether answers are validated by DNSSEC (RFC 4033 §5).
    package enum Validation: Hashable, Sendable {
        /// Never: no answer is secure.
        case none
        /// Where the resolvers pass signatures on. Those that do not, which many a router does, are taken at their word.
        case may
        /// Always: a resolver that passes no signatures on makes every look-up fail.
        case always
    }

    /// The keys that signatures have to lead to.
    package enum TrustAnchor: Hashable, Sendable {
        /// The root's, as of this build.
        case root
        /// DS or DNSKEY records in the form of zone files. What lies under none of them is not validated.
        case file(String)

        /// The key-signing keys of the root of 2017 and 2024 (<https://www.iana.org/dnssec/files>).
        static let rootKeys = [
            ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
            ". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16",
        ]
        /// Top-level names that are each network's own: no chain from the root leads there (RFC 6762 §3; RFC 6761 §6.2; ICANN gave
        /// `internal` away for good in 2024).
        static let unsignedZones = ["internal.", "local.", "test."]

        /// What is wrong where libunbound cannot read them.
        var flaw: String {
            switch self {
            case .root: "the root's key"
            case .file(let path): "\(path): no trust anchor: DS or DNSKEY records are needed, each on a line"
            }
        }
    }

    /// A zone with its records in the form of zone files: `mail.example.org. 60 IN A 192.0.2.1`.
    package struct Zone: Hashable, Sendable {
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
}
