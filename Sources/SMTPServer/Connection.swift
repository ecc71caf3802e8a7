// One SMTP connection: performs what `ServerSession` says. All of it on the connection's event loop, without a hop but
// the one to the spool and back.
//
// Reading stops while a file write is awaited, while input piles up, and while replies do because the client does not read
// them: whoever sends faster than we work or than they listen waits in their own TCP window, not in our memory. It does
// not stop for an answer, which would cost two system calls a message.

internal import Accounts
internal import Glibc
internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import Policy
internal import Routing
internal import SMTP
internal import TLS
internal import Telemetry

final class Connection: ChannelDuplexHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = Never
    typealias OutboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    /// How long a client that was told to go may take to read what is left for it.
    static let lingerTimeout = TimeAmount.seconds(30)
    /// More unread input than this, and the connection stops reading.
    static let mostInput = 64 << 10

    /// tcp(7): what is written waits for more, or for close(2).
    private static let cork = ChannelOptions.Types.SocketOption(level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_CORK))

    let service: SMTPService
    var client: ClientFacts
    private let roster: Roster
    /// Whom the connection counts for: the client that opened it, whoever it speaks for later.
    private let opener: IPAddress?
    /// What this session goes by: the roster's, taken over between transactions.
    private(set) var configuration: SMTPService.Configuration
    var session: ServerSession
    private var transaction: Transaction?
    var login: LoginDialogue?
    /// Of the user who is logged in.
    var loginMechanism: String?
    var tls: ConnectionTLS?
    private var number: Int?
    private(set) var context: ChannelHandlerContext?
    private(set) var loop: (any EventLoop)?
    /// What MAIL waits for, if it was said already.
    var lookUps = 0
    private var waitingSender: (sender: Address?, size: Int)?
    private var isLogged = false
    private var isReadHeld = false
    var isClosing = false
    private var isLingering = false
    private var isPumping = false
    private var patience = Patience(.distantPast)
    /// `session.progress` when the client last did what was due.
    private var progress = 0
    private var messages = 0

    init(service: SMTPService, client: ClientFacts, roster: Roster) {
        self.service = service
        self.client = client
        self.roster = roster
        opener = client.address
        configuration = roster.configuration
        session = ServerSession(configuration: roster.adapt(configuration.sessionNow(for: client)))
        renewPrivileges()
    }

    // MARK: The channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        loop = context.eventLoop
        patience.renew(context.eventLoop.now)
    }

    func handlerRemoved(context: ChannelHandlerContext) { self.context = nil }

    func channelActive(context: ChannelHandlerContext) {
        guard roster.enter(self) else {
            // Accepted in the moment in which the listener closed.
            session.shutDown()
            return pump()
        }
        switch service.admit(client.address, configuration, at: context.eventLoop.now) {
        case .refused(let reply, let rule):
            session.refuse(reply)
            logRefusal(reply, command: "CONNECT", rule: rule)
        case .admitted(let number):
            self.number = number
            if configuration.tls?.isImplicit == true { beginTLS(makeTLS()) } else { session.greet() }
            configuration.submission?.authenticator.refresh()
            lookUpName()
            if lookUps == 0 { logOpening() }
        }
        pump()
        context.fireChannelActive()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if session.isInContent { patience.earn(octets: bytes.readableBytes, context.eventLoop.now) }
        session.receive(bytes)
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        pump()
        context.fireChannelReadComplete()
    }

    func read(context: ChannelHandlerContext) {
        if mayRead { context.read() } else { isReadHeld = true }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        pump()
        context.fireChannelWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        roster.leave(self)
        abandonContent()
        login?.cancel()
        if number != nil {
            service.dismiss(opener)
            logOpening()
            service.log.record(.sessionClosed, by: part) { fields in
                self.identify(&fields)
                fields.count = self.messages
                // What ended it: 221 after QUIT, 421 by us; nothing where the client just went.
                fields.dsn = self.session.closingReply?.enhanced?.description
                fields.reply = self.session.closingReply?.summary
                if self.session.closingReply?.code != 221 { fields.after = self.session.after }
                let counts = self.session.counts
                fields.explanation = { counts.description }
            }
        }
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let failure = error as? TLSFailure { logFailedTLS(failure) }
        // The peer is gone or resets: there is nobody to tell.
        context.close(promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .established(let facts)? = event as? TLSEvent { becameEncrypted(facts) }
        if let event = event as? ChannelEvent, event == .inputClosed {
            // A client that only shut its sending side still gets its replies.
            session.endOfInput()
            pump()
        }
        context.fireUserInboundEventTriggered(event)
    }

    private var mayRead: Bool {
        session.unconsumedInput <= Connection.mostInput && !(transaction?.sink?.isBusy ?? false) && context?.channel.isWritable ?? false
    }

    // MARK: The session

    func pump() {
        guard !isPumping else { return }
        isPumping = true
        takeOverConfiguration()
        while let action = session.next() { perform(action) }
        isPumping = false
        if session.progress != progress, !isLingering, let loop {
            progress = session.progress
            patience.renew(loop.now)
        }
        guard let context else { return }
        if isClosing {
            linger(context)
        } else if let output = session.takeOutput() {
            context.writeAndFlush(wrapOutboundOut(output), promise: nil)
        }
        if isReadHeld, mayRead {
            isReadHeld = false
            context.read()
        }
    }

    /// What came into force since the last command. A message is judged from MAIL to its end by one manifest.
    private func takeOverConfiguration() {
        guard configuration !== roster.configuration, session.adopt(roster.adapt(roster.configuration.sessionNow(for: client))) else { return }
        configuration = roster.configuration
        renewPrivileges()
    }

    /// Closes once the client has read what is left for it, or had time to. An empty write comes after all that wait.
    private func linger(_ context: ChannelHandlerContext) {
        guard !isLingering else { return }
        isLingering = true
        patience.renew(context.eventLoop.now)
        let output = session.takeOutput() ?? ByteBuffer()
        // The last reply and the end of the stream go in one segment.
        if client.address != nil { try? context.channel.syncOptions?.setOption(Connection.cork, value: 1) }
        context.writeAndFlush(wrapOutboundOut(output)).assumeIsolated().whenComplete { _ in context.close(promise: nil) }
    }

    private func perform(_ action: ServerSession.Action) {
        switch action {
        case .judgeSender(let sender, let size):
            lookUpHelo()
            if lookUps > 0 {
                waitingSender = (sender, size ?? 0)
            } else {
                session.answer(judgeSender(sender, size ?? 0))
            }
        case .judgeRecipient(let recipient, _): session.answer(judgeRecipient(recipient))
        case .judgeVerify(let argument): session.answer(judgeVerify(argument))
        case .judgeExpand(let argument): session.answer(expand(argument))
        case .runQueue(let node): runQueue(node)
        case .override(let claims): override(claims)
        case .startTLS: startTLS()
        case .beginLogin(let mechanism, let initial): beginLogin(mechanism, initial)
        case .continueLogin(let response): login?.receive(response)
        case .cancelLogin: cancelLogin()
        case .beginContent(let envelope): beginContent(envelope)
        case .content(let bytes): transaction?.sink?.append(bytes)
        case .commit: commit()
        case .abandonContent: abandonContent()
        case .refused(let reply, let command, let envelope): logRefusal(reply, command: command, envelope: envelope, rule: rule(behind: reply))
        case .close: isClosing = true
        }
    }

    /// Who the client is, is known as far as it will be.
    func lookedUp() {
        logOpening()
        guard let waiting = waitingSender else { return }
        waitingSender = nil
        answer(judgeSender(waiting.sender, waiting.size))
    }

    private func judgeSender(_ sender: Address?, _ size: Int) -> Reply {
        if let shortage = service.shortage(size) {
            // RFC 1870 §6.1 for a size that was announced; RFC 3463 X.3.1: mail system full.
            let reply = Reply(452, EnhancedCode(4, 3, 1), "Insufficient system storage")
            logRefusal(reply, command: "MAIL", envelope: Envelope(sender: sender), rule: shortage.rule, reason: shortage.reason)
            return reply
        }
        let (reply, rule) = configuration.policy.answer(sender: sender, client: client)
        guard reply.isPositive else {
            logRefusal(reply, command: "MAIL", envelope: Envelope(sender: sender), rule: rule)
            return reply
        }
        if let reply = refusalOfTooMuch(.messages, "MAIL", sender: sender) { return reply }
        transaction = Transaction(configuration: configuration, sender: sender, forwarded: session.forwarded)
        return reply
    }

    private func judgeRecipient(_ recipient: EnvelopeRecipient) -> Reply {
        guard let transaction else { return Reply(503, EnhancedCode(5, 5, 1), "Error: need MAIL command") }
        if let reply = refusalOfTooMuch(.recipients, "RCPT", sender: transaction.sender, to: recipient.address) { return reply }
        let decision = transaction.configuration.policy.decide(recipient: recipient.address, client: client)
        switch decision {
        case .accept(let destinations, _):
            transaction.destinations.append(destinations)
        case .refuse(let reply, let rule):
            logRefusal(reply, command: "RCPT", envelope: Envelope(sender: transaction.sender), to: recipient.address, rule: rule)
        }
        return decision.reply
    }

    private func judgeVerify(_ argument: String) -> Reply {
        guard let address = BareAddress(argument)?.qualified(with: configuration.session.origin) else {
            return Reply(501, EnhancedCode(5, 1, 3), "Bad recipient address syntax")
        }
        let (reply, rule) = configuration.policy.verify(address, client: client)
        if !reply.isPositive { logRefusal(reply, command: "VRFY", envelope: transaction.map { Envelope(sender: $0.sender) }, to: address, rule: rule) }
        return reply
    }

    private func beginContent(_ envelope: Envelope) {
        guard let open = transaction, let context else { return }
        let now = service.now()
        let id = service.queue.spool.nextID(now: now)
        let trace = receivedField(origin, by: open.configuration.session.hostname, id: id, recipients: envelope.recipients, at: now)
        let rewriting = open.configuration.rewriting
        if let rewriting { open.sender = rewriting.sender(open.sender) }
        let rewriter = rewriting?.headerRewriter(for: client, isSubmission: isSubmission, sender: open.sender, id: id, at: now)
        let sink = ContentSink(id: id, trace: trace, rewriter: rewriter, spool: service.queue.spool, threads: service.threads, loop: context.eventLoop)
        sink.onDrained = { [unowned self] in pump() }
        (open.envelope, open.id, open.sink, open.received) = (envelope, id, sink, now)
        open.envelope?.sender = open.sender
    }

    private func abandonContent() {
        transaction?.sink?.abandon()
        transaction = nil
    }

    private func commit() {
        guard let open = transaction, let sink = open.sink else { return }
        transaction = nil  // from here on it is the queue's: a client that hangs up does not take it back
        sink.finish { result in
            switch result {
            case .success(let content): self.accept(open, content)
            case .failure(let error): self.refuse(open, SpoolFailure(error))
            }
        }
    }

    private func accept(_ open: Transaction, _ content: MessageContent) {
        guard let id = open.id, var envelope = open.envelope, let loop else { return }
        let beginning = if case .inline(let bytes) = content { bytes } else { open.sink!.beginning }
        let summary = HeaderSummary(beginning)
        guard summary.hops <= HeaderSummary.mostHops else {
            let reply = Reply(554, EnhancedCode(5, 4, 6), "Error: too many hops")
            logRefusal(reply, command: "DATA", envelope: envelope, id: id)
            open.sink?.abandon()
            return answer(reply)
        }
        if envelope.tlsOption == nil, summary.waivesTLS { envelope.tlsOption = .notRequired }  // RFC 8689 §4.1
        var (recipients, expanded) = queuedRecipients(open, envelope)
        if let rewriting = open.configuration.rewriting {
            recipients += rewriting.copies(sender: open.sender, recipients: recipients, addresses: envelope.recipients)
        }
        let expansions = expanded.enumerated().map { index, alias in
            QueuedRecipient(
                number: recipients.count + index, original: alias.address, target: .remote(alias.address), notify: alias.notify,
                originalRecipient: alias.originalRecipient)
        }
        let message = IncomingMessage(
            id: id, envelope: envelope, recipients: recipients, received: open.received, content: content, expansions: expansions)
        let pending = NIOLoopBound((self, open), eventLoop: loop)
        let (size, queue) = (content.size, service.queue)
        // After all connections that have something to read: what they bring goes into one transaction.
        loop.execute {
            queue.accept(message) { failure in
                loop.execute {
                    let (connection, open) = pending.value
                    connection.didCommit(open, size, summary, failure)
                }
            }
        }
    }

    private func didCommit(_ open: Transaction, _ size: Int, _ summary: HeaderSummary, _ failure: SpoolFailure?) {
        if let failure { return refuse(open, failure) }
        guard let id = open.id else { return }
        messages += 1
        service.log.record(.messageAccepted, by: part) { fields in
            self.identify(&fields)
            fields.origin = open.forwarded.map(Fields.Client.init)
            fields.originID = open.forwarded?.value(.identifier)
            fields.queueID = id.description
            fields.messageID = summary.messageID
            fields.from = open.sender?.description ?? ""
            let recipients = open.envelope?.recipients ?? []
            if recipients.count == 1 { fields.to = recipients[0].address.description }
            fields.recipients = recipients.count
            fields.size = size
            fields.user = self.client.login
            fields.mechanism = self.loginMechanism
        }
        answer(Reply(250, EnhancedCode(2, 0, 0), "Ok: queued as \(id)"))
    }

    private func refuse(_ open: Transaction, _ failure: SpoolFailure) {
        logRefusal(failure.reply, command: "DATA", envelope: open.envelope, id: open.id, reason: failure.reason)
        open.sink?.abandon()
        answer(failure.reply)
    }

    /// The answer to `.commit`, whether it comes at once or later.
    func answer(_ reply: Reply) {
        session.answer(reply)
        pump()
    }

    /// Each destination once, however many recipients lead to it, with the reports that any of them asks for.
    ///
    /// RFC 3461 §5.2.7: whoever asks to hear of success at an alias that leads to several hears that it was expanded, and not
    /// of each that it leads to; all other reports are theirs.
    private func queuedRecipients(_ open: Transaction, _ envelope: Envelope) -> (recipients: [QueuedRecipient], expanded: [EnvelopeRecipient]) {
        if envelope.recipients.count == 1, open.destinations[0].count == 1 {
            return ([queued(0, envelope.recipients[0], open.destinations[0][0], copies: 1, open)], [])
        }
        var expanded: [EnvelopeRecipient] = []
        var numbers: [Destination: Int] = [:]
        var copies: [(recipient: EnvelopeRecipient, destination: Destination, count: Int)] = []
        for (var recipient, destinations) in zip(envelope.recipients, open.destinations) {
            if destinations.count > 1, recipient.notify.contains(.success) {
                expanded.append(recipient)
                recipient.notify = recipient.notify.withoutSuccess
            }
            for destination in destinations {
                if let number = numbers[destination] {
                    copies[number].recipient.notify = copies[number].recipient.notify.combined(with: recipient.notify)
                } else {
                    numbers[destination] = copies.count
                    copies.append((recipient, destination, destinations.count))
                }
            }
        }
        return (copies.enumerated().map { queued($0, $1.recipient, $1.destination, copies: $1.count, open) }, expanded)
    }

    private func queued(
        _ number: Int, _ recipient: EnvelopeRecipient, _ destination: Destination, copies: Int, _ open: Transaction
    ) -> QueuedRecipient {
        let target = RecipientTarget(destination, origin: open.configuration.session.origin, original: recipient.address)
        return QueuedRecipient(
            number: number, original: recipient.address, target: target, notify: recipient.notify, originalRecipient: recipient.originalRecipient,
            copies: copies)
    }

    // MARK: Time and log

    /// The appliance stops: 421 as soon as the protocol allows.
    func shutDown() {
        session.shutDown()
        pump()
    }

    func cutOff() { context?.close(promise: nil) }

    /// Asked now and then by the listener: a timer for each connection would cost more than the look.
    func checkIdleTime(_ now: NIODeadline) {
        let isUnderStress = service.isUnderStress(configuration.limits)
        if isLingering {
            if patience.isOver(now, allowed: Connection.lingerTimeout, isUnderStress: isUnderStress) { cutOff() }
            return
        }
        if session.isWaitingForAnswer || transaction?.sink?.isBusy ?? false { patience.renew(now) }
        guard patience.isOver(now, allowed: configuration.limits.timeout, isUnderStress: isUnderStress) else { return }
        session.timeOut()
        pump()
    }

    /// Once, as soon as the client's name is known.
    private func logOpening() {
        guard !isLogged else { return }
        isLogged = true
        service.log.record(.sessionOpened, by: part) { self.identify(&$0) }
    }

    func identify(_ fields: inout Fields) {
        fields.session = number.map(String.init)
        fields.client = Fields.Client(
            address: client.address?.description ?? (opener == nil ? "local" : "unknown"), name: client.confirmedName, helo: session.helo)
        fields.tls = tls?.facts?.fields
    }

    func logRefusal(
        _ reply: Reply, command: String, envelope: Envelope? = nil, to: Address? = nil, rule: String? = nil, id: QueueID? = nil, reason: String? = nil
    ) {
        service.log.record(.messageRejected, by: part) { fields in
            self.identify(&fields)
            fields.client?.protocolName = self.session.protocolName
            fields.queueID = id?.description
            if let envelope { fields.from = envelope.sender?.description ?? "" }
            fields.to = (to ?? (envelope?.recipients.count == 1 ? envelope?.recipients[0].address : nil))?.description
            fields.dsn = reply.enhanced?.description
            fields.reply = reply.summary
            fields.rule = rule
            fields.reason = reason
            fields.message = command
        }
        if number != nil, reply.isPermanent, excess(.errors) != nil {
            session.end(with: Reply(421, EnhancedCode(4, 7, 0), "\(configuration.session.hostname) Error: too many errors from \(client.place)"))
        }
    }
}

extension ClientFacts {
    var place: String { address?.description ?? "this host" }
    fileprivate var confirmedName: String? { if case .confirmed(let name) = name { name.text } else { nil } }
}

extension Fields.Client {
    /// XFORWARD_README: what was not said is not known.
    init(_ claims: ClientClaims) {
        self.init(address: claims.value(.address) ?? "unknown", name: claims.value(.name) ?? "unknown", helo: claims.value(.helo))
        protocolName = claims.value(.protocolName)
    }
}
