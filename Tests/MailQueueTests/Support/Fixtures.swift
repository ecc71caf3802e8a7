// Messages, spools, clocks and agents of tests.

import MailSyntax
import NIOConcurrencyHelpers
import NIOCore
import NIOEmbedded
import Telemetry
import Testing

@testable import MailQueue

let epoch = Timestamp(seconds: 1_795_525_509)

func incoming(
    _ id: QueueID, from sender: String? = "sender@example.org", to recipients: [String] = ["alice@example.org"], notify: Notify = .unspecified,
    body: String = "Subject: x\r\n\r\nHello\r\n", received: Timestamp = epoch, returnContent: Envelope.ReturnContent? = nil
) -> IncomingMessage {
    IncomingMessage(
        id: id, envelope: Envelope(sender: sender.map { Address($0)! }, returnContent: returnContent),
        recipients: recipients.enumerated().map { queued($1, number: $0, notify: notify) }, received: received,
        content: .inline(ByteBuffer(string: body)))
}

/// Addresses of example.org are mailboxes, all others are remote.
func queued(_ text: String, number: Int = 0, notify: Notify = .unspecified, originalRecipient: String? = nil, copies: Int = 1) -> QueuedRecipient {
    let address = Address(text)!
    let target: RecipientTarget = address.domain.key == "example.org" ? .mailbox(user: address.localPart, address: address) : .remote(address)
    return QueuedRecipient(number: number, original: address, target: target, notify: notify, originalRecipient: originalRecipient, copies: copies)
}

func place(_ target: RecipientTarget) -> DeliveryPlace {
    switch target {
    case .mailbox, .file, .list: .mailboxes
    case .command: .commands
    case .remote(let address): .nextHop(NextHop(host: .mailExchangers(of: address.domain)))
    }
}

/// Opens a spool for as long as `body` runs.
func withSpool<Result>(_ directory: String, _ body: (Spool) async throws -> Result) async throws -> Result {
    _ = FaultyDisk.shared
    let spool = try Spool(directory: directory, owner: "test")
    do {
        let result = try await body(spool)
        await spool.close()
        return result
    } catch {
        await spool.close()
        throw error
    }
}

extension Spool {
    func put(_ message: IncomingMessage, leased: Bool = false) async throws(SpoolFailure) {
        let failure = await withCheckedContinuation { continuation in
            insert(message, leased: leased) { continuation.resume(returning: $0) }
        }
        if let failure { throw failure }
    }

    func allMessages() async throws -> [StoredMessage] { try await perform { try $0.page(after: QueueID(rawValue: 0), limit: 100_000) } }

    func text(_ message: StoredMessage) async throws -> String? {
        guard case .inline(let bytes)? = try await perform({ try $0.content(of: message) }) else { return nil }
        return String(buffer: bytes)
    }
}

/// Asks until it is so; the suite's time limit ends what never comes.
func until(_ condition: () async throws -> Bool) async rethrows {
    while !(try await condition()) { try? await Task.sleep(nanoseconds: 500_000) }
}

final class TestClock: Sendable {
    private let time = NIOLockedValueBox(epoch)
    var now: Timestamp { time.withLockedValue { $0 } }
    func move(by duration: Duration) { time.withLockedValue { $0 = $0 + duration } }
}

/// An agent that does what a test says, and remembers what it was asked to do.
final class FakeAgent: DeliveryAgent {
    struct Attempt: Hashable, Sendable {
        let id: QueueID
        let address: String
        let place: String
    }

    private struct State {
        var attempts: [Attempt] = []
        var batches: [[QueueID]] = []
        var running: [DeliveryPlace: Int] = [:]
        var mostRunning = 0
        var isHeld: Bool
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    }

    /// What becomes of a recipient; none, one or several reports of it.
    typealias Decision = @Sendable (DeliveryRequest, QueuedRecipient) -> [DeliveryReport.Outcome]

    private let state: NIOLockedValueBox<State>
    private let decision: NIOLockedValueBox<Decision>

    init(isHeld: Bool = false, _ decide: @escaping Decision = { _, _ in [.delivered(Reply(250, EnhancedCode(2, 0, 0), "Ok"), passesOnDSN: false)] }) {
        state = NIOLockedValueBox(State(isHeld: isHeld))
        decision = NIOLockedValueBox(decide)
    }

    func decide(_ decide: @escaping Decision) { decision.withLockedValue { $0 = decide } }
    var attempts: [Attempt] { state.withLockedValue { $0.attempts } }
    var addresses: [String] { attempts.map(\.address) }
    var batches: [[QueueID]] { state.withLockedValue { $0.batches } }
    var mostRunning: Int { state.withLockedValue { $0.mostRunning } }
    var running: Int { state.withLockedValue { $0.running.values.reduce(0, +) } }

    func hold() { state.withLockedValue { $0.isHeld = true } }
    func release() {
        let waiting = state.withLockedValue { state in
            state.isHeld = false
            defer { state.waiting = [:] }
            return state.waiting.values
        }
        for continuation in waiting { continuation.resume() }
    }

    func deliver(_ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void) async {
        let number = state.withLockedValue { state in
            state.batches.append(batch.map(\.id))
            state.running[place, default: 0] += 1
            state.mostRunning = max(state.mostRunning, state.running[place]!)
            for request in batch {
                state.attempts += request.recipients.map { Attempt(id: request.id, address: $0.target.address.description, place: place.description) }
            }
            return state.batches.count
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLockedValue { state in
                    let isHeld = state.isHeld && !Task.isCancelled
                    if isHeld { state.waiting[number] = continuation }
                    return !isHeld
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            state.withLockedValue { $0.waiting.removeValue(forKey: number) }?.resume()
        }
        for request in batch {
            for recipient in request.recipients {
                let outcomes = Task.isCancelled
                    ? [.deferred(Reply(421, EnhancedCode(4, 3, 2), "Shutting down"))] : decision.withLockedValue { $0 }(request, recipient)
                for outcome in outcomes { report(DeliveryReport(id: request.id, recipient: recipient, outcome: outcome, relay: "mx.example.net[192.0.2.1]:25")) }
            }
        }
        state.withLockedValue { $0.running[place]! -= 1 }
    }
}

extension DeliveryReport.Outcome {
    static let delivered = Self.delivered(Reply(250, EnhancedCode(2, 0, 0), "Ok"), passesOnDSN: false)
    static let deferred = Self.deferred(Reply(450, EnhancedCode(4, 2, 0), "Later"))
    static let failed = Self.failed(Reply(550, EnhancedCode(5, 1, 1), "No such user"))
}
