// What all TLS connections of a server share: certificates by the name that a client asks for, and how sessions are resumed.
// Made anew for every configuration; connections keep the one that they began with.

internal import COpenSSL

package final class ServerContext: @unchecked Sendable {
    package struct Configuration: Sendable {
        /// For clients that ask for no name, or for one that is not in `named`. One of each kind of key: the client's abilities
        /// decide which it sees.
        package var certificates: [Certificate]
        /// By name, in lower case, as RFC 6066 §3 sends it.
        package var named: [String: [Certificate]]
        /// Asks clients for a certificate, takes any, and takes none too: whose fingerprint means what is for others to say.
        package var asksForCertificate: Bool

        package init(certificates: [Certificate], named: [String: [Certificate]] = [:], asksForCertificate: Bool = false) {
            self.certificates = certificates
            self.named = named
            self.asksForCertificate = asksForCertificate
        }
    }

    // Never changed after `init`. OpenSSL's contexts may then be used by several threads.
    private let context: OpaquePointer
    private let named: [String: OpaquePointer]
    private let tickets: TicketKeys

    package init(_ configuration: Configuration, tickets: TicketKeys) throws(TLSFailure) {
        self.tickets = tickets
        context = try ServerContext.make(configuration.certificates, configuration, tickets)
        var named: [String: OpaquePointer] = [:]
        do throws(TLSFailure) {
            for (name, certificates) in configuration.named { named[name] = try ServerContext.make(certificates, configuration, tickets) }
        } catch {
            for made in named.values { SSL_CTX_free(made) }
            SSL_CTX_free(context)
            throw error
        }
        self.named = named
        guard !named.isEmpty else { return }
        valija_SSL_CTX_set_servername_callback(context, { session, _, argument in
            // RFC 6066 §3: a name that is not known is no reason to refuse.
            guard let session, let argument, let name = requestedName(session) else { return SSL_TLSEXT_ERR_OK }
            let server = Unmanaged<ServerContext>.fromOpaque(argument).takeUnretainedValue()
            if let other = server.named[name] { SSL_set_SSL_CTX(session, other) }
            return SSL_TLSEXT_ERR_OK
        }, Unmanaged.passUnretained(self).toOpaque())
    }

    deinit {
        for context in named.values { SSL_CTX_free(context) }
        SSL_CTX_free(context)
    }

    func makeSession() -> OpaquePointer? {
        let session = SSL_new(context)
        if let session { SSL_set_accept_state(session) }
        return session
    }

    /// Forward secrecy and authenticated encryption first, in our order; CBC for what is older, which on port 25 would otherwise send in clear.
    /// AES with 128 bits before 256: RFC 9325 §4.2 recommends both, and SHA-256, which processors have instructions for, then derives the
    /// keys of TLS 1.3 (RFC 8446 §7.1); with SHA-384 a new session takes a twentieth longer.
    private static let ciphers = "ECDHE+AESGCM+AES128:ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:!aNULL:!eNULL:!PSK:!SRP"
    private static let suites = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
    private static let groups = "X25519:P-256:P-384:P-521"

    private static func make(_ certificates: [Certificate], _ configuration: Configuration, _ tickets: TicketKeys) throws(TLSFailure) -> OpaquePointer {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw setUpFailure() }
        let mode = SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        valija_SSL_CTX_set_mode(context, CLong(mode))
        // RFC 9325 §3.3, §3.5: no compression, no renegotiation, which in TLS 1.2 lets a client have the server work for nothing.
        SSL_CTX_set_options(context, optionBits([.noCompression, .noRenegotiation, .cipherServerPreference, .prioritizeChaCha]))
        // Sessions are kept by clients, in tickets.
        valija_SSL_CTX_set_session_cache_mode(context, CLong(SSL_SESS_CACHE_OFF))
        SSL_CTX_set_num_tickets(context, 1)
        let owner = Array("valija".utf8)
        var isDone =
            valija_SSL_CTX_set_protocols(context, TLS1_2_VERSION, TLS1_3_VERSION) == 1 && SSL_CTX_set_cipher_list(context, ciphers) == 1
            && SSL_CTX_set_ciphersuites(context, suites) == 1
            && valija_SSL_CTX_set_groups(context, groups) == 1
            && SSL_CTX_set_session_id_context(context, owner, CUnsignedInt(owner.count)) == 1
        tickets.serve(context)
        if configuration.asksForCertificate { SSL_CTX_set_verify(context, SSL_VERIFY_PEER) { _, _ in 1 } }
        for certificate in certificates where isDone { isDone = use(certificate, in: context) }
        guard isDone else {
            let failure = setUpFailure()
            SSL_CTX_free(context)
            throw failure
        }
        return context
    }
}

/// The name that the client of this session asked for, in lower case.
func requestedName(_ session: OpaquePointer) -> String? {
    guard let name = SSL_get_servername(session, TLSEXT_NAMETYPE_host_name) else { return nil }
    let octets = UnsafeBufferPointer(start: UnsafeRawPointer(name).assumingMemoryBound(to: UInt8.self), count: min(strnlen(name, 256), 255))
    return String(decoding: octets.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
}

/// The chain goes with the certificate: that of another kind of key has another.
func use(_ certificate: Certificate, in context: OpaquePointer) -> Bool {
    guard SSL_CTX_use_certificate(context, certificate.leaf) == 1, SSL_CTX_use_PrivateKey(context, certificate.key) == 1 else { return false }
    return certificate.chain.allSatisfy { valija_SSL_CTX_add1_chain_cert(context, $0) == 1 }
}

func setUpFailure() -> TLSFailure { TLSFailure(.setUp, takeOpenSSLReasons() ?? "OpenSSL gave no reason") }

/// SSL_CTX_set_options(3). The header has them as macros of a cast, which the importer does not see.
enum ContextOption: Int {
    case noTicket = 14
    case noCompression = 17
    case noRenegotiation = 30
    case prioritizeChaCha = 21
    case cipherServerPreference = 22
}

func optionBits(_ options: [ContextOption]) -> UInt64 { options.reduce(0) { $0 | 1 << UInt64($1.rawValue) } }
