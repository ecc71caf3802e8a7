// Puts a changed manifest into force while everything runs: wholly or not at all.
//
// The file is read and judged on a thread of its own, which steps back for those that serve. What is new is opened before
// anything is changed. Then each part gets a reference to what it is told from now on; a transaction or a delivery that is
// under way ends by what it began with. What cannot be changed while it runs is refused like any other error of the file,
// and so the manifest that was in force stays so.

internal import DNS
internal import Delivery
internal import Glibc
internal import MailQueue
internal import MailSyntax
package import Manifest
internal import NIOPosix
internal import SMTPServer
package import Telemetry

/// What became of an attempt.
struct ReloadOutcome: Sendable {
    enum Kind: String, Sendable { case applied, unchanged, refused }

    let kind: Kind
    /// The file as it was read, for the lines that diagnostics show.
    let source: [UInt8]
    let diagnostics: [Diagnostic]
    var change = Listeners.Change()
    /// One line without its end.
    let summary: String
}

/// What the reload has to tell when another manifest comes into force.
struct ReloadableParts: Sendable {
    let scheduler: DeliveryScheduler
    let mailboxes: LocalAgent
    let commands: CommandAgent
    let nextHops: SMTPAgent
    let names: CurrentNames
    let space: SpoolSpace
    let health: Health
    let listeners: Listeners
    let log: EventLog
}

actor Reload {
    enum Cause: String, Sendable {
        case command = "valija reload"
        case signal = "SIGHUP"
        case file = "the file changed"
        case certificate = "a certificate changed"
    }

    /// How long what was in force before is kept: its end frees much memory, which is not to happen on an event loop that
    /// happens to end the last transaction with it.
    private static let keepsPrevious = Duration.seconds(60)

    nonisolated let file: String
    private let parts: ReloadableParts
    private(set) var inForce: Preparation
    private(set) var since: Timestamp
    private var previous: Preparation?
    private var release: Task<Void, Never>?
    /// The text that was last found to be wrong: a file that is touched and not mended is no news.
    private var refusedText: [UInt8]?
    private var isRefused = false
    private var last: Task<ReloadOutcome?, Never>?

    init(file: String, inForce: Preparation, since: Timestamp, parts: ReloadableParts) {
        self.file = file
        self.inForce = inForce
        self.since = since
        self.parts = parts
    }

    /// Loads the file, after those that were asked for before. Nil for `.file` where there is nothing new in it.
    func run(_ cause: Cause) async -> ReloadOutcome? {
        let before = last
        let task = Task { () -> ReloadOutcome? in
            _ = await before?.value
            return await self.load(cause)
        }
        last = task
        return await task.value
    }

    private func load(_ cause: Cause) async -> ReloadOutcome? {
        let known = cause == .file ? (isRefused ? refusedText : inForce.text) : nil
        // A renewed certificate is no leave to put in force what somebody is still writing.
        let text = cause == .certificate ? inForce.text : nil
        let read = await onOwnThread { [file, log = parts.log] in ReadManifest(file, text: text, unless: known, log: log) }
        guard let read else { return nil }
        guard let new = read.preparation else {
            refusedText = read.source
            return refuse(read.source, read.diagnostics, cause)
        }
        // A file that was refused stays so, whatever becomes of certificates.
        if cause != .certificate { refusedText = nil }
        let wanted = Listeners.Addresses(new.listen)
        let opened: Listeners.Opened
        switch await open(new, wanted) {
        case .success(let found):
            opened = found.listeners
            if let names = found.names { parts.names.replace(names) }
        case .failure(let refusal): return refuse(read.source, read.diagnostics + refusal.diagnostics, cause)
        }
        let isSame = new.text == inForce.text
        let certificatesBefore = inForce.certificates
        let change = await takeOver(new, opened, wanted)
        parts.log.record(.manifestLoaded, by: .appliance) { fields in
            fields.rule = self.file
            fields.reason = cause.rawValue
            fields.message = new.contents
        }
        if new.certificates != certificatesBefore { record(new.certificates, parts.log) }
        let summary = "\(file) \(isSame ? "has not changed; it is" : "is") in force (\(new.contents))"
        return ReloadOutcome(kind: isSame ? .unchanged : .applied, source: read.source, diagnostics: read.diagnostics, change: change, summary: summary)
    }

    private struct Refusal: Error {
        let diagnostics: [Diagnostic]
    }

    /// All that may fail: what the new manifest needs is there when this succeeds, and nothing is changed yet.
    private func open(_ new: Preparation, _ wanted: Listeners.Addresses) async -> Result<(listeners: Listeners.Opened, names: DNS.Resolver?), Refusal> {
        var diagnostics = new.faults
        // The keys are those of `ManifestComparison.fixedKeys`.
        if new.queueDirectory.value != inForce.queueDirectory.value {
            diagnostics.append(
                needsRestart(
                    "queue.directory", "the spool at \"\(inForce.queueDirectory.value)\" is open", at: new.queueDirectory,
                    hint: "stop the server, move the spool, and start it again"))
        }
        if new.format.value != inForce.format.value {
            diagnostics.append(
                needsRestart("logging.format", "whoever reads the log reads \(inForce.format.value)", at: new.format, hint: "start the server again"))
        }
        if let directory = new.mailboxDirectory, directory.value != inForce.mailboxDirectory?.value,
            let fault = await mailboxDirectoryFault(directory.value) {
            diagnostics.append(Diagnostic(.cannotApply, .error, "mailboxes.directory: \(fault)", file: file, at: directory.position))
        }
        // The system's files may have changed while the manifest did not.
        var names: DNS.Resolver?
        if new.names != inForce.names {
            do throws(DNS.Resolver.Flaw) {
                names = try DNS.Resolver(new.names, notice: resolverNotice(parts.log))
            } catch {
                diagnostics.append(Diagnostic(.cannotApply, .error, "dns: \(error)", file: file, at: new.resolvers.position))
            }
        }
        guard diagnostics.isEmpty else { return .failure(Refusal(diagnostics: diagnostics)) }
        do throws(ListenerFailure) {
            return .success((try await parts.listeners.open(wanted, new.mail), names))
        } catch {
            let position =
                switch error.service {
                case .health: new.listen.health.position
                case .submission: new.listen.submission.position
                case .submissions: new.listen.submissions.position
                default: new.listen.smtp.position
                }
            return .failure(Refusal(diagnostics: [Diagnostic(.cannotApply, .error, "\(error)", file: file, at: position)]))
        }
    }

    private func needsRestart<Value>(_ key: String, _ reason: String, at place: Located<Value>, hint: String) -> Diagnostic {
        Diagnostic(
            .needsRestart, .error, "\(key) cannot change while the server runs: \(reason)", file: file, at: place.position, endColumn: place.endColumn,
            hint: hint)
    }

    private func mailboxDirectoryFault(_ directory: String) async -> String? {
        await onOwnThread {
            do throws(ApplianceFailure) {
                try makeMailboxDirectory(directory)
                return nil
            } catch {
                return error.description
            }
        }
    }

    private func takeOver(_ new: Preparation, _ opened: Listeners.Opened, _ wanted: Listeners.Addresses) async -> Listeners.Change {
        // The one before goes now, on this actor's thread: however often the file changes, there are two.
        previous = inForce
        release?.cancel()
        release = Task {
            guard (try? await Task.sleep(for: Reload.keepsPrevious)) != nil else { return }
            self.previous = nil
        }
        // The agents first: whoever is accepted by the new manifest finds a mailbox.
        parts.mailboxes.replace(new.mailboxes)
        parts.commands.replace(new.commands)
        parts.nextHops.replace(new.nextHops)
        parts.scheduler.apply(new.queue)
        parts.space.minimum = new.space
        parts.log.level = new.level
        let change = await parts.listeners.takeOver(opened, wanted, new.mail)
        inForce = new
        since = Timestamp.now()
        guard refusedText == nil else { return change }
        isRefused = false
        parts.health.manifestLoaded(at: since, networksFault: new.networksFault)
        new.logNetworksFault(parts.log)
        return change
    }

    private func refuse(_ source: [UInt8], _ diagnostics: [Diagnostic], _ cause: Cause) -> ReloadOutcome {
        isRefused = true
        let errors = diagnostics.filter { $0.severity == .error }
        let count = "\(errors.count) error\(errors.count == 1 ? "" : "s")"
        let stays = "what was loaded at \(since.rfc3339) stays in force"
        parts.health.manifestRefused("\(file) was refused at \(Timestamp.now().rfc3339) (\(count)); \(stays)")
        recordRefusal(of: file, diagnostics, parts.log, message: cause.rawValue)
        return ReloadOutcome(kind: .refused, source: source, diagnostics: diagnostics, summary: "\(file): \(count); refused, \(stays)")
    }
}

