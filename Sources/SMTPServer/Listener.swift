// Listens for SMTP at addresses and at the appliance's own Unix socket.

internal import Glibc
package import MailSyntax
package import NIOCore
internal import NIOPosix
internal import Policy
package import SMTP
internal import Telemetry

/// A bound address with its connections. Bound, it does not take any before `takeConnections`: whoever opens several can
/// be sure of all before a client sees one.
///
/// Each event loop has a socket of its own at the address (SO_REUSEPORT), and keeps the connections that it accepts: to
/// hand each to another loop would take longer than to serve it.
package final class Listener: Sendable {
    private struct Socket: Sendable {
        let channel: any Channel
        let roster: NIOLoopBound<Roster>
    }

    private let sockets: [Socket]

    /// What a listener is for.
    package struct Purpose: Hashable, Sendable {
        package var dialect = ServerSession.Dialect.smtp
        /// A load balancer says first for whom it speaks (PROXY protocol); only these may.
        package var isProxied = false
        package var proxies: [Network] = []
        /// Of a Unix socket.
        package var mode: UInt32 = 0o600
        /// Clients of a Unix socket may relay, as processes of this host.
        package var trustsSocket = true

        package init() {}
    }

    /// The address that it is bound at, with the port that the system chose where 0 was asked for.
    package var address: SocketAddress? { sockets.first?.channel.localAddress }

    private init(sockets: [Socket]) { self.sockets = sockets }

    /// A connect(2) queue as Postfix's inet_listen backlog would grow to; the kernel caps it at net.core.somaxconn.
    private static let backlog: CInt = 1024
    /// How often idle connections are looked for.
    private static let idleCheck = TimeAmount.seconds(5)

    /// `sharing`: another listener of this process overlaps the address (one of them is at every address), and will close.
    package static func bind(
        _ endpoint: Endpoint, service: SMTPService, configuration: SMTPService.Configuration, group: any EventLoopGroup, sharing: Bool = false,
        for purpose: Purpose = Purpose()
    ) async throws -> Listener {
        var bound = try SocketAddress(ipAddress: endpoint.address.description, port: Int(endpoint.port))
        if !sharing, endpoint.port != 0 {
            // First alone: with SO_REUSEPORT, another appliance of this user at the same port would go unnoticed. Not where the system
            // chooses the port: it gives one that nobody has, and might give it to the next who asks while the probe is closed.
            let probe = try await bootstrap(group.next(), isV6: endpoint.address.isV6).bind(to: bound).get()
            bound = probe.localAddress ?? bound
            try await probe.close()
        }
        var sockets: [Socket] = []
        do {
            for loop in group.makeIterator() {
                sockets.append(
                    try await serve(service, configuration, purpose, on: loop, isV6: endpoint.address.isV6) { [bound] bootstrap in
                        bootstrap.serverChannelOption(.socketOption(NIOBSDSocket.Option(rawValue: SO_REUSEPORT)), value: 1).bind(to: bound)
                    })
                bound = sockets[0].channel.localAddress ?? bound
            }
        } catch {
            for socket in sockets { try? await socket.channel.close().get() }
            throw error
        }
        return Listener(sockets: sockets)
    }

    /// A Unix socket. Who may connect is its mode's to say: nobody but its owner, by itself.
    package static func bind(
        unixSocket path: String, service: SMTPService, configuration: SMTPService.Configuration, group: any EventLoopGroup, for purpose: Purpose = Purpose()
    ) async throws -> Listener {
        let socket = try await serve(service, configuration, purpose, on: group.next()) { bootstrap in
            bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
        }
        // Never more open than that, not even for a moment, since the process's umask is 077.
        chmod(path, purpose.mode)
        return Listener(sockets: [socket])
    }

    private static func bootstrap(_ loop: any EventLoop, isV6: Bool) -> ServerBootstrap {
        let bootstrap = ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .serverChannelOption(.autoRead, value: false)
        // `[::]` is every IPv6 address, and no IPv4 address beside: else 0.0.0.0 and [::] could not have the same port (ipv6(7)).
        guard isV6 else { return bootstrap }
        return bootstrap.serverChannelOption(ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only), value: 1)
    }

    private static func serve(
        _ service: SMTPService, _ configuration: SMTPService.Configuration, _ purpose: Purpose, on loop: any EventLoop,
        isV6: Bool = false, _ bind: (ServerBootstrap) -> EventLoopFuture<any Channel>
    ) async throws -> Socket {
        let roster = try await loop.submit { NIOLoopBound(Roster(configuration, purpose), eventLoop: loop) }.get()
        let channel = try await bind(
            bootstrap(loop, isV6: isV6).childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Here rather than as child options, each of which would take a future of its own.
                    if let options = channel.syncOptions {
                        try options.setOption(.allowRemoteHalfClosure, value: true)
                        try options.setOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 65536))
                    }
                    let address = channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) }
                    let roster = roster.value
                    let client = ClientFacts(address: address, isLocalProcess: address == nil && purpose.trustsSocket)
                    guard purpose.isProxied, purpose.proxies.isEmpty || address.map({ address in purpose.proxies.contains { $0.contains(address) } }) ?? true else {
                        return try channel.pipeline.syncOperations.addHandler(Connection(service: service, client: client, roster: roster))
                    }
                    let handler = ProxyHeaderHandler(proxy: address, log: service.log) { ends in
                        Connection(service: service, client: ends.map { ClientFacts(address: $0.client.address) } ?? client, roster: roster)
                    }
                    try channel.pipeline.syncOperations.addHandler(handler)
                }
            }).get()
        loop.scheduleRepeatedTask(initialDelay: idleCheck, delay: idleCheck) { task in
            roster.value.checkIdleTimes(.now())
            if !channel.isActive, roster.value.isEmpty { task.cancel() }
        }
        return Socket(channel: channel, roster: roster)
    }

    /// Accepts who connects, and whoever did since `bind`.
    package func takeConnections() async throws {
        for socket in sockets { try await socket.channel.setOption(.autoRead, value: true).get() }
    }

    /// Takes no more connections; those that are open go on.
    package func stopListening() async {
        for socket in sockets { try? await socket.channel.close().get() }
    }

    package var hasConnections: Bool {
        get async {
            for socket in sockets {
                let isEmpty = try? await socket.channel.eventLoop.submit { socket.roster.value.isEmpty }.get()
                if isEmpty == false { return true }
            }
            return false
        }
    }

    /// Another configuration for all connections, each from its next transaction on; in force on every event loop when
    /// this returns.
    package func apply(_ configuration: SMTPService.Configuration) async {
        let applied = sockets.map { socket in socket.channel.eventLoop.submit { socket.roster.value.configuration = configuration } }
        for future in applied { try? await future.get() }
    }

    /// Takes no more connections, tells those that are open, and after `grace` cuts them off. Nothing that was answered
    /// with 250 is lost by that: it is in the spool.
    package func close(grace: TimeAmount) async {
        await stopListening()
        let emptied = sockets.map { socket in
            let loop = socket.channel.eventLoop
            return loop.flatSubmit { socket.roster.value.close(grace: grace, on: loop) }
        }
        for future in emptied { try? await future.get() }
    }
}

