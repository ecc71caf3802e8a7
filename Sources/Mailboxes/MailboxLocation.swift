// Where a user's mail lies and how much of it may be there.

package enum MailboxFormat: String, CaseIterable, Sendable { case maildir, mbox }

/// A mailbox: `DIRECTORY/USER`, a file (mbox) or a directory (Maildir).
package struct MailboxLocation: Hashable, Sendable {
    /// Absolute path.
    package let directory: String
    package let user: String
    package let format: MailboxFormat
    /// Octets; 0: no limit.
    package let quota: Int

    /// The manifest has validated names; this holds where one slips through, for a name becomes a path here.
    package init(directory: String, user: String, format: MailboxFormat, quota: Int) throws(MailboxError) {
        let bytes = user.utf8
        // A leading dot would name `.`, `..` or a hidden file. NAME_MAX is 255, of which a dot-lock takes 5.
        guard !bytes.isEmpty, bytes.count <= MailboxLocation.longestUser, bytes.first != UInt8(ascii: "."),
            bytes.allSatisfy({ $0 != UInt8(ascii: "/") && $0 != 0 })
        else { throw .unsafeName }
        self.directory = directory
        self.user = user
        self.format = format
        self.quota = quota
    }

    /// A file that is none of the mailboxes: an mbox, or a Maildir where the path ends with a slash, as in aliases(5).
    package init(path: String, quota: Int) throws(MailboxError) {
        let parts = path.split(separator: "/")
        guard path.hasPrefix("/"), let last = parts.last, last != ".", last != "..", last.utf8.count <= MailboxLocation.longestUser,
            path.utf8.allSatisfy({ $0 != 0 })
        else { throw .unsafeName }
        directory = "/" + parts.dropLast().joined(separator: "/")
        user = String(last)
        format = path.hasSuffix("/") ? .maildir : .mbox
        self.quota = quota
    }

    package static let longestUser = 250

    var path: String { directory == "/" ? "/\(user)" : "\(directory)/\(user)" }
}
