// Why a message did not get into a mailbox. Cases, not wording: what a sender or an administrator reads is made of
// them by the delivery agent.

package enum MailboxError: Error, Hashable, Sendable {
    /// The user name cannot be a file name in the directory of mailboxes.
    case unsafeName
    /// The directory of mailboxes is not there: most likely a volume that is not mounted, so it is not created.
    case noDirectory(DiskError)
    /// A directory lies where an mbox file belongs, a file where a Maildir belongs, or something else than either.
    case wrongKind
    /// The message does not fit into what the quota, in octets, leaves.
    case overQuota(limit: Int)
    /// Another program did not release its lock in time.
    case locked(LockKind)
    /// The message itself could not be read from the spool.
    case source(DiskError)
    /// The disk refused: full, read-only, no permission, broken.
    case disk(DiskError)

    package enum LockKind: String, Hashable, Sendable {
        case dotLock = "dot-lock file"
        case fileLock = "file lock"
    }
}
