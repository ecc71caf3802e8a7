// The server's side of one SMTP session (RFC 5321) as a state machine without I/O.
//
// Octets go in with `receive`, actions come out of `next` until it returns nil, replies come out of `takeOutput`. The shell
// performs the actions: it judges senders and recipients, stores content, and answers with `answer` where an action asks.
// While an answer is awaited the session reads on nothing, so replies keep the order of commands (RFC 2920 §3.2), and all
// that are ready go out in one write. `receive` never runs the machine; whoever calls it calls `next` afterwards.
//
// It holds one command line at most, and never a message: content passes through as slices of what was received. Replies
// that wait are bounded by the input that caused them, as each command has one and idle or wrong commands are counted.
//
// Extensions, announced because they work: PIPELINING (RFC 2920), SIZE (RFC 1870), VRFY, ENHANCEDSTATUSCODES (RFC 2034),
// 8BITMIME (RFC 6152), DSN (RFC 3461), SMTPUTF8 (RFC 6531), CHUNKING and BINARYMIME (RFC 3030), LIMITS (RFC 9422), and where
// they are turned on REQUIRETLS (RFC 8689), EXPN, ETRN (RFC 1985), Postfix's XCLIENT and XFORWARD, STARTTLS (RFC 3207), and AUTH (RFC 4954) where users log in;
// XVERP (Postfix) to those whom the shell lets use it.
// It speaks LMTP (RFC 2033) as well, which is the same but for LHLO and a reply to the content for each recipient.
//
// Does not: decide who may send what to whom, write trace headers, know the time or the client's address.

package import MailSyntax
package import NIOCore

