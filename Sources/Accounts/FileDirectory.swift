// Accounts in files that other programs keep. They are read when it is made, and again at the first login after one of them
// has changed. A file that cannot be read any more makes nobody's password wrong: who logs in is told to come back later.

internal import Glibc
internal import NIOConcurrencyHelpers

package final class FileDirectory: Directory {
    package enum Files: Hashable, Sendable {
        /// Dovecot's passwd-file.
        case dovecot(String)
        /// passwd(5) and shadow(5): the accounts of people, by their user ids.
        case system(passwd: String, shadow: String, userIDs: ClosedRange<Int>)

        var paths: [String] {
            switch self {
            case .dovecot(let path): [path]
            case .system(let passwd, let shadow, _): [passwd, shadow]
            }
        }
    }

    /// A file was read, or could not be; for the log.
    package enum News: Sendable {
        case read(path: String, accounts: Int, omissions: [AccountFile.Omission])
        case unreadable(path: String, reason: String)
    }

    /// What tells one state of a file from another.
    private struct Stamp: Equatable {
        let inode: UInt64
        let size: Int
        let seconds: Int
        let nanoseconds: Int
    }

    private struct State {
        var accounts = FixedDirectory([])
        var stamps: [Stamp] = []
        var hasChanged = false
        /// What was said last: it is said once.
        var failure: String?
    }

    /// A hundred times what ten thousand accounts take.
    private static let largestFile = 64 << 20

    private let files: Files
    private let tell: @Sendable (News) -> Void
    private let state = NIOLockedValueBox(State())

    /// `tell` may be called on any thread that asks.
    package init(_ files: Files, tell: @escaping @Sendable (News) -> Void) throws(DirectoryError) {
        self.files = files
        self.tell = tell
        if let failure = update() { throw failure }
        _ = refresh()
    }

    package func account(named name: String) throws(DirectoryError) -> Account? {
        if let failure = update() { throw failure }
        return state.withLockedValue { $0.accounts }.account(named: name)
    }

    package var accounts: [Account]? { state.withLockedValue { $0.accounts }.accounts }

    package func refresh() -> Bool {
        _ = update()
        return state.withLockedValue { state in
            defer { state.hasChanged = false }
            return state.hasChanged
        }
    }

    /// Reads what has changed. Nil, or why it cannot be known.
    private func update() -> DirectoryError? {
        let (failure, news): (DirectoryError?, News?) = state.withLockedValue { state in
            do throws(DirectoryError) {
                let stamps = try stamps()
                guard stamps != state.stamps else { return (nil, nil) }
                let file = try read()
                state = State(accounts: FixedDirectory(file.accounts), stamps: stamps, hasChanged: true)
                return (nil, .read(path: files.paths[0], accounts: file.accounts.count, omissions: file.omissions))
            } catch {
                state.stamps = []
                defer { state.failure = error.description }
                return (error, state.failure == error.description ? nil : .unreadable(path: files.paths[0], reason: error.description))
            }
        }
        if let news { tell(news) }
        return failure
    }

    private func read() throws(DirectoryError) -> AccountFile {
        switch files {
        case .dovecot(let path): return AccountFile(dovecot: try FileDirectory.text(path))
        case .system(let passwd, let shadow, let userIDs):
            return AccountFile(passwd: try FileDirectory.text(passwd), shadow: AccountFile(shadow: try FileDirectory.text(shadow)), userIDs: userIDs)
        }
    }

    private func stamps() throws(DirectoryError) -> [Stamp] {
        var stamps: [Stamp] = []
        for path in files.paths {
            var status = stat()
            guard stat(path, &status) == 0 else { throw FileDirectory.failure(path) }
            stamps.append(
                Stamp(inode: UInt64(status.st_ino), size: Int(status.st_size), seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec))
        }
        return stamps
    }

    private static func text(_ path: String) throws(DirectoryError) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            guard count > 0 || errno == EINTR else { throw failure(path) }
            if count > 0 { bytes += chunk[..<count] }
            guard bytes.count <= largestFile else { throw DirectoryError("\(path): larger than \(largestFile) octets") }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func failure(_ path: String) -> DirectoryError { DirectoryError("\(path): \(String(cString: strerror(errno)))") }
}
