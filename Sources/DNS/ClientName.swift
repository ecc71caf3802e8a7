// What a client is called: the name that the reverse zone gives its address, and whether that name leads back to it.

package import MailSyntax

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
