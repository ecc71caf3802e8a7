import Glibc
import MailQueue
import MailSyntax
import Mailboxes
import NIOCore
import NIOConcurrencyHelpers
import NIOPosix
import Testing

@testable import Delivery

@Suite("The agent that delivers into mailboxes")
struct LocalAgentTests {
    let house = House()

    @Test("each recipient gets a copy in the format of its user, and exactly one report")
    func delivers() async {
        let request = house.request([("aca", "aca@mydom.com"), ("bob", "bob@mydom.com")])
        let reports = await house.deliver([request])
        #expect(reports == ["0 maildir delivered 250 2.0.0 delivered to maildir", "1 mbox delivered 250 2.0.0 delivered to mbox"])
        let trace = "Return-Path: <sender@example.org>\nX-Original-To: original@mydom.com\nDelivered-To: aca@mydom.com\n"
        let names = house.names("aca/new")
        #expect(names == ["1764000000.M000007Q\(request.id)R0.mx.mydom.com,S=\((trace + House.kept).utf8.count)"])
        #expect(house.read("aca/new/\(names[0])") == trace + House.kept)
        #expect(house.read("bob")!.hasSuffix("\nDelivered-To: bob@mydom.com\n\(House.kept)\n"))
    }

    @Test("a batch larger than a portion is delivered whole, and a repeat of it makes no second copies")
    func deliversManyOnce() async {
        let batch = (0..<300).map { house.request(id: Int64($0), [("aca", "aca@mydom.com"), ("carol", "carol@mydom.com")]) }
        for _ in 0..<2 {
            #expect(await house.deliver(batch).count { $0.contains("delivered 250") } == 600)
            #expect(house.names("aca/new").count == 300)
            #expect(house.names("carol/new").count == 300)
        }
    }

