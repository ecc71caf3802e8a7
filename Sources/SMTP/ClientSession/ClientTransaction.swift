// One mail transaction of a client session (RFC 5321 §3.3): from MAIL to the reply to the final dot.

internal import MailSyntax
internal import NIOCore

/// Where a transaction stands. Steps follow one another in the order of the cases; refused ones end it early.
struct ClientTransaction: Sendable {
    enum Step: Equatable, Sendable {
        case reset
        case mail
        /// RCPT for the recipient `sent[position]`.
        case recipient(position: Int)
        case data
        case content
        case endOfData

        /// As Postfix names what a reply answers.
        var command: String {
            switch self {
            case .reset: "RSET"
            case .mail: "MAIL FROM"
            case .recipient: "RCPT TO"
            case .data: "DATA"
            case .content, .endOfData: "end of DATA"
            }
        }
    }

    /// How the content travels.
    enum Transfer: Equatable, Sendable {
        /// DATA, when the server has answered for the recipients.
        case lines
        /// BDAT, when the server has answered for the recipients.
        case chunks
        /// One BDAT, together with the envelope.
        case eagerChunk
    }

    enum RecipientStatus: Equatable, Sendable {
        case pending
        /// RCPT was accepted: the reply to the final dot decides.
        case accepted
        /// Its result was given.
        case done
    }

    let message: OutgoingMessage
    /// The reply that is awaited.
    var step: Step
    /// MAIL, RCPTs and DATA went out in one write (RFC 2920): each reply comes, whatever the ones before it say.
    let isPipelined: Bool
    var recipients: [RecipientStatus]
    /// Those that RCPT is sent for: all but the ones that the server cannot take by what it offers.
    let sent: [Int]
    let transfer: Transfer
    /// Chunks before the last that the server has not answered yet.
    var openChunks = 0
    var isMailRefused = false
    /// The server answered MAIL: from here on a retry elsewhere is the queue's business.
    var isAnswered = false

    var hasAccepted: Bool { recipients.contains(.accepted) }

    init(_ message: OutgoingMessage, recipients: [RecipientStatus], needsReset: Bool, isPipelined: Bool, transfer: Transfer) {
        self.transfer = transfer
        self.message = message
        self.recipients = recipients
        self.isPipelined = isPipelined
        step = needsReset ? .reset : .mail
        sent = recipients.indices.filter { recipients[$0] == .pending }
    }

    var phase: ClientPhase {
        switch step {
        case .reset: .reset
        case .mail: .mail
        case .recipient: .recipient
        case .data: .data
        case .content: .content
        case .endOfData: .endOfData
        }
    }
}

extension ClientSession {
    // MARK: Events

    /// Sends a message; only after `ready`. What the server cannot take by what it offers fails here, unsent.
    package mutating func begin(_ message: OutgoingMessage) -> [Action] {
        precondition(state == .idle, "a message was begun in state \(state)")
        var actions: [Action] = []
        var recipients = message.envelope.recipients.map { _ in ClientTransaction.RecipientStatus.pending }
        for (index, recipient) in message.envelope.recipients.enumerated() {
            guard let obstacle = obstacle(to: message, for: recipient) else { continue }
            recipients[index] = .done
            actions.append(.result(recipient: index, .failed(obstacle), answers: nil))
        }
        guard recipients.contains(.pending) else {
            actions.append(.ready)
            return actions
        }
        let started = ClientTransaction(
            message, recipients: recipients, needsReset: needsReset, isPipelined: extensions.pipelining, transfer: transfer(of: message))
        var commands = ByteBuffer()
        if needsReset { commands.writeString("RSET\r\n") }
        if started.isPipelined || !needsReset { writeMail(message, to: &commands) }
        if started.isPipelined {
            for index in started.sent { writeRecipient(message.envelope.recipients[index], to: &commands) }
            // RFC 2920 §3.1: DATA may only be the last of a group; its reply says whether content is wanted.
            if started.transfer == .lines { commands.writeString("DATA\r\n") }
        }
        needsReset = false
        transaction = started
        state = .message
        actions.append(.send(commands))
        if started.transfer == .eagerChunk { actions.append(.sendChunks) }
        return actions
    }

    /// The content and its terminator, or the last chunk of it, were written.
    package mutating func contentSent() {
        if transaction?.step == .content { transaction?.step = .endOfData }
    }

    /// A chunk was written that is not the last.
    package mutating func chunkSent() { transaction?.openChunks += 1 }

    // MARK: Replies

    mutating func handleInTransaction(_ reply: Reply, _ actions: inout [Action]) {
        switch transaction!.step {
        case .reset:
            guard reply.code / 100 == 2 else { return end(protocolError("a refusal of RSET: \(reply.summary)"), &actions) }
            transaction!.step = .mail
            if !transaction!.isPipelined { send(&actions) { writeMail(transaction!.message, to: &$0) } }
        case .mail: handleMail(reply, &actions)
        case .recipient(let position): handleRecipient(at: position, reply, &actions)
        case .data: handleData(reply, &actions)
        case .content,
            .endOfData where transaction!.openChunks > 0:
            if transaction!.openChunks > 0, reply.isPositive { return transaction!.openChunks -= 1 }
            // The server gave up on the content while it was still on its way: whatever follows of it would be taken for
            // commands, so this connection is lost.
            if reply.isPositive { return end(protocolError("a reply amid the message: \(reply.summary)"), &actions) }
            end(reply, answers: transaction!.step.command, &actions)
        case .endOfData: handleEndOfData(reply, &actions)
        }
    }

