// Delivery into Maildirs, many messages at a time.
//
// The sequence, of which no step may change places (docs/decisions/0003-maildir-group-sync.md):
//
//   1. write each copy to `tmp/NAME`; a left-over of that name, from before a crash, is overwritten
//   2. make the files durable: one syncfs(2) for many, fsync(2) for few
//   3. rename each to `new/NAME,S=SIZE`; a file of that name, from before a crash, is replaced
//   4. make the renames durable: fsync(2) of each `new`, or one syncfs(2) for many
//   5. only now is a copy delivered
//
// A crash before 5 leads to a repeat, and the name follows from the message alone: the mailbox ends with one copy, whole.
// (Unless a reader moves the copy from `new` to `cur` between crash and repeat: then there are two.)

/// Threads may deliver at the same time; they share what is known of the quotas.
package struct MaildirStore: Sendable {
    /// From how many files on one syncfs(2) is cheaper than an fsync(2) each; measured, see the decision.
    package static let groupSyncMinimum = 4

    private let disk: any Disk
    private let quota: MaildirQuota

    package init(disk: any Disk) {
        self.disk = disk
        quota = MaildirQuota(disk: disk)
    }

    /// Delivers all copies, each to its own mailbox. No two of them may have both name and mailbox in common.
    ///
    /// Two descriptors are open for each mailbox of a batch: the caller keeps batches to a few dozen mailboxes.
    /// - Parameter host: stands in the file names.
    /// - Returns: for each copy nil if it is on disk, else why it is not; then nothing of it is in `new`, unless
    ///   the last sync failed: a repeat overwrites what that left.
    package func deliver(_ copies: [MailboxCopy], host: String) -> [MailboxError?] {
        var batch = MaildirBatch(copies, host: MailName.escapedHost(host), disk: disk, quota: quota)
        batch.openMaildirs()
        batch.write()
        batch.admit()
        batch.syncFiles()
        batch.rename()
        batch.syncDirectories()
        batch.closeMaildirs()
        return batch.copies.map(\.error)
    }
}

/// One batch, step by step. A copy that fails in a step takes no part in the later ones.
private struct MaildirBatch {
    struct Copy {
        let content: MailboxCopy
        let name: String
        /// Index into `maildirs`; nil if it could not be opened.
        var maildir: Int?
        var size = 0
        /// Whether `tmp/NAME` may exist.
        var isWritten = false
        var isReserved = false
        var error: MailboxError?

        var temporary: String { "tmp/\(name)" }
        /// Maildir++ keeps the size in the name, which spares whoever sums them up a stat(2) each.
        var finalName: String { "\(name),S=\(size)" }
    }

    struct Maildir {
        let root: Descriptor
        let new: Descriptor
        let device: UInt64
        let limit: Int
        /// Nil: no quota.
        let entry: MaildirQuota.Entry?
        var copies: [Int] = []
        var hasRenames = false
    }

    var copies: [Copy]
    private var maildirs: [Maildir] = []
    /// Devices on which this batch uses syncfs(2) for its files.
    private var groupSynced: Set<UInt64> = []
    private let disk: any Disk
    private let quota: MaildirQuota

    init(_ copies: [MailboxCopy], host: String, disk: any Disk, quota: MaildirQuota) {
        self.copies = copies.map { Copy(content: $0, name: $0.name.fileName(host: host)) }
        self.disk = disk
        self.quota = quota
    }

    // MARK: Opening

    mutating func openMaildirs() {
        var opened: [MailboxLocation: Result<Int, MailboxError>] = [:]
        for index in copies.indices {
            let location = copies[index].content.location
            let result: Result<Int, MailboxError>
            if let known = opened[location] {
                result = known
            } else {
                result = Result { () throws(MailboxError) in try open(location) }
                opened[location] = result
            }
            switch result {
            case .success(let maildir):
                copies[index].maildir = maildir
                maildirs[maildir].copies.append(index)
            case .failure(let error):
                copies[index].error = error
            }
        }
        for (device, members) in Dictionary(grouping: maildirs, by: \.device)
        where members.reduce(0, { $0 + $1.copies.count }) >= MaildirStore.groupSyncMinimum
            && disk.fileSystemReportsErrors(of: members[0].root)
        {
            groupSynced.insert(device)
        }
    }

