// The files of a spool that lies still, for those who inspect and mend it. None of this is for a spool in use.

internal import Glibc
internal import MailSyntax
internal import NIOCore

struct SpoolFiles {
    let directory: String
    var database: String { directory + "/spool.db" }
    var bodies: String { directory + "/large" }
    /// What nobody can deliver, and a database that could not be read, are kept here for the administrator.
    var lostAndFound: String { directory + "/lost+found" }

    init(_ directory: String) { self.directory = directory }

    /// The ids of the bodies that are files.
    func bodyIDs() -> [QueueID] { names(bodies).compactMap { QueueID($0) }.sorted() }

    func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    /// Nil: there is no such file.
    func size(_ path: String) -> Int? {
        var figures = stat()
        return stat(path, &figures) == 0 ? Int(figures.st_size) : nil
    }

    func move(_ source: String, to target: String) throws {
        guard rename(source, target) == 0 else { throw IOError(errnoCode: errno, reason: "rename \(source)") }
    }

    /// Under a name that is free: what is there from an earlier time stays.
    func keepAside(_ source: String, as name: String) throws {
        try makeDirectory(lostAndFound)
        var target = "\(lostAndFound)/\(name)"
        var number = 1
        while size(target) != nil {
            number += 1
            target = "\(lostAndFound)/\(name).\(number)"
        }
        try move(source, to: target)
    }

    func write(_ bytes: ByteBuffer, as name: String) throws {
        try makeDirectory(lostAndFound)
        let path = "\(lostAndFound)/\(name)"
        let descriptor = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw IOError(errnoCode: errno, reason: "open \(path)") }
        defer { close(descriptor) }
        try bytes.withUnsafeReadableBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw IOError(errnoCode: errno, reason: "write \(path)") }
                offset += count
            }
        }
        guard fsync(descriptor) == 0 else { throw IOError(errnoCode: errno, reason: "fsync \(path)") }
    }
}
