// The seam between the queue and those who deliver: what an agent is given, and what it reports.

package import MailSyntax
package import NIOCore
package import Telemetry

/// The name of a queued message: its time of arrival in microseconds, made unique. Rises with every message of a spool.
package struct QueueID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let rawValue: Int64
    package init(rawValue: Int64) { self.rawValue = rawValue }
    /// Upper-case hexadecimal, as administrators and their log scripts know queue ids from Postfix.
    /// Written digit by digit: a message shows it five times.
    package var description: String {
        guard rawValue > 0 else { return String(rawValue, radix: 16, uppercase: true) }
        let count = (67 - rawValue.leadingZeroBitCount) / 4
        return String(unsafeUninitializedCapacity: count) { space in
            for index in 0..<count {
                let digit = UInt8(truncatingIfNeeded: rawValue >> (4 * Int64(count - 1 - index))) & 15
                space[index] = digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") - 10 + digit
            }
            return count
        }
    }
    package init?(_ text: some StringProtocol) {
        guard !text.isEmpty, text.utf8.count <= 15, !text.hasPrefix("+"), let value = Int64(text, radix: 16), value >= 0 else { return nil }
        rawValue = value
    }
    package static func < (a: QueueID, b: QueueID) -> Bool { a.rawValue < b.rawValue }
}

/// The octets of a queued message, header and body, with CRLF line ends and no dot-stuffing.
package enum MessageContent: Sendable {
    case inline(ByteBuffer)
    /// Too large for memory: a file of the spool, to be read as a stream.
    case file(path: String, size: Int)

    package var size: Int {
        switch self {
        case .inline(let buffer): buffer.readableBytes
        case .file(_, let size): size
        }
    }
}

/// One recipient of a queued message after routing.
package struct QueuedRecipient: Hashable, Sendable {
    /// Position in the message, from 0: names the recipient together with the queue id.
    package let number: Int
    /// The address that the client gave in RCPT: `X-Original-To`.
    package let original: Address
    package let target: RecipientTarget
    package let notify: Notify
    /// ORCPT as `addr-type;address`.
    package let originalRecipient: String?
    /// How many recipients `original` led to when it was routed, this one among them; 0: not known.
    package let copies: Int

    package init(number: Int, original: Address, target: RecipientTarget, notify: Notify, originalRecipient: String?, copies: Int = 0) {
        self.copies = copies
        self.number = number
        self.original = original
        self.target = target
        self.notify = notify
        self.originalRecipient = originalRecipient
    }

    /// What reports call the recipient, here and further on: as the sender did, else by the address that it was sent to
    /// (RFC 3461 §5.2.1), so that whoever reads a report finds an address they know, whatever aliases it went through.
    package var reportedOriginal: String { originalRecipient ?? "\(original.isASCII ? "rfc822" : "utf-8");\(original)" }
}

package enum RecipientTarget: Hashable, Sendable {
    /// A user's mailbox; `address` is what `Delivered-To` shows.
    case mailbox(user: String, address: Address)
    case remote(Address)
    /// Of an alias, whose address it is: a file, a Maildir if the path ends with a slash; a command; all that the alias leads to, to
    /// be found out when the message is delivered, and sent on as a message of its own.
    case file(path: String, address: Address)
    case command(String, address: Address)
    case list(alias: String, address: Address)

    package var address: Address {
        switch self {
        case .mailbox(_, let address), .file(_, let address), .command(_, let address), .list(_, let address): address
        case .remote(let address): address
        }
    }

    /// As one word beside the address, for the spool and for listings: a user, who has no slash in the name; `/file:`, `/command:` or
    /// `/list:` and what; nil: passed on.
    package var name: String? {
        switch self {
        case .mailbox(let user, _): user
        case .remote: nil
        case .file(let path, _): "/file:\(path)"
        case .command(let command, _): "/command:\(command)"
        case .list(let alias, _): "/list:\(alias)"
        }
    }

    package init(name: String?, address: Address) {
        guard let name else { self = .remote(address); return }
        let parts = name.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        switch (parts[0], parts.count) {
        case ("/file", 2): self = .file(path: String(parts[1]), address: address)
        case ("/command", 2): self = .command(String(parts[1]), address: address)
        case ("/list", 2): self = .list(alias: String(parts[1]), address: address)
        default: self = .mailbox(user: name, address: address)
        }
    }

    var isRemote: Bool { if case .remote = self { true } else { false } }
}

