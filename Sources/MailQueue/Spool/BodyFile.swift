// Bodies too large for a row: a file each in `large/`, named by the queue id, complete and synced before the row that
// speaks of it is committed. A file without a row is left over from a crash before that commit, and is removed at the
// next start. All of it blocks: never call it on an event loop.

internal import Glibc
package import NIOCore

/// A body as it is being received.
package final class BodyFile: @unchecked Sendable {
    // @unchecked: one caller at a time, in the order of the content; the intake serialises the writes.
    package let path: String
    package private(set) var size = 0
    private let descriptor: CInt
    private var isOpen = true

    package init(spool: Spool, id: QueueID) throws {
        path = "\(spool.directory)/large/\(id)"
        descriptor = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
    }

    package func append(_ bytes: ByteBuffer) throws {
        try bytes.withUnsafeReadableBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                if count < 0 {
                    if errno == EINTR { continue }
                    throw IOError(errnoCode: errno, reason: "write \(path)")
                }
                offset += count
            }
        }
        size += bytes.readableBytes
    }

    /// The file and its name in the directory are on disk when this returns.
    package func finish() throws {
        guard fsync(descriptor) == 0 else { throw IOError(errnoCode: errno, reason: "fsync \(path)") }
        closeOnce()
        let parent = open(String(path[..<path.lastIndex(of: "/")!]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard parent >= 0 else { throw IOError(errnoCode: errno, reason: "open the directory of \(path)") }
        defer { Glibc.close(parent) }
        guard fsync(parent) == 0 else { throw IOError(errnoCode: errno, reason: "fsync the directory of \(path)") }
    }

    /// Removes it, whatever state it is in.
    package func abandon() {
        closeOnce()
        unlink(path)
    }

    private func closeOnce() {
        if isOpen { Glibc.close(descriptor) }
        isOpen = false
    }
}

/// The directory and those above it, where they are missing, for this user alone.
package func makeDirectory(_ path: String) throws {
    var partial = path.hasPrefix("/") ? "" : "."
    for component in path.split(separator: "/") {
        partial += "/\(component)"
        guard mkdir(partial, 0o700) == 0 || errno == EEXIST || (errno == EROFS && access(partial, F_OK) == 0) else {
            throw IOError(errnoCode: errno, reason: "mkdir \(partial)")
        }
    }
}

/// Removes the bodies that no message speaks of.
func removeOrphans(_ store: SpoolStore) throws {
    guard let directory = opendir(store.bodyDirectory) else { return }
    defer { closedir(directory) }
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        guard let id = QueueID(name), try store.message(id) == nil else { continue }
        unlink(store.bodyPath(id))
    }
}
