// A small HTTP/1.1 server for health, metrics and the control socket: requests without a body of interest, answers that may
// be streamed. Not for the open internet.

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
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

    fileprivate init(channel: any Channel) { self.channel = channel }

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
        return HTTPServer(channel: try await bootstrap(group, routes).bind(to: address).get())
    }

    static func bind(unixSocket path: String, group: any EventLoopGroup, routes: @escaping HTTPRoutes) async throws -> HTTPServer {
        HTTPServer(channel: try await bootstrap(group, routes).bind(unixDomainSocketPath: path, cleanupExistingSocketFile: true).get())
    }

    func close() async { try? await channel.close().get() }

    private static func bootstrap(_ group: any EventLoopGroup, _ routes: @escaping HTTPRoutes) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 64)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
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
                do { try await routes(request, HTTPResponder(channel: channel)) } catch { try? await channel.close() }
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
