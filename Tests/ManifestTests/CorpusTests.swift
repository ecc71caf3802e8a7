// Manifests as data: broken/ with the exact words that `check` says about each, valid/, planned/ (what this version
// refuses only because a feature is to come), and the repository's examples.

import Manifest
import Testing

@Suite("Manifests in files")
struct CorpusTests {
    static func render(_ fixture: Fixture) -> String {
        let bytes = fixture.bytes
        let result = ManifestReader.read(text: bytes, file: fixture.name)
        let renderer = DiagnosticRenderer(source: bytes)
        return result.diagnostics.map(renderer.render).joined() + result.summary(file: fixture.name) + "\n"
    }

    @Test("a broken manifest gets exactly the expected findings", arguments: Fixtures.manifests(in: "Tests/ManifestTests/broken"))
    func broken(_ fixture: Fixture) {
        #expect(CorpusTests.render(fixture) == fixture.companion("expected"))
        #expect(ManifestReader.read(text: fixture.bytes, file: "").system == nil)
    }

    @Test("the corpus of broken manifests holds at least a hundred and eighty")
    func brokenCount() { #expect(Fixtures.manifests(in: "Tests/ManifestTests/broken").count >= 180) }

    @Test("every code that a manifest can cause is in the corpus")
    func everyCode() {
        let fixtures = Fixtures.manifests(in: "Tests/ManifestTests/broken") + Fixtures.manifests(in: "Tests/ManifestTests/valid")
        let seen = Set(fixtures.flatMap { ManifestReader.read(text: $0.bytes, file: "").diagnostics.map(\.code) })
        // Tested apart: these need a file that does not exist or is no certificate, ones too large to keep, the server's own router, and a server that runs.
        let elsewhere: Set<Diagnostic.Code> = [.unreadableFile, .badCertificate, .tooLarge, .tooManyFindings, .failedTest, .needsRestart, .cannotApply]
        #expect(Set(Diagnostic.Code.allCases).subtracting(seen) == elsewhere)
    }

    @Test(
        "a valid manifest has no errors, and exactly the expected warnings if any",
        arguments: Fixtures.manifests(in: "Tests/ManifestTests/valid"))
    func valid(_ fixture: Fixture) {
        let result = ManifestReader.read(text: fixture.bytes, file: fixture.name)
        #expect(result.system != nil)
        #expect(result.diagnostics.allSatisfy { $0.severity == .warning })
        if let expected = fixture.companion("expected") {
            #expect(CorpusTests.render(fixture) == expected)
        } else {
            #expect(result.diagnostics == [])
        }
    }

    @Test("an example is valid without any finding", arguments: Fixtures.manifests(in: "examples"))
    func example(_ fixture: Fixture) {
        let result = ManifestReader.read(text: fixture.bytes, file: fixture.name)
        #expect(result.diagnostics == [])
        #expect(result.system != nil)
    }

    @Test("there are examples")
    func examples() { #expect(Fixtures.manifests(in: "examples").count >= 3) }

    @Test(
        "the design's manifests are valid but for what is not supported yet, and warned about domains without a postmaster",
        arguments: [
            ("full.yaml", []),
            ("mydom.yaml", ["8:3", "12:3"]),
        ])
    func planned(_ name: String, _ places: [String]) {
        let result = ManifestReader.read(text: Fixture(directory: "Tests/ManifestTests/planned", name: name).bytes, file: name)
        #expect(result.diagnostics.allSatisfy { [.notSupportedYet, .noPostmaster].contains($0.code) && $0.hint != nil })
        #expect(result.diagnostics.map { "\($0.position!.line):\($0.position!.column)" } == places)
    }
}
