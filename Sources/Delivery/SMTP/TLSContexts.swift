// The OpenSSL contexts of connections to others: one for servers of whom nothing is asked, one for those that must have TLS, one with
// the trust store. The last is made when it is first needed: the authorities of a system cost time and memory.

internal import NIOConcurrencyHelpers
package import TLS

package final class TLSContexts: Sendable {
    package struct TrustStore: Hashable, Sendable {
        package var path: String
        package var isDirectory: Bool

        package init(path: String, isDirectory: Bool) {
            self.path = path
            self.isDirectory = isDirectory
        }
    }

    private let lenient: ClientContext
    private let strict: ClientContext
    private let trustStore: TrustStore?
    private let verifying = NIOLockedValueBox<ClientContext?>(nil)

    /// `trustStore`: nil where the system has none.
    package init(trustStore: TrustStore?) throws(TLSFailure) {
        // RFC 7435 §3: where clear text is the alternative, TLS 1.0 is better. RFC 8996 forbids it wherever somebody relies on it.
        lenient = try ClientContext(ClientContext.Configuration(lowestVersion: .tls1))
        strict = try ClientContext(ClientContext.Configuration())
        self.trustStore = trustStore
    }

    func context(for requirement: PeerRequirement, mayGoClear: Bool) throws(TLSFailure) -> ClientContext {
        switch requirement.verification {
        case .none: mayGoClear ? lenient : strict
        case .dane: strict
        case .names: try loadAuthorities()
        }
    }

    /// Fails if the trust store is not there or holds no certificate.
    @discardableResult
    package func loadAuthorities() throws(TLSFailure) -> ClientContext {
        if let loaded = verifying.withLockedValue({ $0 }) { return loaded }
        guard let trustStore else { throw TLSFailure(.setUp, "this system has no certificate authorities where they usually are") }
        let loaded: ClientContext
        do throws(TLSFailure) {
            loaded = try ClientContext(ClientContext.Configuration(trustStore: trustStore.path, trustStoreIsDirectory: trustStore.isDirectory))
        } catch {
            throw TLSFailure(.setUp, "\(trustStore.path): \(error.reason)")
        }
        verifying.withLockedValue { $0 = loaded }
        return loaded
    }
}