/// Not copyable: there is one of each session, and asking it something would otherwise copy the whole of it.
package struct ServerSession: ~Copyable, Sendable {
    package struct Configuration: Sendable {
        /// The server's name, in the greeting and in the reply to EHLO.
        package var hostname: Domain
        /// Completes addresses without a domain, `RCPT TO:<postmaster>` first of all.
        package var origin: Domain
        /// Octets, announced as SIZE; 0: no limit (RFC 1870 §3).
        package var messageSizeLimit: Int
        /// RFC 5321 §4.5.3.1.8 asks for 100 at least.
        package var recipientLimit: Int
        package var limits: ServerLimits
        package var encryption = Encryption.none
        /// Nil: no AUTH (RFC 4954) here.
        package var logins: Logins?
        package var dialect = Dialect.smtp
        package var offersEXPN = false
        package var offersETRN = false
        /// REQUIRETLS, where the session is in TLS: mail can be sent on as it asks.
        package var offersRequireTLS = false
        /// MAIL commands of one session; nil: no limit.
        package var messageLimit: Int?
        /// Where XVERP does not name delimiters.
        package var verp: VERP

        package init(
            hostname: Domain, origin: Domain, messageSizeLimit: Int, recipientLimit: Int, limits: ServerLimits = ServerLimits(),
            verp: VERP = .usual
        ) {
            self.hostname = hostname
            self.origin = origin
            self.messageSizeLimit = messageSizeLimit
            self.recipientLimit = recipientLimit
            self.limits = limits
            self.verp = verp
        }
    }

    package enum Dialect: Sendable { case smtp, lmtp }

    /// What this client may say for others.
    package struct Privileges: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// XCLIENT.
        package static let override = Privileges(rawValue: 1)
        /// XFORWARD.
        package static let forward = Privileges(rawValue: 2)
    }

    /// What the shell is to do. In order, one at a time.
    package enum Action: Sendable {
        /// May a transaction of this sender start? `answer`: a positive reply accepts MAIL. `declaredSize` is within the limit.
        case judgeSender(Address?, declaredSize: Int?)
        /// `answer`: a positive reply adds the recipient to the envelope.
        case judgeRecipient(EnvelopeRecipient, sender: Address?)
        /// `answer` to VRFY with that argument.
        case judgeVerify(String)
        /// `answer` to EXPN with that argument.
        case judgeExpand(String)
        /// `answer` to ETRN: mail that waits for that domain is to be tried now.
        case runQueue(QueueNode)
        /// From now on this is the client, by all that was said of it. The greeting is already written.
        case override(ClientClaims)
        /// `beginTLS` or `answer`.
        case startTLS
        /// AUTH: `challenge`, `loggedIn` or `answer`. `initial` is the response that came with the command.
        case beginLogin(mechanism: String, initial: [UInt8]?)
        /// The client's answer to the challenge: the same again.
        case continueLogin([UInt8])
        /// The client gave up, or what it sent is none: forget the exchange.
        case cancelLogin
        /// Content follows; the envelope is final.
        case beginContent(Envelope)
        /// Octets of the message as it is to be stored: CRLF line ends, no dot-stuffing.
        case content(ByteBuffer)
        /// The content is complete and acceptable. `answer`: 250 once it is safe, else 4xx or 5xx.
        case commit
        /// Content was begun and will not be committed: forget it.
        case abandonContent
        /// For the log: what the session itself refused, and the transaction's envelope so far. `command` is bounded,
        /// printable and holds no secret.
        case refused(Reply, command: String, of: Envelope?)
        /// Close the connection once the output was written. Nothing comes after it.
        case close
    }

    // MARK: State

    /// Next states:
    /// ungreeted → command, closing · command → waiting, data, chunk, closing · waiting → command, login · login → waiting, command ·
    /// data → command, waiting · chunk → command, waiting · any but waiting → closing (timeout) · closing → closed.
    enum Phase {
        case ungreeted
        case command
        /// `next` returned a question.
        case waiting(Question)
        /// A challenge was sent: the next line is the answer to it, not a command.
        case login
        case data
        /// Inside a BDAT chunk. With a refusal its octets are read over (RFC 3030 §2).
        case chunk(remaining: Int, isLast: Bool, refusal: Reply?)
        case closing
        case closed
    }

    enum Question {
        case sender(Transaction)
        case recipient(EnvelopeRecipient)
        case verify
        case login
        /// From STARTTLS to the end of the handshake, or the refusal.
        case encryption
        case commit
    }

    /// From MAIL to the reply to the content.
    struct Transaction {
        var envelope: Envelope
        var content = Content.awaited
        var refusalWasCounted = false

        enum Content {
            case awaited
            /// The shell has it: `beginContent` was returned, and neither `commit` nor `abandonContent`.
            case begun
            /// Refused for this reason, as any further chunk of it will be.
            case refused(Reply)
        }
    }

    private(set) var configuration: Configuration
    var phase = Phase.ungreeted
    var transaction: Transaction?
    var scanner = ContentScanner(isDotStuffed: true, sizeLimit: 0)
    var lines: LineScanner
    var responseLines: LineScanner
    var input = ByteBuffer()
    /// Octets of the command line at the head of `input`, while it is being obeyed.
    var lineLength = 0
    /// Actions that one step yields beyond the one it returns.
    var actions: [Action] = []
    var output = ByteBuffer()

    package internal(set) var counts = CommandCounts()
    var errors = 0
    var idleCommands = 0
    var overshoot = 0
    /// MAIL commands that were judged.
    var messages = 0
    var usesESMTP = false
    /// Set by the shell, which knows the client.
    package var privileges: Privileges = []
    /// What XFORWARD said for the next transaction, or for the one under way.
    package internal(set) var forwarded: ClientClaims?
    /// All that XCLIENT said.
    var overriding = ClientClaims()
    /// A client that tried AUTH may send secrets as its next "commands".
    var mayHoldSecrets = false
    /// The user who is logged in.
    package internal(set) var login: String?
    package internal(set) var isEncrypted = false
    var bindsChannel = false
    var inputHasEnded = false
    /// The reply that ends the session as soon as the protocol allows.
    private var ending: Reply?
    /// Grows with every command line that is whole and every answer: as long as it stands still, the session waits for its client.
    package internal(set) var progress = 0
    /// The client may ask for VERP, and is told so.
    package var mayUseVERP = false
    /// Nobody stands between the client and this server, for it is a process of this host.
    package var isWithinHost = false

    /// The argument of the last HELO or EHLO.
    package internal(set) var helo: String?
    /// The reply that ended the session: 221, 421 or 554. Nil while it lasts, and where the client just went.
    package private(set) var closingReply: Reply?
    /// What the session had come to when it was closed.
    private var closedAfter: String?

    package init(configuration: Configuration) {
        self.configuration = configuration
        lines = LineScanner(limit: configuration.limits.commandLine)
        responseLines = LineScanner(limit: configuration.limits.loginLine)
    }

    mutating func setHelo(_ name: String) { helo = name }

    mutating func forgetHello() {
        helo = nil
        usesESMTP = false
    }

    /// Also of a line that is being dropped, or has begun.
    mutating func dropInput() {
        input = ByteBuffer()
        lineLength = 0
        lines = LineScanner(limit: configuration.limits.commandLine)
    }

    /// Another configuration from now on. False: not now, since a transaction ends by the one that it began with. What EHLO
    /// announced may thus change under a client, which has to be ready for a refusal anyway.
    package mutating func adopt(_ configuration: Configuration) -> Bool {
        guard transaction == nil, !isWaitingForAnswer else { return false }
        self.configuration = configuration
        return true
    }
}

