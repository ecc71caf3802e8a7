// Names of clients: looked up beside the session, waited for at MAIL, bounded in time.

import DNS
import MailQueue
import MailSyntax
import NIOCore
import Policy
import Routing
import Telemetry
import Testing

@testable import SMTPServer

/// A name server that never answers.
private struct Silence: NameService {
    func addresses(of host: Domain) async -> Lookup<[IPAddress]> { await forever() }
    func mailExchangers(of domain: Domain) async -> Answer<MailExchange> { Answer(await forever()) }
    func names(of address: IPAddress) async -> Lookup<[Domain]> { await forever() }
    func texts(of name: Domain) async -> Lookup<[[UInt8]]> { await forever() }
    func services(of name: Domain) async -> Lookup<[ServiceLocation]> { await forever() }
    func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations> { await forever() }

    private func forever<Value>() async -> Lookup<Value> {
        try? await Task.sleep(for: .seconds(3600))
        return .failure(reason: "nobody answered")
    }
}

private let table = NameTable(
    hosts: [Domain("mail.example.net")!: .found([IPAddress("203.0.113.9")!]), Domain("false.example.net")!: .found([IPAddress("198.51.100.1")!])],
    reverse: [
        IPAddress("203.0.113.9")!: .found([Domain("mail.example.net")!]), IPAddress("203.0.113.10")!: .found([Domain("false.example.net")!]),
    ])

@Test("a name that leads back stands in the log and in Received; one that does not is unknown there", arguments: [
    ("203.0.113.9", "mail.example.net"), ("203.0.113.10", nil), ("203.0.113.11", nil),
] as [(String, String?)])
func namesOfClients(address: String, name: String?) async throws {
    try await Station.with(try Station(resolver: table)) { station in
        for _ in 0..<2 {
            let client = try await station.client(address)
            try await client.begin(to: "<alice@example.org>")
            try await client.ask("Subject: x\r\n\r\nx\r\n.", "250 2.0.0")
            try await client.hangUp()
        }
        let lines = try await station.waitForLog(.messageAccepted, count: 2)
        #expect(lines.allSatisfy { $0.contains("\"address\":\"\(address)\"\(name.map { ",\"name\":\"\($0)\"" } ?? ""),\"helo\"") }, "\(lines)")
        let opened = try await station.waitForLog(.sessionOpened, count: 2)
        #expect(opened.allSatisfy { $0.contains("\"name\"") == (name != nil) }, "\(opened)")
        let queued = try await station.queued
        let stored = try await station.scheduler.message(queued[0].id)
        guard let stored, case .inline(let content) = stored.1 else { throw CancellationError() }
        #expect(String(buffer: content).hasPrefix("Received: from client.example.net (\(name ?? "unknown") [\(address)])\r\n"))
    }
}

@Test("where nobody answers, MAIL waits five seconds and goes on; what comes after it waits in its order")
func namesTakeNoLonger() async throws {
    try await Station.with(try Station(resolver: Silence())) { station in
        let client = try await station.client()
        try await client.ask("EHLO client.example.net", "250 ")
        try await client.say("MAIL FROM:<sender@example.net>\r\nRCPT TO:<alice@example.org>\r\nNOOP\r\n")
        try await client.wait(.seconds(4))
        #expect(station.logged(.sessionOpened).isEmpty)
        try await client.wait(.seconds(1))
        try await client.hear("250 2.0.0 Ok")
        #expect(try await station.waitForLog(.sessionOpened)[0].contains("203.0.113.9"))
    }
}
