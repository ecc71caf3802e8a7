// A server's inside for tests: policy, spool and schedule are real, the clients are tests. What it logs and what it queues
// can be looked at.

import DNS
import Glibc
import MailQueue
import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import NIOPosix
import Policy
import Routing
import SMTP
import Telemetry
import Testing

@testable import SMTPServer

/// Nobody delivers: what was accepted stays in the spool, where a test finds it.
private struct IdleAgent: DeliveryAgent {
    func deliver(_ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void) async {
        for request in batch {
            for recipient in request.recipients {
                report(DeliveryReport(id: request.id, recipient: recipient, outcome: .deferred(Reply(451, EnhancedCode(4, 4, 0), "not now")), relay: "none"))
            }
        }
    }
}

final class Station: Sendable {
    let directory: String
    let configuration: SMTPService.Configuration
    let service: SMTPService
    let scheduler: DeliveryScheduler
    let group = MultiThreadedEventLoopGroup.singleton
    private let log: EventLog
    private let logFile: CInt
    private let threads = NIOThreadPool(numberOfThreads: 2)

    init(
        messageSize: Int = 1_000_000, recipients: Int = 3, connections: Int = 2, limits: SMTPService.ClientLimits = SMTPService.ClientLimits(),
        shortage: SMTPService.Shortage? = nil, resolver: (any NameService)? = nil
    ) throws {
        var template = Array("/tmp/valija-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        logFile = open(directory + "/log", O_CREAT | O_RDWR, 0o600)
        log = EventLog(level: .debug, descriptor: logFile) { "t" }
        threads.start()
        let origin = Domain("example.org")!
        let router = Router(
            Router.Configuration(
                manifest: "mail.yaml", origin: origin, domains: [Router.MailDomain(origin, line: 3)],
                users: [Router.User("alice", line: 5), Router.User("bob", line: 6)],
                aliases: [Router.Entry("both", line: 8, targets: [.name("alice"), .name("bob")])]))
        let policy = AccessPolicy(
            AccessPolicy.Configuration(manifest: "mail.yaml", networks: [try Network(parsing: "192.0.2.0/24")], networksLine: 9), router: router)
        scheduler = DeliveryScheduler(
            spool: try Spool(directory: directory + "/spool", owner: "test"), mailboxes: IdleAgent(), nextHops: IdleAgent(),
            configuration: DeliveryScheduler.Configuration(
                hostname: Domain("mx.example.org")!, origin: Domain("example.org")!,
                schedule: RetrySchedule(minimum: .seconds(3600), maximum: .seconds(3600), lifetime: .seconds(86_400), bounceLifetime: .seconds(86_400)),
                place: { _, _ in .mailboxes }, route: { _ in [] }),
            log: log, loop: group.next(), now: Timestamp.now, chance: { 0 })
        configuration = SMTPService.Configuration(
            session: ServerSession.Configuration(
                hostname: Domain("mx.example.org")!, origin: origin, messageSizeLimit: messageSize, recipientLimit: recipients),
            policy: policy, connectionsPerClient: connections,
            rules: SMTPService.Rules(messageSize: "rule of size", recipients: "rule of recipients", connections: "rule of connections"),
            limits: limits)
        service = SMTPService(
            queue: scheduler, log: log, threads: threads, now: Timestamp.now, shortage: { _ in shortage }, resolver: resolver)
    }

    /// Runs `body` with a station, and clears away.
    static func with<Result>(_ station: Station, _ body: (Station) async throws -> Result) async throws -> Result {
        let result: Swift.Result<Result, any Error>
        do { result = .success(try await body(station)) } catch { result = .failure(error) }
        await station.scheduler.stop(grace: .zero)
        await station.scheduler.spool.close()
        try await station.threads.shutdownGracefully()
        station.log.close()
        close(station.logFile)
        removeTree(station.directory)
        return try result.get()
    }

    func client(_ address: String? = "203.0.113.9") async throws -> Client { try await Client(self, address) }

    /// A listener of loopback that takes connections.
    func listen(port: UInt16) async throws -> Listener {
        let listener = try await Listener.bind(
            Endpoint(address: IPAddress("127.0.0.1")!, port: port), service: service, configuration: configuration, group: group)
        try await listener.takeConnections()
        return listener
    }

    /// Another configuration, which the station itself does not go by: for `apply`.
    func otherConfiguration(messageSize: Int, alias: String) -> SMTPService.Configuration {
        let origin = Domain("example.org")!
        let router = Router(
            Router.Configuration(
                manifest: "mail.yaml", origin: origin, domains: [Router.MailDomain(origin, line: 3)], users: [Router.User("alice", line: 5)],
                aliases: [Router.Entry(alias, line: 8, targets: [.name("alice")])]))
        return SMTPService.Configuration(
            session: ServerSession.Configuration(
                hostname: Domain("mx.example.org")!, origin: origin, messageSizeLimit: messageSize, recipientLimit: 3),
            policy: AccessPolicy(AccessPolicy.Configuration(manifest: "mail.yaml", networks: []), router: router), connectionsPerClient: 2,
            rules: SMTPService.Rules(messageSize: "other rule of size", recipients: "other rule of recipients", connections: "other rule of connections"))
    }

    /// The log's lines so far of that event, as they are written.
    func logged(_ event: Event) -> [String] {
        let size = lseek(logFile, 0, SEEK_END)
        var bytes = [UInt8](repeating: 0, count: Int(size))
        _ = pread(logFile, &bytes, bytes.count, 0)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init).filter { $0.contains("\"event\":\"\(event.rawValue)\"") }
    }

