// One batch for mailboxes, on one thread: sorts the copies by format and mailbox, hands them on in portions, reports.

internal import Mailboxes
internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import Routing

struct LocalBatch {
    /// A portion ends with whichever comes first. Files that wait for one sync: beyond this the gain is small
    /// (docs/decisions/0003-maildir-group-sync.md) and reports are late.
    private static let mostCopies = 256
    /// Each mailbox of a portion takes two descriptors, of the 1024 that a process has by default.
    private static let mostMailboxes = 64
    /// Octets of converted text in memory.
    private static let mostText = 4 << 20

    let configuration: LocalAgent.Configuration
    let spool: Spool?
    let disk: any Disk
    let maildirs: MaildirStore
    let mboxes: MboxStore
    let report: @Sendable (DeliveryReport) -> Void
    let isCancelled: () -> Bool

    private struct Pending {
        let copy: MailboxCopy
        let id: QueueID
        let recipient: QueuedRecipient
        /// Where the user's mail goes besides, once it is here.
        var forwards: Resubmission?
    }

    private struct Key: Hashable {
        let id: QueueID
        let number: Int
    }

    private var pending: [Pending] = []
    private var mailboxes: Set<MailboxLocation> = []
    private var text = 0
    /// Recipients that stand in the batch more than once: delivered once, reported as often.
    private var repeats: [Key: Int] = [:]

    init(
        configuration: LocalAgent.Configuration, spool: Spool?, disk: any Disk, maildirs: MaildirStore, mboxes: MboxStore,
        report: @escaping @Sendable (DeliveryReport) -> Void, isCancelled: @escaping () -> Bool
    ) {
        self.configuration = configuration
        self.spool = spool
        self.disk = disk
        self.maildirs = maildirs
        self.mboxes = mboxes
        self.report = report
        self.isCancelled = isCancelled
    }

    mutating func deliver(_ batch: [DeliveryRequest]) {
        var seen: Set<Key> = []
        for request in batch {
            let fresh = request.recipients.filter { recipient in
                let key = Key(id: request.id, number: recipient.number)
                if seen.insert(key).inserted { return true }
                repeats[key, default: 0] += 1
                return false
            }
            if !fresh.isEmpty { deliver(request, fresh) }
        }
        flush()
    }

    private mutating func deliver(_ request: DeliveryRequest, _ recipients: [QueuedRecipient]) {
        if isCancelled() {
            for recipient in recipients { tell(request.id, recipient, .stopping, "local") }
            return
        }
        let message = MailboxMessage(sender: request.sender, received: request.received, content: convert(request))
        let earlier = ForwardingLoop.earlierDeliveries(of: message, disk: disk)
        for recipient in recipients {
            let address = recipient.target.address
            do throws(MailboxError) {
                guard let location = try location(request, recipient) else { continue }
                guard !earlier.contains(address) else {
                    tell(request.id, recipient, .loop(address), location.format.rawValue)
                    continue
                }
                guard let (staysHere, forwards) = sendOn(request, recipient) else { continue }
                guard staysHere else {
                    if let forwards { tell(request.id, recipient, .resubmitted(forwards), "local") }
                    continue
                }
                // The queue id is the time of arrival, made unique: the same in every attempt.
                let name = MailName(
                    arrival: Timestamp(microseconds: request.id.rawValue), queueID: request.id.description, recipient: recipient.number)
                let copy = MailboxCopy(
                    location: location, message: message, name: name, original: recipient.original, delivered: address)
                add(Pending(copy: copy, id: request.id, recipient: recipient, forwards: forwards))
            } catch {
                tell(request.id, recipient, error.outcome(for: configuration.format), "local")
            }
        }
        if case .text(let octets) = message.content { text += octets.count }
        if text >= LocalBatch.mostText { flush() }
    }

    /// Nil: there is none, and that was told.
    private func location(_ request: DeliveryRequest, _ recipient: QueuedRecipient) throws(MailboxError) -> MailboxLocation? {
        switch recipient.target {
        case .mailbox(let user, _):
            if let location = try configuration.mailbox(of: user) { return location }
            tell(request.id, recipient, .unknownUser(user), "local")
        case .file(path: "/dev/null", _): tell(request.id, recipient, .deliveredToFile, "file")
        case .file(let path, _): return try MailboxLocation(path: path, quota: configuration.fileQuota)
        // Only the name of one: the members have theirs.
        case .list: return try MailboxLocation(directory: "/", user: "list", format: .mbox, quota: 0)
        case .remote, .command: tell(request.id, recipient, .misrouted, "local")
        }
        return nil
    }

