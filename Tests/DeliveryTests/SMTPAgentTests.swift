import DNS
import MailQueue
import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import NIOPosix
import SMTP
import Testing

@testable import Delivery

/// What was reported, in short: `1/0 delivered 250 2.0.0 taken`.
final class Reports: Sendable {
    private let box = NIOLockedValueBox<[(line: String, relay: String)]>([])

    func add(_ report: DeliveryReport) {
        let text =
            switch report.outcome {
            case .delivered(let reply, let passesOnDSN): "delivered\(passesOnDSN ? " with DSN" : "") \(reply.summary)"
            case .resubmitted: "resubmitted"
            case .deferred(let reply): "deferred \(reply.summary)"
            case .failed(let reply): "failed \(reply.summary)"
            }
        box.withLockedValue { $0.append(("\(report.id)/\(report.recipient.number) \(text)", report.relay)) }
    }

    /// Sorted: the order between recipients is of no meaning.
    var lines: [String] { box.withLockedValue { $0.map(\.line) }.sorted() }
    var relays: Set<String> { Set(box.withLockedValue { $0.map(\.relay) }) }
}

@Suite("SMTP agent")
struct SMTPAgentTests {
    static let names = NameTable(hosts: [
        Domain("peer.example")!: .found([IPAddress("127.0.0.1")!]),
        Domain("down.example")!: .failure(reason: "SERVFAIL"),
    ])

    func agent(_ names: NameTable = names, change: (inout SMTPAgent.Limits) -> Void = { _ in }) -> SMTPAgent {
        var limits = SMTPAgent.Limits()
        change(&limits)
        return SMTPAgent(
            configuration: SMTPAgent.Configuration(hostname: Domain("me.example")!, limits: limits), resolver: names,
            group: .singletonMultiThreadedEventLoopGroup, threadPool: .singleton)
    }

    func request(
        _ id: Int64, to recipients: [String] = ["b@you.example"], content: MessageContent = .inline(ByteBuffer(string: "Subject: x\r\n\r\nx\r\n"))
    ) -> DeliveryRequest {
        DeliveryRequest(
            id: QueueID(rawValue: id), sender: Address("a@me.example"), body: .sevenBit, isInternationalized: false,
            returnContent: nil, envelopeID: nil, received: Timestamp(seconds: 0), content: content,
            recipients: recipients.enumerated().map { number, text in
                let address = Address(text)!
                return QueuedRecipient(number: number, original: address, target: .remote(address), notify: .unspecified, originalRecipient: nil)
            })
    }

    func deliver(_ batch: [DeliveryRequest], to hop: NextHop, by agent: SMTPAgent? = nil) async -> Reports {
        let reports = Reports()
        await (agent ?? self.agent()).deliver(batch, to: .nextHop(hop)) { reports.add($0) }
        return reports
    }

    // MARK: Servers of all kinds