/// The connections of one socket, all on its event loop, and the configuration that they go by.
final class Roster {
    var configuration: SMTPService.Configuration
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var emptied: EventLoopPromise<Void>?
    private var isClosing = false
    private let purpose: Listener.Purpose

    init(_ configuration: SMTPService.Configuration, _ purpose: Listener.Purpose = Listener.Purpose()) {
        self.configuration = configuration
        self.purpose = purpose
    }

    /// The configuration of a session at this listener.
    func adapt(_ session: ServerSession.Configuration) -> ServerSession.Configuration {
        guard purpose.dialect != session.dialect else { return session }
        var session = session
        session.dialect = purpose.dialect
        // What hands mail over here is a neighbour that the administrator knows; the level is for others.
        if session.encryption == .encrypt { session.encryption = .may }
        return session
    }

    var isEmpty: Bool { connections.isEmpty }

    /// False: the listener closes, and this one comes too late.
    func enter(_ connection: Connection) -> Bool {
        if !isClosing { connections[ObjectIdentifier(connection)] = connection }
        return !isClosing
    }

    func leave(_ connection: Connection) {
        connections[ObjectIdentifier(connection)] = nil
        if connections.isEmpty { emptied?.succeed() }
    }

    func checkIdleTimes(_ now: NIODeadline) {
        for connection in Array(connections.values) { connection.checkIdleTime(now) }
    }

    func close(grace: TimeAmount, on loop: any EventLoop) -> EventLoopFuture<Void> {
        isClosing = true
        guard !connections.isEmpty else { return loop.makeSucceededVoidFuture() }
        let promise = loop.makePromise(of: Void.self)
        emptied = promise
        for connection in Array(connections.values) { connection.shutDown() }
        let cutOff = loop.assumeIsolated().scheduleTask(in: grace) {
            for connection in Array(self.connections.values) { connection.cutOff() }
        }
        promise.futureResult.whenComplete { _ in cutOff.cancel() }
        return promise.futureResult
    }
}
