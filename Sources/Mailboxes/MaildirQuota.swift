// How much lies in a Maildir, without counting it for every message.
//
// The sum of the sizes in `new` and `cur` is kept in memory together with the times of modification that the two
// directories had when it was known to be right. Where another program moved, added or removed mail, a time differs and the
// directories are read again. Two rules keep this honest where times are too coarse to tell two changes apart:
// a message is never refused on a sum that was carried forward, only on one just counted; and no sum is carried
// forward for longer than `longestTrust`. Subfolders (`.Sent`) are not counted, nor is `tmp`.

internal import MailSyntax
internal import Synchronization

/// The sums of all Maildirs of a process.
final class MaildirQuota: Sendable {
    /// A sum may be too low by what another program added in the same tick of the clock as we did.
    static let longestTrust = Duration.seconds(60)
    /// File systems keep times to the tick of the kernel (1-10 ms): a directory that changed less than this ago may change
    /// again without a trace.
    static let tick = Duration.milliseconds(100)
    /// Sums in memory; beyond that those not in use are dropped.
    static let mostEntries = 10_000

    private let disk: any Disk
    private let entries = Mutex<[String: Entry]>([:])

    init(disk: any Disk) { self.disk = disk }

    /// The sum of one Maildir. `reserved` is what was admitted and is not yet in `new`.
    final class Entry: Sendable {
        fileprivate let state = Mutex(State())

        fileprivate struct State {
            var known: Known?
            var reserved = 0
        }

        fileprivate struct Known {
            var size: Int
            var stamp: Stamp
            var counted: Timestamp
            /// Nothing but a count went into the sum, and nothing changed unseen since.
            var isExact: Bool
        }

        fileprivate struct Stamp: Equatable {
            let new: FileTime
            let cur: FileTime
        }
    }

    /// To be held for as long as something is reserved.
    func entry(for path: String) -> Entry {
        entries.withLock { entries in
            if let entry = entries[path] { return entry }
            if entries.count >= MaildirQuota.mostEntries {
                for (path, entry) in entries where entry.state.withLock({ $0.reserved == 0 }) { entries[path] = nil }
            }
            let entry = Entry()
            entries[path] = entry
            return entry
        }
    }

    /// Which of the messages fit, in order; those that do are reserved, until `release`.
    func admit(_ messages: [(name: String, size: Int)], limit: Int, maildir: Descriptor, entry: Entry) throws(DiskError) -> [Bool] {
        try entry.state.withLock { state throws(DiskError) -> [Bool] in
            var known = try current(state.known, maildir)
            var isJustCounted = false
            var verdicts: [Bool] = []
            for (name, size) in messages {
                func fits() -> Bool { known.size + state.reserved + size <= limit }
                if !fits(), !known.isExact, !isJustCounted {
                    known = try count(maildir)
                    isJustCounted = true
                }
                // A repeat after a crash finds itself in `new`, and must not be refused for its own size.
                if !fits(), let old = try disk.statusIfPresent(of: "new/\(name)", at: maildir) {
                    known.size -= old.size
                    known.isExact = false
                }
                let verdict = fits()
                if verdict { state.reserved += size }
                verdicts.append(verdict)
            }
            state.known = known
            return verdicts
        }
    }

    /// What was admitted did not come about.
    func release(_ size: Int, entry: Entry) {
        entry.state.withLock { state in
            state.reserved -= size
            // Perhaps it would have replaced a file whose size was taken out of the sum already.
            state.known = nil
        }
    }

    /// Runs `body`, which moves messages into `new` and returns the sum of their sizes, and accounts for it.
    func settle(maildir: Descriptor, entry: Entry, _ body: () -> Int) {
        entry.state.withLock { state in
            let before = try? stamp(maildir)
            let size = body()
            state.reserved -= size
            guard var known = state.known, let before, before == known.stamp, let after = try? stamp(maildir) else {
                state.known = nil
                return
            }
            known.size += size
            known.stamp = after
            known.isExact = false
            state.known = known
        }
    }

    private func current(_ known: Entry.Known?, _ maildir: Descriptor) throws(DiskError) -> Entry.Known {
        if let known, try stamp(maildir) == known.stamp, disk.now() - known.counted < MaildirQuota.longestTrust { return known }
        return try count(maildir)
    }

    private func stamp(_ maildir: Descriptor) throws(DiskError) -> Entry.Stamp {
        Entry.Stamp(new: try disk.status(of: "new", at: maildir).modified, cur: try disk.status(of: "cur", at: maildir).modified)
    }

    private func count(_ maildir: Descriptor) throws(DiskError) -> Entry.Known {
        let stamp = try stamp(maildir)
        let now = disk.now()
        var sum = 0
        for part in ["new", "cur"] {
            let directory = try disk.openDirectory(part, at: maildir)
            defer { disk.close(directory) }
            for name in try disk.names(in: directory) where !name.utf8.starts(with: ".".utf8) {
                if let size = MaildirQuota.size(inName: name) {
                    sum += size
                } else if let status = try disk.statusIfPresent(of: name, at: directory), status.kind == .file {
                    sum += status.size
                }
            }
        }
        let isExact = max(stamp.new.timestamp, stamp.cur.timestamp) + MaildirQuota.tick < now
        return Entry.Known(size: sum, stamp: stamp, counted: now, isExact: isExact)
    }

    /// `4321` of `1764000000.M1Q1R0.host,S=4321:2,S`: Maildir++ puts the size into the name to save a stat(2) a file.
    static func size(inName name: String) -> Int? {
        let fields = name.utf8.prefix { $0 != UInt8(ascii: ":") }.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false)
        for field in fields.dropFirst() where field.starts(with: "S=".utf8) {
            let digits = field.dropFirst(2)
            guard !digits.isEmpty, digits.count <= 15, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
            return digits.reduce(0) { $0 * 10 + Int($1 - UInt8(ascii: "0")) }
        }
        return nil
    }
}
