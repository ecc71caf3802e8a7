// Is the appliance alive, and may mail be sent to it? `/livez`, `/readyz` and `/metrics`.

internal import Glibc
internal import MailQueue
internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import NIOPosix
internal import SMTPServer
internal import Telemetry

/// What readiness depends on. Each check says `ok` or why not.
final class Health: Sendable {
    private struct State {
        var isListening = false
        var isStopping = false
        var manifest: String
        var loaded: Timestamp
        /// Why another manifest was refused since; nil: the last one is in force.
        var refusal: String?
        /// What of `networks` is not as safe as it was meant, and is not done.
        var networksFault: String?
    }

    private let scheduler: DeliveryScheduler
    private let smtp: SMTPService
    private let space: SpoolSpace
    private let log: EventLog
    private let started: Timestamp
    private let state: NIOLockedValueBox<State>

    init(scheduler: DeliveryScheduler, smtp: SMTPService, space: SpoolSpace, log: EventLog, manifest: String, started: Timestamp) {
        self.scheduler = scheduler
        self.smtp = smtp
        self.space = space
        self.log = log
        self.started = started
        state = NIOLockedValueBox(State(manifest: manifest, loaded: started))
    }

    func listenersAreUp() { state.withLockedValue { $0.isListening = true } }
    func willStop() { state.withLockedValue { $0.isStopping = true } }

    /// `networksFault`: `Preparation.networksFault`. Mail is accepted all the same.
    func manifestLoaded(at time: Timestamp, networksFault: String?) {
        state.withLockedValue { state in
            state.loaded = time
            state.networksFault = networksFault
            state.refusal = nil
        }
    }

    /// Mail is still accepted, by the manifest that stays in force: whoever probes is not to take the appliance out of service for it.
    func manifestRefused(_ reason: String) { state.withLockedValue { $0.refusal = reason } }

    func routes(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        guard request.method == "GET" || request.method == "HEAD" else { return try await responder.send(405, "text/plain", "method not allowed\n") }
        switch request.path {
        case "/livez": try await responder.send(200, "application/json", "{\"status\":\"alive\"}\n")
        case "/readyz":
            let checks = await checks()
            let isReady = checks.allSatisfy { $0.fault == nil || $0.isTolerated }
            let status = !isReady ? "not ready" : checks.contains { $0.fault != nil } ? "degraded" : "ready"
            try await responder.send(isReady ? 200 : 503, "application/json", Health.json(checks, status: status))
        case "/metrics": try await responder.send(200, "text/plain; version=0.0.4; charset=utf-8", metrics())
        default: try await responder.send(404, "text/plain", "not found: try /livez, /readyz or /metrics\n")
        }
    }

    private struct Check {
        let name: StaticString
        /// Nil: fine.
        let fault: String?
        /// Mail can be accepted in spite of it.
        var isTolerated = false
    }

    private func checks() async -> [Check] {
        let (isListening, isStopping, refusal, networksFault) = state.withLockedValue { ($0.isListening, $0.isStopping, $0.refusal, $0.networksFault) }
        await space.refresh()
        let spoolFault: String? = if let fault = space.fault { fault } else { await scheduler.spool.probe()?.reason }
        return [
            Check(name: "spool", fault: spoolFault),
            Check(name: "listeners", fault: isStopping ? "stopping" : isListening ? nil : "not listening yet"),
            Check(name: "manifest", fault: refusal, isTolerated: true),
            Check(name: "networks", fault: networksFault, isTolerated: true),
        ]
    }

    private static func json(_ checks: [Check], status: String) -> String {
        var line = JSONLine()
        line.field("status", status)
        line.beginObject("checks")
        for check in checks { line.field(check.name, check.fault ?? "ok") }
        line.endObject()
        line.finish()
        return String(decoding: line.bytes, as: UTF8.self)
    }

    /// Prometheus text exposition format 0.0.4.
    private func metrics() -> String {
        var text = """
            # HELP valija_events_total Events by name, as in the log.
            # TYPE valija_events_total counter

            """
        for (event, count) in log.counts { text += "valija_events_total{event=\"\(event.rawValue)\"} \(count)\n" }
        let encrypted = log.encryptedConnections
        if !encrypted.isEmpty {
            text += "# HELP valija_tls_connections_out_total Connections to other servers in TLS, by its version and how the server was verified.\n"
            text += "# TYPE valija_tls_connections_out_total counter\n"
            for (version, verification, count) in encrypted {
                text += "valija_tls_connections_out_total{version=\"\(version)\",verification=\"\(verification)\"} \(count)\n"
            }
        }
        let (resident, descriptors) = processFigures()
        let (manifest, loaded, isRefused) = state.withLockedValue { ($0.manifest, $0.loaded, $0.refusal != nil) }
        let gauges: [(String, String, String)] = [
            ("valija_queue_messages", "Messages in the spool.", "\(scheduler.spool.count)"),
            ("valija_queue_active_messages", "Messages being delivered at this moment.", "\(scheduler.activeCount)"),
            ("valija_smtp_sessions", "SMTP sessions that are open.", "\(smtp.sessionCount)"),
            ("valija_spool_free_bytes", "Free space of the spool's file system.", "\(space.free)"),
            ("valija_manifest_info", "The manifest in force.", "1"),
            ("valija_manifest_loaded_seconds", "When it was loaded, in seconds since 1970.", "\(loaded.seconds)"),
            ("valija_manifest_refused", "1 while a changed manifest is refused and the one before it in force.", isRefused ? "1" : "0"),
            ("process_resident_memory_bytes", "Resident memory.", "\(resident)"),
            ("process_open_fds", "Open file descriptors.", "\(descriptors)"),
            ("process_start_time_seconds", "Start of the process, in seconds since 1970.", "\(started.seconds)"),
        ]
        for (name, help, value) in gauges {
            let label = name == "valija_manifest_info" ? "{file=\"\(labelValue(manifest))\"}" : ""
            text += "# HELP \(name) \(help)\n# TYPE \(name) gauge\n\(name)\(label) \(value)\n"
        }
        return text
    }
}

