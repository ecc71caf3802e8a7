// A small HTTP/1.1 server for health, metrics and the control socket: requests without a body of interest, answers that may
// be streamed. What a client can hold is bounded: connections, the time for its request, the request's size (by the parser).
// Not for the open internet.

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Glibc
internal import NIOHTTP1
internal import NIOPosix

struct HTTPRequest: Sendable {
    let method: String
    /// Without the query.
    let path: String
    let query: [String: String]
}

/// Writes an answer: whole by `send`, or a head and then piece by piece.
struct HTTPResponder: Sendable {
    private let channel: any Channel
    /// RFC 9110 §9.3.2: the answer to HEAD is that to GET without its content.
    private let hasBody: Bool

    fileprivate init(channel: any Channel, hasBody: Bool) {
        self.channel = channel
        self.hasBody = hasBody
    }

    func send(_ status: Int, _ type: String, _ body: String) async throws {
        try await begin(status, type, length: body.utf8.count)
        try await write(Array(body.utf8))
        try await end()
    }

    /// HTTP/1.0, so that an answer of unknown length ends with the connection and needs no chunks.
    func begin(_ status: Int, _ type: String, length: Int? = nil) async throws {
        var headers = HTTPHeaders([("Content-Type", type), ("Connection", "close"), ("Cache-Control", "no-store")])
        if let length { headers.add(name: "Content-Length", value: "\(length)") }
        try await channel.writeAndFlush(HTTPServerResponsePart.head(HTTPResponseHead(version: .http1_0, status: .init(statusCode: status), headers: headers)))
    }

    func write(_ bytes: [UInt8]) async throws {
        guard hasBody else { return }
        try await channel.writeAndFlush(HTTPServerResponsePart.body(.byteBuffer(ByteBuffer(bytes: bytes))))
    }

    func end() async throws {
        try await channel.writeAndFlush(HTTPServerResponsePart.end(nil))
        try await channel.close()
    }
}

typealias HTTPRoutes = @Sendable (HTTPRequest, HTTPResponder) async throws -> Void

final class HTTPServer: Sendable {
    private let channel: any Channel

    var address: SocketAddress? { channel.localAddress }

    private init(channel: any Channel) { self.channel = channel }

    static func bind(_ endpoint: Endpoint, group: any EventLoopGroup, routes: @escaping HTTPRoutes) async throws -> HTTPServer {
        let address = try SocketAddress(ipAddress: endpoint.address.description, port: Int(endpoint.port))
        var bootstrap = bootstrap(group, routes)
        // As the mail listeners: `[::]` is every IPv6 address and no IPv4 address.
        if endpoint.address.isV6 {
            bootstrap = bootstrap.serverChannelOption(ChannelOptions.Types.SocketOption(level: .ipv6, name: .ipv6_v6only), value: 1)
        }
        return HTTPServer(channel: try await bootstrap.bind(to: address).get())
    }

    /// Only its owner may connect: mode 0600, which the process's umask of 077 sees to from the first moment.
    static func bind(unixSocket path: String, group: any EventLoopGroup, routes: @escaping HTTPRoutes) async throws -> HTTPServer {
        let channel = try await bootstrap(group, routes).bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get()
        chmod(path, 0o600)
        return HTTPServer(channel: channel)
    }

    func close() async { try? await channel.close().get() }

    /// Connections at a time, beyond which new ones are closed: probes need a handful, and mail needs the descriptors.
    static let mostConnections = 100

    private static func bootstrap(_ group: any EventLoopGroup, _ routes: @escaping HTTPRoutes) -> ServerBootstrap {
        let open = NIOLockedValueBox(0)
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                guard open.withLockedValue({ $0 += 1; return $0 <= HTTPServer.mostConnections }) else {
                    open.withLockedValue { $0 -= 1 }
                    return channel.eventLoop.makeFailedFuture(ChannelError.ioOnClosedChannel)
                }
                channel.closeFuture.whenComplete { _ in open.withLockedValue { $0 -= 1 } }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(withErrorHandling: true)
                    try channel.pipeline.syncOperations.addHandler(RequestHandler(routes: routes))
                }
            }
    }
}

/// Answers one request and closes: who probes every ten seconds needs no connection in between.
private final class RequestHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart

    /// A probe that does not finish its request within this time is cut off.
    private static let patience = TimeAmount.seconds(10)

    private let routes: HTTPRoutes
    private var head: HTTPRequestHead?
    private var timer: Scheduled<Void>?

    init(routes: @escaping HTTPRoutes) { self.routes = routes }

    func channelActive(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: RequestHandler.patience) { channel.close(promise: nil) }
    }

    func channelInactive(context: ChannelHandlerContext) { timer?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(let head): self.head = head
        case .body: break  // nothing here takes one
        case .end:
            guard let head else { return }
            self.head = nil
            timer?.cancel()
            let request = HTTPRequest(head)
            let (routes, channel) = (routes, context.channel)
            Task {
                do {
                    try await routes(request, HTTPResponder(channel: channel, hasBody: request.method != "HEAD"))
                } catch {
                    try? await channel.close()
                }
            }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

extension HTTPRequest {
    fileprivate init(_ head: HTTPRequestHead) {
        let parts = head.uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        method = head.method.rawValue
        path = String(parts.first ?? "")
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1)
            query[String(sides[0])] = sides.count > 1 ? String(sides[1]) : ""
        }
        self.query = query
    }
}
