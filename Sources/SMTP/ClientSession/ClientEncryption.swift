// STARTTLS of the client (RFC 3207): when it is asked for, and what becomes of the session with it or without it. The handshake is
// the shell's: it gets `.startTLS` and answers with `tlsEstablished` or `tlsFailed`. In a session that is in TLS from the first octet
// (RFC 8314 §3) it says `tlsEstablished` before it hands on what the server sends.

internal import MailSyntax
internal import NIOCore

extension ClientSession {
    /// What the session does about TLS. Whom the server has to prove to be is the shell's business.
    package enum Encryption: Hashable, Sendable {
        case none
        /// Where the server offers it (RFC 7435).
        case offered
        /// Or there is no mail.
        case required
    }

    /// RFC 8689 §2: the server offered REQUIRETLS in TLS; in clear anybody may have.
    package var takesRequireTLS: Bool { isEncrypted && extensions.requireTLS }

    /// After EHLO or HELO: true if the session may go on as it is.
    mutating func isEncryptedEnough(_ actions: inout [Action]) -> Bool {
        guard !isEncrypted, encryption != .none else { return true }
        if extensions.startTLS {
            state = .startTLS
            actions.append(.send(ByteBuffer(string: "STARTTLS\r\n")))
            return false
        }
        guard encryption == .required else { return true }
        actions.append(.send(ByteBuffer(string: "QUIT\r\n")))
        end(Reply(451, EnhancedCode(4, 7, 4), "TLS is required, but was not offered by host \(peer)"), &actions)
        return false
    }

    mutating func handleStartTLS(_ reply: Reply, _ actions: inout [Action]) {
        if reply.code == 220 {
            state = .handshake
            // RFC 3207 §6: whatever came with the reply may be anybody's.
            discardInput()
            return actions.append(.startTLS)
        }
        guard encryption == .required else {
            // RFC 3207 §4: the session is as it was.
            actions.append(.staysInClear(reply))
            return proceed(&actions)
        }
        actions.append(.send(ByteBuffer(string: "QUIT\r\n")))
        end(Reply(451, EnhancedCode(4, 7, 4), "TLS is required, but host \(peer) refused to start TLS: \(reply.summary)"), &actions)
    }

    /// The handshake is done, and the server is who it is to be.
    package mutating func tlsEstablished() -> [Action] {
        isEncrypted = true
        guard state == .handshake else { return [] }
        // RFC 3207 §4.2: what the server said before is forgotten; it may offer something else now.
        extensions = PeerExtensions()
        discardInput()
        state = .hello(extended: true)
        return [.send(hello)]
    }

    /// It is not. `isUnverified`: there would be TLS, but with somebody else.
    package mutating func tlsFailed(_ reason: String, isUnverified: Bool) -> [Action] {
        let words = isUnverified ? "certificate of host \(peer) not verified" : "cannot start TLS with host \(peer)"
        return abandon(because: Reply(451, EnhancedCode(4, 7, 5), "\(words): \(reason)"))
    }

    /// What came in TLS was none, or not from the server.
    package mutating func tlsBroke(_ reason: String) -> [Action] {
        abandon(because: Reply(451, EnhancedCode(4, 4, 2), "lost TLS with host \(peer) while \(phase.activity): \(reason)"))
    }
}
