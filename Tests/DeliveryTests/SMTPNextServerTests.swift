import DNS
import MailQueue
import MailSyntax
import NIOCore
import NIOPosix
import Testing

@testable import Delivery

/// What one server puts off is offered to the next, as Postfix's smtp(8) does it.
@Suite("SMTP agent: the next server")
struct SMTPNextServerTests {
    private let kit = SMTPAgentTests()

    /// Exchangers in the order of their preference, at 127.0.0.2, 127.0.0.3, …
    private static func names(_ count: Int) -> NameTable {
        let hosts = (0..<count).map { Domain("mx\($0).example")! }
        return NameTable(
            hosts: Dictionary(uniqueKeysWithValues: hosts.enumerated().map { ($1, .found([IPAddress("127.0.0.\($0 + 2)")!])) }),
            exchangers: [
                Domain("you.example")!: .found(.hosts(hosts.enumerated().map { MailExchanger(preference: UInt16($0 * 10), host: $1) }))
            ])
    }

    /// Servers at these addresses, all at one port.
    private func servers(_ scripts: [ScriptedPeer.Script]) async throws -> [ScriptedPeer] {
        var peers: [ScriptedPeer] = []
        for (index, script) in scripts.enumerated() {
            peers.append(try await ScriptedPeer(host: "127.0.0.\(index + 2)", port: peers.first?.port ?? 0, script))
        }
        return peers
    }

    private func usual(_ extensions: [String] = []) -> ScriptedPeer.Script { { ScriptedPeer.reply(to: $1, offering: extensions) } }

    /// Answers a command that begins so with this reply.
    private func answering(_ beginning: String, _ reply: String, _ extensions: [String] = []) -> ScriptedPeer.Script {
        { _, event in
            if case .command(let line) = event, line.hasPrefix(beginning) { return .reply(reply) }
            if case .content = event, beginning == "." { return .reply(reply) }
            return ScriptedPeer.reply(to: event, offering: extensions)
        }
    }

    private func agent(_ count: Int, fallbacks: [NextHop] = [], change: (inout SMTPAgent.Limits) -> Void = { _ in }) -> SMTPAgent {
        var limits = SMTPAgent.Limits()
        change(&limits)
        return SMTPAgent(
            configuration: SMTPAgent.Configuration(hostname: Domain("me.example")!, limits: limits, fallbacks: fallbacks), resolver: Self.names(count),
            group: .singletonMultiThreadedEventLoopGroup, threadPool: .singleton)
    }

    @Test("a recipient that is put off is offered to the next server, and no other is", arguments: [["PIPELINING"], []])
    func recipient(extensions: [String]) async throws {
        let peers = try await servers([answering("RCPT TO:<late@", "450 4.2.0 later", extensions), usual(extensions)])
        let batch = [kit.request(1, to: ["late@you.example", "b@you.example"])]
        let reports = await kit.deliver(batch, to: NextHop("you.example:\(peers[0].port)")!, by: agent(2))
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken", "1/1 delivered 250 2.0.0 taken"])
        #expect(reports.relays == ["mx0.example[127.0.0.2]:\(peers[0].port)", "mx1.example[127.0.0.3]:\(peers[0].port)"])
        #expect(peers[1].heard.commands.filter { $0.hasPrefix("RCPT") } == ["RCPT TO:<late@you.example>"])
    }

