// Directories, files of accounts, verdicts on logins, and who has to wait.

@testable import Accounts
import MailSyntax
import NIOPosix
import Testing

@Suite("Accounts")
struct AuthenticatorTests {
    /// The verdict of one login, in a line.
    private func verdict(_ directory: any Directory, _ user: String, _ password: String) async throws -> String {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let authenticator = Authenticator(directory, threads: pool)
        let verdict = await withCheckedContinuation { continuation in
            authenticator.verify(user: user, password: Array(password.utf8)) { continuation.resume(returning: $0) }
        }
        try await pool.shutdownGracefully()
        return switch verdict {
        case .right(let user): "right \(user)"
        case .wrong: "wrong"
        case .unavailable(let reason): "unavailable \(reason)"
        }
    }

    @Test("the first directory that knows a name answers; a user who does not exist is simply wrong", arguments: [
        ("alice", "alices", "right alice"), ("ALICE", "alices", "right alice"), ("alice", "bobs", "wrong"), ("bob", "bobs", "right bob"), ("carol", "x", "wrong"),
        ("nobody", "x", "wrong"),
    ])
    func verdicts(_ user: String, _ password: String, _ expected: String) async throws {
        let bobs = try StoredPassword("{PLAIN}bobs")
        let first = FixedDirectory([Account(name: "alice", password: try StoredPassword("{PLAIN}alices")), Account(name: "carol", password: nil)])
        let second = FixedDirectory([Account(name: "alice", password: bobs), Account(name: "bob", password: bobs)])
        #expect(try await verdict(DirectoryChain([first, second]), user, password) == expected)
    }

    private struct AwayDirectory: Directory {
        func account(named name: String) throws(DirectoryError) -> Account? { throw DirectoryError("no route") }
    }

    @Test("a directory that cannot be asked makes nobody wrong")
    func unavailable() async throws { #expect(try await verdict(AwayDirectory(), "a", "x") == "unavailable no route") }

    @Test("who does not exist has SCRAM keys that stay the same for the name, as real ones do")
    func decoys() async throws {
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let authenticator = Authenticator(FixedDirectory([]), threads: pool)
        var salts: [[UInt8]] = []
        for name in ["ghost", "Ghost", "other"] {
            let keys = await withCheckedContinuation { continuation in authenticator.keys(of: name, .sha256) { continuation.resume(returning: $0) } }
            if case .keys(let keys, _) = keys { salts.append(keys.salt) }
        }
        #expect(salts.count == 3 && salts[0] == salts[1] && salts[0] != salts[2])
        try await pool.shutdownGracefully()
    }

    @Test("a Dovecot passwd-file gives its users; bad lines are named and harm no other")
    func dovecotFile() {
        let file = AccountFile(dovecot: """
            # users
            alice:{PLAIN}a:1000:1000::/home/alice::userdb_quota_rule=*:bytes=1G
            bob:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5
            nothing
            carol:{NTLM}00
            BOB:{PLAIN}x

            """)
        #expect(file.accounts.map(\.name) == ["alice", "bob", "carol"])
        #expect(file.accounts.map { $0.password != nil } == [true, true, false])
        #expect(file.omissions == [
            .init(line: 4, reason: "the line is not NAME:PASSWORD"), .init(line: 5, reason: "carol has no login: the scheme {NTLM} is not known"),
            .init(line: 6, reason: "BOB stands twice"),
        ])
    }

    @Test("passwd with shadow gives the people among the accounts")
    func unixFiles() {
        let shadow = AccountFile(shadow: "root:!:1\nalice:$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5:19000:0:99999:7:::\nbob:*:1\n")
        let passwd = "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nbob:x:1001:1001::/home/bob:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        let file = AccountFile(passwd: passwd, shadow: shadow, userIDs: 1000...59_999)
        #expect(file.accounts.map(\.name) == ["alice", "bob"])
        #expect(file.accounts[0].password?.verify(Array("Hello world!".utf8)) == true)
        #expect(file.accounts[1].password == nil)
    }

    @Test("four failures are free; then the wait doubles, up to a minute, and ends with the memory of it")
    func throttle() {
        var throttle = LoginThrottle()
        let client = IPAddress("192.0.2.1")!
        let start = Timestamp(seconds: 1000)
        var waits: [Int64] = []
        for _ in 0..<13 {
            throttle.failed(client: client, user: "alice", now: start)
            waits.append(throttle.delay(client: client, user: "alice", now: start).components.seconds)
        }
        #expect(waits == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60])
        #expect(throttle.delay(client: client, user: "bob", now: start) == .seconds(60), "the address waits, whatever name it tries")
        #expect(throttle.delay(client: IPAddress("192.0.2.2")!, user: "alice", now: start) == .zero, "the owner elsewhere does not")
        #expect(throttle.delay(client: client, user: "alice", now: Timestamp(seconds: 1061)) == .zero)
        throttle.failed(client: client, user: "alice", now: Timestamp(seconds: 3000))
        #expect(throttle.delay(client: client, user: "alice", now: Timestamp(seconds: 3000)) == .zero, "after a quarter of an hour it begins anew")
    }

    @Test("a customer's IPv6 network is one client, and what is remembered is bounded")
    func throttleNetworks() {
        var throttle = LoginThrottle(capacity: 1000)
        let now = Timestamp(seconds: 1000)
        for host in 1...6 { throttle.failed(client: IPAddress("2001:db8::\(host)")!, user: "u\(host)", now: now) }
        #expect(throttle.delay(client: IPAddress("2001:db8::99")!, user: "x", now: now) > .zero)
        #expect(throttle.delay(client: IPAddress("2001:db8:0:1::99")!, user: "x", now: now) == .zero)
        for number in 0..<20_000 {
            throttle.failed(client: IPAddress(bytes: [10, 0, UInt8(number >> 8), UInt8(number & 255)]), user: "u", now: Timestamp(seconds: 1000 + Int64(number)))
        }
        #expect(throttle.count <= 1000)
    }
}
