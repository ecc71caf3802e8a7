import Glibc
import MailQueue
import MailSyntax
import Mailboxes
import Testing

@testable import Delivery

@Suite("What is said of a delivery into a mailbox")
struct LocalOutcomesTests {
    @Test("only a full mailbox is final; all that an administrator can repair is tried again, with its reason", arguments: [
        (.overQuota(limit: 100), "failed 552 5.2.2 mailbox full: the message does not fit into the quota of 100 bytes"),
        (.locked(.dotLock), "deferred 450 4.2.0 mailbox is locked by another program (dot-lock file)"),
        (.locked(.fileLock), "deferred 450 4.2.0 mailbox is locked by another program (file lock)"),
        (.wrongKind, "deferred 450 4.2.0 mailbox is not of the format mbox: a directory lies in its place"),
        (.unsafeName, "deferred 451 4.3.5 the user's name cannot be the name of a mailbox"),
        (.noDirectory(DiskError(code: ENOENT, call: "openat", name: "/var/mail")),
            "deferred 451 4.3.5 the directory of mailboxes cannot be opened: No such file or directory"),
        (.source(DiskError(code: EIO, call: "read")), "deferred 451 4.3.0 the queued message cannot be read: Input/output error"),
        (.disk(DiskError(code: ENOSPC, call: "write")), "deferred 452 4.3.1 mailbox cannot be written: write: No space left on device"),
        (.disk(DiskError(code: EDQUOT, call: "write")), "deferred 452 4.2.2 mailbox cannot be written: write: Disk quota exceeded"),
        (.disk(DiskError(code: EROFS, call: "openat", name: "tmp/1")),
            "deferred 451 4.3.0 mailbox cannot be written: openat tmp/1: Read-only file system"),
        (.disk(DiskError(code: EACCES, call: "openat", name: "aca")), "deferred 451 4.3.0 mailbox cannot be written: openat aca: Permission denied"),
        (.disk(DiskError(code: EIO, call: "fsync")), "deferred 451 4.3.0 mailbox cannot be written: fsync: Input/output error"),
    ] as [(MailboxError, String)])
    func outcomes(error: MailboxError, text: String) {
        switch error.outcome(for: .mbox) {
        case .delivered: Issue.record("not delivered")
        case .resubmitted: Issue.record("no mailbox makes a message")
        case .deferred(let reply): #expect("deferred \(reply.summary)" == text)
        case .failed(let reply): #expect("failed \(reply.summary)" == text)
        }
    }
}

@Suite("Finding earlier deliveries in a header")
struct ForwardingLoopTests {
    @Test("addresses of Delivered-To are found in the header, without case, with either line end, and not in the body", arguments: [
        ("", []), ("Subject: x\n\nDelivered-To: a@b.example\n", []), ("Delivered-To: a@b.example\n\n", ["a@b.example"]),
        ("Delivered-To: a@b.example", ["a@b.example"]), ("delivered-to:\ta@b.example \r\n\r\nx", ["a@b.example"]),
        ("X: 1\nDELIVERED-TO: A@B.example\nDelivered-To: c@d.example\n\n", ["a@b.example", "c@d.example"]),
        ("\r\nDelivered-To: a@b.example\n", []), ("Delivered-To: nonsense\nDelivered-To:\nDelivered-To", []),
        ("X-Delivered-To: a@b.example\nDelivered: x\nDelivered-To : a@b.example\n\n", []), (" Delivered-To: a@b.example\n\n", []),
        ("D\nd\n\nDelivered-To: a@b.example\n", []), ("X: \r\n\r\r\nDelivered-To: \"a b\"@c.example\n", ["\"a b\"@c.example"]),
    ] as [(String, [String])])
    func finds(header: String, addresses: [String]) {
        let found = Array(header.utf8).withUnsafeBytes { ForwardingLoop.addresses(inHeaderOf: $0) }
        #expect(found == Set(addresses.map { Address($0)! }))
    }
}
