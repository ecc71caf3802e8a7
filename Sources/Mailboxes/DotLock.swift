// `USER.lock` beside an mbox: the lock that programs of all ages respect, also where fcntl(2) does not reach.

internal import MailSyntax

/// How long delivery waits for a mailbox that another program has locked: 5 s in all. Postfix waits 20 s, but a
/// thread of ours serves many mailboxes, and the queue tries again.
enum LockPatience {
    static let attempts = 20
    static let pause = Duration.milliseconds(250)
    /// A dot-lock file older than this was left by a program that died (Postfix: stale_lock_time).
    static let stale = Duration.seconds(500)
}

struct DotLock {
    private let disk: any Disk
    private let name: String
    private let directory: Descriptor

    /// Creates the lock file, waiting while another program has it.
    init(for user: String, in directory: Descriptor, disk: any Disk) throws(MailboxError) {
        self.disk = disk
        self.directory = directory
        name = "\(user).lock"
        for attempt in 1... {
            do {
                disk.close(try disk.open(name, at: directory, .creating))
                return
            } catch {
                guard error.isPresentAlready else { throw .disk(error) }
            }
            if attempt == LockPatience.attempts { throw .locked(.dotLock) }
            if try isStale() {
                try? disk.remove(name, at: directory)
            } else {
                disk.pause(LockPatience.pause)
            }
        }
    }

    func release() { try? disk.remove(name, at: directory) }

    private func isStale() throws(MailboxError) -> Bool {
        let status = try onDisk { () throws(DiskError) in try disk.statusIfPresent(of: name, at: directory) }
        guard let status else { return false }
        return disk.now() - status.modified.timestamp > LockPatience.stale
    }
}
