// `USER.lock` beside an mbox: the lock that programs of all ages respect, also where fcntl(2) does not reach.
//
// A lock file outlives its program. Others are believed for `LockPatience.stale`; one of ours that a crash left is known by
// its content and by the file lock that the kernel took from its dead owner, and is taken over at once: mail must not
// wait for minutes because the appliance was killed.

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
    /// The content of a lock file of ours. Others write a process id or nothing.
    private static let mark = Array("valija\n".utf8)

    private let disk: any Disk
    private let name: String
    private let directory: Descriptor
    private let file: Descriptor

    /// Creates the lock file, waiting while another program has it.
    init(for user: String, in directory: Descriptor, disk: any Disk) throws(MailboxError) {
        self.disk = disk
        self.directory = directory
        name = "\(user).lock"
        file = try DotLock.acquire(name, directory, disk)
    }

    private static func acquire(_ name: String, _ directory: Descriptor, _ disk: any Disk) throws(MailboxError) -> Descriptor {
        for _ in 1..<LockPatience.attempts {
            if let file = try create(name, directory, disk) ?? abandoned(name, directory, disk) { return file }
            if try isStale(name, directory, disk) {
                try? disk.remove(name, at: directory)
            } else {
                disk.pause(LockPatience.pause)
            }
        }
        if let file = try create(name, directory, disk) { return file }
        throw .locked(.dotLock)
    }

    func release() {
        try? disk.remove(name, at: directory)
        disk.close(file)
    }

    /// Nil: the file exists. It appears signed and locked in one step, by a link from another name, so that no crash leaves
    /// a lock file that is not known as ours.
    private static func create(_ name: String, _ directory: Descriptor, _ disk: any Disk) throws(MailboxError) -> Descriptor? {
        let draft = ".\(name)"  // no user's name begins with a dot
        let file = try onDisk { () throws(DiskError) in try disk.open(draft, at: directory, .replacing) }
        do {
            guard try disk.lock(file) else {
                disk.close(file)
                return nil
            }
            try mark.withUnsafeBytes { mark in
                Result { () throws(DiskError) in try disk.writeAll(mark, UnsafeRawBufferPointer(start: nil, count: 0), to: file) }
            }.get()
            try disk.link(draft, to: name, at: directory)
            try? disk.remove(draft, at: directory)
            return file
        } catch {
            disk.close(file)
            try? disk.remove(draft, at: directory)
            if error.isPresentAlready { return nil }
            throw .disk(error)
        }
    }

    /// The lock file, open and locked, if it is one of ours whose owner died. It is used as it is: removing it to make
    /// another one could remove what a second appliance has just made.
    private static func abandoned(_ name: String, _ directory: Descriptor, _ disk: any Disk) -> Descriptor? {
        guard let file = try? disk.open(name, at: directory, .updating) else { return nil }
        var content = [UInt8](repeating: 0, count: mark.count + 1)
        let count = content.withUnsafeMutableBytes { buffer in (try? disk.read(file, into: buffer, offset: 0)) ?? 0 }
        if content.prefix(count).elementsEqual(mark), (try? disk.lock(file)) == true { return file }
        disk.close(file)
        return nil
    }

    private static func isStale(_ name: String, _ directory: Descriptor, _ disk: any Disk) throws(MailboxError) -> Bool {
        let status = try onDisk { () throws(DiskError) in try disk.statusIfPresent(of: name, at: directory) }
        guard let status else { return false }
        return disk.now() - status.modified.timestamp > LockPatience.stale
    }
}
