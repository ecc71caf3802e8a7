// A whole appliance in the test's own process, reached by its two sockets, without a port.

import Glibc
import Manifest
import MailSyntax
import NIOPosix
import Telemetry
import Testing

@testable import Appliance

struct RunningAppliance: Sendable {
    let directory: String
    var spool: String { directory + "/spool" }
    var manifest: String { directory + "/mail.yaml" }
    private let threads: NIOThreadPool

    /// Runs `body` beside an appliance, which then stops. `keys` are lines of YAML.
    static func with(_ keys: String = "", _ body: @Sendable (RunningAppliance) async throws -> Void) async throws {
        var template = Array("/tmp/valija-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { removeTree(directory) }
        let log = EventLog(level: .error, descriptor: 2) { "t" }
        defer { log.close() }
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        let appliance = RunningAppliance(directory: directory, threads: threads)
        try appliance.write("aliases: {postmaster: alice}\n\(keys)")
        let text = Array(try readText(appliance.manifest).utf8)
        let system = try #require(ManifestReader.read(text: text, file: appliance.manifest).system)
        let running = Task { try await Assembly(system, text: text, log: log).run() }
        do {
            try await appliance.waitUntilReady()
            try await body(appliance)
        } catch {
            running.cancel()
            _ = await running.result
            throw error
        }
        running.cancel()
        try? await running.value
        try await threads.shutdownGracefully()
    }

    /// The manifest's file; `keys` are lines of YAML.
    func write(_ keys: String) throws {
        try writeText(
            """
            apiVersion: valija/v1
            hostname: mx.example.org
            origin: example.org
            domains: {example.org: {}}
            users: {alice: {}}
            relayhost: "[127.0.0.1]:1"
            mailboxes: {directory: \(directory)/mail}
            listen: {smtp: [], health: []}
            queue: {directory: \(directory)/spool, minimum_free: 0}
            \(keys)

            """, to: manifest)
    }

    private func waitUntilReady() async throws {
        for _ in 0..<10_000 {
            if let answer = try? await ask("GET", "/readyz"), answer.status == 200 { return }
            try await Task.sleep(for: .milliseconds(2))
        }
        Issue.record("not ready")
    }

    /// On a thread of its own: the client blocks.
    func ask(_ method: String, _ target: String) async throws -> (status: Int, text: String) {
        let path = ApplianceSockets.control(spool)
        return try await threads.runIfActive {
            let connection = try LocalConnection(unixSocket: path)
            connection.setTimeout(seconds: 20)
            var text: [UInt8] = []
            let status = try connection.request(method, target) { text += $1 }
            return (status, String(decoding: text, as: UTF8.self))
        }
    }

    /// A message by the SMTP socket; returns its queue id.
    func send(to recipient: String, _ content: String) async throws -> String {
        let path = ApplianceSockets.smtp(spool)
        let said = try await threads.runIfActive {
            let connection = try LocalConnection(unixSocket: path)
            connection.setTimeout(seconds: 20)
            try connection.send("EHLO x\r\nMAIL FROM:<alice@example.org>\r\nRCPT TO:<\(recipient)>\r\nDATA\r\n\(content).\r\nQUIT\r\n".utf8)
            var said: [UInt8] = []
            while case let bytes = try connection.receive(), !bytes.isEmpty { said += bytes }
            return String(decoding: said, as: UTF8.self)
        }
        let accepted = try #require(said.split(separator: "\r\n").first { $0.hasPrefix("250 2.0.0 Ok: queued as ") }, "\(said)")
        return String(accepted.split(separator: " ").last!)
    }
}

func writeText(_ text: String, to path: String) throws {
    let file = try #require(fopen(path, "w"))
    defer { fclose(file) }
    try #require(fputs(text, file) >= 0)
}

func readText(_ path: String) throws -> String {
    let file = try #require(fopen(path, "r"))
    defer { fclose(file) }
    var text: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = fread(&chunk, 1, chunk.count, file), count > 0 { text += chunk[..<count] }
    return String(decoding: text, as: UTF8.self)
}

private func removeTree(_ path: String) {
    if let directory = opendir(path) {
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
            if name != ".", name != ".." { removeTree("\(path)/\(name)") }
        }
        closedir(directory)
    }
    remove(path)
}