    private mutating func open(_ location: MailboxLocation) throws(MailboxError) -> Int {
        let base = try openBase(location, disk)
        defer { disk.close(base) }
        do throws(DiskError) {
            let root = try openOrMake(location.user, in: base)
            do throws(DiskError) {
                let (new, device) = try openParts(of: root, in: base)
                let entry = location.quota > 0 ? quota.entry(for: location.path) : nil
                maildirs.append(Maildir(root: root, new: new, device: device, limit: location.quota, entry: entry))
                return maildirs.count - 1
            } catch {
                disk.close(root)
                throw error
            }
        } catch {
            throw error.isWrongKind ? .wrongKind : .disk(error)
        }
    }

    private func openOrMake(_ user: String, in base: Descriptor) throws(DiskError) -> Descriptor {
        do throws(DiskError) {
            return try disk.openDirectory(user, at: base)
        } catch {
            guard error.isMissing else { throw error }
        }
        try makeIfMissing(user, in: base)
        return try disk.openDirectory(user, at: base)
    }

    private func openParts(of root: Descriptor, in base: Descriptor) throws(DiskError) -> (new: Descriptor, device: UInt64) {
        var isComplete = true
        for part in ["tmp", "new", "cur"] where try disk.statusIfPresent(of: part, at: root) == nil { isComplete = false }
        if !isComplete {
            // `tmp` comes last: where it exists, all else was made durable. Else a crash could leave a Maildir whose
            // next message is on disk and whose own name is not.
            try makeIfMissing("new", in: root)
            try makeIfMissing("cur", in: root)
            try disk.sync(root)
            try disk.sync(base)
            try makeIfMissing("tmp", in: root)
        }
        let device = try disk.status(of: root).device
        return (try disk.openDirectory("new", at: root), device)
    }

    private func makeIfMissing(_ name: String, in directory: Descriptor) throws(DiskError) {
        do {
            try disk.makeDirectory(name, at: directory)
        } catch {
            guard error.isPresentAlready else { throw error }
        }
    }

    mutating func closeMaildirs() {
        for maildir in maildirs {
            disk.close(maildir.new)
            disk.close(maildir.root)
        }
    }

    // MARK: Step 1: write

    mutating func write() {
        var writer = CopyWriter(disk: disk)
        for index in copies.indices {
            guard let maildir = copies[index].maildir else { continue }
            do {
                try write(index, maildirs[maildir], &writer)
            } catch {
                fail(index, error)
            }
        }
    }

    private mutating func write(_ index: Int, _ maildir: Maildir, _ writer: inout CopyWriter) throws(MailboxError) {
        let room = maildir.limit > 0 ? maildir.limit : .max
        let file = try onDisk { () throws(DiskError) in try disk.open(copies[index].temporary, at: maildir.root, .replacing) }
        copies[index].isWritten = true
        defer { disk.close(file) }
        copies[index].size = try writer.writeMaildir(copies[index].content, to: file, room: room)
        // Step 2 for few: at once, while the file is open.
        if !groupSynced.contains(maildir.device) {
            try onDisk { () throws(DiskError) in try disk.sync(file) }
        }
    }

    /// Refuses what does not fit. After writing, for the size of a streamed message is not known before.
    mutating func admit() {
        for maildir in maildirs {
            guard let entry = maildir.entry else { continue }
            let members = maildir.copies.filter { copies[$0].error == nil }
            guard !members.isEmpty else { continue }
            let sizes = members.map { (name: copies[$0].finalName, size: copies[$0].size) }
            do throws(DiskError) {
                let verdicts = try quota.admit(sizes, limit: maildir.limit, maildir: maildir.root, entry: entry)
                for (index, fits) in zip(members, verdicts) {
                    copies[index].isReserved = fits
                    if !fits { fail(index, .overQuota(limit: maildir.limit)) }
                }
            } catch {
                for index in members { fail(index, .disk(error)) }
            }
        }
    }

