// What a manifest's text becomes: values, defaults and positions.

import MailSyntax
import Manifest
import Testing

/// Reads a manifest that must be valid.
func system(_ text: String, file: String = "mail.yaml") throws -> MailSystem {
    let result = ManifestReader.read(text: Array(text.utf8), file: file)
    #expect(result.diagnostics.filter { $0.severity == .error } == [])
    return try #require(result.system)
}

let head = "apiVersion: valija/v1\nhostname: mx.example.org\n"

@Suite("Decoding")
struct DecodingTests {
    @Test("what a manifest leaves out has the documented default and no position")
    func defaults() throws {
        let system = try system(head)
        #expect(system.hostname == Located(Domain("mx.example.org")!, at: SourcePosition(line: 2, column: 11), endColumn: 25))
        #expect(system.origin == Located(Domain("mx.example.org")!))
        #expect(system.domains.isEmpty && system.users.isEmpty && system.aliases.isEmpty)
        #expect(system.addressExtension == Located(nil))
        #expect(system.networks == Located([try Network(parsing: "127.0.0.0/8"), try Network(parsing: "::1")]))
        #expect(system.relayhost == nil)
        #expect(system.limits.messageSize == Located(10_240_000))
        #expect(system.limits.mailboxSize == Located(51_200_000))
        #expect(system.limits.recipientsPerMessage == Located(1000))
        #expect(system.limits.connectionsPerClient == Located(50))
        #expect(system.mailboxes.format == Located(.maildir))
        #expect(system.mailboxes.directory == Located("/var/mail"))
        #expect(system.listen.smtp == Located([Endpoint("0.0.0.0:25")!, Endpoint("[::]:25")!]))
        #expect(system.listen.health == Located([Endpoint("0.0.0.0:8080")!]))
        #expect(system.queue.directory == Located("/var/spool/valija"))
        #expect(system.queue.retryMinimum == Located(.seconds(300)))
        #expect(system.queue.retryMaximum == Located(.seconds(4 * 3600)))
        #expect(system.queue.lifetime == Located(.seconds(5 * 86_400)))
        #expect(system.queue.bounceLifetime == Located(.seconds(5 * 86_400)))
        #expect(system.queue.minimumFree == Located(100 << 20))
        #expect(system.logging.level == Located(.info))
    }

