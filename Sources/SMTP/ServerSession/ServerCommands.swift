// What the session does for each command: first whether it may come now, then whether it is well formed, then the deed.

internal import MailSyntax
internal import NIOCore

extension ServerSession {
    /// Obeys the next command line. False when there is none yet.
    mutating func readCommand() -> Bool {
        guard input.readableBytes > 0 else { return false }
        var lines = lines
        let (outcome, line) = input.withUnsafeReadableBytes { bytes in
            let outcome = lines.scan(bytes)
            guard case .line(let length) = outcome else { return (outcome, nil as CommandLine?) }
            return (outcome, CommandLine(UnsafeRawBufferPointer(rebasing: bytes[..<length])))
        }
        self.lines = lines
        if case .needMore(let dropping) = outcome {
            input.moveReaderIndex(forwardBy: dropping)
            return false
        }
        progress &+= 1
        switch outcome {
        case .needMore: break
        case .wrong(let flaw, let consumed):
            lineLength = consumed
            counts.begin(.unknown)
            reject(flaw)
        case .line(let length):
            lineLength = length + 2
            if let line { obey(line) }
        }
        // Nothing is left to skip where the command closed the session.
        input.moveReaderIndex(forwardBy: lineLength)
        lineLength = 0
        return true
    }

    private mutating func obey(_ line: CommandLine) {
        counts.begin(line.verb)
        countIdleCommand(line.verb)
        if line.verb == .auth { mayHoldSecrets = true }
        if let reply = refusalOutOfOrder(line.verb) {
            // The octets of a chunk follow the command even where it is refused (RFC 3030 §2).
            guard case .success(.chunk(let size, let isLast)) = line.command else { return reject(reply) }
            phase = .chunk(remaining: size, isLast: isLast, refusal: reply)
            return
        }
        switch line.command {
        case .failure(let flaw): reject(flaw, verb: line.verb)
        case .success(.hello(let name, let verb)): hello(name, by: verb)
        case .success(.mail(let command)): mail(command)
        case .success(.recipient(let command)): recipient(command)
        case .success(.data): beginData()
        case .success(.chunk(let size, let isLast)): beginChunk(size, isLast: isLast)
        case .success(.startTLS):
            phase = .waiting(.encryption)
            actions.append(.startTLS)
        case .success(.reset):
            endTransaction()
            write(Reply(250, EnhancedCode(2, 0, 0), "Ok"))
        case .success(.noop): write(Reply(250, EnhancedCode(2, 0, 0), "Ok"))
        case .success(.verify(let argument)):
            phase = .waiting(.verify)
            actions.append(.judgeVerify(argument))
        case .success(.expand(let argument)):
            phase = .waiting(.verify)
            actions.append(.judgeExpand(argument))
        case .success(.runQueue(let node)):
            phase = .waiting(.verify)
            actions.append(.runQueue(node))
        case .success(.override(let claims)): override(claims)
        case .success(.forward(let claims)):
            forwarded = forwarded ?? ClientClaims()
            forwarded?.update(claims)
            write(Reply(250, EnhancedCode(2, 0, 0), "Ok"))
        case .success(.login(let mechanism, let initial)): beginLogin(mechanism, initial: initial)
        case .success(.help): write(help)
        case .success(.quit): close(with: Reply(221, EnhancedCode(2, 0, 0), "Bye"))
        }
    }

