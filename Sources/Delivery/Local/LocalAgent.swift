// Delivery into the mailboxes of this server's users.
//
// Everything here blocks on the disk, so it runs on threads of its own, one batch a thread at a time. What goes into a
// mailbox and how it gets onto the disk is `Mailboxes`'; whom a message is for was decided by `Routing`.

package import Mailboxes
package import MailQueue
package import NIOPosix

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore

package final class LocalAgent: DeliveryAgent {
    package struct Configuration: Sendable {
        /// Absolute path; a user's mailbox lies in it under the user's name.
        package var directory: String
        /// For users without their own.
        package var format: MailboxFormat
        /// Octets, for users without their own; 0: no limit.
        package var quota: Int
        /// Every user, by the name that routing yields.
        package var users: [String: User]
        /// Stands in the names of Maildir files. A change of it makes a repeat after a crash another file.
        package var hostname: String
        /// Nil: there are no lists and no forward files.
        package var lists: ListDelivery?
        /// Of a file that an alias names; 0: no limit.
        package var fileQuota = 0

        package struct User: Sendable {
            package var format: MailboxFormat?
            package var quota: Int?

            package init(format: MailboxFormat? = nil, quota: Int? = nil) {
                self.format = format
                self.quota = quota
            }
        }

        package init(directory: String, format: MailboxFormat, quota: Int, users: [String: User], hostname: String) {
            self.directory = directory
            self.format = format
            self.quota = quota
            self.users = users
            self.hostname = hostname
        }

        /// Nil: there is no such user (any more).
        func mailbox(of user: String) throws(MailboxError) -> MailboxLocation? {
            guard let own = users[user] else { return nil }
            return try MailboxLocation(directory: directory, user: user, format: own.format ?? format, quota: own.quota ?? quota)
        }
    }

    private let configuration: NIOLockedValueBox<Configuration>
    private let threads: NIOThreadPool
    private let disk: any Disk
    private let spool: Spool?
    private let maildirs: MaildirStore
    private let mboxes: MboxStore

    /// - Parameter threads: started, and stopped by the caller after the last delivery.
    /// - Parameter spool: where the messages go that lists and forwards make; nil: there are none.
    package init(configuration: Configuration, spool: Spool? = nil, threads: NIOThreadPool, disk: any Disk = SystemDisk()) {
        self.spool = spool
        self.configuration = NIOLockedValueBox(configuration)
        self.threads = threads
        self.disk = disk
        maildirs = MaildirStore(disk: disk)
        mboxes = MboxStore(disk: disk)
    }

    /// For batches from now on; those under way finish as they began.
    package func replace(_ configuration: Configuration) {
        self.configuration.withLockedValue { $0 = configuration }
    }

    package func deliver(
        _ batch: [DeliveryRequest], to place: DeliveryPlace, report: @escaping @Sendable (DeliveryReport) -> Void
    ) async {
        let isCancelled = NIOLockedValueBox(false)
        let configuration = configuration.withLockedValue { $0 }
        await withTaskCancellationHandler {
            do {
                try await threads.runIfActive { [disk, maildirs, mboxes, spool] in
                    var delivery = LocalBatch(
                        configuration: configuration, spool: spool, disk: disk, maildirs: maildirs, mboxes: mboxes, report: report,
                        isCancelled: { isCancelled.withLockedValue { $0 } })
                    delivery.deliver(batch)
                }
            } catch {
                // The threads are gone, or the task was cancelled before one was free: nothing of it was begun.
                for request in batch {
                    for recipient in request.recipients {
                        report(DeliveryReport(id: request.id, recipient: recipient, outcome: .stopping, relay: "local"))
                    }
                }
            }
        } onCancel: {
            isCancelled.withLockedValue { $0 = true }
        }
    }
}
