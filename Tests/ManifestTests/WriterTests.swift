// Systems written as manifests and read back: nothing may change but positions.

import MailSyntax
@testable import Manifest
import Testing

/// Everything that a value holds but where it stood.
func meaning(_ value: Any) -> String {
    let mirror = Mirror(reflecting: value)
    if "\(type(of: value))".hasPrefix("Located<") { return meaning(mirror.children.first { $0.label == "value" }!.value) }
    if mirror.displayStyle == .optional { return mirror.children.first.map { meaning($0.value) } ?? "nil" }
    guard !mirror.children.isEmpty else { return "\(value)" }
    return "(\(mirror.children.filter { $0.label != "file" || !(value is MailSystem) }.map { "\($0.label ?? ""):\(meaning($0.value))" }.joined(separator: " ")))"
}

private func readBack(_ system: MailSystem) throws -> MailSystem {
    let text = ManifestWriter.text(of: system)
    let result = ManifestReader.read(text: Array(text.utf8), file: "written.yaml")
    return try #require(result.system, "\(text)\n\(result.diagnostics)")
}

@Test("A manifest that was read and written is read as the same system", arguments: Fixtures.manifests(in: "Tests/ManifestTests/valid") + Fixtures.manifests(in: "examples"))
func roundTrip(fixture: Fixture) throws {
    guard let system = ManifestReader.read(text: fixture.bytes, file: fixture.name).system else { return }
    #expect(meaning(try readBack(system)) == meaning(system))
}

@Test("Whatever a name, a text, a path or a secret holds comes back", arguments: [
    "yes", "No", "null", "~", "1", "1.5", "0x1F", "1e3", "2026-11-24", "12:30", "007", "-", "-a", "- a", "?", "a: b", "a #b", "#a", "*", "&a", "!a", "|a", ">", "%", "`",
    "a,b", "[a]", "{a}", "\"a\"", "'a'", "a\\b", " a", "a ", "é", "ö b", "日本", "=", "<<", "y", "on", "$6$a$b", "a@b", "@a", "%a", "/a", ".5", "1_000", "٣",
])
func scalars(text: String) throws {
    var system = MailSystem.defaults
    system.mailboxes.directory = Located(text)
    var user = MailSystem.User(
        name: Located("u"), fullName: text, password: Located(.file("/\(text)")), sendAs: [], quota: nil, forward: [], keepCopy: false, format: nil)
    if MailSystem.flaw(in: text, as: .userName) == nil { user.name = Located(text) }
    system.users = [user]
    system.relayhost = Located(MailSystem.Relayhost(hop: NextHop("[smtp.example.net]:587")!, username: Located(text), password: Located(.literal(text))))
    // Among targets, what begins with a bar is a command.
    if MailSystem.flaw(in: text, as: .aliasName) == nil, !text.hasPrefix("|") { system.aliases = [MailSystem.Alias(name: Located("x" + text), targets: [Located(.name(user.name.value))])] }
    system.aliases.append(MailSystem.Alias(name: Located("commands"), targets: [Located(.command("echo \(text)")), Located(.file("/var/\(text)x"))]))
    system.localDelivery.commands = Located([.alias])
    #expect(meaning(try readBack(system)) == meaning(system))
}

@Test("A manifest is written as a person would write it")
func style() throws {
    let text = """
        # Of a test.
        apiVersion: valija/v1
        hostname: mx.example.org
        origin: example.org

        domains:
          example.org: {}
          shop.example:
            kind: virtual
            addresses:
              info: [alice, bob]
              "123": alice@example.org
              "*": alice
          branch.example:
            kind: relay
            via: "[192.0.2.25]"
            recipients: [office, warehouse]

        users:
          alice:
            name: Alice Example
            password: "$6$salt$hash"
            quota: 2GiB
          bob:
            forward: [bob@mobile.example]
            keep_copy: true
          carol:
            password: {file: /run/secrets/carol}
          dave: {}

        aliases:
          postmaster: alice
          sales: [alice, bob]
          log: /var/mail/log
          sieve: "|sieve -x \\"a b\\""

        address_extension: "+"

        networks: [127.0.0.0/8, "::1", 192.0.2.7]

        relayhost:
          host: "[smtp.example.net]:587"
          username: example
          password: {env: RELAY}
          tls: encrypt

        limits:
          message_size: 25MiB
          mailbox_size: 51MB

        local_delivery:
          allow_mail_to_commands: [alias]

        listen:
          smtp: ["127.0.0.1:2525", "[::1]:2525"]

        queue:
          retry: {maximum: 90m}
          lifetime: 3d

        """
    let result = ManifestReader.read(text: Array(text.utf8), file: "mail.yaml")
    let system = try #require(result.system, "\(result.diagnostics)")
    #expect(ManifestWriter.text(of: system, heading: ["Of a test."]) == text)
}

@Test("A list that is too long for a line takes one for each entry, and a comment stays one line")
func longLists() throws {
    var system = MailSystem.defaults
    system.aliases = [MailSystem.Alias(name: Located("all"), targets: (1...20).map { Located(.name("alias-number-\($0)")) })]
    system.aliases += (1...20).map { MailSystem.Alias(name: Located("alias-number-\($0)"), targets: [Located(.address(Address("a@example.net")!))]) }
    let text = ManifestWriter.text(of: system, heading: ["one\ntwo: three"])
    #expect(text.hasPrefix("# one?two: three\n"))
    #expect(text.contains("\n  all:\n    - alias-number-1\n    - alias-number-2\n"))
    #expect(meaning(try readBack(system)) == meaning(system))
}

@Test("A system made by hand is judged as a manifest is, with the positions that its parts have")
func judgement() {
    var system = MailSystem.defaults
    system.aliases = [MailSystem.Alias(name: Located("a"), targets: [Located(.name("nobody"), at: SourcePosition(line: 77, column: 3))])]
    let errors = system.diagnostics().filter { $0.severity == .error }
    #expect(errors.map(\.code) == [.danglingTarget])
    #expect(errors.first?.position?.line == 77)
    #expect(MailSystem.flaw(in: "a/b", as: .userName) != nil)
    #expect(MailSystem.flaw(in: "a.b", as: .userName) == nil)
    #expect(MailSystem.flaw(in: "0.0.0.0/0", as: .network) != nil)
}