    func waitForLog(_ event: Event, count: Int = 1) async throws -> [String] {
        try await eventually("\(count) of \(event)") { self.logged(event).count >= count }
        return logged(event)
    }

    var queued: [StoredMessage] { get async throws { try await scheduler.list(after: QueueID(rawValue: -1), limit: 100) } }

    var bodyFiles: [String] { entries(directory + "/spool/large") }
}

private func entries(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
        if name != ".", name != ".." { names.append(name) }
    }
    return names
}

private func removeTree(_ path: String) {
    for name in entries(path) { removeTree("\(path)/\(name)") }
    remove(path)
}

func readFile(_ path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { text += chunk[..<count] }
    return String(decoding: text, as: UTF8.self)
}

/// Waits for what other threads bring about.
func eventually(_ what: String, _ condition: () async throws -> Bool) async throws {
    for _ in 0..<20_000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(1))
    }
    Issue.record("waited in vain for \(what)")
    throw CancellationError()
}

/// A client of one connection, on an event loop whose time stands still unless the test moves it.
final class Client: Sendable {
    let channel: NIOAsyncTestingChannel
    private let peer = Peer()
    private let roster: NIOLoopBoundBox<Roster?>
    private let heard = NIOLockedValueBox("")

    fileprivate init(_ station: Station, _ address: String?) async throws {
        let client = ClientFacts(address: address.flatMap { IPAddress($0) }, isLocalProcess: address == nil)
        let (peer, service, configuration, loop) = (peer, station.service, station.configuration, NIOAsyncTestingEventLoop())
        let roster = NIOLoopBoundBox<Roster?>.makeBoxSendingValue(nil, eventLoop: loop)
        self.roster = roster
        channel = try await NIOAsyncTestingChannel(loop: loop) { channel in
            let mine = Roster(configuration)
            roster.value = mine
            try channel.pipeline.syncOperations.addHandlers([peer, Connection(service: service, client: client, roster: mine)])
        }
        try await channel.connect(to: SocketAddress(ipAddress: "127.0.0.1", port: 25)).get()
    }

    /// Sends, as one read.
    func say(_ text: String) async throws {
        try await channel.writeInbound(ByteBuffer(string: text))
        await channel.testingEventLoop.run()  // what the connection put off to the loop's next turn
    }

    /// Everything that was said to the client until now, once it ends with a final reply line that begins so.
    @discardableResult
    func hear(_ beginning: String) async throws -> String {
        try await eventually("\(beginning), heard \(heard.withLockedValue { $0 })") {
            await channel.testingEventLoop.run()
            while let output = try await channel.readOutbound(as: ByteBuffer.self) { heard.withLockedValue { $0 += String(buffer: output) } }
            return heard.withLockedValue { $0.split(separator: "\r\n").last?.hasPrefix(beginning) ?? false }
        }
        return heard.withLockedValue { text in
            defer { text = "" }
            return text
        }
    }

    func ask(_ text: String, _ beginning: String) async throws {
        try await say(text + "\r\n")
        try await hear(beginning)
    }

    /// As far as the 354 of DATA.
    func begin(to recipients: String...) async throws {
        try await hear("220 ")
        try await ask("EHLO client.example.net", "250 ")
        try await ask("MAIL FROM:<sender@example.net>", "250 2.1.0")
        for recipient in recipients { try await ask("RCPT TO:\(recipient)", "250 2.1.5") }
        try await ask("DATA", "354")
    }

    func hangUp() async throws { try? await channel.close().get() }

    /// Sends, and asks for more in the same breath, as the event loop does.
    func sayAndRead(_ text: String) async throws {
        let channel = channel
        try await channel.testingEventLoop.executeInContext {
            channel.pipeline.syncOperations.fireChannelRead(NIOAny(ByteBuffer(string: text)))
            channel.pipeline.syncOperations.fireChannelReadComplete()
            channel.pipeline.syncOperations.read()
        }
        await channel.testingEventLoop.run()
    }

    func read() { channel.read() }

    /// Lets time pass, and has the listener look for idle connections.
    func wait(_ time: TimeAmount) async throws {
        let (loop, roster) = (channel.testingEventLoop, roster)
        await loop.advanceTime(by: time)
        try await loop.executeInContext { roster.value?.checkIdleTimes(loop.now) }
    }

    /// As a reload does.
    func apply(_ configuration: SMTPService.Configuration) async throws {
        let roster = roster
        try await channel.testingEventLoop.executeInContext { roster.value?.configuration = configuration }
    }

    /// As the listener does when the appliance stops.
    func shutDown() async throws {
        let (loop, roster) = (channel.testingEventLoop, roster)
        try await loop.executeInContext { _ = roster.value?.close(grace: .hours(1), on: loop) }
    }
    var reads: Int { peer.reads.withLockedValue { $0 } }
    func stall() { peer.isStalled.withLockedValue { $0 = true } }
    var isClosed: Bool { !channel.isActive }
}

/// Stands where the socket is: counts what is asked of it, and may take no output.
private final class Peer: ChannelOutboundHandler, Sendable {
    typealias OutboundIn = ByteBuffer
    let reads = NIOLockedValueBox(0)
    let isStalled = NIOLockedValueBox(false)

    func read(context: ChannelHandlerContext) {
        reads.withLockedValue { $0 += 1 }
        context.read()
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // What is not written is dropped, and its promise kept until the channel closes.
        guard isStalled.withLockedValue({ $0 }) else { return context.write(data, promise: promise) }
        if let promise { context.channel.closeFuture.whenComplete { _ in promise.fail(ChannelError.ioOnClosedChannel) } }
    }
}
