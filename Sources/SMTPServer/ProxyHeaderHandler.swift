// Stands before a `Connection` where a load balancer is expected to say first for whom it speaks (`listen.proxy_protocol`).
// Reads the header, has the connection made for that client, hands on what follows, and is gone. No header in time, or none that is
// right: the connection is closed without a word, for what comes there is no SMTP client of ours.

internal import MailSyntax
internal import NIOCore
internal import SMTP
internal import Telemetry

final class ProxyHeaderHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    /// Postfix `smtpd_upstream_proxy_timeout`.
    private static let timeout = TimeAmount.seconds(5)

    private let proxy: IPAddress?
    private let log: EventLog
    /// Nil: the proxy speaks for itself.
    private let makeConnection: (ProxyHeader.Ends?) -> Connection
    private var input = ByteBuffer()
    private var cutOff: Scheduled<Void>?

    init(proxy: IPAddress?, log: EventLog, makeConnection: @escaping (ProxyHeader.Ends?) -> Connection) {
        self.proxy = proxy
        self.log = log
        self.makeConnection = makeConnection
    }

    func channelActive(context: ChannelHandlerContext) {
        let handler = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        cutOff = context.eventLoop.scheduleTask(in: ProxyHeaderHandler.timeout) {
            let (handler, context) = handler.value
            handler.refuse(context, "no header came in time")
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        input.writeBuffer(&bytes)
        switch input.withUnsafeReadableBytes({ ProxyHeader.parse($0) }) {
        case .needMore: break
        case .wrong(let reason): refuse(context, reason)
        case .header(let header, let length):
            cutOff?.cancel()
            input.moveReaderIndex(forwardBy: length)
            begin(context, header.ends)
        }
    }

    private func begin(_ context: ChannelHandlerContext, _ ends: ProxyHeader.Ends?) {
        let connection = makeConnection(ends)
        do {
            try context.pipeline.syncOperations.addHandler(connection, position: .after(self))
        } catch {
            return context.close(promise: nil)
        }
        // First what came already, for a client that speaks before the greeting is told so; then the greeting. But where TLS comes first,
        // what came is its first word: then TLS has to be there before it.
        let speaksFirst = connection.configuration.tls?.isImplicit == true
        if speaksFirst { context.fireChannelActive() }
        if input.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(input)) }
        input = ByteBuffer()
        if !speaksFirst { context.fireChannelActive() }
        context.pipeline.syncOperations.removeHandler(self, promise: nil)
    }

    private func refuse(_ context: ChannelHandlerContext, _ reason: String) {
        cutOff?.cancel()
        log.record(.messageRejected, by: .smtpd) { [proxy] fields in
            fields.client = Fields.Client(address: proxy?.description)
            fields.reason = "PROXY protocol: \(reason)"
            fields.message = "CONNECT"
        }
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        cutOff?.cancel()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
