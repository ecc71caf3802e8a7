// Bodies too large for a row: a file each in `large/`, named by the queue id, complete and synced before the row that
// speaks of it is committed. A file without a row is left over from a crash before that commit, and is removed at the
// next start. All of it blocks: never call it on an event loop.

internal import Glibc
internal import NIOConcurrencyHelpers
package import NIOCore

/// A body as it is being received. Calls come one at a time, in the order of the content; `abandon` may come at any time.
package final class BodyFile: Sendable {
    package let path: String
    private let state: NIOLockedValueBox<State>

    private struct State {
        /// -1: closed. Nothing may be closed twice: the number may be another's by then.
        var descriptor: CInt
        var size = 0

        mutating func close() {
            if descriptor >= 0 { Glibc.close(descriptor) }
            descriptor = -1
        }
    }

    package var size: Int { state.withLockedValue { $0.size } }

    package init(spool: Spool, id: QueueID) throws {
        path = "\(spool.directory)/large/\(id)"
        let descriptor = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
        state = NIOLockedValueBox(State(descriptor: descriptor))
    }

    /// Whoever drops it unfinished has abandoned it.
    deinit { if state.withLockedValue({ $0.descriptor >= 0 }) { abandon() } }

    package func append(_ bytes: ByteBuffer) throws {
        try state.withLockedValue { state in
            try bytes.withUnsafeReadableBytes { buffer in
                var offset = 0
                while offset < buffer.count {
                    let count = write(state.descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                    if count < 0 {
                        if errno == EINTR { continue }
                        throw IOError(errnoCode: errno, reason: "write \(path)")
                    }
                    offset += count
                }
            }
            state.size += bytes.readableBytes
        }
    }

    /// The file and its name in the directory are on disk when this returns; from then on it belongs to the message that
    /// is accepted with it. Throws: it is gone.
    package func finish() throws {
        do {
            try state.withLockedValue { state in
                guard fsync(state.descriptor) == 0 else { throw IOError(errnoCode: errno, reason: "fsync \(path)") }
                state.close()
            }
            try syncDirectory(String(path[..<path.lastIndex(of: "/")!]))
        } catch {
            abandon()
            throw error
        }
    }

    /// Removes the file, finished or not. Not to be called once a message was accepted with it.
    package func abandon() {
        state.withLockedValue { $0.close() }
        unlink(path)
    }
}

/// The names in a directory are on disk when this returns.
func syncDirectory(_ path: String) throws {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
    defer { Glibc.close(descriptor) }
    guard fsync(descriptor) == 0 else { throw IOError(errnoCode: errno, reason: "fsync \(path)") }
}

/// Makes what is missing of `path`, each name synced: a spool must not vanish with the directory that it lies in.
package func makeDirectory(_ path: String) throws {
    var parent = path.hasPrefix("/") ? "/" : "."
    for component in path.split(separator: "/") {
        let partial = parent == "/" ? "/\(component)" : "\(parent)/\(component)"
        if mkdir(partial, 0o700) == 0 {
            try syncDirectory(parent)
        } else {
            guard errno == EEXIST || (errno == EROFS && access(partial, F_OK) == 0) else {
                throw IOError(errnoCode: errno, reason: "mkdir \(partial)")
            }
        }
        parent = partial
    }
}

/// Removes the bodies that no message speaks of.
func removeOrphans(_ store: SpoolStore) throws -> Int {
    guard let directory = opendir(store.bodyDirectory) else { return 0 }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard let id = QueueID(name), try !store.contains(id) else { continue }
        unlink(store.bodyPath(id))
    }
    return 0
}

/// The database is new, and so is not the one that spoke of the bodies which are here: whose they are, nobody knows any more,
/// but somebody may want them. How many there were.
func keepBodiesAside(_ directory: String) throws -> Int {
    let files = SpoolFiles(directory)
    let ids = files.bodyIDs()
    for id in ids { try files.keepAside("\(files.bodies)/\(id)", as: "\(id).eml") }
    return ids.count
}
