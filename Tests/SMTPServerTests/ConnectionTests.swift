// The life of a connection: what is kept and what is forgotten when it ends, who waits for whom, and what the log says.

import Glibc
import MailQueue
import MailSyntax
import NIOCore
import Policy
import NIOEmbedded
import SMTP
import Telemetry
import Testing

@testable import SMTPServer

private let dialogue = [
    "EHLO client.example.net\r\n", "MAIL FROM:<sender@example.net>\r\n", "RCPT TO:<alice@example.org>\r\n", "DATA\r\n", "Subject: x\r\n\r\n",
    String(repeating: String(repeating: "x", count: 70) + "\r\n", count: 3000), "the end\r\n", ".\r\n",
]

@Test("a client that vanishes before its message is complete leaves nothing behind; after that it is queued", arguments: 0...dialogue.count)
func clientVanishes(after lines: Int) async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        for line in dialogue.prefix(lines) { try await client.say(line) }
        try await client.hangUp()
        let isComplete = lines == dialogue.count
        _ = try await station.waitForLog(.sessionClosed)
        #expect(station.service.sessionCount == 0)
        try await eventually("the end of the message") {
            await client.channel.testingEventLoop.run()
            return try await station.queued.count == (isComplete ? 1 : 0) && station.bodyFiles.count == (isComplete ? 1 : 0)
        }
        if isComplete {
            #expect(try await station.waitForLog(.messageAccepted).count == 1)
        } else {
            #expect(station.logged(.messageAccepted).isEmpty)
        }
    }
}

@Test("a large message lies whole in a file of the spool, with its trace on top, and its queue id is in the reply and the log")
func largeMessage() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.begin(to: "<alice@example.org>")
        let text = "Subject: large\r\n\r\n" + dialogue[5]
        try await client.say(text + ".\r\n")
        let reply = try await client.hear("250 2.0.0 Ok: queued as ")
        let message = try #require(try await station.queued.first)
        #expect(reply.hasSuffix(" \(message.id)\r\n"))
        #expect(try await station.waitForLog(.messageAccepted)[0].contains("\"queue_id\":\"\(message.id)\""))
        let (_, content) = try #require(try await station.scheduler.message(message.id))
        guard case .file(let path, let size) = content else { throw CancellationError() }
        let stored = try #require(readFile(path))
        #expect(stored.utf8.count == size)
        #expect(
            stored.hasPrefix("Received: from client.example.net (unknown [203.0.113.9])\r\n\tby mx.example.org (Valija) with ESMTP id \(message.id)\r\n\tfor <alice@example.org>; "))
        #expect(stored.hasSuffix("+0000\r\n" + text))
    }
}

@Test("a body that cannot be written is refused at its end with 4xx; the client is heard to there, and nothing stays")
func bodyCannotBeWritten() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.begin(to: "<alice@example.org>")
        try #require(rename(station.directory + "/spool/large", station.directory + "/gone") == 0)
        // More in one go than is written at once, and more after that: the connection has to go on reading.
        // The stuffed dot makes it two pieces.
        try await client.sayAndRead("Subject: x\r\n\r\n" + dialogue[5] + "..\r\n" + dialogue[5])
        try await eventually("reading to go on") { client.reads >= 1 }
        try await client.sayAndRead(dialogue[5])
        try await eventually("reading to go on") { client.reads >= 2 }
        try await client.say(".\r\n")
        try await client.hear("451 4.3.0")
        try await client.ask("NOOP", "250 2.0.0")
        #expect(try await station.queued.isEmpty)
        let refused = try await station.waitForLog(.messageRejected)
        #expect(refused[0].contains("\"reason\":\"open ") && refused[0].contains("\"from\":\"sender@example.net\""))
    }
}

struct Refusal: Sendable, CustomTestStringConvertible {
    let commands: [String]
    let reply: String
    let logged: [String]
    var testDescription: String { commands.last! }
}

