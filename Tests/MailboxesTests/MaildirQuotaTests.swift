import Glibc
import MailSyntax
import Testing

@testable import Mailboxes

@Suite("Quota of a Maildir")
struct MaildirQuotaTests {
    let box = TestMailboxes()
    private let size = whole.utf8.count

    private func numbered(_ numbers: Range<Int>, quota: Int) -> [MailboxCopy] {
        numbers.map { copy(box.location(quota: quota), number: $0) }
    }

    @Test("what fits exactly is delivered, the next is refused, and nothing of it stays", arguments: [1, 2, 6])
    func fillsUp(fitting: Int) {
        let quota = size * fitting
        let store = MaildirStore(disk: SystemDisk())
        let results = store.deliver(numbered(0..<fitting + 1, quota: quota), host: "h")
        #expect(results == (0..<fitting).map { _ in nil } + [.overQuota(limit: quota)])
        #expect(store.deliver(numbered(10..<11, quota: quota), host: "h") == [.overQuota(limit: quota)])
        #expect(box.names("alice/new").count == fitting)
        #expect(box.names("alice/tmp").isEmpty)
    }

    @Test("a message larger than the whole quota is refused, a smaller one behind it is not")
    func refusesTheLarge() {
        let large = copy(box.location(quota: 1000), message(String(repeating: "x", count: 1000)), number: 1)
        #expect(MaildirStore(disk: SystemDisk()).deliver([large, copy(box.location(quota: 1000))], host: "h") == [.overQuota(limit: 1000), nil])
    }

    @Test("mail of other programs counts, in new and cur, with and without its size in the name; room that they make is used")
    func countsOthers() {
        box.makeMaildir()
        box.write("alice/cur/1.other.host:2,S", String(repeating: "x", count: 300))
        box.write("alice/new/2.other.host,S=400", "what the name says counts")
        let quota = 700 + size
        let store = MaildirStore(disk: SystemDisk())
        #expect(store.deliver(numbered(0..<2, quota: quota), host: "h") == [nil, .overQuota(limit: quota)])
        unlink("\(box.path)/alice/cur/1.other.host:2,S")
        #expect(store.deliver(numbered(1..<2, quota: quota), host: "h") == [nil])
    }

    @Test("a repeat of what lies in new already is not refused for its own size")
    func repeatFits() {
        for _ in 0..<2 {
            #expect(MaildirStore(disk: SystemDisk()).deliver(numbered(0..<1, quota: size), host: "h") == [nil])
        }
        #expect(box.contents(of: "alice/new") == [whole])
    }

    @Test("a failed delivery gives back the room that it had reserved", arguments: [("renameat", 5), ("fsync", 1), ("syncfs", 1), ("write", 5)])
    func releases(call: String, times: Int) {
        box.makeMaildir()
        let quota = size * 5
        let store = MaildirStore(disk: FaultyDisk(.failing(call, code: EIO, times: times)))
        _ = store.deliver(numbered(0..<5, quota: quota), host: "h")
        #expect(store.deliver(numbered(0..<5, quota: quota), host: "h") == [nil, nil, nil, nil, nil])
    }

    @Test("a large mailbox is not read again for each message")
    func remembers() {
        let disk = FaultyDisk()
        let store = MaildirStore(disk: disk)
        for number in 0..<50 { #expect(store.deliver(numbered(number..<number + 1, quota: 1_000_000), host: "h") == [nil]) }
        #expect(disk.calls("names") == 2, "new and cur, once")
    }

    @Test("deliveries at the same time never pass the quota together")
    func concurrent() async {
        let quota = size * 40
        let store = MaildirStore(disk: SystemDisk())
        box.makeMaildir()
        let copies = (0..<8).map { thread in numbered(thread * 10..<thread * 10 + 10, quota: quota) }
        let delivered = await withTaskGroup(of: Int.self) { group in
            for part in copies { group.addTask { store.deliver(part, host: "h").count { $0 == nil } } }
            return await group.reduce(0, +)
        }
        #expect(delivered == 40)
        #expect(box.names("alice/new").count == 40)
    }
}
