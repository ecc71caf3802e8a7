// Delivery to next hops by SMTP: finds the servers, connects to the first that answers, and sends a batch of messages
// over one connection, or over one that an earlier batch left behind. LMTP (RFC 2033) is another dialect of the same. What is asked of a
// server's TLS is `TLSPolicy`'s and `TLSDecision`'s.
//
// Errors: each recipient gets the reply of the server that answered for it, or one of ours with the code of RFC 3463
// that says what went wrong (4.4.1 no connection, 4.4.2 connection lost, 4.4.3 and 5.4.4 names, …). When a server takes
// no mail, puts a message or some of its recipients off, or breaks down before it may have the message, the next address is tried
// for them, as Postfix's smtp(8) does; after the last, the queue decides.

package import DNS
package import MailQueue
package import MailSyntax
package import NIOCore
package import NIOPosix
package import SMTP
internal import Glibc
internal import TLS
internal import NIOConcurrencyHelpers

package final class SMTPAgent: DeliveryAgent {
    package struct Configuration: Sendable {
        /// This server's name, for EHLO and to see loops.
        package var hostname: Domain
        package var limits: Limits
        /// Nil: mail goes out as it is in the queue.
        package var rewriting: OutgoingRewriting?
        /// Where it takes mail, to see loops.
        package var ownEndpoints: Set<Endpoint>
        /// Who this server is to those next hops: they get no mail without it.
        package var logins: [NextHop: Login]
        /// For mail by SMTP whose next hop cannot be found or used: tried in this order, after it. Postfix's `smtp_fallback_relay`.
        package var fallbacks: [NextHop]
        package var tls = TLSPolicy()
        /// Nil: there is no TLS, whatever the policy says; what must have it is deferred.
        package var contexts: TLSContexts?
        /// What became of TLS; called on event loops.
        package var notice: @Sendable (TLSNotice) -> Void = { _ in }

        package init(
            hostname: Domain, limits: Limits = Limits(), ownEndpoints: Set<Endpoint> = [], rewriting: OutgoingRewriting? = nil,
            logins: [NextHop: Login] = [:], fallbacks: [NextHop] = []
        ) {
            self.rewriting = rewriting
            self.hostname = hostname
            self.limits = limits
            self.ownEndpoints = ownEndpoints
            self.logins = logins
            self.fallbacks = fallbacks
        }
    }

    package struct Limits: Sendable {
        /// Of RFC 5321 §4.5.3.2.
        package var timeouts = ClientTimeouts()
        /// Per address. A server that is up answers within seconds, and its neighbours are waiting to be tried.
        package var connect: Duration = .seconds(30)
        /// For a handshake without which the mail goes as well, in clear. Where it must not go in clear, a handshake has the time of EHLO.
        /// Some servers, and boxes before them, take STARTTLS and say no more: the mail need not wait as long as for an answer.
        package var dispensableHandshake: Duration = .seconds(60)
        /// How long a connection waits for the next batch: long enough for a queue under load, and short enough not to
        /// hold a place at a server that counts its clients. It waits only after a batch that came that soon after another, or
        /// beside one.
        package var idle: Duration = .seconds(5)
        /// Then a new connection, so that load spreads over the servers behind a name, as in Postfix.
        package var messagesPerConnection = 100
        /// Recipients of one transaction. RFC 5321 §4.5.3.1.8: a server must take 100 at least. 50 is Postfix's
        /// `default_destination_recipient_limit`.
        package var recipients = 50
        /// Addresses of a next hop that one delivery tries, and sessions at them that one message is offered in (Postfix's
        /// `smtp_mx_address_limit`, `smtp_mx_session_limit`).
        package var addresses = 5
        package var sessions = 2
        /// What a message under way is given to finish when the task is cancelled.
        package var grace: Duration = .seconds(5)

        package init() {}
    }

    private let configuration: NIOLockedValueBox<Configuration>
    let names: any NameService
    private let group: any EventLoopGroup
    private let threads: NIOThreadPool
    private let pool = ConnectionPool()

    /// `threadPool` reads content from files and must be running. Group and pool stay the caller's to shut down, after
    /// `close`.
    package init(configuration: Configuration, resolver: any NameService, group: any EventLoopGroup, threadPool: NIOThreadPool) {
        self.configuration = NIOLockedValueBox(configuration)
        names = resolver
        self.group = group
        threads = threadPool
    }

    /// For connections from now on; those that are open finish as they began.
    package func replace(_ configuration: Configuration) { self.configuration.withLockedValue { $0 = configuration } }

    /// `report` is called on an event loop and must not block.
    package func deliver(
        _ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void
    ) async {
        guard case .nextHop(let hop) = place else {
            var batch = Batch(batch, report: report)
            return batch.giveUp(because: Reply(451, EnhancedCode(4, 3, 5), "\(place) is no next hop"), relay: "none")
        }
        let cancellation = Cancellation()
        await withTaskCancellationHandler {
            for group in TLSClass.classes(of: batch, to: hop) { await deliver(group, to: hop, cancellation, report) }
        } onCancel: {
            cancellation.cancel()
        }
    }

    private func deliver(
        _ group: TLSClass, to hop: NextHop, _ cancellation: Cancellation, _ report: @escaping @Sendable (DeliveryReport) -> Void
    ) async {
        let keptBack = group.option == .required ? KeptBack(group.requests) : nil
        var batch = await prepare(group.requests) { if keptBack?.takes($0) != true { report($0) } }
        let (key, window) = configuration.withLockedValue {
            (ConnectionPool.Key(hop: hop, demand: $0.demand(of: hop, group.option)), TimeAmount($0.limits.idle))
        }
        pool.begin(key, window: window)
        batch = await sendOverIdle(batch, key, cancellation)
        if !batch.isDone { await sendOverNew(batch, hop, group.option, cancellation) }
        pool.end(key)
        if let again = keptBack?.requests(group.requests), !again.isEmpty {
            await deliver(TLSClass(option: nil, requests: again), to: hop, cancellation, report)
        }
    }

    private func prepare(_ batch: [DeliveryRequest], _ report: @escaping @Sendable (DeliveryReport) -> Void) async -> Batch {
        let configuration = configuration.withLockedValue { $0 }
        let most = configuration.limits.recipients
        guard let rewriting = configuration.rewriting else { return Batch(batch, recipients: most, report: report) }
        let rewritten = try? await threads.runIfActive { Batch(batch, rewriting: rewriting, recipients: most, report: report) }
        if let rewritten { return rewritten }
        // The threads are gone: the appliance stops.
        var left = Batch(batch, report: report)
        left.giveUp(because: .stopped, relay: "none")
        return left
    }

    /// Takes leave of all idle connections, and keeps none from now on. Returns when they are closed: RFC 5321 §4.1.1.10 has a
    /// client wait for the answer to QUIT; one that is to stop does so for `limit`. Connections that still carry a batch say QUIT after
    /// it, and nobody waits for that answer.
    package func close(within limit: Duration) async {
        try? await EventLoopFuture.andAllComplete(pool.close().map { $0.leave(within: limit) }, on: group.any()).get()
    }

    // MARK: Connections

    /// What is left. A connection from the pool may have been closed by the server meanwhile; that is no fault of the
    /// message, which goes over another one then.
    private func sendOverIdle(_ batch: Batch, _ key: ConnectionPool.Key, _ cancellation: Cancellation) async -> Batch {
        var batch = batch
        while !batch.isEmpty, !cancellation.isCancelled, let connection = pool.take(key) {
            batch = await send(batch, over: connection, cancellation).left
        }
        return batch
    }

    /// `option`: what these messages ask of any server's TLS.
    private func sendOverNew(_ batch: Batch, _ hop: NextHop, _ option: TLSOption?, _ cancellation: Cancellation) async {
        var batch = batch
        let configuration = configuration.withLockedValue { $0 }
        let fallbacks = hop.dialect == .smtp ? configuration.fallbacks.filter { $0 != hop } : []
        batch.prospects.hasFallback = !fallbacks.isEmpty
        var obstacle = await sendToServers(&batch, of: hop, hop, option, configuration, cancellation)
        for (index, fallback) in fallbacks.enumerated() where !batch.isDone && !cancellation.isCancelled {
            batch.prospects.hasFallback = index < fallbacks.count - 1
            batch.beginNextHop()
            // What is reported is what the last resort came to: the sender's mail waits for that.
            if let other = await sendToServers(&batch, of: fallback, hop, option, configuration, cancellation) { obstacle = other }
        }
        if cancellation.isCancelled { return batch.giveUp(because: .stopped, relay: obstacle?.relay ?? "none") }
        batch.giveUp(because: obstacle?.reply, relay: obstacle?.relay ?? "none", blamesPlace: obstacle?.reply.isTransient == true)
    }

    private struct Obstacle {
        var reply: Reply
        var relay: String
    }

    /// Tries the servers of `hop` in turn. Connections are kept for `destination`. Nil: nothing stood in the way.
    private func sendToServers(
        _ batch: inout Batch, of hop: NextHop, _ destination: NextHop, _ option: TLSOption?, _ configuration: Configuration,
        _ cancellation: Cancellation
    ) async -> Obstacle? {
        var generator = SystemRandomNumberGenerator()
        let targets: [Target]
        let lookup = NextHopLookup(
            names: names, hostname: configuration.hostname, ownEndpoints: configuration.ownEndpoints, mostTargets: configuration.limits.addresses)
        switch await lookup.targets(of: hop, using: &generator) {
        case .success(let found): targets = found
        case .failure(let reply): return Obstacle(reply: reply, relay: "none")
        }
        batch.prospects.mostSessions = configuration.limits.sessions
        let key = ConnectionPool.Key(hop: hop, demand: configuration.demand(of: hop, option))
        var index = 0
        var obstacle: Obstacle?
        while !batch.isDone, index < targets.count, !cancellation.isCancelled {
            let target = targets[index]
            batch.prospects.isLastServer = index == targets.count - 1
            batch.turn(to: target.relay)
            guard !batch.isEmpty else {
                index += 1
                continue
            }
            let before = batch.count
            // What went by a fallback does not wait for more: the next batch tries the destination itself first.
            let end = await connectAndSend(batch, to: target, key, isKept: hop == destination, configuration, cancellation)
            batch = end.left
            if option == .required, let unfit = end.reason.flatMap({ Reply.encryptionNeeded($0, end.tlsFailure) }) {
                batch.bar(because: unfit, relay: target.relay)
                index += 1
                continue
            }
            // A refusal for ever by one server does not outweigh a passing trouble of another.
            if let reason = end.reason, obstacle == nil || !obstacle!.reply.isTransient || reason.isTransient {
                obstacle = Obstacle(reply: reason, relay: target.relay)
            }
            // A server that took something before it went away (too many messages, a restart) is worth a new connection; one that fell
            // silent is not.
            if batch.count == before || end.timedOut { index += 1 }
        }
        return batch.isEmpty ? nil : obstacle
    }

    private func connectAndSend(
        _ batch: Batch, to target: Target, _ key: ConnectionPool.Key, isKept: Bool, _ configuration: Configuration, _ cancellation: Cancellation
    ) async -> RunEnd {
        let plan: TLSPlan?
        switch await self.plan(for: target, key, configuration) {
        case .success(let found): plan = found
        case .failure(let reply): return RunEnd(left: batch, reason: reply)
        }
        let end = await connectAndSend(batch, to: target, key, plan, isKept: isKept, configuration, cancellation)
        // What the handshake left of the connection is of no use (RFC 3207 §4.1), so the mail goes over another one, in clear.
        guard end.tlsFailure != nil, plan?.mayGoClear == true, !cancellation.isCancelled else { return end }
        return await connectAndSend(end.left, to: target, key, nil, isKept: isKept, configuration, cancellation)
    }

    private func connectAndSend(
        _ batch: Batch, to target: Target, _ key: ConnectionPool.Key, _ plan: TLSPlan?, isKept: Bool, _ configuration: Configuration,
        _ cancellation: Cancellation
    ) async -> RunEnd {
        do {
            let connection = try await connect(to: target, key, plan, isKept: isKept, configuration, cancellation)
            return await send(batch, over: connection, cancellation)
        } catch let failure as TLSFailure {
            // Before the first octet: OpenSSL had no memory for it.
            return RunEnd(left: batch, reason: Reply(451, EnhancedCode(4, 7, 5), "cannot start TLS with host \(target.peer): \(failure.reason)"))
        } catch {
            return RunEnd(left: batch, reason: SMTPAgent.connectFailure(target, error))
        }
    }

    private func connect(
        to target: Target, _ key: ConnectionPool.Key, _ plan: TLSPlan?, isKept: Bool, _ configuration: Configuration, _ cancellation: Cancellation
    ) async throws -> PooledConnection {
        let address =
            if let ip = target.address {
                try SocketAddress(packedIPAddress: ByteBuffer(bytes: ip.bytes), port: Int(target.port))
            } else {
                try SocketAddress(unixDomainSocketPath: target.socket ?? "")
            }
        let (pool, threads) = (pool, threads)
        return try await ClientBootstrap(group: group)
            .connectTimeout(TimeAmount(configuration.limits.connect))
            .connect(to: address) { channel in
                // A cancelled delivery does not wait for a server that does not answer.
                cancellation.onCancel { channel.close(promise: nil) }
                return channel.eventLoop.makeCompletedFuture {
                    let connection = SMTPConnection(target, key, plan, isKept: isKept, configuration: configuration, pool: pool, threads: threads)
                    if let plan, plan.isImplicit {
                        let handler = try plan.makeHandler()
                        connection.tls = handler
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                    try channel.pipeline.syncOperations.addHandler(connection)
                    return PooledConnection(
                        eventLoop: channel.eventLoop, connection: NIOLoopBound(connection, eventLoop: channel.eventLoop),
                        id: ObjectIdentifier(connection))
                }
            }
    }

    private func send(_ batch: Batch, over connection: PooledConnection, _ cancellation: Cancellation) async -> RunEnd {
        let promise = connection.eventLoop.makePromise(of: RunEnd.self)
        connection.eventLoop.execute {
            connection.connection.value.send(batch, promise)
            cancellation.onCancel { connection.eventLoop.execute { connection.connection.value.cancel() } }
        }
        do {
            return try await promise.futureResult.get()
        } catch {
            // Only a loop that was shut down under us comes here: what it reported is unknown to us, and what it did not
            // report the queue tries again.
            return RunEnd(left: Batch([], report: { _ in }), reason: .stopped)
        }
    }

    /// `connect to mx.example.net[192.0.2.1]:25: Connection refused`, in Postfix's words (RFC 3463 §3.5: X.4.1).
    static func connectFailure(_ target: Target, _ error: any Error) -> Reply {
        let reason: String
        switch error {
        case let error as IOError: reason = String(cString: strerror(error.errnoCode))
        case ChannelError.connectTimeout: reason = String(cString: strerror(ETIMEDOUT))
        default: reason = "\(error)"
        }
        return Reply(451, EnhancedCode(4, 4, 1), "connect to \(target.relay): \(reason)")
    }
}

/// Whether the task was cancelled, and what to do then: the last given deed only, as a batch is in one place at a time.
private final class Cancellation: Sendable {
    private struct State {
        var isCancelled = false
        var deed: (@Sendable () -> Void)?
    }

    private let state = NIOLockedValueBox(State())

    var isCancelled: Bool { state.withLockedValue { $0.isCancelled } }

    func onCancel(_ deed: @escaping @Sendable () -> Void) {
        let isCancelled = state.withLockedValue { state in
            state.deed = deed
            return state.isCancelled
        }
        if isCancelled { deed() }
    }

    func cancel() {
        let deed = state.withLockedValue { state in
            state.isCancelled = true
            return state.deed
        }
        deed?()
    }
}
