// AUTH (RFC 4954): when it may come, its lines, their base64, and the replies. What a mechanism makes of the octets is the
// shell's, which holds the exchange and knows the users: it gets `.beginLogin` and `.continueLogin`, and answers with
// `challenge`, `loggedIn` or `answer`.
//
// A login lasts as long as the session: not even EHLO ends it, but a TLS handshake does (RFC 3207 §4.2).

package import MailSyntax
internal import NIOCore

extension ServerSession {
    /// How users may log in.
    package struct Logins: Hashable, Sendable {
        /// By their names, in the order of the announcement.
        package var mechanisms: [String]
        /// The same for a connection that has something to bind a login to.
        package var boundMechanisms: [String]
        /// RFC 4954 §4: not offered and not taken before TLS.
        package var needsTLS: Bool
        /// RFC 6409 §4.3: no mail without a login.
        package var isRequired: Bool

        package init(mechanisms: [String], boundMechanisms: [String] = [], needsTLS: Bool = true, isRequired: Bool = false) {
            self.mechanisms = mechanisms
            self.boundMechanisms = boundMechanisms
            self.needsTLS = needsTLS
            self.isRequired = isRequired
        }
    }

    /// What may be used here and now; nil: no login at all.
    private var mechanisms: [String]? {
        guard let logins = configuration.logins, isEncrypted || !logins.needsTLS else { return nil }
        return (bindsChannel ? logins.boundMechanisms : []) + logins.mechanisms
    }

    /// The line of EHLO. RFC 4954 §3 (1): the parameter lists the mechanisms; and it may differ before and after TLS.
    var loginExtension: String? {
        guard let mechanisms, !mechanisms.isEmpty else { return nil }
        return "AUTH " + mechanisms.joined(separator: " ")
    }

    /// RFC 4954 §4: once a session, in none but an ESMTP session, and not inside a transaction.
    var refusalOfLogin: Reply? {
        guard let logins = configuration.logins else { return SyntaxFlaw.notOffered.reply }
        if helo == nil || !usesESMTP { return .needHello }
        if transaction != nil { return .inTransaction }
        if login != nil { return .alreadyLoggedIn }
        return logins.needsTLS && !isEncrypted ? .loginNeedsTLS : nil
    }

    /// RFC 4954 §6: 530 answers any command but AUTH, EHLO, HELO, NOOP, RSET, QUIT. HELP tells nothing of anybody.
    func refusalWithoutLogin(_ verb: Verb) -> Reply? {
        guard login == nil, configuration.logins?.isRequired == true else { return nil }
        switch verb {
        case .mail, .rcpt, .data, .bdat, .vrfy, .expn, .etrn: return .loginRequired
        default: return nil
        }
    }

    /// AUTH. `initial`: as it stands in the line, still base64.
    mutating func beginLogin(_ mechanism: String, initial: [UInt8]?) {
        mayHoldSecrets = true
        guard mechanisms?.contains(mechanism) == true else { return rejectLogin(.unknownMechanism, command: "AUTH") }
        var response: [UInt8]?
        if let initial {
            // RFC 4954 §4: a response of no octets is a single "=".
            guard let octets = initial == [UInt8(ascii: "=")] ? [] : Base64.decode(initial) else { return rejectLogin(.badBase64, command: "AUTH") }
            response = octets
        }
        phase = .waiting(.login)
        actions.append(.beginLogin(mechanism: mechanism, initial: response))
    }

    /// The next line of the client in an exchange. False when there is none yet.
    mutating func readLoginResponse() -> Bool {
        guard input.readableBytes > 0 else { return false }
        var lines = responseLines
        let (outcome, line) = input.withUnsafeReadableBytes { bytes in
            let outcome = lines.scan(bytes)
            guard case .line(let length) = outcome else { return (outcome, [UInt8]()) }
            return (outcome, [UInt8](bytes[..<length]))
        }
        responseLines = lines
        if case .needMore = outcome {} else { progress &+= 1 }
        switch outcome {
        case .needMore(let dropping):
            input.moveReaderIndex(forwardBy: dropping)
            return false
        case .wrong(let flaw, let consumed):
            input.moveReaderIndex(forwardBy: consumed)
            // RFC 4954 §4: 500 for a line that is too long, 501 for what is not base64.
            if case .lineTooLong = flaw { cancelLogin(flaw.reply) } else { cancelLogin(.badBase64) }
        case .line(let length):
            input.moveReaderIndex(forwardBy: length + 2)
            if line == [UInt8(ascii: "*")] {
                cancelLogin(.loginCancelled)
            } else if let response = Base64.decode(line) {
                phase = .waiting(.login)
                actions.append(.continueLogin(response))
            } else {
                cancelLogin(.badBase64)
            }
        }
        return true
    }

    private mutating func cancelLogin(_ reply: Reply) {
        phase = .command
        actions.append(.cancelLogin)
        rejectLogin(reply, command: "AUTH")
    }

    private mutating func rejectLogin(_ reply: Reply, command: String) { reject(reply, command: command) }
}

// MARK: What the shell calls

extension ServerSession {
    /// The answer to `beginLogin` and `continueLogin` that asks for more.
    ///
    ///     continue-req    = "334" SP [base64] CRLF
    package mutating func challenge(_ octets: [UInt8]) {
        guard case .waiting(.login) = phase else { return }
        phase = .login
        // Past the limit of reply lines (RFC 5321 §4.5.3.1.5), which RFC 4954 §4 lifts.
        output.writeString("334 \(Base64.encode(octets))\r\n")
    }

    /// The answer that ends an exchange well.
    package mutating func loggedIn(as user: String) {
        guard case .waiting(.login) = phase else { return }
        login = user
        // What follows is commands again, and none of them is a secret.
        mayHoldSecrets = false
        answer(Reply(235, EnhancedCode(2, 7, 0), "Authentication successful"))
    }

    /// The answers that end it otherwise.
    package static let loginFailed = Reply(535, EnhancedCode(5, 7, 8), "Error: authentication failed")
    package static let loginMalformed = Reply(501, EnhancedCode(5, 5, 2), "Error: the response is not that of the mechanism")
    package static func loginUnavailable(_ text: String) -> Reply { Reply(454, EnhancedCode(4, 7, 0), "Temporary authentication failure: \(text)") }
}

extension Reply {
    static let alreadyLoggedIn = Reply(503, EnhancedCode(5, 5, 1), "Error: already authenticated")
    static let loginNeedsTLS = Reply(538, EnhancedCode(5, 7, 11), "Encryption required for requested authentication mechanism")
    static let loginRequired = Reply(530, EnhancedCode(5, 7, 0), "Authentication required")
    static let unknownMechanism = Reply(504, EnhancedCode(5, 5, 4), "Unrecognized authentication type")
    static let badBase64 = Reply(501, EnhancedCode(5, 5, 2), "Error: malformed authentication response")
    static let loginCancelled = Reply(501, EnhancedCode(5, 7, 0), "Authentication aborted")
}
