// What a client is called: the name that the reverse zone gives its address, and whether that name leads back to it.

package import MailSyntax
internal import NIOConcurrencyHelpers

/// RFC 8601 §2.7.3 calls it iprev; Postfix shows the first case as `client_name`, the second as `reverse_client_name`.
package enum ClientName: Hashable, Sendable {
    /// The name has this address.
    case confirmed(Domain)
    /// The owner of the address says so, and the owner of the name does not.
    case unconfirmed(Domain)
    /// The address has no name.
    case none
    /// Nobody knows now; `reason` is for the log.
    case failure(reason: String)
}

extension NameService {
    /// How many names of one address are looked at (RFC 7208 §4.6.4 has ten): whoever owns an address can give it thousands.
    package static var mostClientNames: Int { 10 }

    /// Two look-ups at least: for whoever may wait for them, or runs them beside the session.
    package func clientName(of address: IPAddress) async -> ClientName {
        let names: [Domain]
        switch await self.names(of: address) {
        case .found(let found): names = found
        case .noSuchName, .noRecords: return .none
        case .failure(let reason): return .failure(reason: reason)
        }
        var failure: String?
        for name in names.prefix(Self.mostClientNames) {
            switch await addresses(of: name) {
            case .found(let addresses): if addresses.contains(address) { return .confirmed(name) }
            case .noSuchName, .noRecords: break
            case .failure(let reason): failure = failure ?? reason
            }
        }
        if let failure { return .failure(reason: failure) }
        return names.first.map { .unconfirmed($0) } ?? .none
    }
}

/// The name service in force. A reload puts another in its place; whoever asks meanwhile gets an answer of either.
package final class CurrentNames: NameService {
    private let current: NIOLockedValueBox<any NameService>

    package init(_ names: any NameService) { current = NIOLockedValueBox(names) }

    package func replace(_ names: any NameService) { current.withLockedValue { $0 = names } }

    private var names: any NameService { current.withLockedValue { $0 } }

    package func addresses(of host: Domain) async -> Lookup<[IPAddress]> { await names.addresses(of: host) }
    package func mailExchangers(of domain: Domain) async -> Answer<MailExchange> { await names.mailExchangers(of: domain) }
    package func names(of address: IPAddress) async -> Lookup<[Domain]> { await names.names(of: address) }
    package func texts(of name: Domain) async -> Lookup<[[UInt8]]> { await names.texts(of: name) }
    package func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations> {
        await names.certificateAssociations(of: host, port: port)
    }
}