/// One message and those of its recipients that go the same way.
package struct DeliveryRequest: Sendable {
    package let id: QueueID
    /// `recipients` of the envelope is not used here; `recipients` below is.
    package let sender: Address?
    package let body: Envelope.BodyType
    package let isInternationalized: Bool
    package let returnContent: Envelope.ReturnContent?
    package let envelopeID: String?
    package let tlsOption: TLSOption?
    package let received: Timestamp
    package let content: MessageContent
    package let recipients: [QueuedRecipient]

    package init(
        id: QueueID, sender: Address?, body: Envelope.BodyType, isInternationalized: Bool, returnContent: Envelope.ReturnContent?,
        envelopeID: String?, tlsOption: TLSOption? = nil, received: Timestamp, content: MessageContent, recipients: [QueuedRecipient]
    ) {
        self.id = id
        self.sender = sender
        self.body = body
        self.isInternationalized = isInternationalized
        self.returnContent = returnContent
        self.envelopeID = envelopeID
        self.tlsOption = tlsOption
        self.received = received
        self.content = content
        self.recipients = recipients
    }
}

extension DeliveryRequest {
    /// The same with another wish, for these of its recipients.
    package func asking(_ option: TLSOption?, for recipients: [QueuedRecipient]) -> DeliveryRequest {
        DeliveryRequest(
            id: id, sender: sender, body: body, isInternationalized: isInternationalized, returnContent: returnContent, envelopeID: envelopeID,
            tlsOption: option, received: received, content: content, recipients: recipients)
    }
}

/// What became of one recipient in one attempt.
package struct DeliveryReport: Sendable {
    package let id: QueueID
    package let recipient: QueuedRecipient
    package let outcome: Outcome
    /// Who answered, for logs and reports: `mx.example.net[192.0.2.1]:25`, `maildir`.
    package let relay: String
    /// The command of ours that the next hop answered with the reply of `outcome`, `RCPT TO`; nil: words of this server's own.
    package let answers: String?
    /// The recipient was deferred because the place could not be used: no connection, no greeting. When nothing else comes of
    /// it, the queue takes it for dead.
    package let blamesPlace: Bool
    /// Of the connection; nil: in clear, or none.
    package let tls: Fields.TLS?

    package enum Outcome: Sendable {
        /// Done. `passesOnDSN`: the next hop took over the duty to report (RFC 3461 §5.2.2), so no report of ours.
        case delivered(Reply, passesOnDSN: Bool)
        /// Try again later.
        case deferred(Reply)
        /// Never: the sender gets a report.
        case failed(Reply)
        /// Goes on as a message of its own, which comes into the spool in the breath in which the recipient leaves it.
        case resubmitted(Resubmission)
    }

    package init(
        id: QueueID, recipient: QueuedRecipient, outcome: Outcome, relay: String, answers: String? = nil, blamesPlace: Bool = false,
        tls: Fields.TLS? = nil
    ) {
        self.tls = tls
        self.answers = answers
        self.blamesPlace = blamesPlace
        self.id = id
        self.recipient = recipient
        self.outcome = outcome
        self.relay = relay
    }
}

/// A message that a delivery made of another: to the members of a list, to where a user forwards.
package struct Resubmission: Sendable {
    package let message: IncomingMessage
    /// Recipients of it that failed already, by their numbers.
    package let failures: [(number: Int, reply: Reply)]
    /// Reports of success are the new message's business now (RFC 3461 §5.2.7).
    package let passesOnDSN: Bool

    package init(message: IncomingMessage, failures: [(number: Int, reply: Reply)], passesOnDSN: Bool) {
        self.message = message
        self.failures = failures
        self.passesOnDSN = passesOnDSN
    }

    /// In Postfix's words.
    package var reply: Reply { Reply(250, EnhancedCode(2, 0, 0), "forwarded as \(message.id)") }
}

extension Reply {
    /// In the words that Postfix has for administrators, in `mailq` and the log: who said what to which command, or what this
    /// server found by itself.
    package func explanation(relay: String?, answers: String?) -> String {
        guard let answers else { return lines.joined(separator: " ") }
        if isPositive { return summary }
        var peer = relay ?? "the next hop"
        if let port = peer.lastIndex(of: ":"), port > peer.lastIndex(of: "]") ?? peer.startIndex { peer = String(peer[..<port]) }
        return "host \(peer) said: \(summary) (in reply to \(answers) command)"
    }
}

/// Whoever delivers to one kind of place.
///
/// The queue hands an agent a batch that goes to one place (all mailboxes; one next hop) and expects exactly one report
/// for each recipient of each request, as soon as it is known: a reported recipient is never tried again, an unreported
/// one is. An agent may be called concurrently, up to the concurrency that the queue allows for the place.
package protocol DeliveryAgent: Sendable {
    /// Returns when every recipient was reported. Cancelling the task asks for an early end: what is not yet under
    /// way is reported as deferred with 4.3.2.
    func deliver(_ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void) async
}

/// What the queue keeps apart: its concurrency, its dead-or-alive state, its batches.
package enum DeliveryPlace: Hashable, Sendable, CustomStringConvertible {
    /// Files and lists too.
    case mailboxes
    case commands
    case nextHop(NextHop)

    package var description: String {
        switch self {
        case .mailboxes: "mailboxes"
        case .commands: "commands"
        case .nextHop(let hop): hop.description
        }
    }
}
