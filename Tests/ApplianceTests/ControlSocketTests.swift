// What a running appliance answers at its control socket.

import Glibc
import Testing

@testable import Appliance

@Test("the control socket lists, shows and changes the queue, and answers senseless requests without harm")
func controlSocket() async throws {
    try await RunningAppliance.with { appliance in
        var status = stat()
        #expect(stat(ApplianceSockets.control(appliance.spool), &status) == 0 && status.st_mode & 0o777 == 0o600)
        #expect(try await appliance.ask("GET", "/queue") == (200, "Mail queue is empty\n"))
        #expect(try await appliance.ask("GET", "/queue?format=json") == (200, ""))

        // What comes by this way is completed where it is not.
        let complete = "From: alice@example.org\r\nDate: Mon, 24 Nov 2025 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n"
        let small = try await appliance.send(to: "someone@elsewhere.example", complete + "Subject: small\r\n\r\nhello\r\n")
        let large = try await appliance.send(to: "someone@elsewhere.example", "Subject: large\r\n\r\n" + String(repeating: "0123456789\r\n", count: 10_000))
        let list = try await appliance.ask("GET", "/queue")
        #expect(list.status == 200 && list.text.contains(small) && list.text.contains(large) && list.text.hasSuffix("in 2 Requests.\n"), "\(list.text)")
        let json = try await appliance.ask("GET", "/queue/\(small)?format=json")
        #expect(json.status == 200 && json.text.hasPrefix("{\"queue_id\":\"\(small)\",") && json.text.hasSuffix("}\n"))
        #expect(try await appliance.ask("GET", "/queue/\(small)").text.hasSuffix("Subject: small\r\n\r\nhello\r\n"))
        #expect(try await appliance.ask("GET", "/queue/\(large)").text.hasSuffix("0123456789\r\n"))
        let envelope = try await appliance.ask("GET", "/queue/\(small)?format=envelope")
        #expect(envelope.status == 200 && envelope.text.hasSuffix("\nrecipient: someone@elsewhere.example\n"), "\(envelope.text)")
        #expect(try await appliance.ask("GET", "/queue/\(small)/content").text.hasSuffix("\r\nSubject: small\r\n\r\nhello\r\n"))
        #expect(try await appliance.ask("POST", "/queue/hold?id=\(small),ABC") == (200, "changed \(small)\nmissing ABC\ndone 1\n"))
        #expect(try await appliance.ask("POST", "/queue/hold?id=\(small)") == (200, "unchanged \(small)\ndone 0\n"))
        #expect(try await appliance.ask("GET", "/queue").text.contains("\n\(small)! "))
        #expect(try await appliance.ask("POST", "/queue/flush?id=\(small)") == (200, "unchanged \(small)\ndone 0\n"))
        #expect(try await appliance.ask("POST", "/queue/requeue?queue=hold") == (200, "done 1\n"))
        #expect(try await appliance.ask("POST", "/queue/hold?site=elsewhere.example&queue=deferred,active,incoming") == (200, "done 2\n"))
        #expect(try await appliance.ask("POST", "/queue/release?site=third.example") == (200, "done 0\n"))
        #expect(try await appliance.ask("POST", "/queue/release") == (200, "done 2\n"))
        #expect(try await appliance.ask("POST", "/queue/flush").status == 200)

        // A body that somebody took away is said to be gone, not shown as empty.
        try #require(unlink("\(appliance.spool)/large/\(large)") == 0)
        let gone = try await appliance.ask("GET", "/queue/\(large)")
        #expect(gone.status == 503 && gone.text.contains(large), "\(gone)")

        for (method, target, wanted) in [
            ("POST", "/queue", 405), ("PUT", "/queue", 405), ("PUT", "/queue/\(small)", 405), ("GET", "/queue/\(small)/flush", 405), ("DELETE", "/queue", 405),
            ("GET", "/queue/a/b/c/d", 405), ("GET", "/queue/ABC", 404), ("GET", "/queue/ABC/content", 404), ("GET", "/queue/../x", 405), ("POST", "/queue/eat", 404),
            ("POST", "/queue/flush/ABC", 405), ("POST", "/queue/flush?site=a..b", 400), ("POST", "/queue/delete?id=\(Array(repeating: "A", count: 501).joined(separator: ","))", 400),
            ("GET", "/", 404), ("GET", "//", 404), ("GET", "/nothing", 404),
        ] {
            #expect(try await appliance.ask(method, target).status == wanted, "\(method) \(target)")
        }

        #expect(try await appliance.ask("POST", "/queue/delete?id=\(small)") == (200, "changed \(small)\ndone 1\n"))
        #expect(try await appliance.ask("POST", "/queue/delete?id=-1,x") == (200, "missing -1\nmissing x\ndone 0\n"))
        #expect(try await appliance.ask("POST", "/queue/delete") == (200, "done 1\n"))
        #expect(try await appliance.ask("GET", "/queue") == (200, "Mail queue is empty\n"))
    }
}

@Test("health is there without a port, an answer to HEAD has no content, and metrics are counted")
func health() async throws {
    try await RunningAppliance.with { appliance in
        let ready = try await appliance.ask("GET", "/readyz")
        #expect(ready == (200, "{\"status\":\"ready\",\"checks\":{\"spool\":\"ok\",\"listeners\":\"ok\",\"manifest\":\"ok\",\"networks\":\"ok\"}}\n"))
        #expect(try await appliance.ask("HEAD", "/readyz") == (200, ""))
        #expect(try await appliance.ask("POST", "/readyz").status == 405)
        let metrics = try await appliance.ask("GET", "/metrics")
        #expect(metrics.status == 200 && metrics.text.contains("\nvalija_events_total{event=\"service.ready\"} 1\n") && metrics.text.contains("\nvalija_manifest_info{file=\"\(appliance.manifest)\"} 1\n"))
    }
}
