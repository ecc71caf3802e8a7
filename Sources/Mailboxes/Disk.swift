// What delivery asks of the disk, call by call: the seam at which a test lets any step fail or the machine stop.
//
// The methods are the system calls and nothing more: no retries, no policy, no buffers. Whoever writes to a mailbox
// goes through a `Disk`, so that the order of write, sync and rename can be proved step by step.

package import MailSyntax

/// An open file or directory.
package struct Descriptor: Hashable, Sendable {
    package let number: Int32
    package init(number: Int32) { self.number = number }
}

/// Why the disk refused.
package struct DiskError: Error, Hashable, Sendable {
    /// `errno`.
    package let code: Int32
    /// The system call, as strace(1) shows it.
    package let call: String
    /// What it was asked to act on, as the caller named it; empty for a descriptor.
    package let name: String

    package init(code: Int32, call: String, name: String = "") {
        self.code = code
        self.call = call
        self.name = name
    }
}

package struct FileStatus: Hashable, Sendable {
    package enum Kind: Hashable, Sendable { case file, directory, other }

    package var kind: Kind
    package var size: Int
    /// Of the content: for a directory, of its entries.
    package var modified: FileTime
    /// Number of the file system.
    package var device: UInt64

    package init(kind: Kind, size: Int, modified: FileTime, device: UInt64) {
        self.kind = kind
        self.size = size
        self.modified = modified
        self.device = device
    }
}

/// A file's time in all its precision, to tell whether something was changed since.
package struct FileTime: Hashable, Sendable {
    package let seconds: Int64
    package let nanoseconds: Int64

    package init(seconds: Int64, nanoseconds: Int64) {
        self.seconds = seconds
        self.nanoseconds = nanoseconds
    }

    package var timestamp: Timestamp { Timestamp(microseconds: seconds * 1_000_000 + nanoseconds / 1000) }
}

/// How a file is opened.
package enum Opening: Hashable, Sendable {
    /// For reading; it must exist.
    case reading
    /// For reading and writing; it must exist.
    case updating
    /// For writing from the start; what was there is gone.
    case replacing
    /// For reading and writing; created where it is missing; never through a symbolic link, and never waiting for a pipe's reader.
    case extending
    /// For writing; it must not exist yet.
    case creating
}

/// A disk. `at` is the directory that a name is relative to; nil: the name is an absolute path.
package protocol Disk: Sendable {
    func openDirectory(_ name: String, at: Descriptor?) throws(DiskError) -> Descriptor
    func open(_ name: String, at: Descriptor?, _ opening: Opening) throws(DiskError) -> Descriptor
    func close(_ file: Descriptor)

    /// Mode 0700.
    func makeDirectory(_ name: String, at: Descriptor) throws(DiskError)
    /// Names in the directory, in no order, but `.` and `..`.
    func names(in directory: Descriptor) throws(DiskError) -> [String]
    func status(of file: Descriptor) throws(DiskError) -> FileStatus
    func status(of name: String, at: Descriptor) throws(DiskError) -> FileStatus

    /// Returns how many octets were written of the two, in order, which may be fewer than all.
    func write(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, to file: Descriptor) throws(DiskError) -> Int
    /// Returns how many octets were read; 0 is the end of the file.
    func read(_ file: Descriptor, into buffer: UnsafeMutableRawBufferPointer, offset: Int?) throws(DiskError) -> Int
    func seekToEnd(_ file: Descriptor) throws(DiskError)
    func truncate(_ file: Descriptor, to size: Int) throws(DiskError)
    /// Gives a file the permissions of another, and its owner as far as this process may.
    func copyAccess(from file: Descriptor, to other: Descriptor) throws(DiskError)

    /// fsync(2).
    func sync(_ file: Descriptor) throws(DiskError)
    /// syncfs(2): all that is not on disk yet of the file system that holds the directory. Reports what failed to be
    /// written since the directory was opened.
    func syncFileSystem(of directory: Descriptor) throws(DiskError)
    /// Whether `syncFileSystem` is known to report write errors here.
    func fileSystemReportsErrors(of directory: Descriptor) -> Bool

    func rename(_ old: String, to new: String, at: Descriptor) throws(DiskError)
    /// Another name for the file, which must not exist yet.
    func link(_ name: String, to other: String, at: Descriptor) throws(DiskError)
    func remove(_ name: String, at: Descriptor) throws(DiskError)

    /// An exclusive lock for the whole file, as fcntl(2) keeps it; false while another program holds one.
    func lock(_ file: Descriptor) throws(DiskError) -> Bool

    func now() -> Timestamp
    /// Waits for a lock to be released.
    func pause(_ duration: Duration)
}

extension Disk {
    /// Writes all of both or throws.
    func writeAll(_ first: UnsafeRawBufferPointer, _ second: UnsafeRawBufferPointer, to file: Descriptor) throws(DiskError) {
        var first = first
        var second = second
        while !first.isEmpty || !second.isEmpty {
            let count = try write(first, second, to: file)
            let ofFirst = min(count, first.count)
            first = UnsafeRawBufferPointer(rebasing: first.dropFirst(ofFirst))
            second = UnsafeRawBufferPointer(rebasing: second.dropFirst(count - ofFirst))
        }
    }

    /// Nil where there is no such name.
    func statusIfPresent(of name: String, at directory: Descriptor) throws(DiskError) -> FileStatus? {
        do {
            return try status(of: name, at: directory)
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }
}
