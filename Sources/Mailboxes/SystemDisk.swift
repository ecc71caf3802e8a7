// The real disk: system calls of Linux, one a method. EINTR is tried again, all else is the caller's to judge.

internal import CLinux
internal import Glibc
package import MailSyntax

package struct SystemDisk: Disk {
    /// syncfs(2) reports write errors since Linux 5.8; before that, and on file systems that keep their errors
    /// elsewhere (overlays, network file systems), only fsync(2) of each file tells the truth.
    private let kernelReportsErrors: Bool

    package init() {
        var names = utsname()
        uname(&names)
        let release = withUnsafeBytes(of: &names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        let numbers = release.split { !$0.isNumber }.prefix(2).compactMap { Int($0) }
        kernelReportsErrors = numbers.count == 2 && (numbers[0], numbers[1]) >= (5, 8)
    }

    package func openDirectory(_ name: String, at: Descriptor?) throws(DiskError) -> Descriptor {
        Descriptor(number: try check("openat", name) { openat(number(at), name, O_RDONLY | O_DIRECTORY | O_CLOEXEC) })
    }

    package func open(_ name: String, at: Descriptor?, _ opening: Opening) throws(DiskError) -> Descriptor {
        let flags: Int32 =
            switch opening {
            case .reading: O_RDONLY
            case .updating: O_RDWR | O_NOFOLLOW | O_NONBLOCK
            case .replacing: O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW
            case .extending: O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK
            case .creating: O_WRONLY | O_CREAT | O_EXCL
            }
        return Descriptor(number: try check("openat", name) { openat(number(at), name, flags | O_CLOEXEC, 0o600) })
    }

    package func close(_ file: Descriptor) { _ = Glibc.close(file.number) }

    package func makeDirectory(_ name: String, at: Descriptor) throws(DiskError) {
        _ = try check("mkdirat", name) { mkdirat(at.number, name, 0o700) }
    }

    package func names(in directory: Descriptor) throws(DiskError) -> [String] {
        // The stream owns its descriptor and its position: a second descriptor leaves the caller's alone.
        let own = try check("openat", ".") { openat(directory.number, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard let stream = fdopendir(own) else {
            let error = DiskError(code: errno, call: "fdopendir")
            _ = Glibc.close(own)
            throw error
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else { break }
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: Int(NAME_MAX) + 1) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        guard errno == 0 else { throw DiskError(code: errno, call: "getdents64") }
        return names
    }

    package func status(of file: Descriptor) throws(DiskError) -> FileStatus {
        var result = stat()
        _ = try check("fstat") { fstat(file.number, &result) }
        return FileStatus(result)
    }

    package func status(of name: String, at: Descriptor) throws(DiskError) -> FileStatus {
        var result = stat()
        _ = try check("fstatat", name) { fstatat(at.number, name, &result, AT_SYMLINK_NOFOLLOW) }
        return FileStatus(result)
    }

    package func write(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, to file: Descriptor) throws(DiskError) -> Int {
        if first.isEmpty { return try check("write") { Glibc.write(file.number, second.baseAddress, second.count) } }
        return try withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { parts in
            Result { () throws(DiskError) -> Int in
                parts[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: first.baseAddress), iov_len: first.count)
                parts[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: second.baseAddress), iov_len: second.count)
                return try check("writev") { writev(file.number, parts.baseAddress, 2) }
            }
        }.get()
    }

    package func read(_ file: Descriptor, into buffer: UnsafeMutableRawBufferPointer, offset: Int?) throws(DiskError) -> Int {
        if let offset { return try check("pread") { pread(file.number, buffer.baseAddress, buffer.count, offset) } }
        return try check("read") { Glibc.read(file.number, buffer.baseAddress, buffer.count) }
    }

    package func seekToEnd(_ file: Descriptor) throws(DiskError) {
        _ = try check("lseek") { lseek(file.number, 0, SEEK_END) }
    }

    package func truncate(_ file: Descriptor, to size: Int) throws(DiskError) {
        _ = try check("ftruncate") { ftruncate(file.number, size) }
    }

    package func copyAccess(from file: Descriptor, to other: Descriptor) throws(DiskError) {
        var source = stat()
        _ = try check("fstat") { fstat(file.number, &source) }
        // Only root may give a file away; else it is this process's own, as the old one most likely was.
        _ = fchown(other.number, source.st_uid, source.st_gid)
        _ = try check("fchmod") { fchmod(other.number, source.st_mode & 0o7777) }
    }

    package func sync(_ file: Descriptor) throws(DiskError) {
        _ = try check("fsync") { fsync(file.number) }
    }

    package func syncFileSystem(of directory: Descriptor) throws(DiskError) {
        _ = try check("syncfs") { syncfs(directory.number) }
    }

    package func fileSystemReportsErrors(of directory: Descriptor) -> Bool {
        guard kernelReportsErrors else { return false }
        // Magic numbers of statfs(2): ext2/3/4, XFS, Btrfs, F2FS. All of them keep write errors with the super block.
        return [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010].contains(valija_file_system_type(directory.number))
    }

    package func rename(_ old: String, to new: String, at: Descriptor) throws(DiskError) {
        _ = try check("renameat", old) { renameat(at.number, old, at.number, new) }
    }

    package func link(_ name: String, to other: String, at: Descriptor) throws(DiskError) {
        _ = try check("linkat", other) { linkat(at.number, name, at.number, other, 0) }
    }

    package func remove(_ name: String, at: Descriptor) throws(DiskError) {
        _ = try check("unlinkat", name) { unlinkat(at.number, name, 0) }
    }

    package func lock(_ file: Descriptor) throws(DiskError) -> Bool {
        var whole = flock()
        whole.l_type = Int16(F_WRLCK)
        whole.l_whence = Int16(SEEK_SET)
        do throws(DiskError) {
            // Owned by the open file, not by the process: it meets the F_SETLK of other programs, and is not lost when
            // another thread of ours closes the same mailbox.
            _ = try check("fcntl") { fcntl(file.number, valija_F_OFD_SETLK, &whole) }
            return true
        } catch {
            if error.code == EAGAIN || error.code == EACCES { return false }
            throw error
        }
    }

    package func now() -> Timestamp { .now() }

    package func pause(_ duration: Duration) { usleep(useconds_t(duration.inMicroseconds)) }

    private func number(_ directory: Descriptor?) -> Int32 { directory?.number ?? AT_FDCWD }

    private func check<Value: SignedInteger>(_ call: String, _ name: String = "", _ body: () -> Value) throws(DiskError) -> Value {
        while true {
            let result = body()
            if result >= 0 { return result }
            if errno != EINTR { throw DiskError(code: errno, call: call, name: name) }
        }
    }
}

extension FileStatus {
    fileprivate init(_ result: stat) {
        let kind: Kind =
            switch result.st_mode & S_IFMT {
            case S_IFREG: .file
            case S_IFDIR: .directory
            default: .other
            }
        self.init(
            kind: kind, size: Int(result.st_size),
            modified: FileTime(seconds: Int64(result.st_mtim.tv_sec), nanoseconds: Int64(result.st_mtim.tv_nsec)),
            device: UInt64(result.st_dev))
    }
}

extension DiskError {
    package var isMissing: Bool { code == ENOENT }
    package var isNotPermitted: Bool { code == EACCES || code == EPERM || code == EROFS }
    package var isPresentAlready: Bool { code == EEXIST }
    /// A directory where a file was expected, or the reverse.
    package var isWrongKind: Bool { code == ENOTDIR || code == EISDIR }
    package var isDiskFull: Bool { code == ENOSPC }
    package var isOwnerOverQuota: Bool { code == EDQUOT }

    /// `openat alice/tmp/1: Permission denied`.
    package var description: String {
        name.isEmpty ? "\(call): \(reason)" : "\(call) \(name): \(reason)"
    }

    /// `Permission denied`.
    package var reason: String { strerror(code).map { String(cString: $0) } ?? "error \(code)" }
}

extension DiskError: CustomStringConvertible {}