    @Test("a message that is put off at any command is offered to the next server", arguments: ["MAIL", "RCPT", "DATA", "."])
    func message(command: String) async throws {
        let peers = try await servers([answering(command, "451 4.7.1 greylisted"), usual()])
        let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent(2))
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(reports.relays == ["mx1.example[127.0.0.3]:\(peers[0].port)"])
    }

    @Test("what is refused for good is offered to nobody else", arguments: ["MAIL", "RCPT", "DATA", "."])
    func refused(command: String) async throws {
        let peers = try await servers([answering(command, "550 5.7.1 no"), usual()])
        let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent(2))
        #expect(reports.lines == ["1/0 failed 550 5.7.1 no"])
        #expect(peers[1].heard.connections == 0)
    }

    @Test("two servers are asked, or as many as the manifest says; the last one's words are reported", arguments: [1, 2, 3])
    func sessions(most: Int) async throws {
        let peers = try await servers((0..<4).map { answering("RCPT", "450 4.2.\($0) later") })
        let agent = agent(4) { $0.sessions = most }
        let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent)
        #expect(reports.lines == ["1/0 deferred 450 4.2.\(most - 1) later"])
        #expect(peers.map { $0.heard.connections } == (0..<4).map { $0 < most ? 1 : 0 })
    }

    @Test("servers that do not even greet are not counted as asked, but as addresses")
    func addresses() async throws {
        let busy: ScriptedPeer.Script = { _, _ in .replyAndClose("421 4.3.2 busy") }
        let peers = try await servers([busy, busy, busy, usual()])
        let hop = NextHop("you.example:\(peers[0].port)")!
        let reports = await kit.deliver([kit.request(1)], to: hop, by: agent(4))
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        let less = await kit.deliver([kit.request(1)], to: hop, by: agent(4) { $0.addresses = 3 })
        #expect(less.lines.allSatisfy { $0.contains("deferred 421 4.3.2") }, "\(less.lines)")
    }

    @Test("where the next server cannot be reached, the first one's words are reported, and the place is not blamed")
    func unreachable() async throws {
        let peers = try await servers([answering("RCPT", "450 4.2.0 later")])
        let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent(2))
        #expect(reports.lines == ["1/0 deferred 450 4.2.0 later"])
        #expect(reports.relays == ["mx0.example[127.0.0.2]:\(peers[0].port)"])
    }

    @Test("over a connection that waited in the pool, it is the same, and the server is not asked twice")
    func idle() async throws {
        let isLate: @Sendable (Int, ScriptedPeer.Event) -> ScriptedPeer.Response = { _, event in
            event == .command("RCPT TO:<late@you.example>") ? .reply("450 4.2.0 later") : ScriptedPeer.reply(to: event, offering: [])
        }
        let peers = try await servers([isLate, usual()])
        let (agent, hop) = (agent(2), NextHop("you.example:\(peers[0].port)")!)
        for id: Int64 in 1...2 { _ = await kit.deliver([kit.request(id)], to: hop, by: agent) }
        let reports = await kit.deliver([kit.request(3, to: ["late@you.example"])], to: hop, by: agent)
        #expect(reports.lines == ["3/0 delivered 250 2.0.0 taken"])
        // The first was for one alone.
        #expect(peers.map { $0.heard.connections } == [2, 1])
        #expect(peers[0].heard.commands.filter { $0 == "RCPT TO:<late@you.example>" }.count == 1)
    }

    @Test("a server that goes away before it may have the message is followed by the next; one that may have it is not")
    func lost() async throws {
        for (event, isOffered) in [(ScriptedPeer.Event.command("DATA"), true), (.content("Subject: x\r\n\r\nx\r\n"), false)] {
            let peers = try await servers([{ $1 == event ? .close : ScriptedPeer.reply(to: $1, offering: []) }, usual()])
            let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent(2))
            #expect(reports.lines.count == 1)
            #expect(reports.lines[0].hasPrefix(isOffered ? "1/0 delivered" : "1/0 deferred 451 4.4.2 lost connection"), "\(reports.lines)")
            #expect(peers[1].heard.connections == (isOffered ? 1 : 0))
            for peer in peers { try await peer.stop() }
        }
    }

    @Test("after the last server of a destination comes the fallback relay, with the limit begun anew")
    func fallback() async throws {
        let peers = try await servers([answering("RCPT", "450 4.2.0 later"), answering("RCPT", "450 4.2.1 later"), usual()])
        let fallback = try await ScriptedPeer { ScriptedPeer.reply(to: $1, offering: []) }
        let agent = agent(3, fallbacks: [fallback.hop])
        let reports = await kit.deliver([kit.request(1)], to: NextHop("you.example:\(peers[0].port)")!, by: agent)
        #expect(reports.lines == ["1/0 delivered 250 2.0.0 taken"])
        #expect(reports.relays == [fallback.relay])
        #expect(peers.map { $0.heard.connections } == [1, 1, 0])
    }

    @Test("of a batch, each message finds its own way")
    func batch() async throws {
        let peers = try await servers([answering("RCPT TO:<late@", "450 4.2.0 later"), usual()])
        let batch = (1...6).map { kit.request($0, to: [$0 % 2 == 0 ? "late@you.example" : "b@you.example"]) }
        let reports = await kit.deliver(batch, to: NextHop("you.example:\(peers[0].port)")!, by: agent(2) { $0.messagesPerConnection = 2 })
        #expect(reports.lines == (1...6).map { "\($0)/0 delivered 250 2.0.0 taken" })
        #expect(peers[0].heard.contents.count == 3)
        #expect(peers[1].heard.contents.count == 3)
    }
}