    /// RFC 5321 §4.1.4: which command may come when.
    private func refusalOutOfOrder(_ verb: Verb) -> Reply? {
        if let reply = refusalWithoutTLS(verb) { return reply }
        if let reply = refusalWithoutLogin(verb) { return helo == nil ? .needHello : reply }
        switch verb {
        case .starttls: return refusalOfTLS
        case .auth: return refusalOfLogin
        // RFC 2033 §4.1: an LMTP client says LHLO, and an SMTP client does not.
        case .helo where configuration.dialect == .lmtp, .ehlo where configuration.dialect == .lmtp: return SyntaxFlaw.unknownCommand.reply
        case .lhlo where configuration.dialect == .smtp: return SyntaxFlaw.unknownCommand.reply
        case .expn where !configuration.offersEXPN: return SyntaxFlaw.notOffered.reply
        case .etrn:
            if !configuration.offersETRN { return SyntaxFlaw.notOffered.reply }
            if helo == nil { return needHello }
            if transaction != nil { return .inTransaction }
        case .xclient, .xforward:
            if transaction != nil { return .inTransaction }
            if !privileges.contains(verb == .xclient ? .override : .forward) { return .notAuthorized }
        case .mail:
            if helo == nil { return needHello }
            if transaction != nil { return .nestedMail }
        case .rcpt:
            guard let transaction else { return .needMail }
            // The recipients are final once content was begun.
            if case .awaited = transaction.content {} else { return .contentBegun }
        case .data:
            guard let transaction else { return .needMail }
            // RFC 3030 §2: DATA and BDAT do not mix in one transaction.
            if case .awaited = transaction.content {} else { return .dataAfterChunk }
            if transaction.envelope.body == .binary { return .dataForBinary }
            if transaction.envelope.recipients.isEmpty { return .noRecipients }
        case .bdat:
            guard let transaction else { return .needMail }
            if case .refused(let reply) = transaction.content { return reply }
            if transaction.envelope.recipients.isEmpty { return .noRecipients }
        default: break
        }
        return nil
    }

    private mutating func countIdleCommand(_ verb: Verb) {
        switch verb {
        case .noop, .rset, .vrfy, .helo, .ehlo, .lhlo, .help, .expn, .etrn, .xclient, .xforward, .starttls:
            idleCommands += 1
            if idleCommands > configuration.limits.idleCommands { errors += 1 }
        default: break
        }
    }

    // MARK: HELO, MAIL, RCPT

    private var needHello: Reply { configuration.dialect == .lmtp ? .needLocalHello : .needHello }

    private mutating func hello(_ name: String, by verb: Verb) {
        // RFC 5321 §4.1.4: EHLO clears all buffers, as RSET does.
        endTransaction()
        setHelo(name)
        usesESMTP = verb != .helo
        // RFC 2034 §3: no enhanced code in the replies to HELO and EHLO.
        guard usesESMTP else { return write(Reply(250, nil, configuration.hostname.text)) }
        write(Reply(250, lines: [configuration.hostname.text] + extensions))
    }

    /// What EHLO and LHLO announce.
    private var extensions: [String] {
        var words = ["PIPELINING", "SIZE \(max(0, configuration.messageSizeLimit))", "VRFY"]
        if configuration.offersEXPN { words.append("EXPN") }
        if configuration.offersETRN { words.append("ETRN") }
        words += ["ENHANCEDSTATUSCODES", "8BITMIME", "DSN", "SMTPUTF8", "CHUNKING", "BINARYMIME"]
        // RFC 9422 §4: what the server enforces.
        words.append("LIMITS RCPTMAX=\(configuration.recipientLimit)" + (configuration.messageLimit.map { " MAILMAX=\($0)" } ?? ""))
        if offersTLS { words.append("STARTTLS") }
        if let login = loginExtension { words.append(login) }
        if offersRequireTLS { words.append("REQUIRETLS") }
        if mayUseVERP { words.append("XVERP") }
        for (kind, privilege) in [(ClientClaims.Kind.override, Privileges.override), (.forward, .forward)] where privileges.contains(privilege) {
            words.append(([kind.name] + kind.attributes.map(\.rawValue)).joined(separator: " "))
        }
        return words
    }

    private var help: Reply {
        var words = (configuration.dialect == .lmtp ? "LHLO" : "HELO EHLO") + " MAIL RCPT DATA BDAT RSET NOOP VRFY"
        if configuration.offersEXPN { words += " EXPN" }
        if configuration.offersETRN { words += " ETRN" }
        if configuration.encryption != .none { words += " STARTTLS" }
        if configuration.logins != nil { words += " AUTH" }
        return Reply(214, EnhancedCode(2, 0, 0), lines: ["Commands: \(words) HELP QUIT", configuration.dialect == .lmtp ? "See RFC 2033" : "See RFC 5321"])
    }

