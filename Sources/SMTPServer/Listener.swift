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
                connections.add(channel)
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
    private let open = NIOLockedValueBox<[ObjectIdentifier: any Channel]>([:])

    func add(_ channel: any Channel) {
        let key = ObjectIdentifier(channel)
        open.withLockedValue { $0[key] = channel }
        channel.closeFuture.whenComplete { [open] _ in open.withLockedValue { _ = $0.removeValue(forKey: key) } }
    }

    func close(grace: TimeAmount, on loop: any EventLoop) async {
        let channels = open.withLockedValue { Array($0.values) }
        for channel in channels { channel.pipeline.fireUserInboundEventTriggered(ShutDown()) }
        let cutOff = loop.scheduleTask(in: grace) { for channel in channels { channel.close(promise: nil) } }
        for channel in channels { try? await channel.closeFuture.get() }
        cutOff.cancel()
    }
}
