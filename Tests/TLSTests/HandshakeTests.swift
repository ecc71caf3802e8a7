// Two TLS handlers that talk to each other: what they agree on, and what becomes of those that do not.

import Glibc
import NIOCore
import NIOEmbedded
import TLS
import Testing

@Suite struct HandshakeTests {
    @Test func aHandshakeSaysWhatWasAgreedAndTextPassesBothWays() throws {
        let conversation = try Conversation()
        try conversation.run()
        #expect(conversation.client.facts?.version == "TLSv1.3")
        #expect(conversation.server.facts?.cipher == conversation.client.facts?.cipher)
        #expect(conversation.server.facts?.serverName == "mail.example.com")
        #expect(conversation.server.facts?.peer == .anonymous)
        #expect(conversation.client.facts?.peerFingerprint == conversation.certificate.fingerprint)
        #expect(conversation.client.facts?.peer == .unverified(reason: "self-signed certificate"))
        #expect(try conversation.say("220 hello\r\n") == "220 hello\r\n")
        let long = String(repeating: "x", count: 100_000)
        #expect(try conversation.say(long) == long)
    }

    @Test func bothSidesHaveTheSameChannelBindings() throws {
        let conversation = try Conversation()
        try conversation.run()
        for kind in [TLSHandler.ChannelBinding.exporter, .serverEndPoint] {
            let binding = try #require(conversation.server.handler.channelBinding(kind))
            #expect(binding.count == 32)
            #expect(conversation.client.handler.channelBinding(kind) == binding)
        }
        #expect(conversation.server.handler.channelBinding(.unique) == nil)
    }

    @Test func aNameHasItsOwnCertificateAndAnUnknownOneTheFirst() throws {
        let other = try makeCertificate("other.example")
        for (name, isOther) in [("other.example", true), ("OTHER.example", true), ("third.example", false)] {
            let conversation = try Conversation(PeerRequirement(serverName: name), named: ["other.example": [other]])
            try conversation.run()
            #expect(conversation.client.facts?.peerFingerprint == (isOther ? other : conversation.certificate).fingerprint)
        }
    }

    @Test func recordsOfTheDomainAreEnoughToTrust() throws {
        let certificate = try makeCertificate("mail.example.com")
        let record = TLSARecord(usage: 3, selector: 0, matchingType: 1, data: certificate.fingerprint)
        let conversation = try Conversation(
            PeerRequirement(serverName: nil, verification: .dane(base: "mail.example.com", names: [], records: [record])), certificate: certificate)
        try conversation.run()
        #expect(conversation.client.facts?.peer == .dane)
        #expect(conversation.server.facts?.serverName == "mail.example.com")
    }

    @Test func recordsOfAnotherCertificateEndTheConnection() throws {
        let record = TLSARecord(usage: 3, selector: 0, matchingType: 1, data: [UInt8](repeating: 7, count: 32))
        let conversation = try Conversation(PeerRequirement(serverName: nil, verification: .dane(base: "mail.example.com", names: [], records: [record])))
        try conversation.run()
        #expect(conversation.client.failure?.kind == .unverified)
        #expect(conversation.server.failure?.kind == .handshake)
        #expect(!conversation.client.channel.isActive)
    }