@Test(
    "a refusal is logged with its code and with the manifest line that decided",
    arguments: [
        Refusal(commands: ["MAIL FROM:<s@example.net> SIZE=2000"], reply: "552 5.3.4", logged: ["\"dsn\":\"5.3.4\"", "\"rule\":\"rule of size\""]),
        Refusal(
            commands: ["MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org>", "DATA", String(repeating: "x\r\n", count: 1000) + "."], reply: "552 5.3.4",
            logged: ["\"rule\":\"rule of size\"", "\"from\":\"s@example.net\"", "\"to\":\"alice@example.org\""]),
        Refusal(
            commands: ["MAIL FROM:<>", "RCPT TO:<alice@example.org>", "BDAT 2000 LAST\r\n" + String(repeating: "x", count: 1998)], reply: "552 5.3.4",
            logged: ["\"rule\":\"rule of size\"", "\"from\":\"\""]),
        Refusal(
            commands: ["MAIL FROM:<s@example.net>", "RCPT TO:<alice@example.org>", "RCPT TO:<bob@example.org>", "RCPT TO:<both@example.org>", "RCPT TO:<postmaster>"],
            reply: "452 4.5.3", logged: ["\"rule\":\"rule of recipients\"", "\"from\":\"s@example.net\""]),
        Refusal(
            commands: ["MAIL FROM:<s@example.net>", "RCPT TO:<nobody@example.org>"], reply: "550 5.1.1",
            logged: ["\"rule\":\"mail.yaml:3 domains.example.org\"", "\"to\":\"nobody@example.org\"", "\"from\":\"s@example.net\""]),
        Refusal(
            commands: ["MAIL FROM:<s@example.net>", "RCPT TO:<x@elsewhere.example>"], reply: "554 5.7.1",
            logged: ["\"rule\":\"mail.yaml:9 networks\"", "\"client\":{\"address\":\"203.0.113.9\",\"helo\":\"client.example.net\",\"protocol\":\"ESMTP\"}"]),
        Refusal(commands: ["VRFY nobody"], reply: "550 5.1.1", logged: ["\"rule\":\"mail.yaml:3 domains.example.org\"", "\"message\":\"VRFY\""]),
        Refusal(commands: ["NONSENSE"], reply: "500 5.5.2", logged: ["\"dsn\":\"5.5.2\"", "\"message\":\"NONSENSE\""]),
    ])
func refusalIsLogged(_ refusal: Refusal) async throws {
    try await Station.with(try Station(messageSize: 1500)) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        try await client.ask("EHLO client.example.net", "250 ")
        for command in refusal.commands.dropLast() { try await client.ask(command, command == "DATA" ? "354" : "250 ") }
        try await client.ask(refusal.commands.last!, refusal.reply)
        let line = try await station.waitForLog(.messageRejected)[0]
        for part in refusal.logged + ["\"reply\":\"\(refusal.reply)"] { #expect(line.contains(part), "\(line)") }
        #expect(try await station.queued.isEmpty)
    }
}

@Test("no room in the spool: 452 4.3.1 at MAIL, and the log says which line and why")
func noRoom() async throws {
    try await Station.with(try Station(shortage: SMTPService.Shortage(reason: "full", rule: "mail.yaml:4 queue.minimum_free"))) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        try await client.ask("EHLO client.example.net", "250 ")
        try await client.ask("MAIL FROM:<s@example.net>", "452 4.3.1")
        let line = try await station.waitForLog(.messageRejected)[0]
        #expect(line.contains("\"rule\":\"mail.yaml:4 queue.minimum_free\"") && line.contains("\"reason\":\"full\""), "\(line)")
    }
}

