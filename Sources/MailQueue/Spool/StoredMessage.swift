// What the spool knows of a message, and its parts that do not stand in `DeliveryAgent`.

package import MailSyntax

/// A message on its way into the spool: what was received, routed and given a name.
package struct IncomingMessage: Sendable {
    package let id: QueueID
    /// `recipients` of the envelope is not stored; `recipients` below, after routing, is.
    package let envelope: Envelope
    package let recipients: [QueuedRecipient]
    package let received: Timestamp
    package let content: MessageContent
    /// Aliases that became several of `recipients`, and whose sender asked to hear of success: this is what they hear.
    package let expansions: [QueuedRecipient]
    /// Nothing is sent in answer to it, whatever becomes of it: it is the last word about another message.
    let isLastWord: Bool

    package init(
        id: QueueID, envelope: Envelope, recipients: [QueuedRecipient], received: Timestamp, content: MessageContent,
        expansions: [QueuedRecipient] = []
    ) {
        self.init(id: id, envelope: envelope, recipients: recipients, received: received, content: content, expansions: expansions, isLastWord: false)
    }

    init(
        id: QueueID, envelope: Envelope, recipients: [QueuedRecipient], received: Timestamp, content: MessageContent,
        expansions: [QueuedRecipient] = [], isLastWord: Bool
    ) {
        self.id = id
        self.envelope = envelope
        self.recipients = recipients
        self.received = received
        self.content = content
        self.expansions = expansions
        self.isLastWord = isLastWord
    }

    var flags: StoredMessage.Flags {
        let flags = StoredMessage.Flags(envelope, bodyInFile: content.isFile)
        return isLastWord ? flags.union(.lastWord) : flags
    }
}

/// A message in the spool.
package struct StoredMessage: Sendable {
    package let id: QueueID
    package let sender: Address?
    package let received: Timestamp
    package let size: Int
    package let flags: Flags
    package let envelopeID: String?
    package var due: Timestamp
    package var attempts: Int
    package var isLeased: Bool
    /// An administrator put it on hold: it is not tried, and not given up either, until it is released.
    package var isHeld = false
    package var recipients: [StoredRecipient]
    /// Nil: each recipient gets it from `sender`.
    package var verp: VERP?
    /// Something in its rows could not be read, and is missing here. Such a message is kept, and never tried.
    package var isDamaged = false

    /// The yes-or-no facts of a message, in one column.
    package struct Flags: OptionSet, Sendable {
        package let rawValue: Int64
        package init(rawValue: Int64) { self.rawValue = rawValue }
        static let eightBit = Flags(rawValue: 1)
        static let internationalized = Flags(rawValue: 2)
        static let returnFull = Flags(rawValue: 4)
        static let returnHeaders = Flags(rawValue: 8)
        /// The body is a file of its own, not a row.
        static let bodyInFile = Flags(rawValue: 16)
        /// BODY=BINARYMIME.
        static let binary = Flags(rawValue: 32)
        /// The sender heard that it is late.
        static let delayReported = Flags(rawValue: 64)
        /// An administrator gave it up: it is returned to the sender when it is next due.
        static let forcedExpire = Flags(rawValue: 128)
        /// A notice to the postmaster: nothing is sent in answer to it.
        static let lastWord = Flags(rawValue: 256)
        /// REQUIRETLS.
        static let tlsRequired = Flags(rawValue: 512)
        /// `TLS-Required: No`, and no REQUIRETLS.
        static let tlsNotRequired = Flags(rawValue: 1024)
    }

    package var isForcedToExpire: Bool { flags.contains(.forcedExpire) }

    /// The sender that a recipient gets it from, and that hears what became of that recipient.
    func sender(for recipient: QueuedRecipient) -> Address? {
        guard let verp, let sender else { return sender }
        return verp.sender(sender, for: recipient.target.address)
    }

    package var isEightBit: Bool { flags.contains(.eightBit) }
    package var body: Envelope.BodyType { flags.contains(.binary) ? .binary : flags.contains(.eightBit) ? .eightBitMIME : .sevenBit }

    /// Where Postfix would keep it.
    package var queue: QueueName { QueueName(isHeld: isHeld, isLeased: isLeased, attempts: attempts) }

    package var tlsOption: TLSOption? { flags.contains(.tlsRequired) ? .required : flags.contains(.tlsNotRequired) ? .notRequired : nil }

    package var returnContent: Envelope.ReturnContent? {
        flags.contains(.returnFull) ? .full : flags.contains(.returnHeaders) ? .headers : nil
    }
}

