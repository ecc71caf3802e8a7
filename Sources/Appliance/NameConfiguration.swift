// From the manifest to what the resolver is told, and where this server is found by others.

internal import DNS
internal import MailSyntax
internal import Manifest
internal import Telemetry

/// Reads /etc/hosts, and /etc/resolv.conf where it counts.
func resolverConfiguration(_ dns: MailSystem.DNS) -> Resolver.Configuration {
    var configuration = Resolver.Configuration.system()
    if dns.resolvers.value != [.system] {
        // A search list belongs to the resolvers that it came with.
        configuration.search = []
        configuration.servers = dns.resolvers.value.compactMap { if case .server(let endpoint) = $0 { endpoint } else { nil } }
    }
    configuration.validation =
        switch dns.validation.value {
        case .none: .none
        case .may: .may
        case .always: .always
        }
    if let anchor = dns.trustAnchor { configuration.trustAnchor = .file(anchor.value) }
    configuration.insecureDomains = dns.insecureDomains.value
    return configuration
}

/// What the resolver finds out while it works.
func resolverNotice(_ log: EventLog) -> @Sendable (String) -> Void {
    { text in log.record(.diagnostic, by: .smtp) { $0.message = text } }
}

/// The addresses and ports that others reach this server at: those that it listens at, and for "every address" those of the
/// interfaces.
func ownEndpoints(_ listening: [Endpoint]) -> Set<Endpoint> {
    var own: Set<Endpoint> = []
    let isEvery = { (endpoint: Endpoint) in endpoint.address.bytes.allSatisfy { $0 == 0 } }
    let interfaces = listening.contains(where: isEvery) ? interfaceAddresses() : []
    for endpoint in listening {
        guard isEvery(endpoint) else {
            own.insert(endpoint)
            continue
        }
        // [::] takes IPv4 too.
        for address in interfaces where endpoint.address.isV6 || !address.isV6 { own.insert(Endpoint(address: address, port: endpoint.port)) }
    }
    return own
}
