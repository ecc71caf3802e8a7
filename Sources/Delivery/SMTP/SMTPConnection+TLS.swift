// TLS on a connection to a next hop: when it begins, what came of it, and what a login is tied to.

internal import Accounts
package import MailSyntax
internal import NIOCore
internal import SMTP
internal import TLS
package import Telemetry

/// How a connection is encrypted.
struct TLSPlan: Sendable {
    let context: ClientContext
    let requirement: PeerRequirement
    let mayGoClear: Bool
    /// From the first octet.
    let isImplicit: Bool
    let timeout: Duration

    func makeHandler() throws(TLSFailure) -> TLSHandler {
        let timeout = TimeAmount(timeout)
        do throws(TLSFailure) {
            return try TLSHandler(context, requirement, handshakeTimeout: timeout)
        } catch {
            guard error.kind == .noUsableRecord else { throw error }
            // RFC 7672 §2.2: TLS, with whomever, where no record can be used; some show that only to OpenSSL.
            return try TLSHandler(context, PeerRequirement(serverName: requirement.serverName), handshakeTimeout: timeout)
        }
    }
}

/// What an administrator may want to know of TLS to other servers.
package enum TLSNotice: Sendable {
    case established(relay: String, Fields.TLS)
    /// `mayGoClear`: the mail goes without.
    case failed(relay: String, reason: String, mayGoClear: Bool)
    /// STARTTLS was offered and then refused; the mail goes without.
    case refused(relay: String, Reply)
}

extension SMTPConnection {
    func startTLS() -> [ClientSession.Action] {
        guard let plan, let context else { return session.abandon(because: .stopped) }
        do throws(TLSFailure) {
            let handler = try plan.makeHandler()
            tls = handler
            // The handshake begins at once; all that was said in clear is out.
            try? context.pipeline.syncOperations.addHandler(handler, position: .before(self))
            return []
        } catch {
            return failed(error)
        }
    }

    func becameEncrypted(_ facts: TLSFacts) {
        self.facts = facts
        notice(.established(relay: target.relay, facts.fields))
        perform(session.tlsEstablished())
    }

    /// The handler closes the channel, whatever is done here.
    func tlsEnded(_ failure: TLSFailure) {
        perform(facts == nil ? failed(failure) : session.tlsBroke(failure.reason))
    }

    private func failed(_ failure: TLSFailure) -> [ClientSession.Action] {
        tlsFailure = failure
        notice(.failed(relay: target.relay, reason: failure.reason, mayGoClear: plan?.mayGoClear == true))
        return session.tlsFailed(failure.reason, isUnverified: failure.kind == .unverified)
    }

    /// RFC 9266 §3: with TLS 1.3 tls-exporter is the one.
    var bindings: [ChannelBinding] {
        guard facts != nil, let tls else { return [] }
        return [
            tls.channelBinding(.exporter).map { ChannelBinding(name: "tls-exporter", octets: $0) },
            tls.channelBinding(.serverEndPoint).map { ChannelBinding(name: "tls-server-end-point", octets: $0) },
        ].compactMap { $0 }
    }
}

extension TLSFacts {
    var fields: Fields.TLS {
        let verification =
            switch peer {
            case .trusted: "verified"
            case .dane: "dane"
            case .anonymous, .unverified: "none"
            }
        return Fields.TLS(version: version, cipher: cipher, bits: bits, verification: verification)
    }
}
