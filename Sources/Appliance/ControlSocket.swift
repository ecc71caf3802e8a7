// What administrators' commands ask of a running appliance: HTTP over a Unix socket in the spool's directory, for its
// owner only. Answers are ready to print, as text or JSON.
//
//     GET    /queue?format=mailq|json      the whole queue, streamed
//     GET    /queue/ID?format=…            one message: its entry, an empty line, its content (json: the entry only)
//     POST   /queue/flush, /queue/ID/flush
//     DELETE /queue, /queue/ID
//
// Queue ids have hexadecimal digits only, so `flush` is none.

internal import Glibc
internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import NIOPosix

/// Where the sockets of an appliance are, by its spool.
package enum ApplianceSockets {
    package static func control(_ queueDirectory: String) -> String { queueDirectory + "/control.sock" }
    /// SMTP for processes of this host: what `sendmail` speaks to.
    package static func smtp(_ queueDirectory: String) -> String { queueDirectory + "/smtp.sock" }
}

struct ControlRoutes: Sendable {
    let scheduler: DeliveryScheduler
    let threads: NIOThreadPool

    /// Messages read in one go: a listing of any length needs the memory of a page.
    private static let page = 500

    func routes(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        let parts = request.path.split(separator: "/").map(String.init)
        guard parts.first == "queue" else { return try await responder.send(404, "text/plain", "no such request\n") }
        do {
            switch (request.method, parts.count, parts.last!) {
            case ("GET", 1, _): try await list(request, responder)
            case ("DELETE", 1, _): try await responder.send(200, "text/plain", "\(try await deleteAll())\n")
            case ("POST", 2, "flush"): try await responder.send(200, "text/plain", "\(try await scheduler.flush(nil))\n")
            case ("GET", 2, let name):
                guard let (message, content) = try await message(name) else { return try await responder.sendNoMessage(name) }
                try await show(message, content, request, responder)
            case ("POST", 3, "flush"):
                guard let (message, _) = try await message(parts[1]) else { return try await responder.sendNoMessage(parts[1]) }
                try await responder.send(200, "text/plain", "\(try await scheduler.flush(message.id))\n")
            case ("DELETE", 2, let name):
                guard let id = QueueID(name), try await scheduler.delete(id) else { return try await responder.sendNoMessage(name) }
                try await responder.send(200, "text/plain", "1\n")
            default: try await responder.send(405, "text/plain", "method not allowed\n")
            }
        } catch let failure as SpoolFailure {
            try await responder.send(503, "text/plain", "\(failure.reason)\n")
        }
    }

    private func message(_ name: String) async throws -> (StoredMessage, MessageContent)? {
        guard let id = QueueID(name) else { return nil }
        return try await scheduler.message(id)
    }

    private func format(_ request: HTTPRequest) -> QueueListing.Format { request.query["format"].flatMap { .init(rawValue: $0) } ?? .mailq }

    private func list(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        var listing = QueueListing(format: format(request))
        // Before the head of the answer: a spool that cannot be read is an answer of its own.
        var page = try await scheduler.list(after: QueueID(rawValue: -1), limit: ControlRoutes.page)
        try await responder.begin(200, "text/plain; charset=utf-8")
        while let last = page.last {
            try await responder.write(listing.render(page))
            page = try await scheduler.list(after: last.id, limit: ControlRoutes.page)
        }
        try await responder.write(listing.end())
        try await responder.end()
    }

    /// All that is there now; what arrives meanwhile is not meant. A queue id is the time of arrival.
    private func deleteAll() async throws -> Int {
        var count = 0
        var last = QueueID(rawValue: -1)
        let now = QueueID(rawValue: Timestamp.now().microseconds)
        while true {
            let page = try await scheduler.list(after: last, limit: ControlRoutes.page).filter { $0.id <= now }
            guard let end = page.last else { return count }
            for message in page where try await scheduler.delete(message.id) { count += 1 }
            last = end.id
        }
    }

    private func show(_ message: StoredMessage, _ content: MessageContent, _ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        if format(request) == .json {
            try await responder.begin(200, "text/plain; charset=utf-8")
            try await responder.write(QueueListing.json(message))
            return try await responder.end()
        }
        var listing = QueueListing(format: .mailq)
        let entry = listing.render([message])
        switch content {
        case .inline(let bytes):
            try await responder.begin(200, "text/plain; charset=utf-8")
            try await responder.write(entry + bytes.readableBytesView)
        case .file(let path, _):
            let descriptor = open(path, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { return try await responder.send(503, "text/plain", "\(path): \(String(cString: strerror(errno)))\n") }
            defer { Glibc.close(descriptor) }
            try await responder.begin(200, "text/plain; charset=utf-8")
            try await responder.write(entry)
            while let chunk = try await threads.runIfActive({ readChunk(descriptor) }) { try await responder.write(chunk) }
        }
        try await responder.end()
    }
}

extension HTTPResponder {
    fileprivate func sendNoMessage(_ name: String) async throws { try await send(404, "text/plain", "no message \(name) in the queue\n") }
}

/// Nil at the end, and where the file cannot be read.
private func readChunk(_ descriptor: CInt) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in count = max(0, read(descriptor, buffer.baseAddress, buffer.count)) }
    return bytes.isEmpty ? nil : bytes
}