    /// XCLIENT: the session starts over, with another client. What XCLIENT itself said stays, for it may come in several commands
    /// (XCLIENT_README).
    private mutating func override(_ claims: ClientClaims) {
        endTransaction()
        resetCounters()
        overriding.update(claims)
        login = nil
        helo = overriding.value(.helo)
        usesESMTP = overriding.value(.protocolName).map { lowercasedASCII($0) == "esmtp" } ?? false
        actions.append(.override(overriding))
        write(greeting)
    }

    private mutating func mail(_ command: MailCommand) {
        let sender = command.sender?.qualified(with: configuration.origin)
        // RFC 1870 §6.1: a message that declares itself too large is refused here, before it is sent.
        if let size = command.declaredSize, size > sizeLimit {
            return reject(.messageTooLarge, command: commandExcerpt, of: Envelope(sender: sender))
        }
        // To those who may not use it, it is no option.
        if command.verp != nil, !mayUseVERP { return reject(.unknownParameter("XVERP")) }
        // RFC 8689 §2: only in a session that is in TLS itself; EHLO says so.
        if command.requiresTLS, !offersRequireTLS { return reject(.unknownParameter("REQUIRETLS")) }
        if command.verp != nil, sender == nil { return reject(Reply(503, EnhancedCode(5, 5, 4), "Error: XVERP requires non-null sender")) }
        if command.namesAuthor, configuration.logins == nil { return reject(.unknownParameter("AUTH"), verb: .mail) }
        if let limit = configuration.messageLimit, messages >= limit {
            // RFC 9422 §5: the client was told, and has to come again.
            return close(with: Reply(421, EnhancedCode(4, 5, 3), "\(configuration.hostname) Error: no more than \(limit) messages in a session"))
        }
        messages += 1
        var envelope = Envelope(
            sender: sender, body: command.body, isInternationalized: command.isInternationalized,
            returnContent: command.returnContent, envelopeID: command.envelopeID, tlsOption: command.requiresTLS ? .required : nil)
        if let verp = command.verp { envelope.verp = verp ?? configuration.verp }
        phase = .waiting(.sender(Transaction(envelope: envelope)))
        actions.append(.judgeSender(sender, declaredSize: command.declaredSize))
    }

    private mutating func recipient(_ command: RecipientCommand) {
        guard let envelope = transaction?.envelope else { return }
        if !envelope.isInternationalized, !command.isASCII { return reject(.needsSMTPUTF8, verb: .rcpt) }
        guard envelope.recipients.count < configuration.recipientLimit else {
            overshoot += 1
            let isTolerated = overshoot <= configuration.limits.recipientOvershoot
            return reject(.tooManyRecipients, command: commandExcerpt, countsAsError: !isTolerated)
        }
        let recipient = EnvelopeRecipient(
            address: command.recipient.qualified(with: configuration.origin), notify: command.notify,
            originalRecipient: command.originalRecipient)
        phase = .waiting(.recipient(recipient))
        actions.append(.judgeRecipient(recipient, sender: envelope.sender))
    }

    // MARK: Refusals

    private mutating func reject(_ flaw: SyntaxFlaw, verb: Verb = .unknown) {
        var command = commandExcerpt
        // How much of it is still there depends on how it came.
        if case .lineTooLong = flaw { command = "(line too long)" }
        reject(flaw.reply, command: command, thenClose: flaw == .foreignProtocol || flaw == .badChunk)
    }

    private mutating func reject(_ reply: Reply) { reject(reply, command: commandExcerpt) }

    /// The line under way as logs may show it.
    private var commandExcerpt: String {
        if mayHoldSecrets { return "(not shown: follows AUTH)" }
        var line = input.getSlice(at: input.readerIndex, length: min(lineLength, GrammarLimits.excerpt)) ?? ByteBuffer()
        while line.readableBytesView.last.map({ $0 == carriageReturn || $0 == lineFeed }) == true {
            line.moveWriterIndex(to: line.writerIndex - 1)
        }
        return line.withUnsafeReadableBytes { $0.excerpt(GrammarLimits.excerpt) }
    }

    var sizeLimit: Int { configuration.messageSizeLimit > 0 ? configuration.messageSizeLimit : Int.max }
}
