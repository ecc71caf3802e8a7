// STARTTLS (RFC 3207): what may be said before it, and what is forgotten with it.
//
// `.startTLS` asks the shell for TLS; it answers by `beginTLS`, and by `becameEncrypted` once the handshake is done, or by `answer` where it
// cannot. A session whose connection is in TLS from its first octet (RFC 8314 §3.3) is told so before it greets.

package import MailSyntax
internal import NIOCore

extension ServerSession {
    package enum Encryption: Sendable {
        /// No STARTTLS here.
        case none
        /// The client may.
        case may
        /// Nothing but EHLO, NOOP, QUIT, STARTTLS and XCLIENT without it. RFC 3207 §4 forbids that to a server whom everybody's mail comes to.
        case encrypt
    }

    var offersTLS: Bool { configuration.encryption != .none && !isEncrypted }

    /// RFC 8689 §2: where STARTTLS was negotiated, or TLS was there from the first octet.
    var offersRequireTLS: Bool { configuration.offersRequireTLS && (isEncrypted || isWithinHost) }

    var refusalOfTLS: Reply? {
        if isEncrypted { return .alreadyEncrypted }
        if configuration.encryption == .none { return SyntaxFlaw.notOffered.reply }
        return transaction == nil ? nil : .startTLSInTransaction
    }

    func refusalWithoutTLS(_ verb: Verb) -> Reply? {
        guard configuration.encryption == .encrypt, !isEncrypted else { return nil }
        switch verb {
        // XCLIENT is a proxy's word, not the client's (Postfix XCLIENT_README): what comes after it needs TLS as before.
        case .ehlo, .lhlo, .noop, .quit, .starttls, .xclient: return nil
        default: return .encryptionRequired
        }
    }
}

// MARK: What the shell calls

extension ServerSession {
    /// The answer to `.startTLS`: `220`, after which the shell puts TLS between this session and the client. What came with the command was
    /// not encrypted and is nobody's word: it is dropped (CVE-2011-0411).
    package mutating func beginTLS() {
        guard case .waiting(.encryption) = phase else { return }
        write(Reply(220, EnhancedCode(2, 0, 0), "Ready to start TLS"))
        dropInput()
    }

    /// The connection is encrypted from now on, and everything the client said before is forgotten (RFC 3207 §4.2).
    /// `bindsChannel`: it has what ties a login to it (RFC 5929, RFC 9266).
    package mutating func becameEncrypted(bindsChannel: Bool) {
        isEncrypted = true
        self.bindsChannel = bindsChannel
        login = nil
        mayHoldSecrets = false
        guard case .waiting(.encryption) = phase else { return }
        dropInput()
        endTransaction()
        forgetHello()
        phase = .command
    }

    package static let tlsUnavailable = Reply(454, EnhancedCode(4, 7, 0), "TLS not available due to temporary reason")
}

extension Reply {
    static let alreadyEncrypted = Reply(554, EnhancedCode(5, 5, 1), "Error: TLS already active")
    static let startTLSInTransaction = Reply(503, EnhancedCode(5, 5, 1), "Error: MAIL transaction in progress")
    static let encryptionRequired = Reply(530, EnhancedCode(5, 7, 0), "Must issue a STARTTLS command first")
}