    /// Whether a copy stays here, and what goes elsewhere, to the members of a list or where the user forwards. Nil: neither, and
    /// that was told.
    private func sendOn(_ request: DeliveryRequest, _ recipient: QueuedRecipient) -> (staysHere: Bool, forwards: Resubmission?)? {
        guard let lists = configuration.lists, let spool else {
            if case .list = recipient.target {
                tell(request.id, recipient, .misrouted, "local")
                return nil
            }
            return (true, nil)
        }
        do {
            var members: ListDelivery.Members
            var list: String?
            switch recipient.target {
            case .list(let alias, _):
                list = alias
                members = try lists.members(ofAlias: alias)
                // A file that is being written anew is empty for a moment.
                guard !members.destinations.isEmpty || !members.refused.isEmpty else { throw ListDelivery.Flaw(reply: Reply(451, EnhancedCode(4, 2, 4), "the list has no members")) }
            case .mailbox(let user, _):
                guard let forward = try lists.forward(ofUser: user, original: recipient.original) else { return (true, nil) }
                members = forward
            case .file, .command, .remote: return (true, nil)
            }
            var staysHere = false
            if case .mailbox(let user, _) = recipient.target {
                staysHere = members.destinations.contains(.mailbox(user: user))
                members.destinations.removeAll { $0 == .mailbox(user: user) }
                if members.destinations.isEmpty, members.refused.isEmpty { return (true, nil) }
            }
            return (staysHere, try lists.message(request, recipient, list: list, to: members, spool: spool))
        } catch let flaw as ListDelivery.Flaw {
            tell(request.id, recipient, flaw.reply.isPermanent ? .failed(flaw.reply) : .deferred(flaw.reply), "local")
        } catch {
            tell(request.id, recipient, .deferred(Reply(451, EnhancedCode(4, 3, 0), "the message could not be sent on: \(error)")), "local")
        }
        return nil
    }

    private func convert(_ request: DeliveryRequest) -> MailboxMessage.Content {
        let isBinary = request.body == .binary
        switch request.content {
        case .inline(let buffer) where isBinary: return .text(Array(buffer.readableBytesView))
        case .file(let path, _) where isBinary: return .binaryFile(path: path)
        case .inline(let buffer): return .text(buffer.withUnsafeReadableBytes { LineEnds.convert($0) })
        case .file(let path, _): return .file(path: path)
        }
    }

    private mutating func add(_ one: Pending) {
        pending.append(one)
        mailboxes.insert(one.copy.location)
        if pending.count >= LocalBatch.mostCopies || mailboxes.count >= LocalBatch.mostMailboxes { flush() }
    }

    /// Delivers what is pending and reports it.
    private mutating func flush() {
        let portion = pending
        pending.removeAll(keepingCapacity: true)
        mailboxes.removeAll(keepingCapacity: true)
        text = 0
        let forMaildirs = portion.filter { $0.copy.location.format == .maildir }
        if !forMaildirs.isEmpty {
            tell(forMaildirs, maildirs.deliver(forMaildirs.map(\.copy), host: configuration.hostname))
        }
        let forMboxes = portion.filter { $0.copy.location.format == .mbox }
        for (_, members) in Dictionary(grouping: forMboxes, by: \.copy.location) {
            tell(members, mboxes.deliver(members.map(\.copy)))
        }
    }

    private mutating func tell(_ portion: [Pending], _ errors: [MailboxError?]) {
        for (one, error) in zip(portion, errors) {
            let format = one.copy.location.format
            if error == nil, let forwards = one.forwards {
                tell(one.id, one.recipient, .resubmitted(forwards), format.rawValue)
            } else if case .file = one.recipient.target {
                tell(one.id, one.recipient, error.map { $0.outcome(for: format) } ?? .deliveredToFile, "file")
            } else {
                tell(one.id, one.recipient, error.map { $0.outcome(for: format) } ?? .delivered(to: format), format.rawValue)
            }
        }
    }

    private func tell(_ id: QueueID, _ recipient: QueuedRecipient, _ outcome: DeliveryReport.Outcome, _ relay: String) {
        for _ in 0...repeats[Key(id: id, number: recipient.number), default: 0] {
            report(DeliveryReport(id: id, recipient: recipient, outcome: outcome, relay: relay))
        }
    }
}