    @Test("domains keep their kind, their addresses in order, the catch-all apart, and their positions")
    func domains() throws {
        let system = try system(
            head + """
                domains:
                  Example.ORG:
                  v.example:
                    kind: virtual
                    addresses: {"*": alice, Info: [alice, x@elsewhere.example]}
                  r.example: {kind: relay, via: "[192.0.2.25]:2525", recipients: [office]}
                  s.example: {kind: relay}
                users: {alice: }
                """)
        #expect(system.domains.map(\.name.value.text) == ["Example.ORG", "v.example", "r.example", "s.example"])
        #expect(system.domains.map(\.name.position!.line) == [4, 5, 8, 9])
        guard case .local = system.domains[0].kind else { return #expect(Bool(false), "not local") }
        guard case .virtual(let addresses, let catchAll) = system.domains[1].kind else { return #expect(Bool(false), "not virtual") }
        #expect(addresses.map(\.localPart.value) == ["Info"])
        #expect(addresses[0].targets.map(\.value) == [.name("alice"), .address(Address("x@elsewhere.example")!)])
        #expect(addresses[0].targets.map(\.position) == [SourcePosition(line: 7, column: 36), SourcePosition(line: 7, column: 43)])
        #expect(catchAll?.targets.map(\.value) == [.name("alice")])
        guard case .relay(let via, let recipients) = system.domains[2].kind else { return #expect(Bool(false), "not relay") }
        #expect(via?.value == NextHop("[192.0.2.25]:2525"))
        #expect(recipients?.map(\.value) == ["office"])
        guard case .relay(nil, nil) = system.domains[3].kind else { return #expect(Bool(false), "not a bare relay") }
    }

    @Test("users and aliases keep what is said of them")
    func users() throws {
        let system = try system(
            head + """
                users:
                  alice: {name: Alice Example, quota: 2GiB, forward: bob, keep_copy: yes, mailbox: {format: mbox}}
                  bob:
                aliases:
                  postmaster: alice
                  sales: [alice, Bob]
                """)
        let alice = system.users[0]
        #expect(alice.name.value == "alice" && alice.name.position == SourcePosition(line: 4, column: 3))
        #expect(alice.fullName == "Alice Example")
        #expect(alice.quota?.value == 2 << 30)
        #expect(alice.forward.map(\.value) == [.name("bob")])
        #expect(alice.keepCopy)
        #expect(alice.format?.value == .mbox)
        let bob = system.users[1]
        #expect(bob.fullName == nil && bob.quota == nil && bob.forward.isEmpty && !bob.keepCopy && bob.format == nil)
        #expect(system.aliases.map(\.name.value) == ["postmaster", "sales"])
        #expect(system.aliases[1].targets.map(\.value) == [.name("alice"), .name("Bob")])
    }

    @Test(
        "a size is octets, or has a unit of a power of 1000 or 1024",
        arguments: [
            ("1", 1), ("10240000", 10_240_000), ("7B", 7), ("10KB", 10_000), ("10MB", 10_000_000), ("25MiB", 25 << 20), ("2GiB", 2 << 30),
            ("1TB", 1_000_000_000_000),
        ])
    func sizes(_ text: String, _ octets: Int) throws {
        #expect(try system(head + "limits: {mailbox_size: 0, message_size: \(text)}\n").limits.messageSize.value == octets)
    }

    @Test("a duration has a unit", arguments: [("30s", 30), ("5m", 300), ("4h", 14_400), ("5d", 432_000), ("1w", 604_800)])
    func durations(_ text: String, _ seconds: Int) throws {
        #expect(try system(head + "queue: {lifetime: \(text)}\n").queue.lifetime.value == .seconds(seconds))
    }

    @Test("relayhost is a host or a mapping with one", arguments: ["\"[smtp.example.net]:587\"", "{host: \"[smtp.example.net]:587\", tls: none}"])
    func relayhost(_ text: String) throws {
        #expect(try system(head + "relayhost: \(text)\n").relayhost?.value.hop == NextHop("[smtp.example.net]:587"))
    }

    @Test("columns count Unicode scalars, lines count LF, CR LF and CR", arguments: ["\n", "\r\n", "\r"])
    func positions(_ end: String) throws {
        let system = try system("apiVersion: valija/v1\(end)hostname: mx.example.org\(end)users: {josé: {name: \"Peña\"}, é: {forward: josé}}\(end)")
        #expect(system.users.map(\.name.position) == [SourcePosition(line: 3, column: 9), SourcePosition(line: 3, column: 31)])
        #expect(system.users[1].forward[0].position == SourcePosition(line: 3, column: 44))
        #expect(system.users[1].forward[0].endColumn == 48)
    }

    @Test("secrets say where they are and never what they are")
    func secrets() throws {
        let users = "users:\n  a: {password: $6$salt$hash}\n  b: {password: {file: /run/b}}\n  c: {password: {env: C}}\n  d: {}\n"
        let secrets = try system(head + users).users.map(\.password?.value)
        #expect(secrets == [.literal("$6$salt$hash"), .file("/run/b"), .environment("C"), nil])
        #expect(secrets.compactMap { $0.map { "\($0)" } } == ["(secret)", "file /run/b", "environment variable C"])
    }

    @Test("an alias may lead to a file, a command and a list, as in aliases(5)")
    func aliasTargets() throws {
        let aliases = "aliases: {a: /var/log/mail, b: \"|exec cat -\", c: '\"|quoted all\"', d: \":include:/etc/list\", postmaster: x@example.net}\nlocal_delivery: {allow_mail_to_commands: [alias]}\n"
        let targets = try system(head + aliases).aliases.prefix(4).map { $0.targets[0].value }
        #expect(targets == [.file("/var/log/mail"), .command("exec cat -"), .command("quoted all"), .include("/etc/list")])
    }

    @Test("a rule names the file without its directory, the line and the key; a default says so")
    func rules() throws {
        let system = try system(head, file: "/etc/valija/mail.yaml")
        #expect(system.file == "/etc/valija/mail.yaml")
        #expect(system.rule(system.hostname.position, "hostname") == "mail.yaml:2 hostname")
        #expect(system.rule(system.networks.position, "networks") == "default networks")
    }

    @Test("a hundred thousand users and aliases are decoded and checked")
    func large() throws {
        var text = head + "domains: {example.org: }\nusers:\n"
        for index in 0..<100_000 { text += "  user\(index): {quota: 1GiB}\n" }
        text += "aliases:\n  postmaster: user0\n"
        for index in 0..<99_999 { text += "  alias\(index): [user\(index), alias\(index + 1)@example.org]\n" }
        text += "  alias99999: user0\n"
        let system = try system(text)
        #expect(system.users.count == 100_000)
        #expect(system.aliases.count == 100_001)
    }

    @Test("a loop through a hundred thousand aliases is one error, and its message is short")
    func longLoop() {
        var text = head + "aliases:\n  postmaster: x@example.net\n"
        for index in 0..<100_000 { text += "  a\(index): a\((index + 1) % 100_000)\n" }
        let diagnostics = ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics
        #expect(diagnostics.map(\.code) == [.loop])
        #expect(diagnostics[0].message.utf8.count < 300)
    }

    @Test("of very many findings a bounded number is kept, and the rest is counted")
    func manyFindings() {
        var text = head + "users: {alice: }\naliases:\n  postmaster: alice\n"
        for index in 0..<5000 { text += "  a\(index): nobody\(index)\n" }
        let diagnostics = ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics
        #expect(diagnostics.count == 1001)
        #expect(diagnostics.last?.code == .tooManyFindings)
        #expect(diagnostics.last?.message == "and 4000 more")
    }

    @Test("a text larger than a manifest may be is refused")
    func tooLarge() {
        let diagnostics = ManifestReader.read(text: Array(repeating: 0x23, count: ManifestReader.largestText + 1), file: "x").diagnostics
        #expect(diagnostics.map(\.code) == [.tooLarge])
    }
}