    // MARK: Step 2: make the files durable

    mutating func syncFiles() {
        for device in groupSynced {
            let members = maildirs.filter { $0.device == device }
            let written = members.flatMap(\.copies).filter { copies[$0].error == nil }
            guard !written.isEmpty else { continue }
            do throws(DiskError) {
                // The directory was opened before the writing, so that an error since then is reported here.
                try disk.syncFileSystem(of: members[0].root)
            } catch {
                // Which file it was is not told.
                for index in written { fail(index, .disk(error)) }
            }
        }
    }

    // MARK: Step 3: rename

    mutating func rename() {
        for number in maildirs.indices {
            let maildir = maildirs[number]
            if let entry = maildir.entry {
                quota.settle(maildir: maildir.root, entry: entry) { rename(number) }
            } else {
                _ = rename(number)
            }
        }
    }

    /// Returns the sum of the sizes.
    private mutating func rename(_ number: Int) -> Int {
        var sum = 0
        for index in maildirs[number].copies where copies[index].error == nil {
            do {
                try disk.rename(copies[index].temporary, to: "new/\(copies[index].finalName)", at: maildirs[number].root)
                sum += copies[index].size
                copies[index].isWritten = false
                copies[index].isReserved = false
                maildirs[number].hasRenames = true
            } catch {
                // Its reservation ends here, not in `fail`: this runs within the lock of the sums.
                copies[index].error = .disk(error)
            }
        }
        return sum
    }

    // MARK: Step 4: make the renames durable

    mutating func syncDirectories() {
        let disk = disk
        let renamed = maildirs.filter(\.hasRenames)
        for (device, members) in Dictionary(grouping: renamed, by: \.device) {
            if members.count >= MaildirStore.groupSyncMinimum, groupSynced.contains(device) {
                check(members) { () throws(DiskError) in try disk.syncFileSystem(of: members[0].root) }
            } else {
                for maildir in members { check([maildir]) { () throws(DiskError) in try disk.sync(maildir.new) } }
            }
        }
        for index in copies.indices where copies[index].error != nil { cleanUp(index) }
    }

    private mutating func check(_ members: [Maildir], _ sync: () throws(DiskError) -> Void) {
        do throws(DiskError) {
            try sync()
        } catch {
            for index in members.flatMap(\.copies) where copies[index].error == nil { copies[index].error = .disk(error) }
        }
    }

    // MARK: Failing

    private mutating func fail(_ index: Int, _ error: MailboxError) {
        copies[index].error = error
        cleanUp(index)
    }

    /// Removes what a failed copy left in `tmp`. Should that fail too, the repeat overwrites it.
    private mutating func cleanUp(_ index: Int) {
        guard let number = copies[index].maildir else { return }
        if copies[index].isReserved, let entry = maildirs[number].entry {
            quota.release(copies[index].size, entry: entry)
            copies[index].isReserved = false
        }
        if copies[index].isWritten {
            try? disk.remove(copies[index].temporary, at: maildirs[number].root)
            copies[index].isWritten = false
        }
    }
}

func onDisk<Value>(_ body: () throws(DiskError) -> Value) throws(MailboxError) -> Value {
    do {
        return try body()
    } catch {
        throw .disk(error)
    }
}

/// The directory that holds all mailboxes. It is not created: its absence is a volume that is not mounted, and mail written
/// to the place below it would be hidden once it is.
func openBase(_ location: MailboxLocation, _ disk: any Disk) throws(MailboxError) -> Descriptor {
    do {
        return try disk.openDirectory(location.directory, at: nil)
    } catch {
        throw error.isMissing || error.isWrongKind ? .noDirectory(error) : .disk(error)
    }
}
