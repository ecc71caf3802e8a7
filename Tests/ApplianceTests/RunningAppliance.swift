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
    private let threads: NIOThreadPool

    /// Runs `body` beside an appliance, which then stops. `keys` are lines of YAML.
    static func with(_ keys: String = "", _ body: @Sendable (RunningAppliance) async throws -> Void) async throws {
        var template = Array("/tmp/valija-test-XXXXXX".utf8CString)
        try #require(mkdtemp(&template) != nil)
        let directory = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { removeTree(directory) }
        let manifest = """
            apiVersion: valija/v1
            hostname: mx.example.org
            origin: example.org
            domains: {example.org: {}}
            users: {alice: {}}
            aliases: {postmaster: alice}
            relayhost: "[127.0.0.1]:1"
            mailboxes: {directory: \(directory)/mail}
            listen: {smtp: [], health: []}
            queue: {directory: \(directory)/spool, minimum_free: 0}
            \(keys)
            """
        let system = try #require(ManifestReader.read(text: Array(manifest.utf8), file: "mail.yaml").system)
        let log = EventLog(level: .error, descriptor: 2) { "t" }
        defer { log.close() }
        let threads = NIOThreadPool(numberOfThreads: 1)
        threads.start()
        let appliance = RunningAppliance(directory: directory, threads: threads)
        let running = Task { try await Assembly(system, log: log).run() }
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
