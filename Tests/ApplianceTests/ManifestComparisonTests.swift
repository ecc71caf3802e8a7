// Two manifests compared: addresses by what the routers say, and no key forgotten.

import Manifest
import Testing

@testable import Appliance

private func system(_ keys: String) throws -> MailSystem {
    let text = "apiVersion: valija/v1\nhostname: mx.example.org\norigin: example.org\n\(keys)\n"
    let result = ManifestReader.read(text: Array(text.utf8), file: "mail.yaml")
    return try #require(result.system, "\(result.diagnostics.map(\.message))")
}

private func compare(_ old: String, _ new: String) throws -> ManifestComparison {
    ManifestComparison(from: try system(old), to: try system(new), most: 100)
}

private let base = "domains: {example.org: {}}\nusers: {alice: {}, bob: {}}"

struct ComparisonCase: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let old: String
    let new: String
    var begins: [String] = []
    var ceases: [String] = []
    var elsewhere: [String] = []
}

@Test(
    "addresses that begin, cease and lead elsewhere are those whose route differs",
    arguments: [
        ComparisonCase(testDescription: "nothing", old: base, new: base + "\naliases: {}"),
        ComparisonCase(testDescription: "an alias", old: base, new: base + "\naliases: {x: alice}", begins: ["x@example.org"]),
        ComparisonCase(
            testDescription: "an alias hides a user", old: base, new: base + "\naliases: {bob: alice}", elsewhere: ["bob@example.org"]),
        ComparisonCase(
            testDescription: "the first user stands in for postmaster", old: base, new: "domains: {example.org: {}}\nusers: {bob: {}, alice: {}}",
            elsewhere: ["postmaster@example.org"]),
        ComparisonCase(
            testDescription: "an extension covers what an alias named",
            old: base + "\naddress_extension: \"+\"\naliases: {alice+x: bob}", new: base + "\naddress_extension: \"+\"", elsewhere: ["alice+x@example.org"]),
        ComparisonCase(testDescription: "extensions", old: base, new: base + "\naddress_extension: \"+\"", begins: ["NAME+TEXT for every NAME"]),
        ComparisonCase(
            testDescription: "a catch-all covers a name that goes",
            old: base + "\n", new: "domains: {example.org: {}, v.example: {kind: virtual, addresses: {a: alice, '*': bob}}}\nusers: {alice: {}, bob: {}}",
            begins: ["a@v.example", "postmaster@v.example", "*@v.example"]),
        ComparisonCase(
            testDescription: "a relay domain opens for everyone",
            old: "domains: {example.org: {}, r.example: {kind: relay, via: '[192.0.2.1]', recipients: [a]}}\nusers: {alice: {}}",
            new: "domains: {example.org: {}, r.example: {kind: relay, via: '[192.0.2.1]'}}\nusers: {alice: {}}",
            begins: ["*@r.example"], elsewhere: ["postmaster@r.example"]),
    ])
func addresses(_ testCase: ComparisonCase) throws {
    let comparison = try compare(testCase.old, testCase.new)
    #expect(comparison.begins.shown.map(\.name) == testCase.begins)
    #expect(comparison.ceases.shown.map(\.name) == testCase.ceases)
    #expect(comparison.leadsElsewhere.shown.map(\.name) == testCase.elsewhere)
    let back = try compare(testCase.new, testCase.old)
    #expect(back.begins.shown.map(\.name) == testCase.ceases && back.ceases.shown.map(\.name) == testCase.begins, "the other way round")
}

@Test(
    "clients that may relay are compared as the sets that networks are",
    arguments: [
        ("[10.0.0.0/8]", "[10.0.0.0/8, 10.1.0.0/16]", []), ("[10.1.0.0/16]", "[10.0.0.0/8]", ["+10.0.0.0/8"]),
        ("[10.0.0.0/8]", "[10.1.0.0/16]", ["~10.0.0.0/8 only 10.1.0.0/16"]), ("[10.0.0.0/8]", "[192.168.0.0/16]", ["-10.0.0.0/8", "+192.168.0.0/16"]),
    ] as [(String, String, [String])])
