// Listens for SMTP at addresses and at the appliance's own Unix socket.

internal import Glibc
package import MailSyntax
package import NIOCore
internal import NIOPosix
internal import Policy
internal import Telemetry

/// A bound address with its connections.
///
/// Each event loop has a socket of its own at the address (SO_REUSEPORT), and keeps the connections that it accepts: to
/// hand each to another loop would take longer than to serve it.
package final class Listener: Sendable {
    private struct Socket: Sendable {
        let channel: any Channel
        let roster: NIOLoopBound<Roster>
    }

    private let sockets: [Socket]

    /// The address that it is bound at, with the port that the system chose where 0 was asked for.
    package var address: SocketAddress? { sockets.first?.channel.localAddress }

    private init(sockets: [Socket]) { self.sockets = sockets }

    /// A connect(2) queue as Postfix's inet_listen backlog would grow to; the kernel caps it at net.core.somaxconn.
    private static let backlog: CInt = 1024
    /// How often idle connections are looked for.
    private static let idleCheck = TimeAmount.seconds(15)

    package static func bind(_ endpoint: Endpoint, service: SMTPService, group: any EventLoopGroup) async throws -> Listener {
        let address = try SocketAddress(ipAddress: endpoint.address.description, port: Int(endpoint.port))
        // First alone: with SO_REUSEPORT, another appliance of this user at the same port would go unnoticed.
        let probe = try await bootstrap(group.next()).bind(to: address).get()
        let bound = probe.localAddress ?? address
        try await probe.close()
        var sockets: [Socket] = []
        for loop in group.makeIterator() {
            sockets.append(try await serve(service, on: loop) { bootstrap in
                bootstrap.serverChannelOption(.socketOption(NIOBSDSocket.Option(rawValue: SO_REUSEPORT)), value: 1).bind(to: bound)
            })
        }
        return Listener(sockets: sockets)
    }

    /// A Unix socket whose clients count as processes of this host. Only its owner may connect: mode 0600.
    package static func bind(unixSocket path: String, service: SMTPService, group: any EventLoopGroup) async throws -> Listener {
        let socket = try await serve(service, on: group.next()) { bootstrap in
            bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true)
        }
        // Never more open than that, not even for a moment, since the process's umask is 077.
        chmod(path, 0o600)
        return Listener(sockets: [socket])
    }

    private static func bootstrap(_ loop: any EventLoop) -> ServerBootstrap {
        ServerBootstrap(group: loop)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
    }

    private static func serve(
        _ service: SMTPService, on loop: any EventLoop, _ bind: (ServerBootstrap) -> EventLoopFuture<any Channel>
    ) async throws -> Socket {
        let roster = try await loop.submit { NIOLoopBound(Roster(), eventLoop: loop) }.get()
        let channel = try await bind(
            bootstrap(loop).childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    // Here rather than as child options, each of which would take a future of its own.
                    if let options = channel.syncOptions {
                        try options.setOption(.allowRemoteHalfClosure, value: true)
                        try options.setOption(.maxMessagesPerRead, value: 4)
                        try options.setOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 65536))
                    }
                    let address = channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) }
                    let client = ClientFacts(address: address, isLocalProcess: address == nil)
                    try channel.pipeline.syncOperations.addHandler(Connection(service: service, client: client, roster: roster.value))
                }
            }).get()
        loop.scheduleRepeatedTask(initialDelay: idleCheck, delay: idleCheck) { task in
            if channel.isActive { roster.value.checkIdleTimes(.now()) } else { task.cancel() }
        }
        return Socket(channel: channel, roster: roster)
    }

    /// Takes no more connections, tells those that are open, and after `grace` cuts them off. Nothing that was answered
    /// with 250 is lost by that: it is in the spool.
    package func close(grace: TimeAmount) async {
        for socket in sockets { try? await socket.channel.close().get() }
        let emptied = sockets.map { socket in
            let loop = socket.channel.eventLoop
            return loop.flatSubmit { socket.roster.value.close(grace: grace, on: loop) }
        }
        for future in emptied { try? await future.get() }
    }
}

/// The connections of one socket, all on its event loop.
final class Roster {
    private var connections: [ObjectIdentifier: Connection] = [:]
    private var emptied: EventLoopPromise<Void>?
    private var isClosing = false

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
