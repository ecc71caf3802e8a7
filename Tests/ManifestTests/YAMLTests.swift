// What the YAML reader makes of anchors and merge keys, and what it does with texts that mean to exhaust it.

@testable import Manifest
import MailSyntax
import Testing

@Suite("YAML")
struct YAMLTests {
    @Test("a merge key brings in what does not stand there, the mapping that is named first before the others, each at its own place")
    func merge() throws {
        let fixture = Fixture(directory: "Tests/ManifestTests/valid", name: "merge.yaml")
        let users = try #require(ManifestReader.read(text: fixture.bytes, file: fixture.name).system).users
        #expect(users.map(\.name.value) == ["alice", "bob", "carol", "dave", "erin"])
        #expect(users.map(\.fullName) == ["Alice", "Bob", "Alice", "Dave", "Erin"])
        #expect(users.map { $0.quota?.value } == [1 << 30, 5 << 30, 2 << 30, 5 << 30, nil])
        #expect(users.map { $0.quota?.position?.line } == [6, 10, 11, 10, nil])
        #expect(users.map { $0.format?.value } == [.mbox, .mbox, .mbox, .mbox, nil])
        #expect(users.map(\.keepCopy) == [false, false, true, false, false])
    }

    @Test("what a merge key brings in stands in its place: the order of users is the order of the text")
    func order() throws {
        let text = head + "domains: {example.org: }\naliases: &a {zoe: x@example.net, postmaster: x@example.net}\nusers: {bob: }\n"
        #expect(try system(text).aliases.map(\.name.value) == ["zoe", "postmaster"])
        let merged = head + "users: {first: , <<: {second: , first: {quota: 1GiB}}, third: }\n"
        let users = try system(merged).users
        #expect(users.map(\.name.value) == ["first", "second", "third"])
        #expect(users[0].quota == nil)
    }

    @Test("a quoted << is a name as any other")
    func quotedMergeKey() {
        let result = ManifestReader.read(text: Array((head + "users: {alice: {\"<<\": {quota: 1GiB}}}\n").utf8), file: "x")
        #expect(result.diagnostics.contains { $0.code == .unknownKey })
    }

    @Test("the depth that references add counts: no chain of anchors makes a tree that is deeper than the text may be")
    func depthThroughReferences() {
        var text = head + "users:\n  a0: &a0 [[[[[[[[[[x]]]]]]]]]]\n"
        for number in 1..<500 { text += "  a\(number): &a\(number) [[[[[[[[[[*a\(number - 1)]]]]]]]]]]\n" }
        let codes = ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics.map(\.code)
        #expect(codes == [.tooDeep])
    }

    @Test(
        "what expands without bound is refused, and takes no time",
        arguments: [
            // Lists of lists of lists, and mappings that merge mappings.
            "b0: &b0 [x,x,x,x,x,x,x,x,x,x]\n" + (1..<12).map { n in "b\(n): &b\(n) [\((0..<10).map { _ in "*b\(n - 1)" }.joined(separator: ","))]\n" }.joined(),
            "b0: &b0 {\((0..<1000).map { "k\($0): x" }.joined(separator: ","))}\n"
                + (1..<2000).map { n in "b\(n): &b\(n) {<<: *b\(n - 1), x\(n): y}\n" }.joined(),
        ])
    func bombs(_ text: String) {
        let clock = ContinuousClock()
        let time = clock.measure {
            let result = ManifestReader.read(text: Array((head + text).utf8), file: "x")
            #expect(result.system == nil)
            #expect(result.diagnostics.count <= Findings.most + 1)
        }
        #expect(time < .seconds(20))
    }

    @Test("a text with very many values is refused with bounded memory")
    func manyValues() {
        let text = Array("[".utf8) + Array(repeating: Array("a,".utf8), count: Composer.mostNodes + 1).joined()
        let codes = ManifestReader.read(text: text, file: "x").diagnostics.map(\.code)
        #expect(codes == [.tooLarge])
    }

    @Test("a fault in an anchored value is one finding, however often the value is used")
    func repeatedFault() {
        let text = head + "users:\n  u: &u {quota: lots}\n" + (0..<3000).map { "  u\($0): *u\n" }.joined()
        #expect(ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics.filter { $0.severity == .error }.map(\.code) == [.invalidValue])
    }

    @Test(
        "where the text stops being YAML, what is whole before that is judged, and nothing that may follow is missed",
        arguments: [
            ("limits: {message_sice: 1MB}\nusers: [", [Diagnostic.Code.unknownKey, .yamlSyntax]),
            ("aliases: {sales: nobody}\norigin: 'x", [.yamlSyntax]),
            ("apiVersion: valija/v2\n\torigin: x", [.yamlSyntax]),
            ("apiVersion: valija/v2\nhostname: a.b\n\torigin: x", [.invalidValue, .yamlSyntax]),
            ("- a\n- [", [.yamlSyntax]),
            ("hostname: \"mx\norigin: \"x\"\n", [.yamlSyntax]),
        ])
    func recovery(_ text: String, _ codes: [Diagnostic.Code]) {
        #expect(ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics.map(\.code) == codes)
    }

    @Test(
        "an unquoted word that another reader takes for another number needs quotes; a plain number is a name",
        arguments: [
            ("12", true), ("0", true), ("1.5", true), ("12a", true), ("1-2", true), ("\"012\"", true), ("2024-01-01", true), ("1e", true),
            ("012", false), ("1_000", false), ("0x1f", false), ("0b11", false), ("0o17", false), ("1e3", false), ("1.5e3", false), ("1.50", false),
            ("+12", false),
        ])
    func numbers(_ name: String, _ isName: Bool) {
        let text = head + "domains: {example.org: }\nusers: {\(name): }\naliases: {postmaster: x@example.net}\n"
        #expect(ManifestReader.read(text: Array(text.utf8), file: "x").diagnostics.map(\.code) == (isName ? [] : [.ambiguousWord]))
    }
}
