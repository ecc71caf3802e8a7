// What is generated from the declared keys: docs/manifest.md and the JSON Schema. And the declarations themselves.

@testable import Manifest
import Testing

private let keysWithExamples = ManifestSchema.declarations.filter { !$0.declaration.isPlanned && $0.declaration.example != nil }.map(\.path)
private let plannedKeys = ManifestSchema.declarations.filter(\.declaration.isPlanned).map(\.path)

@Suite("Reference")
struct ReferenceTests {
    @Test("docs/manifest.md is what `valija reference` prints")
    func drift() {
        let page = Fixtures.bytes("docs/manifest.md").map { String(decoding: $0, as: UTF8.self) }
        #expect(page == ManifestReference.markdown(), "run: valija reference > docs/manifest.md")
    }

    @Test("the JSON Schema is JSON with the top-level keys, read back by the YAML reader, which takes JSON too")
    func schema() throws {
        var findings = Findings(file: "schema.json")
        let root = try #require(Composer.compose(Array(JSONSchema.text().utf8), &findings))
        #expect(findings.diagnostics == [])
        let top = try members(root)
        #expect(text(top["$schema"]) == "https://json-schema.org/draft/2020-12/schema")
        let keys = try members(try #require(top["properties"]))
        #expect(Set(keys.keys) == Set(ManifestSchema.declarations.filter { !$0.path.contains(".") }.map(\.path)))
        #expect(text(top["additionalProperties"]) == "false")
        let limitsSection = try members(try #require(keys["limits"]))
        let limits = try members(try #require(limitsSection["properties"]))
        #expect(text(try members(try #require(limits["message_size"]))["default"]) == "10240000")
        let listenSection = try members(try #require(keys["listen"]))
        let listen = try members(try #require(listenSection["properties"]))
        #expect(try members(try #require(listen["imap"]))["not"] != nil)
    }

    @Test("every declared key has a meaning that is one sentence", arguments: ManifestSchema.declarations.map(\.path))
    func meanings(_ path: String) throws {
        let meaning = try #require(ManifestSchema.declarations.first { $0.path == path }).declaration.meaning
        #expect(meaning.hasSuffix("."))
        #expect(meaning.first?.isUppercase == true || meaning.hasPrefix("`"))
    }

    @Test("a supported key's example is valid in its place", arguments: keysWithExamples)
    func examples(_ path: String) throws {
        let declaration = try #require(ManifestSchema.declarations.first { $0.path == path }).declaration
        let findings = try read(path, declaration.example!)
        // An example may name users that only its reader has, and leave out what stands beside it in a whole manifest.
        #expect(
            findings.filter {
                ![.danglingTarget, .noPostmaster, .noEffect, .wideNetwork, .missingKey, .noRecipients, .noCertificate].contains($0.code)
            } == [], "\(path)")
    }

    @Test("a planned key is refused in its place, whatever its value", arguments: plannedKeys)
    func planned(_ path: String) throws {
        let codes = try read(path, "{file: x}").map(\.code)
        #expect(codes.contains(.notSupportedYet))
    }

    /// Reads a manifest that has `value` at `path`.
    private func read(_ path: String, _ value: String) throws -> [Diagnostic] {
        let keys = path.split(separator: ".").map { $0 == "NAME" ? "x" : String($0) }
        var lines = ["apiVersion: valija/v1", "hostname: mx.example.org"].filter { !$0.hasPrefix("\(path):") }
        for (depth, key) in keys.enumerated() {
            // The sections of a list stand as its items.
            let isItem = ["tests", "directories"].contains(keys[0]) && depth == 1 || path.hasPrefix("listen.lmtp.") && depth == 2
            let indent = String(repeating: "  ", count: isItem ? depth - 1 : depth) + (isItem ? "- " : "")
            let isLast = depth == keys.count - 1
            if isLast { lines += (ReferenceTests.companions[path] ?? []).map { indent + $0 } }
            lines.append("\(indent)\(key):\(isLast ? " \(value)" : "")")
        }
        return ManifestReader.read(text: Array((lines.joined(separator: "\n") + "\n").utf8), file: path).diagnostics
    }

    /// What has to stand beside a key for it to make sense.
    private static let companions = [
        "domains.NAME.kind": ["addresses: {a: x@example.net}"],
        "domains.NAME.addresses": ["kind: virtual"],
        "domains.NAME.via": ["kind: relay"],
        "domains.NAME.recipients": ["kind: relay"],
        "limits.message_size": ["mailbox_size: 0"],
    ]

    private func members(_ node: Node) throws -> [String: Node] {
        guard case .mapping(let entries) = node.content else { throw NotAnObject() }
        return Dictionary(uniqueKeysWithValues: entries.map { (text($0.key)!, $0.value) })
    }

    private func text(_ node: Node?) -> String? {
        guard case .scalar(let text, _)? = node?.content else { return nil }
        return text
    }

    private struct NotAnObject: Error {}
}