/// As the text format writes it: `\`, `"` and line feed are escaped.
func labelValue(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { value, scalar in
        switch scalar {
        case "\\": value += "\\\\"
        case "\"": value += "\\\""
        case "\n": value += "\\n"
        default: value.unicodeScalars.append(scalar)
        }
    }
}

/// Resident octets and open descriptors, from /proc.
private func processFigures() -> (resident: Int, descriptors: Int) {
    var resident = 0
    if let file = fopen("/proc/self/statm", "r") {
        defer { fclose(file) }
        var buffer = [CChar](repeating: 0, count: 128)
        if fgets(&buffer, 128, file) != nil {
            let fields = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).split(separator: " ")
            if fields.count > 1, let pages = Int(fields[1]) { resident = pages * Int(sysconf(CInt(_SC_PAGESIZE))) }
        }
    }
    var descriptors = 0
    if let directory = opendir("/proc/self/fd") {
        while readdir(directory) != nil { descriptors += 1 }
        closedir(directory)
        descriptors -= 3  // ".", "..", and the one of this look
    }
    return (resident, descriptors)
}

/// Free space of the spool's file system, looked at once a second at most and never on an event loop.
final class SpoolSpace: Sendable {
    private struct State {
        var minimum: Minimum
        var free: Int
        /// The spool that is open still lies where its name leads.
        var isInPlace: Bool
        var checked: NIODeadline
        var isChecking = false
    }

    struct Minimum: Sendable {
        var octets: Int
        /// The manifest line that it comes from.
        var rule: String
    }

    private let directory: String
    private let threads: NIOThreadPool
    private let database: FileNumber?
    private let state: NIOLockedValueBox<State>

    /// Blocks once, when the spool is open; for the start of the appliance.
    init(directory: String, minimum: Minimum, threads: NIOThreadPool) {
        self.directory = directory
        self.threads = threads
        database = fileNumber(directory + "/spool.db")
        state = NIOLockedValueBox(State(minimum: minimum, free: freeSpace(directory), isInPlace: true, checked: .now()))
    }

    var minimum: Minimum {
        get { state.withLockedValue { $0.minimum } }
        set { state.withLockedValue { $0.minimum = newValue } }
    }

    var free: Int { state.withLockedValue { $0.free } }

    /// Why no mail can be taken; nil if it can.
    var fault: String? {
        let (minimum, free, isInPlace) = state.withLockedValue { ($0.minimum.octets, $0.free, $0.isInPlace) }
        if !isInPlace { return "\(directory) is not the directory any more that the spool was opened in" }
        return free < minimum ? "\(free) bytes are free at \(directory), fewer than queue.minimum_free (\(minimum))" : nil
    }

    /// Why there is no room for so many octets more; nil if there is. As of a second ago or so; asks for a new look where
    /// that is longer ago.
    func shortage(of octets: Int) -> SMTPService.Shortage? {
        let now = NIODeadline.now()
        let (minimum, free, isInPlace, mustLook) = state.withLockedValue { state in
            let mustLook = !state.isChecking && now - state.checked > .seconds(1)
            if mustLook { state.isChecking = true }
            return (state.minimum, state.free, state.isInPlace, mustLook)
        }
        if mustLook { threads.submit { _ in self.look() } }
        if isInPlace, free - octets >= minimum.octets { return nil }
        if let fault { return SMTPService.Shortage(reason: fault, rule: isInPlace ? minimum.rule : nil) }
        return SMTPService.Shortage(
            reason: "\(free) bytes are free at \(directory), too few for \(octets) more and queue.minimum_free (\(minimum.octets))", rule: minimum.rule)
    }

    func refresh() async { try? await threads.runIfActive { self.look() } }

    private func look() {
        // A directory that was moved or mounted over would take mail that no restart finds.
        let (free, isInPlace) = (freeSpace(directory), fileNumber(directory + "/spool.db") == database)
        state.withLockedValue { $0 = State(minimum: $0.minimum, free: free, isInPlace: isInPlace, checked: .now()) }
    }
}

private func freeSpace(_ directory: String) -> Int {
    var figures = statvfs()
    guard statvfs(directory, &figures) == 0 else { return 0 }
    return Int(figures.f_bavail) * Int(figures.f_frsize)
}

/// What a name leads to: device and inode.
private struct FileNumber: Equatable {
    let device: UInt
    let inode: UInt
}

private func fileNumber(_ path: String) -> FileNumber? {
    var figures = stat()
    guard stat(path, &figures) == 0 else { return nil }
    return FileNumber(device: UInt(figures.st_dev), inode: UInt(figures.st_ino))
}