    @Test("more mailboxes than a portion holds")
    func deliversToManyUsers() async {
        for number in 0..<200 { house.configuration.users["u\(number)"] = .init() }
        let request = house.request((0..<200).map { ("u\($0)", "u\($0)@mydom.com") })
        #expect(await house.deliver([request]).count { $0.contains("delivered 250") } == 200)
        for number in 0..<200 { #expect(house.names("u\(number)/new").count == 1) }
    }

    @Test("a recipient that stands in a batch twice gets one copy and two reports", arguments: ["aca", "bob"])
    func deliversDuplicatesOnce(user: String) async {
        let request = house.request([(user, "\(user)@mydom.com")])
        #expect(await house.deliver([request, request]).count == 2)
        #expect(user == "bob" ? house.read("bob")!.split(separator: "\n").count { $0.hasPrefix("From ") } == 1 : house.names("aca/new").count == 1)
    }

    @Test("a message in a file is delivered as one in memory is", arguments: ["aca", "bob"])
    func deliversFiles(user: String) async {
        house.write("spooled", House.wire)
        let content = MessageContent.file(path: "\(house.path)/spooled", size: House.wire.utf8.count)
        #expect(await house.deliver([house.request([(user, "\(user)@mydom.com")], content: content)]).count { $0.contains("250") } == 1)
        let text = user == "bob" ? house.read("bob") : house.read("aca/new/\(house.names("aca/new").first ?? "")")
        #expect(text?.contains("Delivered-To: \(user)@mydom.com\n\(House.kept)") == true)
    }

    @Test("a user who was removed since is unknown; the message's other recipients get it")
    func unknownUser() async {
        let reports = await house.deliver([house.request([("gone", "gone@mydom.com"), ("aca", "aca@mydom.com")])])
        #expect(Set(reports) == ["0 local failed 550 5.1.1 unknown user: \"gone\"", "1 maildir delivered 250 2.0.0 delivered to maildir"])
    }

    @Test("mail that was in this mailbox before is a loop, whether in memory or in a file", arguments: [false, true])
    func loop(isFile: Bool) async {
        let text = "Subject: x\r\nDelivered-To: ACA@mydom.com\r\n\r\nbody\r\n"
        house.write("spooled", text)
        let content: MessageContent = isFile ? .file(path: "\(house.path)/spooled", size: text.utf8.count) : .inline(ByteBuffer(string: text))
        let reports = await house.deliver([house.request([("aca", "aca@mydom.com"), ("carol", "carol@mydom.com")], content: content)])
        #expect(Set(reports) == [
            "0 maildir failed 554 5.4.6 mail forwarding loop for aca@mydom.com", "1 maildir delivered 250 2.0.0 delivered to maildir",
        ])
    }

    @Test("a user's own quota goes before the general one, in both formats", arguments: ["dave", "erin"])
    func quota(user: String) async {
        let reports = await house.deliver([house.request([(user, "\(user)@mydom.com"), ("aca", "aca@mydom.com")])])
        let format = user == "dave" ? "maildir" : "mbox"
        #expect(Set(reports) == [
            "0 \(format) failed 552 5.2.2 mailbox full: the message does not fit into the quota of 50 bytes",
            "1 maildir delivered 250 2.0.0 delivered to maildir",
        ])
    }

    @Test("a changed configuration is in force for the next batch")
    func replaces() async {
        let agent = house.agent()
        var changed = house.configuration
        changed.users["aca"] = .init(format: .mbox)
        agent.replace(changed)
        _ = await house.deliver([house.request([("aca", "aca@mydom.com")])], by: agent)
        #expect(house.read("aca")?.hasPrefix("From sender@example.org  ") == true)
    }

    @Test("a mailbox of the other format stays as it is, and its mail stays queued")
    func wrongFormat() async {
        house.write("aca", "")
        #expect(await house.deliver([house.request([("aca", "aca@mydom.com")])]) == [
            "0 maildir deferred 450 4.2.0 mailbox is not of the format maildir: a file lies in its place"
        ])
    }

    @Test("a missing directory of mailboxes keeps all mail in the queue")
    func missingDirectory() async {
        house.configuration.directory += "/unmounted"
        #expect(await house.deliver([house.request([("aca", "a@mydom.com"), ("bob", "b@mydom.com")])]) == [
            "0 maildir deferred 451 4.3.5 the directory of mailboxes cannot be opened: No such file or directory",
            "1 mbox deferred 451 4.3.5 the directory of mailboxes cannot be opened: No such file or directory",
        ])
    }

    @Test("a cancelled delivery reports what it has not begun as deferred")
    func cancelled() async {
        let request = house.request([("aca", "aca@mydom.com"), ("bob", "bob@mydom.com")])
        let task = Task { [house] in
            withUnsafeCurrentTask { $0?.cancel() }
            return await house.deliver([request])
        }
        #expect(await task.value == ["0 local deferred 451 4.3.2 the server is stopping", "1 local deferred 451 4.3.2 the server is stopping"])
        #expect(house.names("aca") == [])
    }

    @Test("without threads nothing is begun and everything is reported")
    func stoppedThreads() async throws {
        try await house.threads.shutdownGracefully()
        #expect(await house.deliver([house.request([("aca", "aca@mydom.com")])]) == ["0 local deferred 451 4.3.2 the server is stopping"])
    }

    @Test("batches at the same time do not disturb one another")
    func concurrent() async {
        let agent = house.agent()
        let delivered = await withTaskGroup(of: Int.self) { group in
            for part in 0..<8 {
                let batch = (0..<20).map { house.request(id: Int64(part * 100 + $0), [("aca", "aca@mydom.com"), ("bob", "bob@mydom.com")]) }
                group.addTask { [house] in await house.deliver(batch, by: agent).count { $0.contains("250") } }
            }
            return await group.reduce(0, +)
        }
        #expect(delivered == 320)
        #expect(house.names("aca/new").count == 160)
        #expect(house.read("bob")!.split(separator: "\n").count { $0.hasPrefix("From ") } == 160)
    }
}

