// What TLS connections of a client share: the authorities that it trusts. What one connection asks of its peer is `PeerRequirement`.

internal import COpenSSL

/// Who the peer has to be.
package enum PeerVerification: Hashable, Sendable {
    /// Anybody (RFC 7435: opportunistic).
    case none
    /// The trust store's authorities vouch for a certificate with one of these names; `.example.com`: any name under it (RFC 6125).
    case names([String])
    /// The TLSA records decide (RFC 7672). `base`: the domain that they stand at. `names`: others that count too where a record of
    /// an authority (DANE-TA) asks for a name. Records that are not usable are left out; it is an error if none remains.
    case dane(base: String, names: [String], records: [TLSARecord])
}

/// RFC 6698 §2.1
package struct TLSARecord: Hashable, Sendable {
    package var usage: UInt8
    package var selector: UInt8
    package var matchingType: UInt8
    package var data: [UInt8]

    package init(usage: UInt8, selector: UInt8, matchingType: UInt8, data: [UInt8]) {
        self.usage = usage
        self.selector = selector
        self.matchingType = matchingType
        self.data = data
    }

    /// RFC 7672 §3.1.3: usages 0 and 1 are not for SMTP. RFC 6698 §2.1: the rest as far as it is known and whole.
    package var isUsable: Bool {
        guard usage == 2 || usage == 3, selector <= 1 else { return false }
        switch matchingType {
        case 0: return !data.isEmpty
        case 1: return data.count == 32
        case 2: return data.count == 64
        default: return false
        }
    }
}

/// What one connection asks of its peer.
package struct PeerRequirement: Hashable, Sendable {
    /// RFC 6066 §3: the name to ask for. Not an address.
    package var serverName: String?
    package var verification: PeerVerification

    package init(serverName: String?, verification: PeerVerification = .none) {
        self.serverName = serverName
        self.verification = verification
    }
}

package final class ClientContext: @unchecked Sendable {
    package enum Version: Sendable { case tls1, tls1_2, tls1_3 }

    package struct Configuration: Sendable {
        /// A file of certificates in PEM, or a directory as c_rehash(1) makes it. Nil: no authority is trusted.
        package var trustStore: String?
        package var trustStoreIsDirectory: Bool
        package var lowestVersion: Version
        /// Shown to servers that ask for one.
        package var certificates: [Certificate]

        package init(
            trustStore: String? = nil, trustStoreIsDirectory: Bool = false, lowestVersion: Version = .tls1_2, certificates: [Certificate] = []
        ) {
            self.trustStore = trustStore
            self.trustStoreIsDirectory = trustStoreIsDirectory
            self.lowestVersion = lowestVersion
            self.certificates = certificates
        }
    }

    // Never changed after `init`. OpenSSL's contexts may then be used by several threads.
    private let context: OpaquePointer

    package init(_ configuration: Configuration) throws(TLSFailure) {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw setUpFailure() }
        valija_SSL_CTX_set_mode(context, CLong(SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER))
        SSL_CTX_set_options(context, optionBits([.noCompression, .noRenegotiation]))
        valija_SSL_CTX_set_session_cache_mode(context, CLong(SSL_SESS_CACHE_OFF))
        let lowest = switch configuration.lowestVersion {
        case .tls1: TLS1_VERSION
        case .tls1_2: TLS1_2_VERSION
        case .tls1_3: TLS1_3_VERSION
        }
        // Mail servers have long kept certificates that nobody renews; where none is asked for, a weak one is better than clear text.
        // Level 0 with TLS 1.0, whose signatures are SHA-1.
        SSL_CTX_set_security_level(context, configuration.lowestVersion == .tls1 ? 0 : 1)
        var isDone = valija_SSL_CTX_set_protocols(context, lowest, TLS1_3_VERSION) == 1 && SSL_CTX_dane_enable(context) == 1
        if isDone, let path = configuration.trustStore {
            isDone = (configuration.trustStoreIsDirectory ? SSL_CTX_load_verify_dir(context, path) : SSL_CTX_load_verify_file(context, path)) == 1
        }
        for certificate in configuration.certificates where isDone { isDone = use(certificate, in: context) }
        guard isDone else {
            let failure = setUpFailure()
            SSL_CTX_free(context)
            throw failure
        }
        self.context = context
    }

    deinit { SSL_CTX_free(context) }

    func makeSession(_ requirement: PeerRequirement) throws(TLSFailure) -> OpaquePointer {
        ERR_clear_error()
        guard let session = SSL_new(context) else { throw setUpFailure() }
        SSL_set_connect_state(session)
        var isDone = true
        switch requirement.verification {
        case .none: SSL_set_verify(session, SSL_VERIFY_NONE, nil)
        case .names(let names):
            SSL_set_verify(session, SSL_VERIFY_PEER, nil)
            // RFC 6125 §6.4.3: a wildcard is a whole label.
            SSL_set_hostflags(session, CUnsignedInt(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            isDone = !names.isEmpty && names.allSatisfy { SSL_add1_host(session, $0) == 1 }
        case .dane(let base, let names, let records):
            SSL_set_verify(session, SSL_VERIFY_PEER, nil)
            SSL_set_hostflags(session, CUnsignedInt(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
            // Sets the name to ask for, too (RFC 7672 §8.1: the base domain).
            isDone = SSL_dane_enable(session, base) == 1 && names.allSatisfy { SSL_add1_host(session, $0) == 1 }
            // RFC 7672 §3.1.1: neither names nor dates of a certificate count that a DANE-EE record matches.
            SSL_dane_set_flags(session, CUnsignedLong(DANE_FLAG_NO_DANE_EE_NAMECHECKS))
            var usable = 0
            for record in records where isDone && record.isUsable {
                if SSL_dane_tlsa_add(session, record.usage, record.selector, record.matchingType, record.data, record.data.count) > 0 { usable += 1 }
            }
            if isDone, usable == 0 {
                SSL_free(session)
                _ = takeOpenSSLReasons()
                throw TLSFailure(.noUsableRecord, "no usable TLSA record")
            }
        }
        if isDone, let name = requirement.serverName { isDone = valija_SSL_set_servername(session, name) == 1 }
        guard isDone else {
            let failure = setUpFailure()
            SSL_free(session)
            throw failure
        }
        return session
    }
}
