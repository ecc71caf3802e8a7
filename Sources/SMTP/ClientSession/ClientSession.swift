// The client's side of an SMTP session (RFC 5321 §3, §4) as a state machine without I/O: bytes and events in, actions
// out. It sends messages one after another over one connection, with PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME
// (RFC 6152), CHUNKING and BINARYMIME (RFC 3030), SMTPUTF8 (RFC 6531) and DSN (RFC 3461) where the server offers them; or
// by LMTP (RFC 2033), with a reply for each recipient.
//
// It opens no connection, keeps no time, and reads no content: whoever holds the socket performs the actions in their
// order and tells what happened. For each recipient of a message that was begun there is exactly one `result`, or, when
// the message was not even begun in the server's eyes, one `unstarted` for all. AUTH (RFC 4954) is in `ClientLogin.swift`, STARTTLS
// (RFC 3207) in `ClientEncryption.swift`.

package import MailSyntax
package import NIOCore

package struct ClientSession: Sendable {
    /// What became of one recipient.
    package enum Outcome: Hashable, Sendable {
        /// The server took the message on. `passesOnDSN`: with it the duty to report (RFC 3461 §5.2.2).
        case accepted(Reply, passesOnDSN: Bool)
        case deferred(Reply)
        case failed(Reply)
    }

    package enum Action: Equatable, Sendable {
        /// Write and flush these bytes.
        case send(ByteBuffer)
        /// Write the content of the message through a `DotStuffer`, then its terminator; then call `contentSent()`.
        case sendContent
        /// Write the content as it is, each portion behind its `chunkHeader`, the last one as such; call `chunkSent()` after each
        /// portion, and `contentSent()` after the last.
        case sendChunks
        /// `recipient` is the index in the envelope's recipients. `answers`: the command that the server answered with the reply
        /// of the outcome, as Postfix names it (`RCPT TO`, `end of DATA`); nil: the words are ours.
        case result(recipient: Int, Outcome, answers: String?)
        /// The server waits for the handshake: `tlsEstablished` or `tlsFailed` answers, and nothing is handed on before.
        case startTLS
        /// The server offered STARTTLS and refused it with this reply; the session goes on without.
        case staysInClear(Reply)
        /// `logsIn`: the server offers these mechanisms of AUTH. `beginLogin` or `giveUpLogin` answers.
        case chooseLogin([String])
        /// The server's challenge: `respond` or `giveUpLogin`.
        case respond([UInt8])
        /// The server took the login.
        case loggedIn
        /// The message before, if any, is done with; `begin` or `quit` may be called.
        case ready
        /// The session ended before the server answered anything about this message, and no recipient has a result: it may
        /// be tried over another connection at once. `close` follows.
        case unstarted(Reply)
        /// Close the connection: the session is over. The reason stands for messages that had to wait; nil after `quit`.
        case close(Reply?)
    }

    /// Which state may follow: greeting → hello; hello → hello (HELO), startTLS, login, idle; startTLS → handshake, login, idle;
    /// handshake → hello; login → idle; idle → message, quitting; message → idle;
    /// and closed after each.
    enum State: Equatable, Sendable {
        case greeting
        case hello(extended: Bool)
        case startTLS
        case handshake
        case login
        case idle
        case message
        case quitting
        case closed
    }

    /// The server in texts: `mx.example.net[192.0.2.1]`.
    let peer: String
    let dialect: NextHop.Dialect
    private let heloName: String
    package internal(set) var extensions = PeerExtensions()
    var state = State.greeting
    /// Set in the state `message` only.
    var transaction: ClientTransaction?
    /// The server may still hold the recipients of a transaction that came to nothing: RSET must precede the next.
    var needsReset = false
    package var encryption = Encryption.none
    package internal(set) var isEncrypted = false
    /// No mail before a login.
    package var logsIn = false
    /// AUTH was sent.
    var hasBegunLogin = false
    /// The first response of a login, where it was too long for the line of AUTH.
    var heldResponse: [UInt8]?
    /// The session broke off, and the server may have a message that it was sent and did not answer for.
    package private(set) var mayHaveTakenMessage = false
    private var parser = ReplyParser()
    private var unread = ByteBuffer()

    /// `heloName` is this host's name for EHLO, a domain or an address literal (RFC 5321 §4.1.4).
    package init(heloName: Domain, peer: String, dialect: NextHop.Dialect = .smtp) {
        self.dialect = dialect
        self.heloName = heloName.text
        self.peer = peer
    }

    package var phase: ClientPhase {
        switch state {
        case .greeting: .greeting
        case .hello: .hello
        case .startTLS: .startTLS
        case .handshake: .handshake
        case .login: .login
        case .idle: .idle
        case .message: transaction!.phase
        case .quitting: .quit
        case .closed: .closed
        }
    }

    // MARK: Events

    /// Bytes from the server.
    package mutating func receive(_ bytes: ByteBuffer) -> [Action] {
        if unread.readableBytes == 0 {
            unread = bytes
        } else {
            unread.writeImmutableBuffer(bytes)
        }
        var actions: [Action] = []
        while state != .closed, state != .handshake {
            do {
                guard let reply = try parser.next(in: &unread) else { break }
                handle(reply, &actions)
            } catch {
                end(protocolError(error.explanation), &actions)
            }
        }
        if unread.readableBytes == 0 || state == .handshake { unread = ByteBuffer() }
        return actions
    }

    mutating func discardInput() {
        unread = ByteBuffer()
        parser = ReplyParser()
    }

    /// The connection is gone.
    package mutating func connectionLost() -> [Action] {
        var actions: [Action] = []
        switch state {
        case .closed: break
        case .quitting: close(nil, &actions)
        default: end(Reply(451, EnhancedCode(4, 4, 2), "lost connection with \(peer) while \(phase.activity)"), &actions)
        }
        return actions
    }

    /// The time allowed for the phase is over.
    package mutating func timedOut() -> [Action] {
        var actions: [Action] = []
        switch state {
        case .closed: break
        case .quitting: close(nil, &actions)
        default: end(Reply(451, EnhancedCode(4, 4, 2), "conversation with \(peer) timed out while \(phase.activity)"), &actions)
        }
        return actions
    }

    /// We must leave now, whatever is under way.
    package mutating func abandon(because reply: Reply) -> [Action] {
        var actions: [Action] = []
        if state != .closed { end(reply, &actions) }
        return actions
    }

    /// Ends an idle session in good manners (RFC 5321 §4.1.1.10).
    package mutating func quit() -> [Action] {
        guard state == .idle else { return abandon(because: Reply(451, EnhancedCode(4, 3, 2), "session ended")) }
        state = .quitting
        return [.send(ByteBuffer(string: "QUIT\r\n"))]
    }

    // MARK: Replies

    private mutating func handle(_ reply: Reply, _ actions: inout [Action]) {
        // RFC 5321 §3.8: 421 may answer any command, and none, and the server closes the connection after it.
        if reply.code == 421, state != .quitting {
            return end(state == .greeting || isHello ? refusal(reply) : reply, answers: transaction?.step.command, &actions)
        }
        switch state {
        case .greeting: handleGreeting(reply, &actions)
        case .hello(let extended): handleHello(reply, extended: extended, &actions)
        case .startTLS: handleStartTLS(reply, &actions)
        case .login: handleInLogin(reply, &actions)
        case .message: handleInTransaction(reply, &actions)
        case .quitting: close(nil, &actions)
        case .idle: end(protocolError("a reply to no command: \(reply.summary)"), &actions)
        // Nothing is read in the handshake.
        case .handshake, .closed: break
        }
    }

    private var isHello: Bool {
        if case .hello = state { true } else { false }
    }

    private mutating func handleGreeting(_ reply: Reply, _ actions: inout [Action]) {
        guard reply.code / 100 == 2 else {
            // RFC 5321 §3.1: the server that greets with 554 still waits for QUIT.
            actions.append(.send(ByteBuffer(string: "QUIT\r\n")))
            return end(refusal(reply), &actions)
        }
        state = .hello(extended: true)
        actions.append(.send(hello))
    }

    /// RFC 2033 §4.1.
    var hello: ByteBuffer { ByteBuffer(string: "\(dialect == .lmtp ? "LHLO" : "EHLO") \(heloName)\r\n") }

    private mutating func handleHello(_ reply: Reply, extended: Bool, _ actions: inout [Action]) {
        if reply.code / 100 == 2 {
            if extended { extensions = PeerExtensions(reply) }
            if isEncryptedEnough(&actions) { proceed(&actions) }
        } else if extended, dialect == .smtp, reply.isPermanent {
            // RFC 5321 §3.2, §4.1.1.1: a server without extensions knows HELO.
            state = .hello(extended: false)
            actions.append(.send(ByteBuffer(string: "HELO \(heloName)\r\n")))
        } else {
            actions.append(.send(ByteBuffer(string: "QUIT\r\n")))
            end(refusal(reply), &actions)
        }
    }

    /// The server knows who we are, and what it offers is known.
    mutating func proceed(_ actions: inout [Action]) {
        state = logsIn ? .login : .idle
        actions.append(logsIn ? .chooseLogin(extensions.loginMechanisms) : .ready)
    }

    /// A server that does not want this client at all. That is seldom the fault of a recipient and often a passing state
    /// of a blocklist or a server, so it is temporary even when the server says 5xx; Postfix has it so too
    /// (`smtp_skip_5xx_greeting`). But RFC 7504: 521 says that no mail is ever taken there.
    private func refusal(_ reply: Reply) -> Reply {
        if reply.code == 521 { return reply }
        let enhanced = reply.enhanced.map { EnhancedCode(4, $0.subject, $0.detail) } ?? EnhancedCode(4, 3, 2)
        return Reply(reply.isTransient ? reply.code : 450, enhanced, "host \(peer) refused to talk to me: \(reply.summary)")
    }

    func protocolError(_ explanation: String) -> Reply {
        Reply(451, EnhancedCode(4, 5, 0), "protocol error: host \(peer) sent \(explanation)")
    }

    // MARK: The end

    /// Settles what is pending as `reply` says, and closes.
    mutating func end(_ reply: Reply, answers: String? = nil, _ actions: inout [Action]) {
        if let open = transaction {
            transaction = nil
            mayHaveTakenMessage = answers == nil && (open.step == .endOfData || open.transfer == .eagerChunk)
            if open.isAnswered || open.recipients.contains(.done) {
                for (index, status) in open.recipients.enumerated() where status != .done {
                    actions.append(.result(recipient: index, reply.isPermanent ? .failed(reply) : .deferred(reply), answers: answers))
                }
            } else {
                actions.append(.unstarted(reply))
            }
        }
        close(reply, &actions)
    }

    private mutating func close(_ reply: Reply?, _ actions: inout [Action]) {
        state = .closed
        unread = ByteBuffer()
        actions.append(.close(reply))
    }
}
