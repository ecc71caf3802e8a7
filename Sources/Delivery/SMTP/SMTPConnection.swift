// A connection to a next hop: performs on the socket what `ClientSession` says, message after message of a batch, keeps
// the time limits, and waits in the pool between batches. Lives on its event loop alone; nothing here blocks, and a
// whole batch runs without a hop to another thread, but for content that is read from a file.

internal import Accounts
internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import NIOPosix
internal import SMTP
internal import TLS

/// How a batch left a connection.
struct RunEnd: Sendable {
    /// What was not begun.
    var left: Batch
    /// Why the connection takes no more; nil after the whole batch was done.
    var reason: Reply?
    /// The server did not answer in time: nothing else should be tried there now.
    var timedOut = false
    /// The handshake came to nothing, and not a word was said of mail.
    var tlsFailure: TLSFailure?
}

final class SMTPConnection: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private struct Run {
        var batch: Batch
        let promise: EventLoopPromise<RunEnd>
    }

    /// The message under way.
    private struct Current {
        let shipment: Shipment
        /// The session has it: results will come. Before, its file is being looked at.
        var hasBegun = false
        var file: ContentFile?
        /// The content in memory, as it is sent.
        var content: ByteBuffer?
        /// How the file is made 7-bit on its way.
        var plan: SevenBitPlan?
        /// The recipients that this server put off and another is asked for.
        var putOff: [(index: Int, refusal: Shipment.Refusal)] = []
    }

    let target: Target
    private let key: ConnectionPool.Key
    /// Nil: no TLS.
    let plan: TLSPlan?
    let notice: @Sendable (TLSNotice) -> Void
    /// Goes into the pool when its work is done.
    private let isKept: Bool
    private let limits: SMTPAgent.Limits
    private let pool: ConnectionPool
    private let threads: NIOThreadPool
    var session: ClientSession
    /// Since the handshake began.
    var tls: TLSHandler?
    /// Since it is done.
    var facts: TLSFacts?
    var tlsFailure: TLSFailure?
    /// Nil: no login there.
    private let account: SMTPAgent.Login?
    private var login: RelayLogin?
    var context: ChannelHandlerContext?
    private var run: Run?
    private var current: Current?
    private var sent = 0
    private var isCancelled = false
    private var timedOut = false
    /// Why the session is over, once it is.
    private var end: Reply?
    private var deadline: NIODeadline?
    private var timer: (fires: NIODeadline, task: Scheduled<Void>)?

    init(
        _ target: Target, _ key: ConnectionPool.Key, _ plan: TLSPlan?, isKept: Bool, configuration: SMTPAgent.Configuration, pool: ConnectionPool,
        threads: NIOThreadPool
    ) {
        self.target = target
        self.key = key
        self.plan = plan
        notice = configuration.notice
        self.isKept = isKept
        limits = configuration.limits
        self.pool = pool
        self.threads = threads
        session = ClientSession(heloName: configuration.hostname, peer: target.peer, dialect: key.hop.dialect)
        account = configuration.logins[key.hop]
        session.logsIn = account != nil
        if let plan, !plan.isImplicit { session.encryption = plan.mayGoClear ? .offered : .required }
    }

    // MARK: Orders

    /// Sends a batch. The promise is kept when all of it was reported or the connection takes no more.
    func send(_ batch: Batch, _ promise: EventLoopPromise<RunEnd>) {
        precondition(run == nil, "a connection was given two batches")
        if let end { return promise.succeed(RunEnd(left: batch, reason: end, tlsFailure: tlsFailure)) }
        run = Run(batch: batch, promise: promise)
        if session.phase == .idle { perform(takeNext()) }
    }

    /// Ends early: the message under way gets a little time, what waits gets none.
    func cancel() {
        guard end == nil, run != nil, !isCancelled else { return }
        isCancelled = true
        if current?.hasBegun == true {
            // Weak: the connection may be over by then.
            context?.eventLoop.assumeIsolated().scheduleTask(in: TimeAmount(limits.grace)) { [weak self] in
                guard let self else { return }
                perform(session.abandon(because: .stopped))
            }
        } else {
            perform(session.abandon(because: .stopped))
        }
    }

    /// Leaves an idle connection, with QUIT.
    func leave() {
        if session.phase == .idle { perform(session.quit()) }
    }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
    }

    func channelActive(context: ChannelHandlerContext) {
        setDeadline()  // for the greeting; until now it was the connect timeout's turn
        context.fireChannelActive()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        perform(session.receive(unwrapInboundIn(data)))
    }

    func channelInactive(context: ChannelHandlerContext) {
        perform(session.connectionLost())
        timer?.task.cancel()
        context.fireChannelInactive()
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case TLSEvent.established(let facts): becameEncrypted(facts)
        // close_notify: the server says no more, and hears no more either.
        case ChannelEvent.inputClosed: context.close(promise: nil)
        default: context.fireUserInboundEventTriggered(event)
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let failure = error as? TLSFailure { return tlsEnded(failure) }
        // A reset in the handshake is one more way to end it.
        if tls != nil, facts == nil { return tlsEnded(TLSFailure(.closed, "the peer closed the connection during the handshake")) }
        // Reset by the peer, most often: what it means is said when the channel becomes inactive.
        context.close(promise: nil)
    }

    // MARK: Actions

    func perform(_ first: [ClientSession.Action]) {
        var actions = first
        while !actions.isEmpty {
            var isReady = false
            var following: [ClientSession.Action] = []
            var hasWritten = false
            for action in actions {
                switch action {
                case .send(let bytes):
                    context?.write(wrapOutboundOut(bytes), promise: nil)
                    hasWritten = true
                case .sendContent: hasWritten = sendContent(inChunks: false) || hasWritten
                case .sendChunks: hasWritten = sendContent(inChunks: true) || hasWritten
                case .result(let index, let outcome, let answers): report(index, outcome, answers)
                case .startTLS: following += startTLS()
                case .staysInClear(let reply): notice(.refused(relay: target.relay, reply))
                case .chooseLogin(let offered): following += beginLogin(offered)
                case .respond(let challenge): answer(challenge)
                case .loggedIn: following += finishLogin()
                case .ready: isReady = true
                case .unstarted: putBackCurrent()
                case .close(let reply):
                    if hasWritten { context?.flush() }
                    close(because: reply)
                }
            }
            if hasWritten { context?.flush() }
            if !following.isEmpty {
                actions = following
                continue
            }
            guard isReady, end == nil else { break }
            endCurrent()
            actions = takeNext()
        }
        setDeadline()
    }

    // MARK: Login

    private func beginLogin(_ offered: [String]) -> [ClientSession.Action] {
        guard let account else { return session.giveUpLogin(because: "there is no account") }
        do throws(RelayLogin.Obstacle) {
            let login = try RelayLogin(account, offered: offered, isEncrypted: facts != nil, bindings: bindings)
            self.login = login
            return session.beginLogin(login.mechanism, initial: login.initial)
        } catch {
            return session.giveUpLogin(because: error.reason)
        }
    }

    private func answer(_ challenge: [UInt8]) {
        guard let login, let context else { return }
        login.answer(challenge, on: threads, context.eventLoop).assumeIsolated().whenComplete { result in
            guard self.end == nil else { return }
            switch result {
            case .success((let login, .response(let octets))):
                self.login = login
                self.perform(self.session.respond(octets))
            case .success((_, .failure(let reason))): self.perform(self.session.giveUpLogin(because: reason))
            case .failure: self.perform(self.session.abandon(because: .stopped))
            }
        }
    }

    /// Nothing, where all is well.
    private func finishLogin() -> [ClientSession.Action] {
        let isTrusted = login?.mayTrustSuccess == true
        login = nil
        return isTrusted ? [] : session.giveUpLogin(because: "the server took the login without proving that it knows the password")
    }

    private func report(_ index: Int, _ outcome: ClientSession.Outcome, _ answers: String?) {
        guard let run, let shipment = current?.shipment else { return }
        var blamesPlace = false
        // RFC 3463 §3.5, X.4: the way there, and not the message; in words of ours.
        if case .deferred(let reply) = outcome, answers == nil { blamesPlace = reply.enhanced?.subject == 4 }
        if case .deferred(let reply) = outcome, !isCancelled, !session.mayHaveTakenMessage, run.batch.mayPassOn(shipment) {
            let refusal = Shipment.Refusal(reply: reply, relay: target.relay, answers: answers, blamesPlace: blamesPlace, tls: facts?.fields)
            current?.putOff.append((index, refusal))
            return
        }
        run.batch.report(.init(outcome), for: shipment.recipients[index], of: shipment, relay: target.relay, answers: answers, blamesPlace: blamesPlace, tls: facts?.fields)
    }

    private func endCurrent() {
        if let current { run?.batch.passOn(current.shipment, current.putOff, by: target.relay) }
        current = nil
    }

    private func putBackCurrent() {
        guard let shipment = current?.shipment else { return }
        current = nil
        run?.batch.putBack(shipment)
    }

    private func close(because reply: Reply?) {
        end = reply ?? Reply(451, EnhancedCode(4, 4, 2), "the session with \(target.peer) is over")
        if current?.hasBegun == false { putBackCurrent() }
        endCurrent()
        _ = pool.remove(ObjectIdentifier(self), for: key)
        finishRun(because: end)
        context?.close(promise: nil)
    }

    // MARK: Messages

    /// Begins the next message of the batch; what the session wants done for it.
    private func takeNext() -> [ClientSession.Action] {
        guard run != nil else { return [] }
        if isCancelled { return stop(because: .stopped) }
        guard let shipment = nextShipment() else { return rest() }
        guard sent < limits.messagesPerConnection else {
            run!.batch.putBack(shipment)
            return stop(because: Reply(451, EnhancedCode(4, 4, 2), "\(sent) messages went over this connection"))
        }
        sent += 1
        current = Current(shipment: shipment)
        switch shipment.content {
        case .inline(let content): return begin(content)
        case .file(let path, let size):
            openFile(path, size, shipment.outgoing?.head)
            return []
        }
    }

    /// The next one that may go to this server.
    private func nextShipment() -> Shipment? {
        while let shipment = run!.batch.next() {
            if shipment.request.tlsOption != .required || session.takesRequireTLS { return shipment }
            run!.batch.bar(shipment, because: .requireTLSNotOffered(by: target.peer), relay: target.relay)
        }
        return nil
    }

    private func begin(_ content: ByteBuffer) -> [ClientSession.Action] {
        current!.hasBegun = true
        current!.content = content
        var message = OutgoingMessage(
            envelope: current!.shipment.envelope, size: content.readableBytes, traits: ContentTraits(of: content), isInMemory: true)
        // Where it cannot be converted, the session refuses it as it is.
        if session.needsSevenBit(message), let converted = SevenBitConversion.convert(content) {
            current!.content = converted
            message.becomeSevenBit(size: converted.readableBytes)
        }
        return session.begin(message)
    }

    private func begin(_ file: ContentFile) {
        guard let context else { return }
        current!.file = file
        let message = OutgoingMessage(envelope: current!.shipment.envelope, size: file.size, traits: file.traits)
        guard session.needsSevenBit(message) else {
            current!.hasBegun = true
            return perform(session.begin(message))
        }
        let surveyed = threads.runIfActive(eventLoop: context.eventLoop) { try file.survey() }
        surveyed.assumeIsolated().whenComplete { result in
            guard self.end == nil, self.current != nil else { return }
            var message = message
            // RFC 1870 §4: what SIZE says may be an estimate.
            if case .success(let plan?) = result {
                self.current!.plan = plan
                message.becomeSevenBit(size: file.size)
            }
            self.current!.hasBegun = true
            self.perform(self.session.begin(message))
        }
    }

    /// The batch is not done, but this connection is.
    private func stop(because reply: Reply) -> [ClientSession.Action] {
        finishRun(because: reply)
        return session.quit()
    }

    /// The batch is done: into the pool, before anybody hears of it, so that the next batch finds the connection.
    private func rest() -> [ClientSession.Action] {
        let handle = PooledConnection(
            eventLoop: context!.eventLoop, connection: NIOLoopBound(self, eventLoop: context!.eventLoop), id: ObjectIdentifier(self))
        let stays = isKept && sent < limits.messagesPerConnection && pool.put(handle, for: key)
        finishRun(because: nil)
        return stays ? [] : session.quit()
    }

    private func finishRun(because reply: Reply?) {
        guard let finished = run else { return }
        run = nil
        finished.promise.succeed(RunEnd(left: finished.batch, reason: reply, timedOut: timedOut, tlsFailure: tlsFailure))
    }

    // MARK: Content

    /// True if something was written that must be flushed.
    private func sendContent(inChunks: Bool) -> Bool {
        guard let current, let context else { return false }
        guard let content = current.content else {
            let conversion = current.plan.map { SevenBitConversion($0) }
            sendPortion(of: current.file!, at: 0, Passage(stuffer: DotStuffer(), conversion: conversion, inChunks: inChunks), context)
            return false
        }
        if inChunks {
            context.write(wrapOutboundOut(ClientSession.chunkHeader(size: content.readableBytes, isLast: true)), promise: nil)
            context.write(wrapOutboundOut(content), promise: nil)
        } else {
            var stuffer = DotStuffer()
            context.write(wrapOutboundOut(stuffer.stuff(content)), promise: nil)
            context.write(wrapOutboundOut(stuffer.terminator()), promise: nil)
        }
        session.contentSent()
        return true
    }

    private func openFile(_ path: String, _ size: Int, _ head: ContentFile.Head?) {
        guard let context else { return }
        let opened = threads.runIfActive(eventLoop: context.eventLoop) { try ContentFile(path: path, size: size, head: head) }
        opened.assumeIsolated().whenComplete { result in
            guard self.end == nil, let shipment = self.current?.shipment else { return }
            switch result {
            case .success(let file):
                self.begin(file)
            case .failure(let error):
                self.run?.batch.giveUp(shipment, because: SMTPConnection.unreadable(error), relay: self.target.relay)
                self.current = nil
                self.perform(self.takeNext())
            }
        }
    }

    /// What becomes of a file's content on its way.
    private struct Passage {
        var stuffer: DotStuffer
        var conversion: SevenBitConversion?
        let inChunks: Bool

        /// As it goes on the wire; `isLast`: nothing follows.
        mutating func pass(_ portion: ByteBuffer, isLast: Bool) -> [ByteBuffer] {
            if inChunks { return [ClientSession.chunkHeader(size: portion.readableBytes, isLast: isLast), portion] }
            var portion = portion
            if conversion != nil {
                portion = conversion!.feed(portion)
                if isLast { portion.writeImmutableBuffer(conversion!.finish()) }
            }
            let stuffed = stuffer.stuff(portion)
            return isLast ? [stuffed, stuffer.terminator()] : [stuffed]
        }
    }

    /// One portion after another: the next is read when the transport has taken the one before, so that a slow server
    /// costs one portion of memory and not a message.
    private func sendPortion(of file: ContentFile, at offset: Int, _ passage: Passage, _ context: ChannelHandlerContext) {
        let portion = threads.runIfActive(eventLoop: context.eventLoop) { try file.read(at: offset) }
        portion.assumeIsolated().whenComplete { result in
            guard self.end == nil, let context = self.context else { return }
            switch result {
            case .success(let portion):
                let next = offset + portion.readableBytes
                let isLast = next >= file.size
                var passage = passage
                for bytes in passage.pass(portion, isLast: isLast) { context.write(self.wrapOutboundOut(bytes), promise: nil) }
                if isLast {
                    self.session.contentSent()
                } else if passage.inChunks {
                    self.session.chunkSent()
                }
                let written = context.writeAndFlush(self.wrapOutboundOut(ByteBuffer()))
                written.assumeIsolated().whenSuccess {
                    guard self.end == nil, let context = self.context else { return }
                    self.setDeadline()
                    if !isLast { self.sendPortion(of: file, at: next, passage, context) }
                }
            case .failure(let error):
                // Half a message went out, and no dot may follow it: only the end of the connection takes it back.
                self.perform(self.session.abandon(because: SMTPConnection.unreadable(error)))
            }
        }
    }

    private static func unreadable(_ error: any Error) -> Reply {
        Reply(451, EnhancedCode(4, 3, 0), "the message could not be read: \(error)")
    }

    // MARK: Time

    /// Allows the present phase its time from now on. A timer that is set for an earlier moment stays: it looks again when
    /// it fires, which spares setting one for each reply.
    private func setDeadline() {
        guard let context, end == nil else {
            timer?.task.cancel()
            timer = nil
            deadline = nil
            return
        }
        let isResting = session.phase == .idle && run == nil
        guard let time = isResting ? limits.idle : limits.timeouts[session.phase] else {
            deadline = nil
            return
        }
        let moment = NIODeadline.now() + TimeAmount(time)
        deadline = moment
        if let timer {
            guard moment < timer.fires else { return }
            timer.task.cancel()
        }
        startTimer(at: moment, context)
    }

    private func startTimer(at moment: NIODeadline, _ context: ChannelHandlerContext) {
        let task = context.eventLoop.assumeIsolated().scheduleTask(deadline: moment) { [weak self] in
            guard let self else { return }
            timer = nil
            guard let deadline, let context = self.context else { return }
            if deadline > .now() { startTimer(at: deadline, context) } else { timeIsUp() }
        }
        timer = (moment, task)
    }

    private func timeIsUp() {
        guard session.phase == .idle, run == nil else {
            timedOut = true
            return perform(session.timedOut())
        }
        // Whoever took the connection from the pool in this moment is about to send a batch.
        if pool.remove(ObjectIdentifier(self), for: key) { leave() }
    }
}