@Test("one connection too many gets 421 with the rule in the log; one that ends makes room; a local process has no limit")
func tooManyConnections() async throws {
    try await Station.with(try Station(connections: 1)) { station in
        let first = try await station.client()
        try await first.hear("220 ")
        let second = try await station.client()
        try await second.hear("421 4.7.0 mx.example.org Error: too many connections from 203.0.113.9")
        try await eventually("the end of the refused connection") { second.isClosed }
        let line = try await station.waitForLog(.messageRejected)[0]
        #expect(line.contains("\"rule\":\"rule of connections\"") && line.contains("\"address\":\"203.0.113.9\""), "\(line)")
        try await station.client("203.0.113.10").hear("220 ")
        try await station.client(nil).hear("220 ")
        try await station.client(nil).hear("220 ")
        try await first.hangUp()
        try await station.client().hear("220 ")
        #expect(station.service.sessionCount == 4)
    }
}

@Test("a silent client gets 421 4.4.2 after five minutes, and the log of its session says so")
func idleClient() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.begin(to: "<alice@example.org>")
        try await client.wait(.minutes(4))
        #expect(!client.isClosed)
        try await client.wait(.minutes(1))
        try await client.hear("421 4.4.2")
        try await eventually("the end of the connection") { client.isClosed }
        #expect(try await station.waitForLog(.sessionClosed)[0].contains("\"reply\":\"421 4.4.2 "))
    }
}

@Test("a client that drips octets gets no more time for a command, nor for content below 500 octets a second")
func drippingClient() async throws {
    try await Station.with(try Station(connections: 3)) { station in
        let (command, content, decent) = (try await station.client(), try await station.client(), try await station.client())
        try await command.hear("220 ")
        try await content.begin(to: "<alice@example.org>")
        try await decent.begin(to: "<alice@example.org>")
        for _ in 0..<4 {
            try await command.say("N")
            try await content.say("a\r\n")
            try await decent.say(String(repeating: String(repeating: "a", count: 998) + "\r\n", count: 30))
            for client in [command, content, decent] { try await client.wait(.minutes(1)) }
            #expect(!command.isClosed && !content.isClosed)
        }
        for client in [command, content, decent] { try await client.wait(.seconds(61)) }
        try await command.hear("421 4.4.2")
        try await content.hear("421 4.4.2")
        try await decent.ask(".", "250 2.0.0")
    }
}

@Test("while the server is nearly full, a client has ten seconds for a command; where it is full, a new one is told to come later")
func stress() async throws {
    var limits = SMTPService.ClientLimits()
    limits.connections = SMTPService.Limit(5, rule: "rule of all")
    try await Station.with(try Station(connections: 10, limits: limits)) { station in
        var clients: [Client] = []
        for _ in 0..<3 { clients.append(try await station.client()) }
        try await clients[0].wait(.seconds(11))
        #expect(!clients[0].isClosed)
        for _ in 0..<2 { clients.append(try await station.client()) }
        try await station.client().hear("421 4.3.2 mx.example.org Error: too many connections")
        try await clients[1].ask("EHLO client.example.net", "250 ")
        try await clients[0].wait(.seconds(1))
        try await clients[0].hear("421 4.4.2")
        try await clients[1].ask("NOOP", "250 ")
    }
}

@Test("a client that does too much in a minute gets 421 or 450 4.7.1, and the log names the line; another does not; one that is exempt neither")
func rates() async throws {
    var limits = SMTPService.ClientLimits()
    for activity in [RateTable.Activity.connections, .messages, .recipients, .errors] { limits.rates[activity] = SMTPService.Limit(2, rule: "rule of \(activity)") }
    limits.exempt = [try Network(parsing: "198.51.100.0/24")]
    try await Station.with(try Station(connections: 10, limits: limits)) { station in
        let first = try await station.client()
        try await first.ask("EHLO client.example.net", "250 ")
        for _ in 0..<2 {
            try await first.ask("MAIL FROM:<sender@example.net>", "250 ")
            try await first.ask("RCPT TO:<alice@example.org>", "250 ")
            try await first.ask("RSET", "250 ")
        }
        try await first.ask("MAIL FROM:<sender@example.net>", "450 4.7.1 Error: too much mail from 203.0.113.9")
        let second = try await station.client("203.0.113.10")
        try await second.ask("EHLO client.example.net", "250 ")
        try await second.ask("MAIL FROM:<sender@example.net>", "250 ")
        try await second.ask("RCPT TO:<alice@example.org>", "250 ")
        try await second.ask("RCPT TO:<alice@example.org>", "250 ")
        try await second.ask("RCPT TO:<alice@example.org>", "450 4.7.1 Error: too many recipients from 203.0.113.10")
        for _ in 0..<2 { try await second.ask("FROB", "500 ") }
        try await second.say("FROB\r\n")
        try await second.hear("421 4.7.0 mx.example.org Error: too many errors from 203.0.113.10")
        try await station.client("203.0.113.10").hear("421 4.7.0 mx.example.org Error: too many errors from 203.0.113.10")
        try await station.client().hear("220 ")
        try await station.client().hear("421 4.7.0 mx.example.org Error: too many connections from 203.0.113.9")
        for _ in 0..<5 { try await station.client("198.51.100.7").hear("220 ") }
        for activity in ["messages", "recipients", "errors", "connections"] {
            try await eventually("a line about \(activity)") { station.logged(.messageRejected).contains { $0.contains("\"rule\":\"rule of \(activity)\"") } }
        }
    }
}

