// What a mailing list or a user's forward file leads to, found out at the moment of delivery, and the message that goes there:
// one of its own, as Postfix's local(8) makes it (forward.c), with the list's owner as its sender where there is one.
//
// Files are read each time: a change counts from the next message on. All of it blocks.

internal import Glibc
internal import MailQueue
package import MailSyntax
internal import Mailboxes
internal import NIOCore
package import Routing

package struct ListDelivery: Sendable {
    /// Who names a file or a command.
    package enum Source: Sendable { case alias, include, forward }

    package struct Configuration: Sendable {
        package var hostname: Domain
        package var origin: Domain
        /// Who may have mail given to a command, and appended to a file.
        package var commands: Set<Source>
        package var files: Set<Source>
        /// Paths in which `$user` and `$extension` stand for the recipient's; empty: there are no such files.
        package var forwardPath: [String]

        package init(hostname: Domain, origin: Domain, commands: Set<Source>, files: Set<Source>, forwardPath: [String]) {
            self.hostname = hostname
            self.origin = origin
            self.commands = commands
            self.files = files
            self.forwardPath = forwardPath
        }
    }

    /// Why it cannot be known now.
    struct Flaw: Error {
        let reply: Reply
    }

    struct Members {
        var destinations: [Destination] = []
        /// Entries that get nothing.
        var refused: [(entry: String, reply: Reply)] = []
    }

    /// Files that include files: deeper is a mistake.
    private static let deepest = 20

    let configuration: Configuration
    let router: Router

    package init(_ configuration: Configuration, router: Router) {
        self.configuration = configuration
        self.router = router
    }

    // MARK: Members

    func members(ofAlias name: String) throws(Flaw) -> Members {
        guard let targets = router.targets(ofAlias: name) else {
            throw Flaw(reply: Reply(550, EnhancedCode(5, 1, 1), "unknown list: \"\(name)\""))
        }
        var gathered = Gathered(configuration)
        try gathered.add(targets, from: .alias, depth: 0)
        return members(gathered) { router.members($0, ofAlias: name) }
    }

    /// Nil: the user has no forward file.
    func forward(ofUser name: String, original: Address) throws(Flaw) -> Members? {
        guard !configuration.forwardPath.isEmpty, router.keepsMail(ofUser: name) else { return nil }
        for path in configuration.forwardPath {
            guard let path = expanded(path, user: name, original: original), let text = try readTargets(path, isUsers: true) else { continue }
            let list = TargetList(text)
            // A file without a word means nothing.
            if list.targets.isEmpty, list.flaws.isEmpty { continue }
            var gathered = Gathered(configuration)
            gathered.add(flaws: list.flaws)
            try gathered.add(list.targets, from: .forward, depth: 0)
            return members(gathered) { router.members($0, ofUser: name) }
        }
        return nil
    }

    private func members(_ gathered: Gathered, _ expand: ([Router.Target]) -> Router.Members) -> Members {
        let found = expand(gathered.targets)
        let unknown = found.unknown.map { ($0, Reply(550, EnhancedCode(5, 1, 1), "unknown user: \"\($0)\"")) }
        return Members(destinations: found.destinations, refused: gathered.refused + unknown)
    }

    /// Nil: the path speaks of an extension that the address has not, or of one that is no part of a file's name.
    private func expanded(_ path: String, user: String, original: Address) -> String? {
        guard path.contains("$") else { return path }
        var path = path.with(user, insteadOf: "${user}").with(user, insteadOf: "$user")
        if path.contains("$") {
            guard let part = router.addressExtension(original), !part.contains("/"), !part.hasPrefix(".") else { return nil }
            path = path.with(part, insteadOf: "${extension}").with(part, insteadOf: "$extension")
        }
        return path
    }

    /// Targets that may be, with included files opened.
    private struct Gathered {
        private let configuration: Configuration
        private(set) var targets: [Router.Target] = []
        private(set) var refused: [(String, Reply)] = []
        private var opened: Set<String> = []

        init(_ configuration: Configuration) { self.configuration = configuration }

        mutating func add(flaws: [String]) {
            for flaw in flaws { refused.append((flaw, Reply(550, EnhancedCode(5, 1, 3), "no address: \"\(flaw)\""))) }
        }

        mutating func add(_ new: [Router.Target], from source: Source, depth: Int) throws(Flaw) {
            for target in new {
                switch target {
                case .name, .address: targets.append(target)
                case .file(let path): allow(target, path, configuration.files.contains(source), "mail to files is not allowed here")
                case .command(let command): allow(target, "|\(command)", configuration.commands.contains(source), "mail to commands is not allowed here")
                case .include(let path):
                    // A user must not have files read that the server may read and the user may not.
                    guard source != .forward else {
                        refused.append((":include:\(path)", Reply(550, EnhancedCode(5, 7, 1), "a forward file includes no other")))
                        continue
                    }
                    guard opened.insert(path).inserted else { continue }
                    guard depth < ListDelivery.deepest, let text = try readTargets(path, isUsers: false) else {
                        throw Flaw(reply: Reply(451, EnhancedCode(4, 3, 5), "mail system configuration error: a list cannot be read"))
                    }
                    let list = TargetList(text)
                    add(flaws: list.flaws)
                    try add(list.targets, from: .include, depth: depth + 1)
                }
            }
        }

        /// RFC 3463 §3.8: X.7.1, delivery not authorized.
        private mutating func allow(_ target: Router.Target, _ entry: String, _ isAllowed: Bool, _ reason: String) {
            if isAllowed { targets.append(target) } else { refused.append((entry, Reply(550, EnhancedCode(5, 7, 1), reason))) }
        }
    }

    // MARK: The message that goes there

    /// - Parameter name: of the list; nil: a user forwards, and the sender stays.
    func message(
        _ request: DeliveryRequest, _ recipient: QueuedRecipient, list name: String?, to members: Members, spool: Spool
    ) throws -> Resubmission {
        let now = Timestamp.now()
        let id = spool.nextID(now: now)
        let address = recipient.target.address
        // A report has no sender, and goes to no list: it keeps none (RFC 5321 §4.5.5).
        let owner = request.sender == nil ? nil : name.flatMap { router.owner(ofAlias: $0) }
        let sender = owner.map { Address(localPart: $0, domain: configuration.origin) } ?? request.sender
        var recipients: [QueuedRecipient] = []
        func add(_ target: RecipientTarget, original: Address) {
            // RFC 3461 §5.2.7.3: to a list, the message is a new one; §5.2.7.2: to more addresses of one recipient, it is still the sender's.
            let keeps = owner == nil
            recipients.append(
                QueuedRecipient(
                    number: recipients.count, original: keeps ? recipient.original : original, target: target, notify: keeps ? recipient.notify : .unspecified,
                    originalRecipient: keeps ? recipient.originalRecipient : nil))
        }
        for destination in members.destinations {
            let target = RecipientTarget(destination, origin: configuration.origin, list: address)
            add(target, original: target.address)
        }
        var failures: [(number: Int, reply: Reply)] = []
        for (_, reply) in members.refused where owner != nil || recipient.notify.wantsFailure {
            failures.append((recipients.count, reply))
            add(.mailbox(user: "", address: address), original: address)
        }
        let trace = "Received: by \(configuration.hostname) (Valija) id \(id); \(now.rfc5322)\r\nDelivered-To: \(address)\r\n"
        let content = try prepended(trace, to: request.content, id, spool)
        let envelope = Envelope(
            sender: sender, body: request.body, isInternationalized: request.isInternationalized, returnContent: owner == nil ? request.returnContent : nil,
            envelopeID: owner == nil ? request.envelopeID : nil, tlsOption: request.tlsOption)  // RFC 8689 §6
        let message = IncomingMessage(id: id, envelope: envelope, recipients: recipients, received: now, content: content)
        return Resubmission(message: message, failures: failures, passesOnDSN: owner == nil)
    }

    private func prepended(_ trace: String, to content: MessageContent, _ id: QueueID, _ spool: Spool) throws -> MessageContent {
        switch content {
        case .inline(let bytes):
            var whole = ByteBufferAllocator().buffer(capacity: trace.utf8.count + bytes.readableBytes)
            whole.writeString(trace)
            whole.writeImmutableBuffer(bytes)
            return .inline(whole)
        case .file(let path, let size):
            let source = try ContentFile(path: path, size: size)
            let file = try BodyFile(spool: spool, id: id)
            try file.append(ByteBuffer(string: trace))
            var offset = 0
            while offset < size {
                let chunk = try source.read(at: offset)
                try file.append(chunk)
                offset += chunk.readableBytes
            }
            try file.finish()
            return .file(path: file.path, size: file.size)
        }
    }
}

