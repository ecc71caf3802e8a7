// Listens for SMTP at addresses and at the appliance's own Unix socket.

internal import Glibc
package import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOCore
internal import NIOPosix
internal import Policy
internal import Telemetry

/// A bound address with its connections.
package final class Listener: Sendable {
    private let channel: any Channel
    private let connections: Connections

    /// The address that it is bound at, with the port that the system chose where 0 was asked for.
    package var address: SocketAddress? { channel.localAddress }

    private init(channel: any Channel, connections: Connections) {
        self.channel = channel
        self.connections = connections
    }

    /// A connect(2) queue as Postfix's inet_listen backlog would grow to; the kernel caps it at net.core.somaxconn.
    private static let backlog: CInt = 1024

    package static func bind(_ endpoint: Endpoint, service: SMTPService, group: any EventLoopGroup) async throws -> Listener {
        let (bootstrap, connections) = bootstrap(service, group)
        let address = try SocketAddress(ipAddress: endpoint.address.description, port: Int(endpoint.port))
        // An IPv6 listener takes IPv6 only, so that 0.0.0.0:25 and [::]:25 can stand side by side.
        let channel = try await bootstrap.bind(to: address).get()
        return Listener(channel: channel, connections: connections)
    }

    /// A Unix socket whose clients count as processes of this host. Only its owner may connect: mode 0600.
    package static func bind(unixSocket path: String, service: SMTPService, group: any EventLoopGroup) async throws -> Listener {
        let (bootstrap, connections) = bootstrap(service, group)
        let channel = try await bootstrap.bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        // Never more open than that, not even for a moment, since the process's umask is 077.
        chmod(path, 0o600)
        return Listener(channel: channel, connections: connections)
    }

    private static func bootstrap(_ service: SMTPService, _ group: any EventLoopGroup) -> (ServerBootstrap, Connections) {
        let connections = Connections()
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.maxMessagesPerRead, value: 4)
            .childChannelOption(.allowRemoteHalfClosure, value: true)
            .childChannelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 1024, initial: 2048, maximum: 65536))
            .childChannelInitializer { channel in
                guard connections.add(channel) else { return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel) }
                let address = channel.remoteAddress?.ipAddress.flatMap { IPAddress($0) }
                let client = ClientFacts(address: address, isLocalProcess: address == nil)
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Connection(service: service, client: client))
                }
            }
        return (bootstrap, connections)
    }

    /// Takes no more connections, tells those that are open, and after `grace` cuts them off. Nothing that was answered
    /// with 250 is lost by that: it is in the spool.
    package func close(grace: TimeAmount) async {
        try? await channel.close().get()
        await connections.close(grace: grace, on: channel.eventLoop)
    }
}

private final class Connections: Sendable {
    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        var isClosing = false
    }

    private let state = NIOLockedValueBox(State())

    /// False: the listener closes, and this connection, accepted just before, comes too late.
    func add(_ channel: any Channel) -> Bool {
        let key = ObjectIdentifier(channel)
        let isWelcome = state.withLockedValue { state in
            if !state.isClosing { state.open[key] = channel }
            return !state.isClosing
        }
        guard isWelcome else { return false }
        channel.closeFuture.whenComplete { [state] _ in state.withLockedValue { _ = $0.open.removeValue(forKey: key) } }
        return true
    }

    func close(grace: TimeAmount, on loop: any EventLoop) async {
        let channels = state.withLockedValue { state in
            state.isClosing = true
            return Array(state.open.values)
        }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ShutDown()) }
        let cutOff = loop.scheduleTask(in: grace) { for channel in channels { channel.close(promise: nil) } }
        for channel in channels { try? await channel.closeFuture.get() }
        cutOff.cancel()
    }
}