/// Logs a manifest that was not put into force, with what is wrong with it as far as a log line should be long.
package func recordRefusal(of file: String, _ diagnostics: [Diagnostic], _ log: EventLog, message: String? = nil) {
    let shown = 10
    let errors = diagnostics.filter { $0.severity == .error }
    log.record(.manifestRefused, by: .appliance) { fields in
        fields.rule = file
        fields.count = errors.count
        fields.reason = errors.prefix(shown).map(\.line).joined(separator: "; ") + (errors.count > shown ? "; …" : "")
        fields.message = message
    }
}

extension Diagnostic {
    /// `mail.yaml:7:24: alias target … [dangling-target]`.
    fileprivate var line: String {
        "\(file):\(position.map { "\($0.line):\($0.column):" } ?? "") \(message) [\(code.rawValue)]"
    }
}

/// A file as a reload finds it. Made on a thread of its own.
private struct ReadManifest: Sendable {
    let source: [UInt8]
    let diagnostics: [Diagnostic]
    /// Nil if there is any error.
    let preparation: Preparation?

    /// `text`: as the file was read before; else it is read now. Nil if it is `known`.
    init?(_ file: String, text: [UInt8]?, unless known: [UInt8]?, log: EventLog) {
        let result: ReadResult
        switch text.map(Result.success) ?? readManifestFile(file) {
        case .success(let text):
            if text == known { return nil }
            source = text
            result = checkManifest(text: text, file: file)
        case .failure(let failure):
            source = []
            result = ReadResult(failure: failure.diagnostic)
        }
        diagnostics = result.diagnostics
        preparation = diagnostics.contains { $0.severity == .error } ? nil : result.system.map { [source] in Preparation($0, text: source, log: log) }
    }
}

/// Work that takes long and that nobody's message waits for.
private func onOwnThread<Value: Sendable>(_ work: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        let thread = NIOThreadPool(numberOfThreads: 1)
        thread.start()
        thread.submit { _ in
            setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)  // 0: the calling thread (setpriority(2), Linux)
            continuation.resume(returning: work())
            thread.shutdownGracefully { _ in }
        }
    }
}
