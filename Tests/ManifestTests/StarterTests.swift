// `valija init`'s manifest.

import Manifest
import Testing

@Suite("Starter manifest")
struct StarterTests {
    @Test("it is valid as it stands, without a warning")
    func valid() {
        let result = ManifestReader.read(text: Array(StarterManifest.text.utf8), file: "mail.yaml")
        #expect(result.diagnostics == [])
        #expect(result.system != nil)
    }

    @Test("with every commented line in force it is valid too, and names what the reference calls the default")
    func uncommented() throws {
        let lines = StarterManifest.text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
            // `# ` begins words, `#key` and `#  key` a setting.
            line.hasPrefix("#") && !line.hasPrefix("# ") && line != "#" ? String(line.dropFirst())
                : line.hasPrefix("#  ") ? " " + line.dropFirst(2) : String(line)
        }
        let result = ManifestReader.read(text: Array(lines.joined(separator: "\n").utf8), file: "mail.yaml")
        #expect(result.diagnostics == [])
        let full = try #require(result.system)
        let plain = try #require(ManifestReader.read(text: Array(StarterManifest.text.utf8), file: "mail.yaml").system)
        #expect(full.networks.value == plain.networks.value)
        #expect(full.limits.messageSize.value == plain.limits.messageSize.value && full.limits.mailboxSize.value == plain.limits.mailboxSize.value)
        #expect(full.mailboxes.format.value == plain.mailboxes.format.value && full.mailboxes.directory.value == plain.mailboxes.directory.value)
        #expect(full.listen.smtp.value == plain.listen.smtp.value && full.listen.health.value == plain.listen.health.value)
        #expect(full.queue.directory.value == plain.queue.directory.value && full.queue.lifetime.value == plain.queue.lifetime.value)
        #expect(full.domains.count == 3 && full.users.count == 3 && full.relayhost != nil)
    }

    @Test("its first line is the editors' modeline, and no line is longer than a terminal is wide")
    func modeline() {
        let lines = StarterManifest.text.split(separator: "\n")
        #expect(lines[0] == "# yaml-language-server: $schema=./valija.schema.json")
        #expect(lines.allSatisfy { $0.count <= 120 })
    }
}