    private mutating func handleMail(_ reply: Reply, _ actions: inout [Action]) {
        guard reply.code / 100 != 3 else { return end(protocolError("an unexpected reply to MAIL: \(reply.summary)"), &actions) }
        transaction!.isAnswered = true
        if !reply.isPositive {
            transaction!.isMailRefused = true
            settle(.pending, reply, &actions)
            guard transaction!.isPipelined else { return finish(needsReset: false, &actions) }
            // RCPTs and DATA are on their way: their replies come all the same.
        }
        advance(to: 0, &actions)
    }

    private mutating func handleRecipient(at position: Int, _ reply: Reply, _ actions: inout [Action]) {
        guard reply.code / 100 != 3 else { return end(protocolError("an unexpected reply to RCPT: \(reply.summary)"), &actions) }
        if !transaction!.isMailRefused {
            let index = transaction!.sent[position]
            if reply.isPositive {
                transaction!.recipients[index] = .accepted
            } else {
                transaction!.recipients[index] = .done
                let isTemporary = reply.isTransient || ClientSession.meansTooManyRecipients(reply)
                actions.append(.result(recipient: index, isTemporary ? .deferred(reply) : .failed(reply), answers: transaction!.step.command))
            }
        }
        advance(to: position + 1, &actions)
    }

    /// RFC 5321 §4.5.3.1.10: 552 at RCPT was once the code for too many recipients and is to be taken as temporary;
    /// but not where the enhanced code says something else, such as a full mailbox (5.2.2).
    private static func meansTooManyRecipients(_ reply: Reply) -> Bool {
        reply.code == 552 && (reply.enhanced == nil || reply.enhanced == EnhancedCode(5, 5, 3))
    }

    /// To the RCPT at `position`, or to the content after the last.
    private mutating func advance(to position: Int, _ actions: inout [Action]) {
        let open = transaction!
        guard position == open.sent.count else {
            transaction!.step = .recipient(position: position)
            let recipient = open.message.envelope.recipients[open.sent[position]]
            if !open.isPipelined { send(&actions) { writeRecipient(recipient, to: &$0) } }
            return
        }
        switch open.transfer {
        case .lines where open.isPipelined: transaction!.step = .data
        case .eagerChunk: transaction!.step = .endOfData
        case .lines where open.hasAccepted:
            transaction!.step = .data
            actions.append(.send(ByteBuffer(string: "DATA\r\n")))
        case .chunks where open.hasAccepted:
            transaction!.step = .content
            actions.append(.sendChunks)
        case .lines, .chunks: finish(needsReset: !open.isMailRefused, &actions)
        }
    }

    private mutating func handleData(_ reply: Reply, _ actions: inout [Action]) {
        let open = transaction!
        switch reply.code / 100 {
        case 3 where open.hasAccepted:
            transaction!.step = .content
            actions.append(.sendContent)
        case 3 where dialect == .lmtp:
            // RFC 2033 §4.2: with no valid recipient it had to be 503, and how many replies to an empty content would follow?
            end(protocolError("an unexpected reply to DATA without a valid recipient: \(reply.summary)"), &actions)
        case 3:
            // RFC 2920 §3.1: no recipient is valid, and the server wants content all the same: it gets an empty one,
            // and its reply to that concerns nobody.
            transaction!.step = .endOfData
            actions.append(.send(ByteBuffer(string: ".\r\n")))
        case 2: end(protocolError("an unexpected reply to DATA: \(reply.summary)"), &actions)
        default:
            settle(.accepted, reply, &actions)
            finish(needsReset: !open.isMailRefused, &actions)
        }
    }

    private mutating func handleEndOfData(_ reply: Reply, _ actions: inout [Action]) {
        guard reply.code / 100 != 3 else { return end(protocolError("an unexpected reply to the message: \(reply.summary)"), &actions) }
        if dialect == .lmtp, let index = transaction!.recipients.firstIndex(of: .accepted) {
            // RFC 2033 §4.2: a reply for each recipient that RCPT was accepted for, in their order.
            settle([index], reply, &actions)
            return transaction!.hasAccepted ? () : finish(needsReset: false, &actions)
        }
        settle(.accepted, reply, &actions)
        // RFC 3030 §2: after a chunk that failed, RSET comes first.
        finish(needsReset: transaction!.transfer != .lines && !reply.isPositive, &actions)
    }

    /// Gives all recipients of that status the outcome that the reply means.
    private mutating func settle(_ status: ClientTransaction.RecipientStatus, _ reply: Reply, _ actions: inout [Action]) {
        settle(transaction!.recipients.indices.filter { transaction!.recipients[$0] == status }, reply, &actions)
    }

    private mutating func settle(_ indices: [Int], _ reply: Reply, _ actions: inout [Action]) {
        let outcome: Outcome =
            if reply.isPositive {
                .accepted(reply, passesOnDSN: extensions.deliveryStatus)
            } else if reply.isTransient {
                .deferred(reply)
            } else {
                .failed(reply)
            }
        for index in indices {
            transaction!.recipients[index] = .done
            actions.append(.result(recipient: index, outcome, answers: transaction!.step.command))
        }
    }

    private mutating func finish(needsReset reset: Bool, _ actions: inout [Action]) {
        transaction = nil
        needsReset = reset
        state = .idle
        actions.append(.ready)
    }

    private func send(_ actions: inout [Action], _ write: (inout ByteBuffer) -> Void) {
        var buffer = ByteBuffer()
        write(&buffer)
        actions.append(.send(buffer))
    }
}
