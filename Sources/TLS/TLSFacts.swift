// What a finished handshake says of the connection, and why another did not finish: values for policy and log.

/// A TLS connection as it was agreed.
package struct TLSFacts: Hashable, Sendable {
    package enum Peer: Hashable, Sendable {
        /// It showed no certificate.
        case anonymous
        /// Its certificate was not judged, or judged and found wanting for that reason where nothing depended on it.
        case unverified(reason: String?)
        /// By a certificate authority of the trust store, for that name.
        case trusted(name: String)
        /// By its domain's TLSA records (RFC 7672).
        case dane
    }

    /// In OpenSSL's words, which are everybody's: `TLSv1.3`.
    package var version: String
    /// `TLS_AES_256_GCM_SHA384`, `ECDHE-RSA-AES128-GCM-SHA256`
    package var cipher: String
    /// Secret bits of the cipher.
    package var bits: Int
    package var peer: Peer
    /// SHA-256 of the peer's certificate in DER.
    package var peerFingerprint: [UInt8]?
    /// An earlier session goes on: nobody showed a certificate this time.
    package var isResumed: Bool
    /// The name that the client asked for (SNI).
    package var serverName: String?

    package init(
        version: String, cipher: String, bits: Int, peer: Peer = .anonymous, peerFingerprint: [UInt8]? = nil, isResumed: Bool = false,
        serverName: String? = nil
    ) {
        self.version = version
        self.cipher = cipher
        self.bits = bits
        self.peer = peer
        self.peerFingerprint = peerFingerprint
        self.isResumed = isResumed
        self.serverName = serverName
    }
}

/// Down the pipeline once the handshake is done; what follows is what the peer said in TLS.
package enum TLSEvent: Sendable {
    case established(TLSFacts)
}

/// Why a connection is not, or not any longer, in TLS. The handler closes the channel after it.
package struct TLSFailure: Error, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        /// The two did not agree, or the peer does not speak TLS.
        case handshake
        /// The peer is not who it is to be.
        case unverified
        case timeOut
        /// The peer went before the handshake was done.
        case closed
        /// What came after the handshake was no TLS, or not from the peer.
        case broken
        /// OpenSSL refused what we asked of it.
        case setUp
        /// None of the TLSA records is one that OpenSSL can use.
        case noUsableRecord
    }

    package let kind: Kind
    /// For the log, in OpenSSL's words where it has some.
    package let reason: String
    package var description: String { reason }

    package init(_ kind: Kind, _ reason: String) {
        self.kind = kind
        self.reason = reason
    }
}