func networks(old: String, new: String, changes: [String]) throws {
    let comparison = try compare(base + "\nnetworks: \(old)", base + "\nnetworks: \(new)")
    #expect(
        comparison.relaying.map { change in
            change.from == nil ? "+\(change.name)" : change.to == nil ? "-\(change.name)" : "~\(change.name) \(change.to!)"
        } == changes)
}

@Test("a secret that changes is said to, and not shown")
func secrets() throws {
    let hash = { (salt: String) in "\"$6$\(salt)$\(String(repeating: "a", count: 86))\"" }
    let users = { (hash: String) in "domains: {example.org: {}}\nusers: {alice: {password: \(hash)}}" }
    let comparison = try compare(users(hash("one")), users(hash("two")))
    #expect(comparison.values.shown.map(\.name) == ["users.alice.password"])
    #expect(!"\(comparison.values.shown)".contains("$6$"))
    #expect(try compare(users(hash("one")), users(hash("one"))).isEmpty)
}

@Test("every key of the reference is compared, or has a place of its own in the plan")
func allKeys() throws {
    // Compared as addresses, clients, listeners and routes.
    let elsewhere: Set<String> = [
        "apiVersion", "domains", "users", "aliases", "networks", "tests", "dns", "tls", "tls.outgoing", "limits", "mailboxes", "listen", "submission", "queue", "queue.retry", "logging", "routes", "sender_routes", "delivery", "reports",
        "delivery.timeouts",
        "domains.NAME.addresses", "domains.NAME.recipients", "users.NAME.forward", "users.NAME.keep_copy", "users.NAME.mailbox", "relayhost.host",
        "rewriting", "rewriting.srs", "local_delivery",
        "smtpd", "listen.lmtp.path",
    ]
    let full = try system(
        """
        domains: {NAME: {kind: relay, via: "[192.0.2.1]"}, example.org: {}}
        users: {NAME: {name: N, quota: 1GB, mailbox: {format: mbox}, send_as: [a@example.org], password: {file: /x}}}
        rewriting: {canonical: {a: b}, sender_canonical: {a: b}, recipient_canonical: {a: b}, generic: {a: b}, sender_bcc: {a: NAME}, recipient_bcc: {a: NAME},
          srs: {domain: example.org, secret: {file: /x}}}
        tls: {outgoing: {destinations: {a: may}}}
        """)
    let compared = Set(Side(full).values.map { value in
        // An entry stands for its table.
        let name = value.name.hasSuffix(".a") ? String(value.name.dropLast(2)) : value.name
        return name.replacing("domains.name", "domains.NAME")
    })
    var keys: Set<String> = []
    var section: String?
    for line in ManifestReference.markdown().split(separator: "\n") {
        if line.hasPrefix("## ") {
            let title = line.dropFirst(3)
            section = title == "The top level" ? "" : title.hasPrefix("`") ? String(title.dropFirst().prefix { $0 != "`" }) + "." : title == "Types" ? nil : section
            if title.hasPrefix("Where") || title.hasPrefix("What") { section = nil }
        } else if let section, line.hasPrefix("| `"), !line.contains("**Not supported yet.**") {
            let key = section + line.dropFirst(3).prefix { $0 != "`" }
            // Parts of a secret, of a certificate and of a directory; listeners; what tests say.
            if ["listen.", "tests.", "directories."].contains(section) || section.hasSuffix(".password.") || section.hasSuffix(".secret.") || section == "tls.certificates.NAME." || section == "tls.outgoing.destinations.NAME." { continue }
            keys.insert(String(key))
        }
    }
    #expect(keys.count > 40)
    #expect(keys.subtracting(compared).subtracting(elsewhere).isEmpty, "\(keys.subtracting(compared).subtracting(elsewhere).sorted())")
    #expect(ManifestComparison.fixedKeys.isSubset(of: compared))
}

extension String {
    fileprivate func replacing(_ beginning: String, _ other: String) -> String { hasPrefix(beginning) ? other + dropFirst(beginning.count) : self }
}