    @Test(
        "a message reaches every kind of server",
        arguments: [["PIPELINING", "SIZE", "8BITMIME"], ["SIZE 100000"], [], nil] as [[String]?])
    func delivers(extensions: [String]?) async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: extensions) }
        let reports = await deliver([request(1), request(2)], to: peer.hop)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken", "2/0 delivered 250 2.0.0 taken"])
        #expect(reports.relays == [peer.relay])
        #expect(peer.heard.contents == ["Subject: x\r\n\r\nx\r\n", "Subject: x\r\n\r\nx\r\n"])
        #expect(peer.heard.connections == 1)
        #expect(peer.heard.commands.first == "EHLO me.example")
        #expect(peer.heard.commands.contains("HELO me.example") == (extensions == nil))
    }

    @Test("with PIPELINING, the commands of a message come in one write")
    func pipelining() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        _ = await deliver([request(1, to: ["b@you.example", "c@you.example"])], to: peer.hop)
        #expect(peer.heard.reads.contains("MAIL FROM:<a@me.example>\r\nRCPT TO:<b@you.example>\r\nRCPT TO:<c@you.example>\r\nDATA\r\n"))
    }

    @Test("each recipient gets the reply that is its own", arguments: [["PIPELINING"], []])
    func mixedReplies(extensions: [String]) async throws {
        let peer = try await ScriptedPeer { _, event in
            switch event {
            case .command("RCPT TO:<bad@you.example>"): .reply("550 5.1.1 nobody")
            case .command("RCPT TO:<full@you.example>"): .reply("452 4.2.2 full")
            default: ScriptedPeer.reply(to: event, offering: extensions)
            }
        }
        let reports = await deliver([request(1, to: ["bad@you.example", "b@you.example", "full@you.example"])], to: peer.hop)
        #expect(reports.lines == ["1/0 failed 550 5.1.1 nobody", "1/1 delivered 250 2.0.0 taken", "1/2 deferred 452 4.2.2 full"])
    }

    @Test("a batch goes on after a message that nobody wanted", arguments: [["PIPELINING"], []])
    func refusedThenTaken(extensions: [String]) async throws {
        let peer = try await ScriptedPeer { _, event in
            event == .command("RCPT TO:<bad@you.example>")
                ? .reply("550 5.1.1 nobody") : ScriptedPeer.reply(to: event, offering: extensions)
        }
        let reports = await deliver([request(1, to: ["bad@you.example"]), request(2)], to: peer.hop)
        #expect(reports.lines == ["1/0 failed 550 5.1.1 nobody", "2/0 delivered 250 2.0.0 taken"])
        #expect(peer.heard.connections == 1)
    }

    @Test("more than 50 recipients go in several transactions, each reported once")
    func manyRecipients() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        let reports = await deliver([request(1, to: (0..<250).map { "r\($0)@you.example" })], to: peer.hop)
        #expect(Set(reports.lines).count == 250)
        #expect(reports.lines.count == 250)
        #expect(peer.heard.contents.count == 5)
    }

    // MARK: Content

    @Test("content with dots at the beginning of lines arrives as it was", arguments: [false, true])
    func dots(fromFile: Bool) async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        let text = "Subject: dots\r\n\r\n.\r\n..\r\n.a\r\nb.\r\n.\r\n"
        let file = try TemporaryFile(text)
        let content: MessageContent = fromFile ? .file(path: file.path, size: text.utf8.count) : .inline(ByteBuffer(string: text))
        let reports = await deliver([request(1, content: content)], to: peer.hop)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(peer.heard.contents == [text])
    }

    @Test("a large file is streamed whole")
    func largeFile() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["SIZE", "8BITMIME"]) }
        let text = "Subject: large\r\n\r\n" + String(repeating: ".line of a large message, \u{E9}\r\n", count: 20_000)
        let file = try TemporaryFile(text)
        let reports = await deliver([request(1, content: .file(path: file.path, size: text.utf8.count))], to: peer.hop)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(peer.heard.contents == [text])
        #expect(peer.heard.commands.contains("MAIL FROM:<a@me.example> SIZE=\(text.utf8.count) BODY=8BITMIME"))
    }

    @Test("a file that cannot be read defers its message and no other")
    func missingFile() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let reports = await deliver([request(1, content: .file(path: "/nonexistent/1", size: 10)), request(2)], to: peer.hop)
        #expect(
            reports.lines == [
                "1/0 deferred 451 4.3.0 the message could not be read: No such file or directory", "2/0 delivered 250 2.0.0 taken",
            ])
    }

    @Test("8-bit content becomes 7-bit for a server without 8BITMIME, from memory and from a file", arguments: [false, true])
    func sevenBit(fromFile: Bool) async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let text = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n" + String(repeating: ".\u{E9}\r\n", count: 20_000)
        let file = try TemporaryFile(text)
        let content: MessageContent = fromFile ? .file(path: file.path, size: text.utf8.count) : .inline(ByteBuffer(string: text))
        let reports = await deliver([request(1, content: content)], to: peer.hop)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(
            peer.heard.contents == [
                "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
                    + String(repeating: ".=C3=A9\r\n", count: 20_000)
            ])
    }

    @Test("what cannot become 7-bit is not sent to a server without 8BITMIME")
    func eightBitHeader() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let reports = await deliver([request(1, content: .inline(ByteBuffer(string: "Subject: \u{E9}\r\n\r\n\u{E9}\r\n")))], to: peer.hop)
        #expect(reports.lines == ["1/0 failed 554 5.6.3 8-bit content, but 8BITMIME was not offered by host 127.0.0.1[127.0.0.1]"])
    }

    // MARK: Connections

    @Test("a batch that comes soon after another keeps its connection for the next; one alone leaves it at once, with QUIT", .timeLimit(.minutes(1)))
    func reuse() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        let agent = agent { $0.idle = .seconds(600) }
        for id: Int64 in 1...5 {
            let reports = await deliver([request(id)], to: peer.hop, by: agent)
            #expect(reports.lines == ["\(id)/0 delivered 250 2.0.0 taken"])
        }
        #expect(peer.heard.connections == 2)
        #expect(peer.heard.contents.count == 5)
        await agent.close(within: .seconds(600))
        while peer.heard.commands.filter({ $0 == "QUIT" }).count < 2 { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test("who stops does not wait for the answer to QUIT longer than it may", .timeLimit(.minutes(1)))
    func farewell() async throws {
        let peer = try await ScriptedPeer { $1 == .command("QUIT") ? .silence : ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        let agent = agent()
        for id: Int64 in 1...2 { _ = await deliver([request(id)], to: peer.hop, by: agent) }
        await agent.close(within: .milliseconds(10))
        while peer.heard.commands.last != "QUIT" { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test("an idle connection that the server closed is replaced, and the message not deferred", arguments: [true, false])
    func staleConnection(politely: Bool) async throws {
        let mails = NIOLockedValueBox(0)
        let peer = try await ScriptedPeer { _, event in
            if case .command(let line) = event, line.hasPrefix("MAIL"), mails.withLockedValue({ $0 += 1; return $0 == 3 }) {
                return politely ? .replyAndClose("421 4.4.2 idle too long") : .close
            }
            return ScriptedPeer.reply(to: event, offering: [])
        }
        let agent = agent()
        for id: Int64 in 1...2 { _ = await deliver([request(id)], to: peer.hop, by: agent) }
        let reports = await deliver([request(3)], to: peer.hop, by: agent)
        #expect(reports.lines == ["3/0 delivered 250 2.0.0 taken"])
        #expect(peer.heard.connections == 3)
    }

    @Test("a connection carries no more messages than its limit")
    func messagesPerConnection() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: ["PIPELINING"]) }
        let reports = await deliver((1...5).map { request($0) }, to: peer.hop, by: agent { $0.messagesPerConnection = 2 })
        #expect(reports.lines.count == 5)
        #expect(reports.lines.allSatisfy { $0.hasSuffix("delivered 250 2.0.0 taken") })
        #expect(peer.heard.connections == 3)
    }

    @Test("an idle connection is left with QUIT after a while", .timeLimit(.minutes(1)))
    func idleEnds() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let agent = agent { $0.idle = .milliseconds(1) }
        // What is done first is kept for the other, and that too, as it was not alone.
        async let one = deliver([request(1)], to: peer.hop, by: agent)
        async let other = deliver([request(2)], to: peer.hop, by: agent)
        _ = await (one, other)
        while peer.heard.commands.filter({ $0 == "QUIT" }).count < peer.heard.connections { try await Task.sleep(for: .milliseconds(1)) }
    }

    // MARK: Trouble

    @Test("421 amid a message defers it, and the rest goes over a new connection")
    func shutdownAmid() async throws {
        let peer = try await ScriptedPeer { connection, event in
            if connection == 1, case .command(let line) = event, line.hasPrefix("RCPT") { return .replyAndClose("421 4.3.2 shutting down") }
            return ScriptedPeer.reply(to: event, offering: [])
        }
        let reports = await deliver([request(1, to: ["b@you.example", "c@you.example"]), request(2)], to: peer.hop)
        #expect(
            reports.lines == [
                "1/0 deferred 421 4.3.2 shutting down", "1/1 deferred 421 4.3.2 shutting down", "2/0 delivered 250 2.0.0 taken",
            ])
        #expect(peer.heard.connections == 2)
    }

    @Test("a connection lost in the content defers the message", arguments: [false, true])
    func lostInContent(fromFile: Bool) async throws {
        let peer = try await ScriptedPeer { _, event in
            event == .command("DATA") ? .closeInContent : ScriptedPeer.reply(to: event, offering: ["PIPELINING"])
        }
        let text = String(repeating: "line\r\n", count: 1_000_000)
        let file = try TemporaryFile(text)
        let reports = await deliver(
            [request(1, content: fromFile ? .file(path: file.path, size: text.utf8.count) : .inline(ByteBuffer(string: text)))], to: peer.hop)
        #expect(reports.lines.count == 1)
        #expect(reports.lines[0].hasPrefix("1/0 deferred 451 4.4.2 lost connection with 127.0.0.1[127.0.0.1] while sending"))
    }

    @Test("a server that takes STARTTLS and says no more gets mail in clear long before the time for EHLO is over", .timeLimit(.minutes(1)))
    func silentHandshake() async throws {
        let peer = try await ScriptedPeer { connection, event in
            if event == .command("STARTTLS") { return .reply("220 2.0.0 go ahead") }
            if connection == 1, case .command(let line) = event, !line.hasPrefix("EHLO") { return .silence }
            return ScriptedPeer.reply(to: event, offering: ["STARTTLS"])
        }
        var configuration = SMTPAgent.Configuration(hostname: Domain("me.example")!)
        configuration.limits.dispensableHandshake = .milliseconds(50)
        configuration.tls = TLSPolicy(level: .may)
        configuration.contexts = try TLSContexts(trustStore: nil)
        let agent = SMTPAgent(
            configuration: configuration, resolver: Self.names, group: .singletonMultiThreadedEventLoopGroup, threadPool: .singleton)
        let reports = await deliver([request(1)], to: peer.hop, by: agent)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(peer.heard.connections == 2)
    }

    @Test("a server that does not answer in time defers the message", arguments: ["greeting", "EHLO", "MAIL", "DATA", "dot"])
    func slow(phase: String) async throws {
        let peer = try await ScriptedPeer { _, event in
            switch event {
            case .connected where phase == "greeting", .content where phase == "dot": .silence
            case .command(let line) where line.hasPrefix(phase): .silence
            default: ScriptedPeer.reply(to: event, offering: [])
            }
        }
        let short = agent {
            $0.timeouts.greeting = .milliseconds(50)
            $0.timeouts.hello = .milliseconds(50)
            $0.timeouts.mail = .milliseconds(50)
            $0.timeouts.data = .milliseconds(50)
            $0.timeouts.endOfData = .milliseconds(50)
        }
        let reports = await deliver([request(1), request(2)], to: peer.hop, by: short)
        #expect(reports.lines.count == 2)
        for line in reports.lines { #expect(line.contains("deferred 451 4.4.2 conversation with 127.0.0.1[127.0.0.1] timed out while")) }
    }

    @Test("nobody at the port: deferred, and said how")
    func refused() async throws {
        let peer = try await ScriptedPeer { _, _ in .silence }
        try await peer.stop()
        let reports = await deliver([request(1)], to: peer.hop)
        #expect(reports.lines == ["1/0 deferred 451 4.4.1 connect to \(peer.relay): Connection refused"])
        #expect(reports.relays == [peer.relay])
    }

    @Test("a connection that is not answered is reported as Postfix reports it")
    func connectTimeout() {
        let target = Target(host: "mx.example.net", address: IPAddress("192.0.2.1")!, port: 25)
        #expect(
            SMTPAgent.connectFailure(target, ChannelError.connectTimeout(.seconds(30))).summary
                == "451 4.4.1 connect to mx.example.net[192.0.2.1]:25: Connection timed out")
    }

    @Test("a server that speaks something else")
    func garbage() async throws {
        let peer = try await ScriptedPeer { _, _ in .reply("HTTP/1.1 400 Bad Request") }
        let reports = await deliver([request(1)], to: peer.hop)
        #expect(reports.lines.count == 1)
        #expect(reports.lines[0].hasPrefix("1/0 deferred 451 4.5.0 protocol error: host 127.0.0.1[127.0.0.1] sent"))
    }

    @Test("a cancelled delivery ends, and reports what it left")
    func cancelled() async throws {
        let begun = AsyncStream.makeStream(of: Void.self)
        let peer = try await ScriptedPeer { _, event in
            if case .content = event {
                begun.continuation.yield()
                return .silence
            }
            return ScriptedPeer.reply(to: event, offering: [])
        }
        let reports = Reports()
        let agent = agent { $0.grace = .milliseconds(10) }
        let batch = [request(1), request(2)]
        let task = Task { await agent.deliver(batch, to: .nextHop(peer.hop)) { reports.add($0) } }
        for await _ in begun.stream { break }
        task.cancel()
        await task.value
        let stopped = "deferred 451 4.3.2 delivery was stopped: the server is shutting down"
        #expect(reports.lines == ["1/0 \(stopped)", "2/0 \(stopped)"])
    }

    @Test("cancelled before it began, a delivery reports all as deferred")
    func cancelledBefore() async throws {
        let peer = try await ScriptedPeer { _, _ in .silence }
        let reports = Reports()
        let agent = agent()
        let batch = [request(1)]
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            await agent.deliver(batch, to: .nextHop(peer.hop)) { reports.add($0) }
        }
        await task.value
        #expect(reports.lines == ["1/0 deferred 451 4.3.2 delivery was stopped: the server is shutting down"])
    }

    // MARK: Names

    @Test(
        "the next exchanger is tried where one is down or does not want us",
        arguments: [nil, "554 5.7.1 go away", "521 no mail here", "421 busy", "nonsense"] as [String?])
    func nextExchanger(greeting: String?) async throws {
        let second = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let first = try await ScriptedPeer(host: "127.0.0.2", port: second.port) { _, _ in .replyAndClose(greeting ?? "") }
        if greeting == nil { try await first.stop() }
        let names = NameTable(
            hosts: [Domain("one.example")!: .found([IPAddress("127.0.0.2")!]), Domain("two.example")!: .found([IPAddress("127.0.0.1")!])],
            exchangers: [
                Domain("you.example")!: .found(
                    .hosts([
                        MailExchanger(preference: 20, host: Domain("two.example")!), MailExchanger(preference: 10, host: Domain("one.example")!),
                    ]))
            ])
        let reports = await deliver([request(1)], to: NextHop("you.example:\(second.port)")!, by: agent(names))
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(reports.relays == ["two.example[127.0.0.1]:\(second.port)"])
        #expect(first.heard.connections == (greeting == nil ? 0 : 1))
    }

    @Test("a host name in brackets is looked up")
    func hostName() async throws {
        let peer = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let reports = await deliver([request(1)], to: NextHop("[peer.example]:\(peer.port)")!)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(reports.relays == ["peer.example[127.0.0.1]:\(peer.port)"])
    }

    @Test("a name that cannot be found is reported without a relay")
    func unknownHost() async {
        let reports = await deliver([request(1)], to: NextHop("[missing.example]")!)
        #expect(reports.lines == ["1/0 failed 550 5.4.4 host missing.example not found"])
        #expect(reports.relays == ["none"])
    }
}
