import MailSyntax
import Testing

@testable import Mailboxes

@Suite("Names of mailboxes and files")
struct MailboxNamesTests {
    @Test("a user whose name would lead elsewhere has no mailbox",
        arguments: ["", ".", "..", ".hidden", "a/b", "/etc/passwd", "../x", "a\0b", String(repeating: "a", count: 251)])
    func refusesUnsafeNames(user: String) {
        #expect(throws: MailboxError.unsafeName) {
            try MailboxLocation(directory: "/var/mail", user: user, format: .maildir, quota: 0)
        }
    }

    @Test("ordinary names, and those with dots and letters of any script inside, are taken", arguments: ["aca", "a.b", "josé", "a+b", "x:y"])
    func acceptsOrdinaryNames(user: String) throws {
        #expect(try MailboxLocation(directory: "/var/mail", user: user, format: .mbox, quota: 0).path == "/var/mail/\(user)")
    }

    @Test("a file's name follows from time of arrival, queue id, recipient and host")
    func namesFiles() {
        let name = MailName(arrival: arrival, queueID: "6441D7B5C002A", recipient: 3)
        #expect(name.fileName(host: "mx.mydom.com") == "1764000000.M000042Q6441D7B5C002AR3.mx.mydom.com")
    }

    @Test("slash and colon of a host are escaped as the Maildir specification says")
    func escapesHosts() { #expect(MailName.escapedHost("a/b:c") == "a\\057b\\072c") }

    @Test("the size is read from a Maildir++ name and from nothing else", arguments: [
        ("1.M1Q1R0.host,S=4321", 4321), ("1.M1Q1R0.host,S=4321:2,S", 4321), ("1.x.host,W=5,S=12:2,", 12), ("1.x.host", nil),
        ("1.x.host:2,S=9", nil), ("1.x.host,S=", nil), ("1.x.host,S=1a", nil), ("1.x.host,S=-1", nil), ("S=1", nil),
        ("1.x,S=99999999999999999999", nil), ("", nil), (":2,S", nil),
    ] as [(String, Int?)])
    func readsSizes(name: String, size: Int?) { #expect(MaildirQuota.size(inName: name) == size) }
}
