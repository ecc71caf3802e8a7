// Rendered files on disk: each is written under another name and then renamed, so that Postfix never reads half of
// one. A file that a rendering did not write is never touched unless that is forced, and nothing is written before all
// of them were looked at. Files of ours that the manifest no longer needs are deleted.

internal import Glibc

package struct OutputDirectory: Sendable {
    package let path: String

    package init(_ path: String) { self.path = path }

    package enum Failure: Error, Hashable {
        /// Somebody else's file is in the way.
        case foreign(path: String)
        /// The directory cannot be made or written to.
        case cannotCreate(path: String, errno: Int32)
        /// A file could not be read or written.
        case failed(path: String, errno: Int32)
    }

    /// Replaces what the last rendering left by `files`. `replacingForeign`: also files that no rendering wrote.
    package func write(_ files: [RenderedFile], replacingForeign: Bool = false) throws(Failure) {
        try createDirectory()
        var stale: [String] = []
        for name in RenderedFile.names {
            let isWanted = files.contains { $0.name == name }
            switch try owner(of: "\(path)/\(name)") {
            case .nobody: break
            case .rendering: if !isWanted { stale.append(name) }
            case .foreign: if isWanted && !replacingForeign { throw .foreign(path: "\(path)/\(name)") }
            }
        }
        for file in files { try write(file) }
        for name in stale where unlink("\(path)/\(name)") != 0 { throw .failed(path: "\(path)/\(name)", errno: errno) }
    }

    private enum Owner { case nobody, rendering, foreign }

    private func createDirectory() throws(Failure) {
        // Parents too, as `mkdir -p` does: the error that counts is that of the last one.
        for index in path.indices.dropFirst() where path[index] == "/" { _ = mkdir(String(path[..<index]), 0o755) }
        if mkdir(path, 0o755) != 0, errno != EEXIST { throw .cannotCreate(path: path, errno: errno) }
    }

    private func owner(of file: String) throws(Failure) -> Owner {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return .nobody }
            throw .failed(path: file, errno: errno)
        }
        defer { close(descriptor) }
        let mark = Array(RenderedFile.mark.utf8)
        var head = [UInt8](repeating: 0, count: mark.count)
        let count = read(descriptor, &head, head.count)
        guard count >= 0 else { throw .failed(path: file, errno: errno) }
        return count == mark.count && head == mark ? .rendering : .foreign
    }

    private func write(_ file: RenderedFile) throws(Failure) {
        let target = "\(path)/\(file.name)"
        let temporary = "\(path)/.\(file.name).\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode_t(file.mode))
        guard descriptor >= 0 else { throw .cannotCreate(path: target, errno: errno) }
        var error: Int32 = 0
        var bytes = Array(file.content.utf8)[...]
        while error == 0, !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
            if count > 0 { bytes = bytes.dropFirst(count) } else if count == 0 || errno != EINTR { error = count == 0 ? EIO : errno }
        }
        // The mode is what Postfix demands of its files, whatever the umask says.
        if error == 0, fchmod(descriptor, mode_t(file.mode)) != 0 || fsync(descriptor) != 0 { error = errno }
        if close(descriptor) != 0, error == 0 { error = errno }
        if error == 0, rename(temporary, target) != 0 { error = errno }
        guard error == 0 else {
            unlink(temporary)
            throw .failed(path: target, errno: error)
        }
    }
}