    @Test func withoutAUsableRecordThereIsNoConnectionToMake() throws {
        let record = TLSARecord(usage: 1, selector: 0, matchingType: 1, data: [UInt8](repeating: 7, count: 32))
        #expect(throws: TLSFailure.self) {
            _ = try Conversation(PeerRequirement(serverName: nil, verification: .dane(base: "mail.example.com", names: [], records: [record])))
        }
    }

    @Test func anAuthorityThatIsNotTrustedEndsTheConnection() throws {
        let conversation = try Conversation(PeerRequirement(serverName: "mail.example.com", verification: .names(["mail.example.com"])))
        try conversation.run()
        #expect(conversation.client.failure?.kind == .unverified)
        #expect(conversation.client.failure?.reason == "self-signed certificate")
    }

    @Test func aTrustedCertificateCountsForItsNamesAlone() throws {
        for (name, isTrusted) in [("mail.example.com", true), ("mail.example.net", false)] {
            let directory = try TemporaryDirectory()
            let today = Int(time(nil))  // OpenSSL asks the clock when it judges a chain
            let path = try directory.write("own.pem", try SelfSignedCertificate.make(name: "mail.example.com", now: today))
            let certificate = try Certificate.load(chainPath: path, keyPath: path, now: today)
            let conversation = try Conversation(
                PeerRequirement(serverName: name, verification: .names([name])), certificate: certificate,
                client: ClientContext.Configuration(trustStore: path))
            try conversation.run()
            #expect(conversation.client.facts?.peer == (isTrusted ? .trusted(name: "mail.example.com") : nil))
            #expect(conversation.client.failure?.reason == (isTrusted ? nil : "hostname mismatch"))
        }
    }

    @Test func aClientIsKnownByItsCertificatesFingerprint() throws {
        let own = try makeCertificate("client.example")
        let conversation = try Conversation(asksForCertificate: true, client: ClientContext.Configuration(certificates: [own]))
        try conversation.run()
        #expect(conversation.server.facts?.peerFingerprint == own.fingerprint)
        #expect(try conversation.say("ok") == "ok")
    }

    @Test func theHandshakeIsTheSameHoweverItsOctetsCome() throws {
        let conversation = try Conversation()
        try conversation.run(pieces: 1)
        #expect(conversation.server.facts != nil)
        #expect(try conversation.say("220 hello\r\n", pieces: 1) == "220 hello\r\n")
    }

    @Test(arguments: ["EHLO client.example\r\n", "GET / HTTP/1.0\r\n\r\n", String(repeating: "\u{0}", count: 600), "\u{16}\u{3}\u{1}\u{2}"])
    func whatIsNoHandshakeEndsInOneError(_ text: String) throws {
        let conversation = try Conversation()
        _ = try? conversation.server.channel.writeInbound(ByteBuffer(string: text))
        conversation.server.channel.embeddedEventLoop.advanceTime(by: .seconds(61))
        #expect(conversation.server.failure != nil)
        #expect(!conversation.server.channel.isActive)
        #expect(conversation.server.text.isEmpty)
    }

    @Test func whoSaysNothingHasAMinute() throws {
        let conversation = try Conversation()
        conversation.server.channel.embeddedEventLoop.advanceTime(by: .seconds(59))
        #expect(conversation.server.failure == nil)
        conversation.server.channel.embeddedEventLoop.advanceTime(by: .seconds(1))
        #expect(conversation.server.failure?.kind == .timeOut)
        #expect(!conversation.server.channel.isActive)
    }

    @Test func aRecordThatWasTamperedWithEndsTheConnection() throws {
        let conversation = try Conversation()
        try conversation.run()
        conversation.server.channel.writeAndFlush(ByteBuffer(string: "250 ok"), promise: nil)
        var record = try #require(try conversation.server.channel.readOutbound(as: ByteBuffer.self))
        record.setInteger(record.getInteger(at: record.writerIndex - 1, as: UInt8.self)! ^ 1, at: record.writerIndex - 1)
        _ = try? conversation.client.channel.writeInbound(record)
        #expect(conversation.client.failure?.kind == .broken)
        #expect(conversation.client.text.isEmpty)
    }

    @Test func theOneThatClosesSaysSo() throws {
        let conversation = try Conversation()
        try conversation.run()
        conversation.client.channel.close(promise: nil)
        try conversation.carry(pieces: Int.max)
        #expect(conversation.server.inputHasEnded)
        #expect(conversation.server.failure == nil)
    }
}

let now = 1_800_000_000

func makeCertificate(_ name: String) throws -> Certificate {
    let directory = try TemporaryDirectory()
    let path = try directory.write("made.pem", try SelfSignedCertificate.make(name: name, now: now))
    return try Certificate.load(chainPath: path, keyPath: path, now: now)
}

/// One end: the handler, and what came out of it.
final class End: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    let handler: TLSHandler
    let channel = EmbeddedChannel()
    private(set) var facts: TLSFacts?
    private(set) var failure: TLSFailure?
    private(set) var text = ""
    private(set) var inputHasEnded = false

    init(_ handler: TLSHandler) { self.handler = handler }

    func connect() throws {
        try channel.pipeline.syncOperations.addHandlers([handler, self])
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 25), promise: nil)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case .established(let facts)? = event as? TLSEvent { self.facts = facts }
        if let event = event as? ChannelEvent, event == .inputClosed { inputHasEnded = true }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) { text += String(buffer: unwrapInboundIn(data)) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if failure == nil { failure = error as? TLSFailure }
    }

    func takeText() -> String {
        defer { text = "" }
        return text
    }
}

struct Conversation {
    let certificate: Certificate
    let server: End
    let client: End

    init(
        _ requirement: PeerRequirement = PeerRequirement(serverName: "mail.example.com"), certificate: Certificate? = nil,
        named: [String: [Certificate]] = [:], asksForCertificate: Bool = false, client configuration: ClientContext.Configuration = .init()
    ) throws {
        self.certificate = try certificate ?? makeCertificate("mail.example.com")
        let context = try ServerContext(
            ServerContext.Configuration(certificates: [self.certificate], named: named, asksForCertificate: asksForCertificate), tickets: TicketKeys())
        server = End(try TLSHandler(context, handshakeTimeout: .seconds(60)))
        client = End(try TLSHandler(try ClientContext(configuration), requirement, handshakeTimeout: .seconds(60)))
        try server.connect()
        try client.connect()
    }

    func run(pieces: Int = .max) throws { try carry(pieces: pieces) }

    /// Until neither has anything left for the other.
    func carry(pieces: Int) throws {
        var isQuiet = false
        while !isQuiet {
            isQuiet = true
            for (from, to) in [(client, server), (server, client)] {
                while var bytes = try from.channel.readOutbound(as: ByteBuffer.self) {
                    isQuiet = false
                    while let piece = bytes.readSlice(length: min(pieces, bytes.readableBytes)), piece.readableBytes > 0 {
                        if to.channel.isActive { try to.channel.writeInbound(piece) }
                    }
                }
            }
        }
    }

    /// What the client hears of it.
    func say(_ text: String, pieces: Int = .max) throws -> String {
        server.channel.writeAndFlush(ByteBuffer(string: text), promise: nil)
        try carry(pieces: pieces)
        return client.takeText()
    }
}
