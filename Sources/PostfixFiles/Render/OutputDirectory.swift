// Rendered files on disk. All are written beside their places first and then renamed, so that Postfix never reads half of
// one, and that a full disk leaves the directory as it was. A file that a rendering did not write is never touched unless
// that is forced, and nothing is written before all of them were looked at. Files of ours that the manifest no longer
// needs are deleted.

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

    // MARK: Writing

    /// Replaces what the last rendering left by `files`. `replacingForeign`: also files that no rendering wrote.
    package func write(_ files: [RenderedFile], replacingForeign: Bool = false) throws(Failure) {
        try createDirectory()
        var stale: [String] = []
        for name in RenderedFile.names {
            let isWanted = files.contains { $0.name == name }
            guard let found = try file(name, prefix: RenderedFile.mark.utf8.count) else { continue }
            if !found.isRendered {
                if isWanted, !replacingForeign { throw .foreign(path: place(name)) }
            } else if !isWanted {
                stale.append(name)
            }
        }
        var staged: [RenderedFile] = []
        do throws(Failure) {
            for file in files {
                staged.append(file)
                try stage(file)
            }
            for file in files where rename(temporary(file), place(file.name)) != 0 { throw .failed(path: place(file.name), errno: errno) }
        } catch {
            for file in staged { unlink(temporary(file)) }
            throw error
        }
        for name in stale {
            guard unlink(place(name)) == 0 else { throw .failed(path: place(name), errno: errno) }
            // What postmap(1) made of it; a password may be in there.
            for suffix in ["db", "lmdb"] { unlink("\(place(name)).\(suffix)") }
        }
        syncDirectory()
    }

    private func place(_ name: String) -> String { "\(path)/\(name)" }

    private func temporary(_ file: RenderedFile) -> String { "\(path)/.\(file.name).\(getpid())" }

    private func createDirectory() throws(Failure) {
        // Parents too, as `mkdir -p` does: the error that counts is that of the last one.
        for index in path.indices.dropFirst() where path[index] == "/" { _ = mkdir(String(path[..<index]), 0o755) }
        if mkdir(path, 0o755) != 0, errno != EEXIST { throw .cannotCreate(path: path, errno: errno) }
    }

    private func stage(_ file: RenderedFile) throws(Failure) {
        let descriptor = open(temporary(file), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode_t(file.mode))
        guard descriptor >= 0 else { throw .cannotCreate(path: place(file.name), errno: errno) }
        var error: Int32 = 0
        // The mode is what Postfix demands of its files, whatever the umask says. It comes before the content, which may be secret.
        if fchmod(descriptor, mode_t(file.mode)) != 0 { error = errno }
        var bytes = Array(file.content.utf8)[...]
        while error == 0, !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
            if count > 0 { bytes = bytes.dropFirst(count) } else if count == 0 || errno != EINTR { error = count == 0 ? EIO : errno }
        }
        if error == 0, fsync(descriptor) != 0 { error = errno }
        if close(descriptor) != 0, error == 0 { error = errno }
        guard error == 0 else { throw .failed(path: place(file.name), errno: error) }
    }

    private func syncDirectory() {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    // MARK: Comparing

    /// Where a file is not what it would be written as.
    package struct Difference: Hashable, Sendable {
        package let name: String
        /// A unified diff, or, of a file that is not to be shown, a sentence.
        package let text: String
    }

    /// What `write` would change, in the order of `RenderedFile.names`; empty: nothing. A file whose secret was not to be
    /// read has only its mode compared.
    package func differences(from files: [RenderedFile]) throws(Failure) -> [Difference] {
        var differences: [Difference] = []
        for name in RenderedFile.names {
            let wanted = files.first { $0.name == name }
            let found = try file(name)
            if let difference = difference(name, found, wanted) { differences.append(Difference(name: name, text: difference)) }
        }
        return differences
    }

    private func difference(_ name: String, _ found: Found?, _ wanted: RenderedFile?) -> String? {
        let path = place(name)
        guard let wanted else {
            guard let found, found.isRendered else { return nil }
            return found.mode & 0o077 == 0 ? "\(path): no longer needed\n" : LineDiff(old: found.text, new: "").unified(oldName: path, newName: "/dev/null")
        }
        guard let found else {
            return wanted.isSecret ? "\(path): missing\n" : LineDiff(old: "", new: wanted.content).unified(oldName: "/dev/null", newName: path)
        }
        var text = ""
        if found.mode != wanted.mode { text += "\(path): mode \(String(found.mode, radix: 8)), not \(String(wanted.mode, radix: 8))\n" }
        if wanted.isSecret {
            if wanted.isComplete, found.text != wanted.content { text += "\(path): differs; it holds secrets and is not shown\n" }
        } else {
            text += LineDiff(old: found.text, new: wanted.content).unified(oldName: path, newName: "\(path) (rendered)")
        }
        return text.isEmpty ? nil : text
    }

    private struct Found {
        let text: String
        let mode: UInt16

        var isRendered: Bool { text.utf8.starts(with: RenderedFile.mark.utf8) }
    }

    /// Nil: there is none. `prefix`: no more than so many octets.
    private func file(_ name: String, prefix: Int = .max) throws(Failure) -> Found? {
        let descriptor = open(place(name), O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw .failed(path: place(name), errno: errno)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .failed(path: place(name), errno: errno) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: min(prefix, 1 << 16))
        while bytes.count < prefix {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            guard count > 0 || errno == EINTR else { throw .failed(path: place(name), errno: errno) }
            if count > 0 { bytes += chunk[..<count] }
        }
        return Found(text: String(decoding: bytes, as: UTF8.self), mode: UInt16(status.st_mode & 0o7777))
    }
}