// MARK: What the shell calls

extension ServerSession {
    /// Queues `220 HOST ESMTP Valija`. A client that has spoken already breaks RFC 5321 §3.1 and is a spam program in a
    /// hurry, or a protocol that sends first: it is refused.
    package mutating func greet() {
        guard case .ungreeted = phase else { return }
        guard input.readableBytes == 0 else {
            return reject(.spokeTooEarly, command: "input before the greeting", thenClose: true)
        }
        write(greeting)
        phase = .command
    }

    var greeting: Reply { Reply(220, nil, "\(configuration.hostname) \(configuration.dialect == .lmtp ? "LMTP" : "ESMTP") Valija") }

    /// Instead of `greet`: the reply, 421 or 554 (RFC 5321 §3.1), then `.close`.
    package mutating func refuse(_ reply: Reply) {
        guard case .ungreeted = phase else { return }
        close(with: reply)
    }

    /// Appends to the input. Nothing happens before `next`.
    package mutating func receive(_ bytes: ByteBuffer) {
        if isClosed { return }
        if input.readableBytes == 0 {
            input = bytes
        } else {
            // What is left is the start of a line, or waits for an answer. In a buffer of its own, appending copies each
            // octet once; in the received one, which content slices share, it would copy the whole each time.
            if input.readerIndex > 0 {
                var joined = ByteBufferAllocator().buffer(capacity: input.readableBytes + bytes.readableBytes)
                joined.writeImmutableBuffer(input)
                input = joined
            }
            input.writeImmutableBuffer(bytes)
        }
    }

    /// The client will send no more. What it sent is still obeyed; then, at the next point where more would be needed,
    /// content under way is abandoned and the session closes.
    package mutating func endOfInput() { inputHasEnded = true }

    /// The reply to the last `judgeSender`, `judgeRecipient`, `judgeVerify` or `commit`. Without effect when none is due.
    package mutating func answer(_ reply: Reply) {
        guard case .waiting(let question) = phase else { return }
        phase = .command
        progress &+= 1
        if case .commit = question { writeToEach(reply) } else { write(reply) }
        if !reply.isPositive {
            errors += 1
            counts.refuse()
        }
        switch question {
        case .sender(let opened):
            if reply.isPositive { transaction = opened }
        case .recipient(let recipient):
            if reply.isPositive { transaction?.envelope.recipients.append(recipient) }
        case .verify, .login, .encryption: break
        case .commit:
            // RFC 5321 §4.1.1.4: the buffers are cleared, whatever the outcome.
            transactionEnded()
            if reply.isPositive { resetCounters() }
        }
    }

    /// All replies that are ready, for one write (RFC 2920 §3.2); nil when there are none.
    package mutating func takeOutput() -> ByteBuffer? {
        guard output.readableBytes > 0 else { return nil }
        defer { output = ByteBuffer() }
        return output
    }

    /// The client let the time of RFC 5321 §4.5.3.2 pass: 421, then `.close`. Without effect while an answer is awaited,
    /// for then the client waits for us.
    package mutating func timeOut() {
        if isWaitingForAnswer || isClosed { return }
        close(with: Reply(421, EnhancedCode(4, 4, 2), "\(configuration.hostname) Error: timeout exceeded"))
    }

    /// 421 and `.close`: at once between commands, else after the reply to the command or the content under way.
    package mutating func shutDown() {
        end(with: Reply(421, EnhancedCode(4, 3, 2), "\(configuration.hostname) Service not available: shutting down"))
    }

    /// The same with another reply.
    package mutating func end(with reply: Reply) {
        ending = ending ?? reply
        if case .ungreeted = phase { close(with: reply) }
    }

    package var isWaitingForAnswer: Bool {
        if case .waiting = phase { return true }
        return false
    }

    /// Octets received and not yet looked at, or part of a line: the shell stops reading from the client above a bound.
    package var unconsumedInput: Int { input.readableBytes }

    /// The `with` of a Received field: RFC 3848; UTF8SMTP in a transaction with SMTPUTF8 (RFC 6531 §4.3).
    package var protocolName: String {
        let isInternationalized = transaction?.envelope.isInternationalized == true
        if configuration.dialect == .lmtp { return isInternationalized ? "UTF8LMTP" : "LMTP" }
        guard usesESMTP else { return "SMTP" }
        return (isInternationalized ? "UTF8SMTP" : "ESMTP") + (isEncrypted ? "S" : "") + (login != nil ? "A" : "")
    }