@Test("a client that does not read the reply it is sent away with is cut off")
func deafClient() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        client.stall()
        try await client.say("QUIT\r\n")
        try await client.wait(Connection.lingerTimeout - .seconds(1))
        #expect(!client.isClosed)
        try await client.say("more\r\n")  // earns no more time
        try await client.wait(.seconds(1))
        try await eventually("the end of the connection") { client.isClosed }
    }
}

@Test("while replies pile up the connection does not read, and goes on when they are gone")
func repliesPileUp() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        client.channel.isWritable = false
        client.read()
        await client.channel.testingEventLoop.run()
        #expect(client.reads == 0)
        client.channel.isWritable = true
        client.channel.pipeline.fireChannelWritabilityChanged()
        await client.channel.testingEventLoop.run()
        #expect(client.reads == 1)
    }
}

@Test("a client that shuts its sending side gets all its replies, then the end")
func halfClose() async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.begin(to: "<alice@example.org>")
        try await client.say("Subject: x\r\n\r\nx\r\n.\r\n")
        client.channel.pipeline.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        try await client.hear("250 2.0.0 Ok: queued as ")
        try await eventually("the end of the connection") { client.isClosed }
        let closed = try await station.waitForLog(.sessionClosed)[0]
        #expect(closed.contains("\"count\":1") && !closed.contains("\"reply\""), "\(closed)")
    }
}

@Test("shutting down: 421 at once between commands; a message under way gets its reply first")
func shutDown() async throws {
    try await Station.with(try Station(connections: 3)) { station in
        let idle = try await station.client()
        try await idle.hear("220 ")
        try await idle.shutDown()
        try await idle.hear("421 4.3.2")
        let busy = try await station.client()
        try await busy.begin(to: "<alice@example.org>")
        try await busy.shutDown()
        try await busy.say("Subject: x\r\n\r\nx\r\n.\r\n")
        let said = try await busy.hear("421 4.3.2")
        #expect(said.hasPrefix("250 2.0.0 Ok: queued as "))
        try await eventually("the end of the connections") { idle.isClosed && busy.isClosed }
        #expect(try await station.queued.count == 1)
    }
}

struct Expansion: Sendable, CustomTestStringConvertible {
    let recipients: [String]
    let queued: [String]
    var testDescription: String { recipients.joined(separator: ", ") }
}

@Test(
    "each mailbox gets one copy, with the reports and the original recipient of RFC 3461 §5.2.7; success is the alias's to report",
    arguments: [
        Expansion(
            recipients: ["<both@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Both@example.org"],
            queued: ["0 alice FAILURE rfc822;Both@example.org", "1 bob FAILURE rfc822;Both@example.org"]),
        Expansion(recipients: ["<alice@example.org>", "<ALICE@example.org>"], queued: ["0 alice  -"]),
        Expansion(
            recipients: ["<alice@example.org> NOTIFY=NEVER", "<both@example.org> NOTIFY=SUCCESS"], queued: ["0 alice NEVER -", "1 bob NEVER -"]),
        Expansion(recipients: ["<both@example.org> NOTIFY=SUCCESS", "<bob@example.org>"], queued: ["0 alice NEVER -", "1 bob  -"]),
    ])
