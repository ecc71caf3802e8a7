// TLS on a connection: when it begins, what is known of it, and what the log says of it.

internal import Accounts
internal import MailSyntax
internal import NIOCore
internal import Policy
internal import SMTP
internal import TLS
internal import Telemetry

/// What a connection knows of its TLS.
struct ConnectionTLS {
    let handler: TLSHandler
    /// Nil: the handshake is under way.
    var facts: TLSFacts?

    /// Until a handshake that does not come ends the connection (Postfix smtpd_starttls_timeout is 300 s, and 10 s under stress): all of
    /// it fits into two round trips.
    static let handshakeTimeout = TimeAmount.seconds(60)

    var bindings: [ChannelBinding] {
        [
            handler.channelBinding(.exporter).map { ChannelBinding(name: "tls-exporter", octets: $0) },
            handler.channelBinding(.serverEndPoint).map { ChannelBinding(name: "tls-server-end-point", octets: $0) },
            // RFC 5802 §6: what clients of TLS 1.2 choose, unless told otherwise.
            handler.channelBinding(.unique).map { ChannelBinding(name: "tls-unique", octets: $0) },
        ].compactMap { $0 }
    }
}

extension Connection {
    /// What a login may be tied to; empty without TLS.
    var bindings: [ChannelBinding] { tls?.bindings ?? [] }

    func startTLS() {
        guard let handler = makeTLS(), let context else { return session.answer(ServerSession.tlsUnavailable) }
        session.beginTLS()
        // Out before the handler is there, which encrypts all that comes after it.
        if let output = session.takeOutput() { context.writeAndFlush(wrapOutboundOut(output), promise: nil) }
        beginTLS(handler)
    }

    /// Nil: OpenSSL has no memory for it, or nothing is offered.
    func makeTLS() -> TLSHandler? {
        guard let offer = configuration.tls else { return nil }
        do throws(TLSFailure) {
            return try TLSHandler(offer.context, handshakeTimeout: ConnectionTLS.handshakeTimeout)
        } catch {
            logFailedTLS(error)
            return nil
        }
    }

    func beginTLS(_ handler: TLSHandler?) {
        guard let handler, let context else { return isClosing = true }
        tls = ConnectionTLS(handler: handler)
        try? context.pipeline.syncOperations.addHandler(handler, position: .before(self))
    }

    func becameEncrypted(_ facts: TLSFacts) {
        tls?.facts = facts
        client.login = nil
        client.certificate = facts.peerName
        renewPrivileges()
        session.becameEncrypted(bindsChannel: true)
        service.log.record(.sessionEncrypted, by: part) { fields in
            self.identify(&fields)
            fields.message = facts.isResumed ? "resumed" : nil
        }
        if configuration.tls?.isImplicit == true { session.greet() }
        pump()
    }

    func logFailedTLS(_ failure: TLSFailure) {
        service.log.record(.tlsFailed, by: part) { fields in
            self.identify(&fields)
            fields.reason = failure.reason
        }
    }
}

extension TLSFacts {
    var fields: Fields.TLS { Fields.TLS(version: version, cipher: cipher, bits: bits) }

    /// A comment of Received, as Postfix writes it.
    var trace: String { "using \(version) with cipher \(cipher) (\(bits) bits)" }

    /// `d4:0f:…`, as the manifest has it.
    var peerName: String? { peerFingerprint.map { $0.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":") } }
}
