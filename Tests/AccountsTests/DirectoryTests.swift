// Which mechanisms a directory allows, logins by address, and files that change.

@testable import Accounts
import Glibc
import MailSyntax
import NIOConcurrencyHelpers
import NIOPosix
import Testing

@Suite("Directories")
struct DirectoryTests {
    private func scram(_ digest: Digest) -> StoredPassword { StoredPassword(scram: SCRAMKeys(password: [1], salt: [1], iterations: 1, digest)) }

    private func offered(_ passwords: [StoredPassword?]) -> [SASLMechanism] {
        let accounts = passwords.enumerated().map { Account(name: "user\($0.offset)", password: $0.element) }
        return Authenticator(FixedDirectory(accounts), threads: NIOThreadPool.singleton).mechanisms
    }

    @Test("SCRAM is offered where everybody who can log in has keys for it")
    func mechanisms() throws {
        let crypt = try StoredPassword("{PLAIN}x")
        #expect(offered([]) == [.plain, .login])
        #expect(offered([crypt]) == [.plain, .login])
        #expect(offered([scram(.sha256), nil, scram(.sha256)]) == [.scramSHA256Plus, .scramSHA256, .plain, .login])
        #expect(offered([scram(.sha1)]) == [.scramSHA1Plus, .scramSHA1, .plain, .login])
        #expect(offered([scram(.sha1), scram(.sha256)]) == [.plain, .login])
        #expect(offered([scram(.sha256), crypt]) == [.plain, .login])
    }

    private struct Remote: Directory {
        func account(named name: String) -> Account? { nil }
    }

    @Test("a directory that cannot be listed offers what every password allows")
    func remote() {
        let chain = DirectoryChain([FixedDirectory([Account(name: "a", password: scram(.sha256))]), Remote()])
        #expect(Authenticator(chain, threads: NIOThreadPool.singleton).mechanisms == [.plain, .login])
    }

    @Test("an address is its user's name, unless an account is named so")
    func addresses() throws {
        let base = FixedDirectory([
            Account(name: "alice", password: nil), Account(name: "bob@example.org", password: nil), Account(name: "bob", password: nil),
        ])
        let directory = AddressedDirectory(base) { $0.domain.text == "example.org" ? $0.localPart : nil }
        let names = try ["alice", "alice@example.org", "bob@example.org", "alice@example.net", "alice@", "@example.org", "nobody@example.org"].map {
            try directory.account(named: $0)?.name
        }
        #expect(names == ["alice", "alice", "bob@example.org", nil, nil, nil, nil])
    }

    @Test("a file is read again when it has changed, and what is wrong is told once")
    func changes() throws {
        let path = "/tmp/valija-test-directory-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        func write(_ text: String) throws {
            let file = try #require(fopen(path, "w"))
            fputs(text, file)
            fclose(file)
        }
        defer { unlink(path) }
        try write("alice:{PLAIN}a\n")
        let told = NIOLockedValueBox<[String]>([])
        let directory = try FileDirectory(.dovecot(path)) { news in
            told.withLockedValue { told in
                switch news {
                case .read(_, let accounts, let omissions): told.append("read \(accounts) \(omissions.map(\.line))")
                case .unreadable: told.append("unreadable")
                }
            }
        }
        #expect(try directory.account(named: "alice") != nil)
        #expect(!directory.refresh())
        try write("bob:{PLAIN}b\nnothing\n")
        #expect(try directory.account(named: "alice") == nil)
        #expect(try directory.account(named: "bob") != nil)
        #expect(directory.refresh())
        #expect(!directory.refresh())
        unlink(path)
        for _ in 0..<2 { #expect(throws: DirectoryError.self) { try directory.account(named: "bob") } }
        try write("bob:{PLAIN}b\n")
        #expect(try directory.account(named: "bob") != nil)
        #expect(told.withLockedValue { $0 } == ["read 1 []", "read 1 [2]", "unreadable", "read 1 []"])
        #expect(throws: DirectoryError.self) { try FileDirectory(.dovecot("/nowhere/users")) { _ in } }
    }
}