func recipientsAreQueued(_ expansion: Expansion) async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.hear("220 ")
        try await client.ask("EHLO client.example.net", "250 ")
        try await client.ask("MAIL FROM:<sender@example.net>", "250 ")
        for recipient in expansion.recipients { try await client.ask("RCPT TO:\(recipient)", "250 ") }
        try await client.ask("DATA", "354")
        try await client.ask("Subject: x\r\n\r\nx\r\n.", "250 2.0.0")
        let message = try #require(try await station.queued.first)
        let queued = message.recipients.filter { $0.state == .pending }.map(\.recipient).map { recipient in
            "\(recipient.number) \(recipient.target.address.localPart) \(recipient.notify.parameter) \(recipient.originalRecipient ?? "-")"
        }
        #expect(queued == expansion.queued)
    }
}

@Test("a message that runs in a circle is refused with 554 5.4.6, and leaves no file behind", arguments: [(99, true), (100, false)])
func hops(before: Int, isAccepted: Bool) async throws {
    try await Station.with(try Station()) { station in
        let client = try await station.client()
        try await client.begin(to: "<alice@example.org>")
        let trace = String(repeating: "Received: from a by b; Tue, 24 Nov 2026 00:00:00 +0000\r\n", count: before)
        try await client.say(trace + "Subject: x\r\n\r\n" + dialogue[5] + ".\r\n")
        try await client.hear(isAccepted ? "250 2.0.0" : "554 5.4.6")
        try await eventually("the file's end") { station.bodyFiles.count == (isAccepted ? 1 : 0) }
        #expect(try await station.queued.count == (isAccepted ? 1 : 0))
    }
}

@Test("what comes into force is taken over between transactions: an open one ends by what it began with")
func configurationReplaced() async throws {
    try await Station.with(try Station(messageSize: 1_000_000)) { station in
        let other = station.otherConfiguration(messageSize: 10, alias: "new")
        let client = try await station.client()
        try await client.hear("220 ")
        try await client.ask("EHLO client.example.net", "250 ")
        try await client.ask("MAIL FROM:<sender@example.net>", "250 2.1.0")
        try await client.apply(other)
        // `both` is in the old one only, `new` in the new one only; the message is larger than the new limit.
        try await client.ask("RCPT TO:<both@example.org>", "250 2.1.5")
        try await client.ask("RCPT TO:<new@example.org>", "550 5.1.1")
        try await client.ask("DATA", "354")
        try await client.ask("Subject: longer than ten octets\r\n\r\nhello\r\n.", "250 2.0.0")
        try await client.ask("MAIL FROM:<sender@example.net>", "250 2.1.0")
        try await client.ask("RCPT TO:<both@example.org>", "550 5.1.1")
        try await client.ask("RCPT TO:<new@example.org>", "250 2.1.5")
        try await client.ask("DATA", "354")
        try await client.ask("Subject: longer than ten octets\r\n\r\nhello\r\n.", "552 5.3.4")
        let refusals = try await station.waitForLog(.messageRejected, count: 3)
        #expect(refusals.last?.contains("\"rule\":\"other rule of size\"") == true, "\(refusals)")
        // RSET ends a transaction too, and so does a MAIL that was pipelined behind the content of the one before.
        try await client.ask("MAIL FROM:<sender@example.net>", "250 2.1.0")
        try await client.apply(station.configuration)
        try await client.ask("RCPT TO:<both@example.org>", "550 5.1.1")
        try await client.ask("RSET", "250 2.0.0")
        try await client.ask("MAIL FROM:<sender@example.net>", "250 2.1.0")
        try await client.ask("RCPT TO:<both@example.org>", "250 2.1.5")
        try await client.hangUp()
    }
}
