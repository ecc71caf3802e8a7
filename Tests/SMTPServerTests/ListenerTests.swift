// Listeners on real sockets: who may connect, and how they end.

import Glibc
import MailSyntax
import NIOCore
import NIOPosix
import Testing

@testable import SMTPServer

/// What a connection hears until its end.
private final class Listening: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var heard = ""
    private let ended: EventLoopPromise<String>

    init(_ ended: EventLoopPromise<String>) { self.ended = ended }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { heard += String(buffer: unwrapInboundIn(data)) }
    func channelInactive(context: ChannelHandlerContext) { ended.succeed(heard) }
    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

private func connect(_ address: SocketAddress) async throws -> (channel: any Channel, ended: EventLoopFuture<String>) {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let ended = loop.makePromise(of: String.self)
    do {
        let channel = try await ClientBootstrap(group: loop).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(Listening(ended)) }
        }.connect(to: address).get()
        return (channel, ended.futureResult)
    } catch {
        ended.fail(error)
        throw error
    }
}

@Test("closing tells open sessions 421, waits for them, and takes no more")
func listenerCloses() async throws {
    try await Station.with(try Station(connections: 10)) { station in
        let listener = try await station.listen(port: 0)
        let address = try #require(listener.address)
        let sessions = [try await connect(address), try await connect(address)]
        try await eventually("two sessions") { station.service.sessionCount == 2 }
        await listener.close(grace: .seconds(60))
        for session in sessions {
            let heard = try await session.ended.get()
            #expect(heard.hasPrefix("220 ") && heard.contains("\r\n421 4.3.2 "), "\(heard)")
        }
        #expect(station.service.sessionCount == 0)
        await #expect(throws: (any Error).self) { try await connect(address) }
    }
}

@Test("many listeners that let the system choose their ports, at the same time and beside connections of others, all get one")
func chosenPorts() async throws {
    try await Station.with(try Station()) { station in
        for _ in 0..<20 {
            let listeners = try await withThrowingTaskGroup(of: Listener.self) { group in
                for _ in 0..<100 { group.addTask { try await station.listen(port: 0) } }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(Set(listeners.compactMap { $0.address?.port }).count == listeners.count)
            for listener in listeners { await listener.close(grace: .zero) }
        }
    }
}

@Test("a session that does not end within the grace is cut off")
func graceEnds() async throws {
    try await Station.with(try Station()) { station in
        let listener = try await station.listen(port: 0)
        let session = try await connect(try #require(listener.address))
        try await eventually("a session") { station.service.sessionCount == 1 }
        try await session.channel.writeAndFlush(
            ByteBuffer(string: "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<alice@example.org>\r\nDATA\r\nSubject: half"))
        try await eventually("the message's beginning") { station.service.sessionCount == 1 }
        await listener.close(grace: .milliseconds(1))
        _ = try await session.ended.get()
        #expect(station.service.sessionCount == 0)
        #expect(try await station.queued.isEmpty)
    }
}

@Test("the appliance's own socket is its owner's alone, replaces what a killed process left, and its clients may relay")
func unixSocket() async throws {
    try await Station.with(try Station()) { station in
        let path = station.directory + "/smtp.sock"
        for _ in 0..<2 {  // the second time over the first one's file
            let listener = try await Listener.bind(
                unixSocket: path, service: station.service, configuration: station.configuration, group: station.group)
            try await listener.takeConnections()
            var status = stat()
            #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
            let session = try await connect(try SocketAddress(unixDomainSocketPath: path))
            try await session.channel.writeAndFlush(ByteBuffer(string: "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<someone@elsewhere.example>\r\nQUIT\r\n"))
            let heard = try await session.ended.get()
            #expect(heard.contains("250 2.1.5 Ok\r\n221 2.0.0 Bye\r\n"), "\(heard)")
            await listener.close(grace: .zero)
        }
    }
}

@Test("a listener that stops listening keeps its sessions, and what comes into force reaches them")
func stopListening() async throws {
    try await Station.with(try Station(connections: 10)) { station in
        let listener = try await station.listen(port: 0)
        let address = try #require(listener.address)
        let session = try await connect(address)
        try await eventually("a session") { station.service.sessionCount == 1 }
        await listener.stopListening()
        // Refused; on a busy machine another process may have been given the port meanwhile.
        if let late = try? await connect(address) {
            late.channel.close(promise: nil)
            #expect(try await !late.ended.get().hasPrefix("220 mx.example.org"))
        }
        #expect(station.service.sessionCount == 1)
        #expect(await listener.hasConnections)
        await listener.apply(station.otherConfiguration(messageSize: 12_345, alias: "new"))
        try await session.channel.writeAndFlush(ByteBuffer(string: "EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<new@example.org>\r\nQUIT\r\n"))
        let heard = try await session.ended.get()
        #expect(heard.contains("250-SIZE 12345\r\n") && heard.contains("250 2.1.5 Ok\r\n221 2.0.0 Bye\r\n"), "\(heard)")
        try await eventually("no connection") { await !listener.hasConnections }
        await listener.close(grace: .zero)
    }
}

@Test("a bound listener keeps its clients waiting until it takes connections")
func takesConnections() async throws {
    try await Station.with(try Station(connections: 10)) { station in
        let listener = try await Listener.bind(
            Endpoint(address: IPAddress("127.0.0.1")!, port: 0), service: station.service, configuration: station.configuration, group: station.group)
        let session = try await connect(try #require(listener.address))
        #expect(station.service.sessionCount == 0)
        await listener.apply(station.otherConfiguration(messageSize: 12_345, alias: "new"))
        try await listener.takeConnections()
        try await session.channel.writeAndFlush(ByteBuffer(string: "EHLO x\r\nQUIT\r\n"))
        let heard = try await session.ended.get()
        #expect(heard.contains("250-SIZE 12345\r\n"), "\(heard)")
        await listener.close(grace: .zero)
    }
}

@Test("listeners of one process may overlap while one takes over from the other")
func overlappingListeners() async throws {
    try await Station.with(try Station(connections: 10)) { station in
        let old = try await station.listen(port: 0)
        let port = UInt16(try #require(old.address?.port))
        let everywhere = Endpoint(address: IPAddress("0.0.0.0")!, port: port)
        await #expect(throws: (any Error).self) {
            try await Listener.bind(everywhere, service: station.service, configuration: station.configuration, group: station.group)
        }
        let new = try await Listener.bind(
            everywhere, service: station.service, configuration: station.configuration, group: station.group, sharing: true)
        try await new.takeConnections()
        await old.stopListening()
        let session = try await connect(try SocketAddress(ipAddress: "127.0.0.1", port: Int(port)))
        try await session.channel.writeAndFlush(ByteBuffer(string: "QUIT\r\n"))
        #expect(try await session.ended.get().hasPrefix("220 "))
        await new.close(grace: .zero)
        await old.close(grace: .zero)
    }
}