/// The queues of Postfix, which are states of a message here.
package enum QueueName: String, CaseIterable, Sendable {
    /// Waits for its first attempt.
    case incoming
    /// Is being worked on.
    case active
    /// Waits for another attempt.
    case deferred
    case hold

    init(isHeld: Bool, isLeased: Bool, attempts: Int) { self = isHeld ? .hold : isLeased ? .active : attempts > 0 ? .deferred : .incoming }
}

/// A recipient that is not done with yet.
package struct StoredRecipient: Sendable {
    package let recipient: QueuedRecipient
    package var state: State
    /// Of the last attempt.
    package var reply: Reply?
    package var relay: String?
    /// The command of ours that the next hop answered so; nil: words of this server's own.
    package var answers: String?

    package enum State: Int64, Sendable {
        /// Still to be delivered.
        case pending = 0
        /// Delivered, and the sender asked to hear so.
        case delivered = 1
        /// Delivered to a next hop that does not do DSN (RFC 3461 §5.2.2 "relayed"), and the sender asked to hear so.
        case relayed = 2
        /// Failed for good; the report is not yet queued.
        case failed = 3
        /// No recipient, but an alias that led to several (RFC 3461 §5.2.7), whose sender asked to hear of success.
        case expanded = 4

        /// For listings. Written out: Swift finds the name of a case by reflection, which a million recipients notice.
        package var name: String {
            switch self {
            case .pending: "pending"
            case .delivered: "delivered"
            case .relayed: "relayed"
            case .failed: "failed"
            case .expanded: "expanded"
            }
        }
    }
}

extension StoredMessage.Flags {
    init(_ envelope: Envelope, bodyInFile: Bool) {
        self = []
        if envelope.body == .eightBitMIME { insert(.eightBit) }
        if envelope.body == .binary { insert(.binary) }
        if envelope.isInternationalized { insert(.internationalized) }
        if envelope.returnContent == .full { insert(.returnFull) }
        if envelope.returnContent == .headers { insert(.returnHeaders) }
        if bodyInFile { insert(.bodyInFile) }
        switch envelope.tlsOption {
        case .required: insert(.tlsRequired)
        case .notRequired: insert(.tlsNotRequired)
        case nil: break
        }
    }
}

extension DeliveryRequest {
    /// `recipients` is one alone where the sender differs with the recipient.
    init(_ message: StoredMessage, recipients: [QueuedRecipient], content: MessageContent) {
        self.init(
            id: message.id, sender: message.verp == nil ? message.sender : message.sender(for: recipients[0]), body: message.body,
            isInternationalized: message.flags.contains(.internationalized), returnContent: message.returnContent,
            envelopeID: message.envelopeID, tlsOption: message.tlsOption, received: message.received, content: content, recipients: recipients)
    }
}

extension StoredMessage {
    init(_ message: IncomingMessage) {
        self.init(
            id: message.id, sender: message.envelope.sender, received: message.received, size: message.content.size,
            flags: message.flags, envelopeID: message.envelope.envelopeID,
            due: message.received, attempts: 0, isLeased: true,
            recipients: message.recipients.map { StoredRecipient(recipient: $0, state: .pending) }
                + message.expansions.map { StoredRecipient(recipient: $0, state: .expanded) })
        verp = message.envelope.verp
    }
}