    /// The content so far holds octets beyond ASCII, whatever BODY said.
    package var contentHasEightBitOctets: Bool { scanner.hasEightBitOctets }

    /// The next thing to do. Nil: the session needs input, or waits for an answer, or is closed.
    package mutating func next() -> Action? {
        while true {
            if !actions.isEmpty { return actions.removeFirst() }
            let hasProgressed: Bool
            switch phase {
            case .ungreeted, .waiting, .closed: return nil
            case .closing:
                phase = .closed
                return .close
            case .command:
                if let ending {
                    close(with: ending)
                    hasProgressed = true
                } else if errors >= configuration.limits.errors {
                    close(with: Reply(421, EnhancedCode(4, 7, 0), "\(configuration.hostname) Error: too many errors"))
                    hasProgressed = true
                } else {
                    hasProgressed = readCommand()
                }
            case .login where ending != nil:
                close(with: ending)
                hasProgressed = true
            case .login: hasProgressed = readLoginResponse()
            case .data: hasProgressed = readData()
            case .chunk(let remaining, let isLast, let refusal):
                hasProgressed = readChunk(remaining, isLast: isLast, refusal: refusal)
            }
            if !hasProgressed {
                guard inputHasEnded else {
                    releaseInput()
                    return nil
                }
                close(with: nil)
            }
        }
    }
}

// MARK: Shared by the parts

extension ServerSession {
    var isClosed: Bool {
        switch phase {
        case .closing, .closed: true
        default: false
        }
    }

    /// In Postfix's words, for the log of a session that ends without QUIT: the last command, or how much content had come.
    package var after: String {
        if let closedAfter { return closedAfter }
        switch phase {
        case .data: return "DATA (\(scanner.size) bytes)"
        case .chunk: return "BDAT (\(scanner.size) bytes)"
        default:
            // Between two chunks.
            if case .begun? = transaction?.content { return "BDAT (\(scanner.size) bytes)" }
            return counts.lastCommand
        }
    }

    /// Octets that come now are a message's.
    package var isInContent: Bool {
        switch phase {
        case .data, .chunk: true
        default: false
        }
    }

    mutating func write(_ reply: Reply) { output.writeReply(reply) }

    /// RFC 2033 §4.2: after the content LMTP has a reply for each recipient that was accepted, in their order; here all have one
    /// fate, since they are queued together.
    mutating func writeToEach(_ reply: Reply) {
        guard configuration.dialect == .lmtp, let recipients = transaction?.envelope.recipients else { return write(reply) }
        for recipient in recipients { write(Reply(reply.code, reply.enhanced, lines: reply.lines.map { "<\(recipient.address)> \($0)" })) }
    }

    /// A refusal of the session's own: reply, log, count. `envelope`: what there would be, where there is no transaction yet.
    mutating func reject(
        _ reply: Reply, command: String, of envelope: Envelope? = nil, countsAsError: Bool = true, thenClose: Bool = false, perRecipient: Bool = false
    ) {
        actions.append(.refused(reply, command: command, of: envelope ?? transaction?.envelope))
        counts.refuse()
        if thenClose { return close(with: reply) }
        if perRecipient { writeToEach(reply) } else { write(reply) }
        if countsAsError { errors += 1 }
    }

    /// Tells the shell to forget content that was begun.
    mutating func abandonContent() {
        if case .begun? = transaction?.content { actions.append(.abandonContent) }
    }

    mutating func endTransaction() {
        abandonContent()
        transactionEnded()
    }

    /// What XFORWARD said was for this one (XFORWARD_README).
    mutating func transactionEnded() {
        transaction = nil
        forwarded = nil
    }

    mutating func resetCounters() {
        errors = 0
        idleCommands = 0
        overshoot = 0
    }

    mutating func close(with reply: Reply?) {
        if let reply { write(reply) }
        closingReply = reply
        closedAfter = after
        if isInContent { counts.refuse() }
        endTransaction()
        input = ByteBuffer()
        lineLength = 0
        phase = .closing
    }

    /// A session that waits for its client holds no more memory than the start of a line needs.
    private mutating func releaseInput() {
        if input.readableBytes == 0 {
            input = ByteBuffer()
        } else if input.storageCapacity > 2 * configuration.limits.commandLine {
            input = ByteBuffer(bytes: input.readableBytesView)
        }
    }
}