/// A directory of mailboxes, its users, and threads that deliver.
final class House: @unchecked Sendable {
    let path: String
    let threads = NIOThreadPool(numberOfThreads: 3)
    /// Changed before the first delivery only.
    var configuration: LocalAgent.Configuration

    static let wire = "Received: from client\r\n\tby mx.mydom.com\r\nSubject: hello\r\n\r\nbody\r\n"
    static let kept = "Received: from client\n\tby mx.mydom.com\nSubject: hello\n\nbody\n"

    init() {
        var template = Array("/tmp/valija-local.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        configuration = LocalAgent.Configuration(
            directory: path, format: .maildir, quota: 1_000_000,
            users: [
                "aca": .init(), "bob": .init(format: .mbox), "carol": .init(), "dave": .init(quota: 50),
                "erin": .init(format: .mbox, quota: 50),
            ],
            hostname: "mx.mydom.com")
        threads.start()
    }

    deinit {
        threads.shutdownGracefully { _ in }
        removeTree(path)
    }

    func agent() -> LocalAgent { LocalAgent(configuration: configuration, threads: threads) }

    func request(id: Int64 = 7, _ recipients: [(user: String, address: String)], content: MessageContent? = nil) -> DeliveryRequest {
        DeliveryRequest(
            id: QueueID(rawValue: 1_764_000_000_000_000 + id), sender: Address("sender@example.org"), body: .sevenBit,
            isInternationalized: false, returnContent: nil, envelopeID: nil, received: Timestamp(seconds: 1_764_000_000),
            content: content ?? .inline(ByteBuffer(string: House.wire)),
            recipients: recipients.enumerated().map { number, recipient in
                QueuedRecipient(
                    number: number, original: Address("original@mydom.com")!,
                    target: .mailbox(user: recipient.user, address: Address(recipient.address)!), notify: [], originalRecipient: nil)
            })
    }

    /// Reports as `NUMBER RELAY OUTCOME REPLY`, in the order of the recipients.
    func deliver(_ batch: [DeliveryRequest], by agent: LocalAgent? = nil) async -> [String] {
        let reports = NIOLockedValueBox<[String]>([])
        await (agent ?? self.agent()).deliver(batch, to: .mailboxes) { report in
            let outcome =
                switch report.outcome {
                case .delivered(let reply, passesOnDSN: _): "delivered \(reply.summary)"
                case .resubmitted(let new): "resubmitted \(new.message.id)"
                case .deferred(let reply): "deferred \(reply.summary)"
                case .failed(let reply): "failed \(reply.summary)"
                }
            reports.withLockedValue { $0.append("\(report.recipient.number) \(report.relay) \(outcome)") }
        }
        return reports.withLockedValue { $0.sorted() }
    }

    func names(_ directory: String) -> [String] {
        guard let descriptor = try? SystemDisk().openDirectory("\(path)/\(directory)", at: nil) else { return [] }
        defer { SystemDisk().close(descriptor) }
        return ((try? SystemDisk().names(in: descriptor)) ?? []).sorted()
    }

    func read(_ name: String) -> String? {
        guard let file = fopen("\(path)/\(name)", "r") else { return nil }
        defer { fclose(file) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { result += buffer[..<count] }
        return String(decoding: result, as: UTF8.self)
    }

    func write(_ name: String, _ text: String) {
        guard let file = fopen("\(path)/\(name)", "w") else { fatalError("\(name): \(errno)") }
        fputs(text, file)
        fclose(file)
    }

    private func removeTree(_ path: String) {
        if let descriptor = try? SystemDisk().openDirectory(path, at: nil) {
            for name in (try? SystemDisk().names(in: descriptor)) ?? [] {
                if unlink("\(path)/\(name)") != 0 { removeTree("\(path)/\(name)") }
            }
            SystemDisk().close(descriptor)
        }
        rmdir(path)
    }
}
