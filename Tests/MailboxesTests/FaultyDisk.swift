// The real disk, on which any call can be made to fail, and which can lose power: what was not synced is then gone.

import Glibc
import MailSyntax
import Mailboxes
import Synchronization

final class FaultyDisk: Disk {
    enum Fault: Sendable {
        /// The call of that name fails, from its `occurrence` (from 1) on, `times` times.
        case failing(_ call: String, occurrence: Int = 1, code: Int32, times: Int = 1)
        /// The power goes before the step of that number (from 0), of those that change something.
        case powerLoss(beforeStep: Int)
    }

    private struct State {
        var steps: [String] = []
        var calls: [String: Int] = [:]
        var isOff = false
        var paths: [Descriptor: String] = [:]
        /// Files with content that is not on disk yet.
        var dirty: Set<String> = []
        /// Renames that are not on disk yet, oldest first.
        var renames: [(old: String, new: String)] = []
        var clock: Timestamp?
        var pauses = 0
    }

    private let real = SystemDisk()
    private let fault: Fault?
    /// Writes no more than so many octets at a time.
    private let longestWrite: Int
    private let reportsErrors: Bool
    private let state: Mutex<State>

    init(_ fault: Fault? = nil, longestWrite: Int = .max, reportsErrors: Bool = true, clock: Timestamp? = nil) {
        self.fault = fault
        self.longestWrite = longestWrite
        self.reportsErrors = reportsErrors
        var state = State()
        state.clock = clock
        self.state = Mutex(state)
    }

    /// What was done that changes something, in order: `open tmp/…`, `write`, `fsync`, `syncfs`, `renameat`, …
    var steps: [String] { state.withLock { $0.steps } }
    func calls(_ name: String) -> Int { state.withLock { $0.calls[name, default: 0] } }
    var pauses: Int { state.withLock { $0.pauses } }

    /// Takes the power away, if it still is there, and leaves on disk what a machine may find afterwards: files without
    /// what was not synced and, if `undoingRenames`, the names from before the renames that were not.
    func losePower(undoingRenames: Bool) {
        state.withLock { state in
            state.isOff = true
            for path in state.dirty { _ = Glibc.truncate(path, 0) }
            if undoingRenames {
                for (old, new) in state.renames.reversed() { _ = Glibc.rename(new, old) }
            }
            state.dirty = []
            state.renames = []
        }
    }

    /// Counts the call, fails it if it is its turn.
    private func begin(_ call: String, _ name: String = "", changes: Bool = false) throws(DiskError) {
        let error = state.withLock { state -> DiskError? in
            if case .powerLoss(let step)? = fault, changes, state.steps.count >= step { state.isOff = true }
            if state.isOff { return DiskError(code: EIO, call: call, name: "no power") }
            state.calls[call, default: 0] += 1
            if case .failing(call, let occurrence, let code, let times)? = fault,
                (occurrence..<occurrence + times).contains(state.calls[call]!)
            {
                return DiskError(code: code, call: call, name: name)
            }
            if changes { state.steps.append(name.isEmpty ? call : "\(call) \(name)") }
            return nil
        }
        if let error { throw error }
    }

    private func path(_ name: String, _ at: Descriptor?) -> String {
        guard let at else { return name }
        return state.withLock { "\($0.paths[at] ?? "?")/\(name)" }
    }

    private func opened(_ file: Descriptor, _ path: String) -> Descriptor {
        state.withLock { $0.paths[file] = path }
        return file
    }

    func openDirectory(_ name: String, at: Descriptor?) throws(DiskError) -> Descriptor {
        try begin("opendir", name)
        return opened(try real.openDirectory(name, at: at), path(name, at))
    }

    func open(_ name: String, at: Descriptor?, _ opening: Opening) throws(DiskError) -> Descriptor {
        try begin("open", name, changes: opening != .reading)
        let path = path(name, at)
        if opening == .replacing { state.withLock { _ = $0.dirty.insert(path) } }
        return opened(try real.open(name, at: at, opening), path)
    }

    func close(_ file: Descriptor) { real.close(file) }

    func makeDirectory(_ name: String, at: Descriptor) throws(DiskError) {
        try begin("mkdirat", name, changes: true)
        try real.makeDirectory(name, at: at)
    }

    func names(in directory: Descriptor) throws(DiskError) -> [String] {
        try begin("names")
        return try real.names(in: directory)
    }

    func status(of file: Descriptor) throws(DiskError) -> FileStatus {
        try begin("fstat")
        return try real.status(of: file)
    }

    func status(of name: String, at: Descriptor) throws(DiskError) -> FileStatus {
        try begin("fstatat", name)
        return try real.status(of: name, at: at)
    }

    func write(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, to file: Descriptor) throws(DiskError) -> Int {
        try begin("write", changes: true)
        state.withLock { state in _ = state.dirty.insert(state.paths[file] ?? "?") }
        guard longestWrite < first.count + second.count else { return try real.write(first, second, to: file) }
        let piece = first.isEmpty ? second : first
        return try real.write(UnsafeRawBufferPointer(rebasing: piece.prefix(longestWrite)), UnsafeRawBufferPointer(start: nil, count: 0), to: file)
    }

    func read(_ file: Descriptor, into buffer: UnsafeMutableRawBufferPointer, offset: Int?) throws(DiskError) -> Int {
        try begin("read")
        return try real.read(file, into: buffer, offset: offset)
    }

    func seekToEnd(_ file: Descriptor) throws(DiskError) {
        try begin("lseek")
        try real.seekToEnd(file)
    }

    func truncate(_ file: Descriptor, to size: Int) throws(DiskError) {
        try begin("ftruncate", changes: true)
        try real.truncate(file, to: size)
    }

    func sync(_ file: Descriptor) throws(DiskError) {
        try begin("fsync", changes: true)
        // Power loss is simulated: the real disk need not be waited for.
        state.withLock { state in
            let path = state.paths[file] ?? "?"
            state.dirty.remove(path)
            state.renames.removeAll { $0.new.hasPrefix("\(path)/") }
        }
    }

    func syncFileSystem(of directory: Descriptor) throws(DiskError) {
        try begin("syncfs", changes: true)
        state.withLock { state in
            state.dirty = []
            state.renames = []
        }
    }

    func fileSystemReportsErrors(of directory: Descriptor) -> Bool { reportsErrors }

    func rename(_ old: String, to new: String, at: Descriptor) throws(DiskError) {
        try begin("renameat", changes: true)
        try real.rename(old, to: new, at: at)
        let (from, to) = (path(old, at), path(new, at))
        state.withLock { state in
            state.renames.append((from, to))
            if state.dirty.remove(from) != nil { state.dirty.insert(to) }
        }
    }

    func link(_ name: String, to other: String, at: Descriptor) throws(DiskError) {
        try begin("linkat", other, changes: true)
        try real.link(name, to: other, at: at)
    }

    func remove(_ name: String, at: Descriptor) throws(DiskError) {
        try begin("unlinkat", name, changes: true)
        try real.remove(name, at: at)
        let path = path(name, at)
        state.withLock { state in _ = state.dirty.remove(path) }
    }

    func copyAccess(from file: Descriptor, to other: Descriptor) throws(DiskError) {
        try begin("fchmod", changes: true)
        try real.copyAccess(from: file, to: other)
    }

    func lock(_ file: Descriptor) throws(DiskError) -> Bool {
        try begin("fcntl")
        return try real.lock(file)
    }

    func now() -> Timestamp { state.withLock { $0.clock } ?? .now() }

    func pause(_ duration: Duration) { state.withLock { $0.pauses += 1 } }
}
