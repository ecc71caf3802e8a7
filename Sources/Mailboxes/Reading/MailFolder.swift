// A mailbox as its owner reads it: a list of messages as they were when it was opened, their texts, and one change at the end:
// what is deleted and what has been read. Mail that arrives meanwhile is not in the list and stays.

package enum ReadingState: Hashable, Sendable {
    /// Nobody has seen it in a list yet.
    case new
    case unread
    case read
}

package struct FolderMessage: Hashable, Sendable {
    /// Of the envelope, as the `From ` line has it.
    package var sender: String
    /// `Tue Nov 24 13:05:09 2026`, the time of arrival.
    package var date: String
    /// The values of these fields, without line ends; nil where there is none.
    package var from: String?
    package var subject: String?
    /// As in an mbox: with the `From ` line and the empty line at the end.
    package var lines: Int
    package var octets: Int
    package var state: ReadingState

    package init(sender: String, date: String, from: String?, subject: String?, lines: Int, octets: Int, state: ReadingState) {
        (self.sender, self.date, self.from, self.subject) = (sender, date, from, subject)
        (self.lines, self.octets, self.state) = (lines, octets, state)
    }
}

package enum FolderError: Error, Hashable, Sendable {
    /// There is no mailbox.
    case missing
    /// Another program has deleted or changed messages since the mailbox was opened. Nothing was changed.
    case changed
    case mailbox(MailboxError)
}

package protocol MailFolder {
    /// As they were when the folder was opened.
    var messages: [FolderMessage] { get }
    /// With the `From ` line before it, LF at each line's end, and the empty line after it.
    func text(of index: Int) throws(FolderError) -> [UInt8]
    /// Deletes messages and notes which were read, all at once as far as the format can, and on disk when this returns.
    func commit(deleting: Set<Int>, states: [ReadingState]) throws(FolderError)
}

/// Opens `DIRECTORY/USER`, of whichever format it is.
package func openFolder(_ directory: String, _ user: String, disk: any Disk = SystemDisk()) throws(FolderError) -> any MailFolder {
    let kind: FileStatus.Kind?
    do throws(DiskError) {
        let base = try disk.openDirectory(directory, at: nil)
        defer { disk.close(base) }
        kind = try disk.statusIfPresent(of: user, at: base)?.kind
    } catch {
        throw error.isMissing ? .missing : .mailbox(.disk(error))
    }
    guard let kind else { throw .missing }
    do throws(MailboxError) {
        let format: MailboxFormat = kind == .directory ? .maildir : .mbox
        let location = try MailboxLocation(directory: directory, user: user, format: format, quota: 0)
        return format == .maildir ? try MaildirFolder(location, disk: disk) : try MboxFolder(location, disk: disk)
    } catch {
        throw .mailbox(error)
    }
}
