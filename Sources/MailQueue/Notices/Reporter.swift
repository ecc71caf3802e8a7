// Who is told what about a message: its sender, and the postmaster where the manifest wants that. Inside one transaction.
//
// No storm of reports: nothing is ever sent in answer to a message from the null reverse-path (RFC 5321 §4.5.5) but a notice to
// the postmaster, if one is asked for, and in answer to that, nothing at all. A message is reported late once.

internal import Glibc
package import MailSyntax
internal import NIOCore

/// What is reported, and to whom. Postfix has these values in parameters of the names beside them.
package struct ReportPolicy: Sendable {
    /// Octets of a message that is returned whole; of a larger one the header is: bounce_size_limit.
    package var returnedSize = 50_000
    /// When the sender of mail that waits is told so; nil: never: delay_warning_time.
    package var delayWarning: Duration?
    /// Who gets a copy of each report of a failure: notify_classes `bounce`, bounce_notice_recipient.
    package var bounceNotice: Address?
    /// Who gets a report that nobody else can get: `2bounce`, 2bounce_notice_recipient.
    package var doubleBounceNotice: Address?
    /// Who gets a copy of each report of a delay: `delay`, delay_notice_recipient.
    package var delayNotice: Address?

    package init() {}
}

struct Reporter {
    let message: StoredMessage
    let store: SpoolStore
    let configuration: DeliveryScheduler.Configuration
    let nextID: () -> QueueID
    let now: Timestamp
    private(set) var change = SpoolChange()

    init(_ message: StoredMessage, _ store: SpoolStore, _ configuration: DeliveryScheduler.Configuration, now: Timestamp, nextID: @escaping () -> QueueID) {
        self.message = message
        self.store = store
        self.configuration = configuration
        self.now = now
        self.nextID = nextID
    }

    /// Those that are done with: failed, or delivered where the sender asked to hear of that.
    mutating func reportOutcome(of recipients: [StoredRecipient]) throws {
        guard !recipients.isEmpty else { return }
        let hasFailures = recipients.contains { $0.state == .failed }
        for (sender, recipients) in bySender(recipients) {
            guard let sender else {
                try reportToPostmaster(recipients, insteadOf: nil, because: "a report from the null sender could not be delivered")
                continue
            }
            if try !queue(.outcome, about: recipients, to: sender) {
                try reportToPostmaster(recipients, insteadOf: sender, because: "the sender's address does not exist here")
            }
        }
        if hasFailures, message.sender != nil, let postmaster = configuration.reports.bounceNotice {
            try queue(.copy, about: recipients.filter { $0.state == .failed }, to: postmaster)
        }
    }

    /// RFC 3461 §4.1: a report of a delay goes to those who did not say what they want to hear of, and to those who want it.
    /// True: the sender was told, or needs not be.
    mutating func reportDelay() throws -> Bool {
        guard let warning = configuration.reports.delayWarning, message.sender != nil, now >= message.received + warning else { return false }
        let late = message.recipients.filter { $0.state == .pending && ($0.recipient.notify == .unspecified || $0.recipient.notify.contains(.delay)) }
        guard !late.isEmpty else { return true }
        for (sender, recipients) in bySender(late) {
            if let sender { try queue(.delay, about: recipients, to: sender) }
        }
        if let postmaster = configuration.reports.delayNotice { try queue(.delayCopy, about: late, to: postmaster) }
        return true
    }

    /// With VERP each recipient has a sender of its own.
    private func bySender(_ recipients: [StoredRecipient]) -> [(Address?, [StoredRecipient])] {
        guard message.verp != nil, message.sender != nil else { return [(message.sender, recipients)] }
        return recipients.map { (message.sender(for: $0.recipient), [$0]) }
    }

    private mutating func reportToPostmaster(_ recipients: [StoredRecipient], insteadOf sender: Address?, because reason: String) throws {
        let failed = recipients.filter { $0.state == .failed }
        if !failed.isEmpty, !message.flags.contains(.lastWord), let postmaster = configuration.reports.doubleBounceNotice,
            try queue(.doubleBounce, about: failed, to: postmaster)
        {
            return
        }
        change.notices.append(SpoolChange.Notice(about: message.id, to: sender, queued: nil, reason: reason))
    }

    /// False: that address leads nowhere.
    @discardableResult
    private mutating func queue(_ kind: DeliveryNotice.Kind, about recipients: [StoredRecipient], to address: Address) throws -> Bool {
        let targets = configuration.route(address)
        guard !targets.isEmpty else { return false }
        let reports = configuration.reports
        let notice = DeliveryNotice(
            kind: kind, to: address, message: message, recipients: recipients, hostname: configuration.hostname, origin: configuration.origin,
            id: nextID(), now: now, retriedUntil: configuration.schedule.end(received: message.received, isBounce: message.sender == nil),
            largestReturned: reports.returnedSize, original: excerpt(of: try store.content(of: message)))
        let (envelope, content) = notice.compose()
        let queued = targets.enumerated().map { number, target in
            QueuedRecipient(number: number, original: address, target: target, notify: .unspecified, originalRecipient: nil, copies: targets.count)
        }
        try store.insert(
            IncomingMessage(
                id: notice.id, envelope: envelope, recipients: queued, received: now, content: .inline(content), isLastWord: kind.isForPostmaster),
            leased: false)
        change.removed -= 1
        change.due = now
        let report = SpoolChange.Notice.Report(
            id: notice.id, messageID: notice.messageID, size: content.readableBytes, recipients: queued.count, words: notice.words)
        change.notices.append(SpoolChange.Notice(about: message.id, to: address, queued: report, reason: nil))
        return true
    }

    /// Of a body in a file that is too large to be returned, the beginning only, with its header. Nothing where the body is gone:
    /// the sender hears of the failure all the same.
    private func excerpt(of content: MessageContent?) -> DeliveryNotice.Original {
        var bytes = ByteBuffer()
        switch content {
        case nil: return DeliveryNotice.Original(bytes: bytes, isWhole: false)
        case .inline(let bytes): return DeliveryNotice.Original(bytes: bytes, isWhole: true)
        case .file(let path, let size):
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return DeliveryNotice.Original(bytes: bytes, isWhole: false) }
            defer { close(descriptor) }
            let wanted = size <= configuration.reports.returnedSize ? size : Spool.largestInlineBody
            while bytes.readableBytes < wanted {
                let rest = wanted - bytes.readableBytes
                let count = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: rest) { max(0, read(descriptor, $0.baseAddress, min(rest, $0.count))) }
                if count == 0 { break }
            }
            return DeliveryNotice.Original(bytes: bytes, isWhole: bytes.readableBytes == size)
        }
    }
}