extension RecipientTarget {
    /// `list`: the address of the list that led there, which files and commands have.
    init(_ destination: Destination, origin: Domain, list: Address) {
        switch destination {
        case .mailbox(let user): self = .mailbox(user: user, address: Address(localPart: user, domain: origin))
        case .remote(let address): self = .remote(address)
        case .file(let path): self = .file(path: path, address: list)
        case .command(let command): self = .command(command, address: list)
        case .list(let alias): self = .list(alias: alias, address: Address(localPart: alias, domain: origin))
        case .include: preconditionFailure("included files are opened before")
        }
    }
}

/// The text of a file of targets; nil: there is none. `isUsers`: nobody but its owner may be able to write it (local(8)).
private func readTargets(_ path: String, isUsers: Bool) throws(ListDelivery.Flaw) -> String? {
    func flaw() -> ListDelivery.Flaw { ListDelivery.Flaw(reply: Reply(451, EnhancedCode(4, 3, 5), "mail system configuration error: a list cannot be read")) }
    // Never waiting for a pipe's writer.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw flaw()
    }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= TargetList.longest else { throw flaw() }
    if isUsers, status.st_mode & S_IWOTH != 0 { return nil }
    var bytes = [UInt8](repeating: 0, count: min(TargetList.longest, Int(status.st_size)) + 1)
    var count = 0
    while count < bytes.count {
        let number = bytes.withUnsafeMutableBytes { read(descriptor, $0.baseAddress! + count, $0.count - count) }
        if number == 0 { break }
        if number < 0, errno == EINTR { continue }
        guard number > 0 else { throw flaw() }
        count += number
    }
    // It grew while it was read.
    guard count <= Int(status.st_size) else { throw flaw() }
    return String(decoding: bytes[..<count], as: UTF8.self)
}

extension String {
    /// Every occurrence, from the left.
    fileprivate func replacing(_ part: String, with other: String) -> String {
        var result = ""
        var rest = Substring(self)
        while !rest.isEmpty {
            if rest.hasPrefix(part) {
                result += other
                rest = rest.dropFirst(part.count)
            } else {
                result.append(rest.removeFirst())
            }
        }
        return result
    }
}
