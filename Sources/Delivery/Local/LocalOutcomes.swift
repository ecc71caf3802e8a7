// What the queue, the logs and perhaps the sender are told of a delivery into a mailbox. The wording lives here, apart
// from the causes. Replies name files relative to the mailbox at most: a report may leave the house.

internal import Mailboxes
internal import MailQueue
internal import MailSyntax

extension DeliveryReport.Outcome {
    static func delivered(to format: MailboxFormat) -> Self {
        .delivered(Reply(250, EnhancedCode(2, 0, 0), "delivered to \(format.rawValue)"), passesOnDSN: false)
    }

    /// Not which: a report may leave the house.
    static var deliveredToFile: Self { .delivered(Reply(250, EnhancedCode(2, 0, 0), "delivered to file"), passesOnDSN: false) }

    static var stopping: Self { .deferred(Reply(451, EnhancedCode(4, 3, 2), "the server is stopping")) }

    static func unknownUser(_ user: String) -> Self { .failed(Reply(550, EnhancedCode(5, 1, 1), "unknown user: \"\(user)\"")) }

    /// RFC 3463 §3.5: X.4.6 is a routing loop.
    static func loop(_ address: Address) -> Self {
        .failed(Reply(554, EnhancedCode(5, 4, 6), "mail forwarding loop for \(address)"))
    }

    /// A remote address among the mailboxes is an error of ours and must not cost a message.
    static var misrouted: Self { .deferred(Reply(451, EnhancedCode(4, 3, 5), "no mailbox for this address")) }
}

extension MailboxError {
    /// Only a full mailbox is final, as in Postfix: the sender should know. All else may be repaired by an
    /// administrator, and mail waits until then.
    func outcome(for format: MailboxFormat) -> DeliveryReport.Outcome {
        switch self {
        case .overQuota(let limit):
            .failed(Reply(552, EnhancedCode(5, 2, 2), "mailbox full: the message does not fit into the quota of \(limit) bytes"))
        case .locked(let kind):
            .deferred(Reply(450, EnhancedCode(4, 2, 0), "mailbox is locked by another program (\(kind.rawValue))"))
        case .wrongKind:
            .deferred(Reply(450, EnhancedCode(4, 2, 0), "mailbox is not of the format \(format.rawValue): \(format.obstacle) lies in its place"))
        case .unsafeName:
            .deferred(Reply(451, EnhancedCode(4, 3, 5), "the user's name cannot be the name of a mailbox"))
        case .noDirectory(let error):
            .deferred(Reply(451, EnhancedCode(4, 3, 5), "the directory of mailboxes cannot be opened: \(error.reason)"))
        case .source(let error):
            .deferred(Reply(451, EnhancedCode(4, 3, 0), "the queued message cannot be read: \(error.reason)"))
        case .disk(let error) where error.isDiskFull:
            .deferred(Reply(452, EnhancedCode(4, 3, 1), "mailbox cannot be written: \(error)"))
        case .disk(let error) where error.isOwnerOverQuota:
            .deferred(Reply(452, EnhancedCode(4, 2, 2), "mailbox cannot be written: \(error)"))
        case .disk(let error):
            .deferred(Reply(451, EnhancedCode(4, 3, 0), "mailbox cannot be written: \(error)"))
        }
    }
}

extension MailboxFormat {
    /// What is most likely found where a mailbox of this format should be.
    fileprivate var obstacle: String {
        switch self {
        case .maildir: "a file"
        case .mbox: "a directory"
        }
    }
}
