// A manifest that changes under a running appliance.

import Glibc
import Testing

@testable import Appliance

@Test("a reload is applied, unchanged or refused as a whole, and the manifest in force can be asked for")
func reload() async throws {
    try await RunningAppliance.with { appliance in
        let first = try await appliance.ask("GET", "/manifest")
        let text = try readText(appliance.manifest)
        #expect(first.status == 200 && first.text.hasPrefix("\(appliance.manifest)\n") && first.text.hasSuffix("\n\n" + text))
        #expect(try await appliance.ask("GET", "/manifest/file") == (200, appliance.manifest + "\n"))
        #expect(try await appliance.ask("GET", "/reload").status == 405)
        let same = try await appliance.ask("POST", "/reload")
        #expect(same == (200, "\(appliance.manifest) has not changed; it is in force (1 domain, 1 user, 1 alias)\n"))

        try appliance.write("aliases: {postmaster: alice, sales: alice}")
        #expect(try await appliance.ask("POST", "/reload") == (200, "\(appliance.manifest) is in force (1 domain, 1 user, 2 aliases)\n"))
        _ = try await appliance.send(to: "sales@example.org", "Subject: x\r\n\r\nx\r\n")

        try appliance.write("aliases: {postmaster: alice, help: alise, sales: bob}")
        let refused = try await appliance.ask("POST", "/reload")
        #expect(refused.status == 409 && refused.text.contains("did you mean \"alice\"?") && refused.text.contains(": 2 errors; refused, "), "\(refused.text)")
        let json = try await appliance.ask("POST", "/reload?format=json")
        #expect(json.status == 409 && json.text.contains("\"outcome\": \"refused\"") && json.text.contains("\"code\": \"dangling-target\""), "\(json.text)")
        _ = try await appliance.send(to: "sales@example.org", "Subject: x\r\n\r\nx\r\n")
        let ready = try await appliance.ask("GET", "/readyz")
        #expect(ready.status == 200 && ready.text.hasPrefix("{\"status\":\"degraded\",") && ready.text.contains("(2 errors); what was loaded at"), "\(ready.text)")
        #expect(try await appliance.ask("GET", "/manifest").text.contains("sales: alice"))

        try appliance.write("aliases: {postmaster: alice}")
        #expect(try await appliance.ask("POST", "/reload").status == 200)
        #expect(try await appliance.ask("GET", "/readyz").text.hasPrefix("{\"status\":\"ready\","))
    }
}

@Test("many reloads at once are done one after another, each with an answer")
func reloadsAtOnce() async throws {
    try await RunningAppliance.with { appliance in
        try await withThrowingTaskGroup { group in
            for _ in 0..<10 { group.addTask { try await appliance.ask("POST", "/reload").status } }
            for try await status in group { #expect(status == 200) }
        }
    }
}

@Test("a change of a file is told once, when the file has been at rest between two looks")
func fileWatch() throws {
    var watch = FileWatch("")
    let path = try temporaryFile("a")
    defer { unlink(path) }
    func look() -> Bool { watch.hasSettled(as: FileState(path)) }
    #expect(!look() && look() && !look() && !look())
    try writeText("ab", to: path)
    #expect(!look())
    try writeText("abc", to: path)  // still being written
    #expect(!look() && look() && !look())
    // Another file in its place, of the same size.
    let other = try temporaryFile("xyz")
    try #require(rename(other, path) == 0)
    #expect(!look() && look() && !look())
    unlink(path)
    #expect(FileState(path) == nil)
    #expect(!look() && look() && !look())
    try writeText("back", to: path)
    #expect(!look() && look() && !look())
}

private func temporaryFile(_ text: String) throws -> String {
    var template = Array("/tmp/valija-test-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    try #require(descriptor >= 0)
    close(descriptor)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    try writeText(text, to: path)
    return path
}
