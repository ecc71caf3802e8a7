// Delivery to commands (`|command` of an alias), as Postfix's local(8) does it: the message on standard input, what is known of it
// in the environment, and the exit status of sysexits(3) as the outcome.
//
// A command runs as the user that the server is, never as root, and not in the server's mailbox threads: each has a thread
// of its own for as long as it runs, and no more run at a time than the manifest says.

package import MailQueue
internal import Glibc
internal import MailSyntax
internal import Mailboxes
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix

package final class CommandAgent: DeliveryAgent {
    package struct Configuration: Sendable {
        package var timeLimit: Duration
        package var concurrency: Int
        package var extensionDelimiter: UInt8?

        package init(timeLimit: Duration, concurrency: Int, extensionDelimiter: UInt8?) {
            self.timeLimit = timeLimit
            self.concurrency = concurrency
            self.extensionDelimiter = extensionDelimiter
        }
    }

    private struct State: Sendable {
        var configuration: Configuration
        var running = 0
        var waiting: [CheckedContinuation<Void, Never>] = []
    }

    private let state: NIOLockedValueBox<State>

    package init(configuration: Configuration) { state = NIOLockedValueBox(State(configuration: configuration)) }

    /// For commands from now on.
    package func replace(_ configuration: Configuration) {
        state.withLockedValue { $0.configuration = configuration }
        startWaiting()
    }

    package func deliver(
        _ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void
    ) async {
        let isCancelled = NIOLockedValueBox(false)
        await withTaskCancellationHandler {
            for request in batch {
                for recipient in request.recipients {
                    let outcome = await deliver(request, recipient) { isCancelled.withLockedValue { $0 } }
                    report(DeliveryReport(id: request.id, recipient: recipient, outcome: outcome, relay: "command"))
                }
            }
        } onCancel: {
            isCancelled.withLockedValue { $0 = true }
        }
    }

    private func deliver(
        _ request: DeliveryRequest, _ recipient: QueuedRecipient, isCancelled: @escaping @Sendable () -> Bool
    ) async -> DeliveryReport.Outcome {
        guard case .command(let command, let address) = recipient.target else { return .misrouted }
        guard geteuid() != 0 else {
            return .deferred(Reply(451, EnhancedCode(4, 3, 5), "mail system configuration error: commands are not run as root"))
        }
        await takeTurn()
        defer { endTurn() }
        guard !isCancelled() else { return .stopping }
        let configuration = state.withLockedValue { $0.configuration }
        return await onOwnThread {
            let message = MailboxMessage(sender: request.sender, received: request.received, content: .text([]))
            guard !ForwardingLoop.earlierDeliveries(of: request.content).contains(address) else { return .loop(address) }
            let run = CommandRun(
                command: command, environment: environment(request, recipient, address, configuration.extensionDelimiter),
                head: commandHead(message, original: recipient.original, delivered: address), content: request.content, isBinary: request.body == .binary, limit: configuration.timeLimit,
                isCancelled: isCancelled)
            return run.perform()
        }
    }

    private func takeTurn() async {
        await withCheckedContinuation { continuation in
            let mayStart = state.withLockedValue { state in
                guard state.running < state.configuration.concurrency else {
                    state.waiting.append(continuation)
                    return false
                }
                state.running += 1
                return true
            }
            if mayStart { continuation.resume() }
        }
    }

    private func endTurn() {
        state.withLockedValue { $0.running -= 1 }
        startWaiting()
    }

    private func startWaiting() {
        let next = state.withLockedValue { state in
            let count = min(max(0, state.configuration.concurrency - state.running), state.waiting.count)
            state.running += count
            let next = Array(state.waiting.prefix(count))
            state.waiting.removeFirst(count)
            return next
        }
        next.forEach { $0.resume() }
    }

    private func onOwnThread(_ work: @escaping @Sendable () -> DeliveryReport.Outcome) async -> DeliveryReport.Outcome {
        await withCheckedContinuation { continuation in
            let thread = NIOThreadPool(numberOfThreads: 1)
            thread.start()
            thread.submit { _ in
                continuation.resume(returning: work())
                thread.shutdownGracefully { _ in }
            }
        }
    }
}

/// The `From ` line and the trace fields, with LF, as local(8) writes them for commands.
private func commandHead(_ message: MailboxMessage, original: Address, delivered: Address) -> [UInt8] {
    let sender = message.sender?.description ?? ""
    let line = "From \(sender.isEmpty ? "MAILER-DAEMON" : sender)  \(message.received.asctime)\n"
    return Array("\(line)Return-Path: <\(sender)>\nX-Original-To: \(original)\nDelivered-To: \(delivered)\n".utf8)
}

/// What local(8) tells a command. Values come from the network: no shell is given them but as variables.
private func environment(_ request: DeliveryRequest, _ recipient: QueuedRecipient, _ address: Address, _ delimiter: UInt8?) -> [String] {
    let local = address.localPart
    var variables = [
        "SENDER": request.sender?.description ?? "MAILER-DAEMON", "RECIPIENT": address.description, "ORIGINAL_RECIPIENT": recipient.original.description,
        "LOCAL": local, "DOMAIN": address.domain.text, "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh",
    ]
    if let delimiter, let end = local.utf8.firstIndex(of: delimiter), end > local.startIndex {
        variables["EXTENSION"] = String(Substring(local.utf8[local.utf8.index(after: end)...]))
    }
    // export_environment's default, as far as it is for people's programs.
    for name in ["TZ", "LANG"] { if let value = getenv(name) { variables[name] = String(cString: value) } }
    return variables.sorted { $0.key < $1.key }.map { name, value in
        // A NUL would end it, and a line end deceive whoever prints it.
        "\(name)=\(String(String.UnicodeScalarView(value.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7F ? "_" : $0 })))"
    }
}
