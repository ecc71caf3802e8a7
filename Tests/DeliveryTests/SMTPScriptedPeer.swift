// An SMTP server for tests that says what it is told to say, and remembers what it heard.

import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix

final class ScriptedPeer: Sendable {
    enum Event: Equatable, Sendable {
        case connected
        case command(String)
        /// The whole content, without dot-stuffing and the last dot.
        case content(String)
    }

    enum Response: Sendable {
        case reply(String)
        case silence
        case close
        case replyAndClose(String)
        /// To DATA: 354, and the end of the connection as soon as content comes.
        case closeInContent
    }

    struct Record: Sendable {
        var connections = 0
        /// Each read of a connection, as it came.
        var reads: [String] = []
        var commands: [String] = []
        var contents: [String] = []
    }

    typealias Script = @Sendable (_ connection: Int, Event) -> Response

    private let channel: any Channel
    private let record = NIOLockedValueBox(Record())

    var heard: Record { record.withLockedValue { $0 } }
    let port: UInt16
    var hop: NextHop { NextHop(host: .address(IPAddress("127.0.0.1")!), port: port) }
    var relay: String { "127.0.0.1[127.0.0.1]:\(port)" }

    /// At a loopback address: Linux has all of 127.0.0.0/8. Port 0 is any that is free.
    init(host: String = "127.0.0.1", port wanted: UInt16 = 0, _ script: @escaping Script) async throws {
        let record = record
        channel = try await ServerBootstrap(group: .singletonMultiThreadedEventLoopGroup)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let number = record.withLockedValue {
                        $0.connections += 1
                        return $0.connections
                    }
                    try channel.pipeline.syncOperations.addHandler(PeerHandler(number, record, script))
                }
            }
            .bind(host: host, port: Int(wanted)).get()
        port = UInt16(channel.localAddress!.port!)
    }

    func stop() async throws { try await channel.close().get() }

    /// A server in good order, with these extensions; nil is a server that knows HELO only.
    static func reply(to event: Event, offering extensions: [String]?) -> Response {
        switch event {
        case .connected: return .reply("220 peer.example ESMTP")
        case .content: return .reply("250 2.0.0 taken")
        case .command(let line):
            switch line.prefix(4).uppercased() {
            case "EHLO":
                guard let extensions else { return .reply("502 5.5.1 unknown") }
                let lines = ["peer.example"] + extensions
                return .reply(lines.enumerated().map { "250\($0 == lines.count - 1 ? " " : "-")\($1)" }.joined(separator: "\r\n"))
            case "DATA": return .reply("354 go")
            case "QUIT": return .replyAndClose("221 2.0.0 bye")
            default: return .reply("250 2.1.0 ok")
            }
        }
    }
}

private final class PeerHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let number: Int
    private let record: NIOLockedValueBox<ScriptedPeer.Record>
    private let script: ScriptedPeer.Script
    private var unread: [UInt8] = []
    private var isInContent = false
    private var closesInContent = false

    init(_ number: Int, _ record: NIOLockedValueBox<ScriptedPeer.Record>, _ script: @escaping ScriptedPeer.Script) {
        self.number = number
        self.record = record
        self.script = script
    }

    func channelActive(context: ChannelHandlerContext) { respond(.connected, context) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let buffer = unwrapInboundIn(data)
        record.withLockedValue { $0.reads.append(String(buffer: buffer)) }
        unread += buffer.readableBytesView
        if isInContent, closesInContent { return context.close(promise: nil) }
        while step(context) {}
    }

    private func step(_ context: ChannelHandlerContext) -> Bool {
        if isInContent {
            // No client of these tests sends anything behind the dot before it is answered.
            let isEmpty = unread.elementsEqual(".\r\n".utf8)
            guard isEmpty || unread.suffix(5).elementsEqual("\r\n.\r\n".utf8) else { return false }
            let content = PeerHandler.unstuffed(unread.dropLast(3))
            unread = []
            isInContent = false
            record.withLockedValue { $0.contents.append(content) }
            respond(.content(content), context)
            return true
        }
        guard let lineFeed = unread.firstIndex(of: UInt8(ascii: "\n")), lineFeed > 0 else { return false }
        let end = lineFeed - 1
        let line = String(decoding: unread[..<end], as: UTF8.self)
        unread = Array(unread[(end + 2)...])
        record.withLockedValue { $0.commands.append(line) }
        respond(.command(line), context)
        return true
    }

    private func respond(_ event: ScriptedPeer.Event, _ context: ChannelHandlerContext) {
        switch script(number, event) {
        case .reply(let text):
            if event == .command("DATA"), text.hasPrefix("354") { isInContent = true }
            send(text, context)
        case .silence: break
        case .close: context.close(promise: nil)
        case .replyAndClose(let text):
            send(text, context)
            context.close(promise: nil)
        case .closeInContent:
            isInContent = true
            closesInContent = true
            send("354 go", context)
        }
    }

    private func send(_ text: String, _ context: ChannelHandlerContext) {
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(string: text + "\r\n")), promise: nil)
    }

    private static func unstuffed(_ bytes: ArraySlice<UInt8>) -> String {
        var result: [UInt8] = []
        for line in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            if !result.isEmpty { result.append(UInt8(ascii: "\n")) }
            result += line.first == UInt8(ascii: ".") ? line.dropFirst() : line
        }
        return String(decoding: result, as: UTF8.self)
    }
}
