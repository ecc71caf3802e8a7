// What asks for a reload: SIGHUP, the control socket, and with `--watch` the file itself.
//
//     POST /reload[?format=json][&colours=1]     200 applied or unchanged, 409 refused; diagnostics and one line, or JSON
//     GET  /manifest                             the manifest in force: name, time, an empty line, the text
//     GET  /manifest/file                        its name alone

internal import Glibc
internal import MailSyntax
internal import Manifest
internal import ServiceLifecycle
internal import TLS
internal import UnixSignals

struct ReloadService: ServiceLifecycle.Service {
    let reload: Reload
    let watches: Bool

    func run() async throws {
        await withTaskGroup { group in
            group.addTask {
                for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() { _ = await reload.run(.signal) }
                // The end of the trap brings the default back, which is the end of the process.
                signal(SIGHUP, SIG_IGN)
            }
            group.addTask { await cancelWhenGracefulShutdown { await watchCertificates() } }
            if watches {
                group.addTask {
                    await cancelWhenGracefulShutdown { await FileWatch(reload.file).run { _ = await reload.run(.file) } }
                }
            }
        }
        try? await gracefulShutdown()
    }
}

extension ReloadService {
    private static let certificateInterval = Duration.seconds(3)
    /// As long as OpenSSL lets a session be resumed.
    private static let ticketLifetime = Duration.seconds(7200)

    /// Renewed certificates come into force by themselves: whoever renews them need not know of this server.
    private func watchCertificates() async {
        var watch = ChangeWatch(await fileStates())
        var keyAge = Duration.zero
        while (try? await Task.sleep(for: ReloadService.certificateInterval)) != nil {
            if watch.hasSettled(as: await fileStates()) { _ = await reload.run(.certificate) }
            keyAge += ReloadService.certificateInterval
            if keyAge >= ReloadService.ticketLifetime {
                keyAge = .zero
                ticketKeys.rotate()
            }
        }
    }

    private func fileStates() async -> [String: FileState?] {
        var states: [String: FileState?] = [:]
        for path in await reload.inForce.certificateFiles { states[path] = .some(FileState(path)) }
        return states
    }
}

/// Sees the states of things change and come to rest.
struct ChangeWatch<State: Equatable> {
    private var taken: State
    private var seen: State

    init(_ state: State) { (taken, seen) = (state, state) }

    /// True once for each change, when nothing moved from one look to the next: a pair that is half renewed is left alone.
    mutating func hasSettled(as state: State) -> Bool {
        defer { seen = state }
        guard taken != state, seen == state else { return false }
        taken = state
        return true
    }
}

struct ReloadRoutes: Sendable {
    let reload: Reload

    func routes(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        switch (request.method, request.path) {
        case ("POST", "/reload"):
            guard let outcome = await reload.run(.command) else { return }
            let status = outcome.kind == .refused ? 409 : 200
            if request.query["format"] == "json" { return try await responder.send(status, "application/json", outcome.json) }
            try await responder.send(status, "text/plain; charset=utf-8", outcome.text(colours: request.query["colours"] == "1"))
        case ("GET", "/manifest"):
            let (text, since) = (await reload.inForce.text, await reload.since)
            try await responder.begin(200, "text/plain; charset=utf-8")
            try await responder.write(Array("\(absolutePath(reload.file))\n\(since.rfc3339)\n\n".utf8))
            try await responder.write(text)
            try await responder.end()
        case ("GET", "/manifest/file"): try await responder.send(200, "text/plain; charset=utf-8", "\(absolutePath(reload.file))\n")
        default: try await responder.send(405, "text/plain", "method not allowed\n")
        }
    }
}

/// As other processes see a path of this one.
private func absolutePath(_ path: String) -> String {
    guard !path.hasPrefix("/"), let directory = getcwd(nil, 0) else { return path }
    defer { free(directory) }
    return String(cString: directory) + "/" + path
}

extension ReloadOutcome {
    func text(colours: Bool) -> String {
        let renderer = DiagnosticRenderer(source: source, colours: colours)
        var text = diagnostics.map(renderer.render).joined()
        for address in change.opened { text += "opened \(address)\n" }
        for address in change.closed { text += "closed \(address)\n" }
        return text + summary + "\n"
    }

    var json: String {
        JSON.object([
            ("outcome", .string(kind.rawValue)), ("summary", .string(summary)),
            ("opened", .array(change.opened.map(JSON.string))), ("closed", .array(change.closed.map(JSON.string))),
            ("diagnostics", DiagnosticReport.objects(diagnostics)),
        ]).text
    }
}

// MARK: The file

/// What a path leads to, through whatever symbolic links: another file, or another content, is another value.
struct FileState: Equatable, Sendable {
    private let device: UInt
    private let inode: UInt
    private let size: Int
    private let modified: Int
    private let changed: Int

    /// Nil: there is nothing that can be looked at.
    init?(_ path: String) {
        var figures = stat()
        guard stat(path, &figures) == 0 else { return nil }
        (device, inode, size) = (UInt(figures.st_dev), UInt(figures.st_ino), Int(figures.st_size))
        modified = figures.st_mtim.tv_sec * 1_000_000_000 + figures.st_mtim.tv_nsec
        changed = figures.st_ctim.tv_sec * 1_000_000_000 + figures.st_ctim.tv_nsec
    }
}

/// Looks once a second at what the path leads to. That sees a file that is written in place, one that is renamed over it, and
/// the link `..data` of a Kubernetes volume that changes, on every file system; a watch of the kernel's (inotify) would
/// need one for each link and directory on the way, and sees nothing on network file systems.
struct FileWatch {
    private let path: String
    /// What was last acted upon, and what was last seen.
    private var taken: FileState??
    private var seen: FileState??

    private static let interval = Duration.seconds(1)

    init(_ path: String) { self.path = path }

    /// True once for each change, when the file has been at rest from one look to the next: one that is being written is left alone.
    mutating func hasSettled(as state: FileState?) -> Bool {
        defer { seen = .some(state) }
        guard taken != .some(state), seen == .some(state) else { return false }
        taken = .some(state)
        return true
    }

    consuming func run(_ changed: () async -> Void) async {
        var watch = self
        while !Task.isCancelled {
            if watch.hasSettled(as: FileState(watch.path)) { await changed() }
            try? await Task.sleep(for: FileWatch.interval)
        }
    }
}
