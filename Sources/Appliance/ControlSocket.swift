// What administrators' commands ask of a running appliance: HTTP over a Unix socket in the spool's directory, for its
// owner only. Answers are ready to print, as text or JSON.
//
//     GET  /queue?format=mailq|json|postqueue|recipients    the whole queue, streamed
//     GET  /queue/ID?format=mailq|json|envelope  one message: its entry, with mailq also an empty line and its content
//     GET  /queue/ID/content                     its octets
//     POST /queue/VERB?id=ID,ID,…                flush, hold, release, requeue, expire or delete these: a line for each, `changed ID`,
//                                                `unchanged ID` or `missing ID`, then `done NUMBER`
//     POST /queue/VERB?queue=NAME,…&site=DOMAIN  all of these queues, or with a recipient in that domain: `done NUMBER`

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

    /// Where control sockets are open on this host, by the kernel's own list (proc(5), /proc/net/unix).
    package static func directories() -> [String] {
        guard let list = fopen("/proc/net/unix", "r") else { return [] }
        defer { fclose(list) }
        var names: Set<String> = []
        var line: UnsafeMutablePointer<CChar>?
        var capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, list) > 0 {
            // Num RefCount Protocol Flags Type St Inode Path
            let fields = String(cString: line!).dropLast().split(separator: " ", maxSplits: 7)
            guard fields.count == 8, fields[7].hasSuffix("/control.sock") else { continue }
            names.insert(String(fields[7].dropLast("/control.sock".utf8.count)))
        }
        return names.sorted()
    }
}

struct ControlRoutes: Sendable {
    let scheduler: DeliveryScheduler
    let threads: NIOThreadPool

    /// Messages read in one go: a listing of any length needs the memory of three pages.
    private static let page = 500

    func routes(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        let parts = request.path.split(separator: "/").map(String.init)
        guard parts.first == "queue" else { return try await responder.send(404, "text/plain", "no such request\n") }
        do {
            switch (request.method, parts.count) {
            case ("GET", 1): try await list(request, responder)
            case ("GET", 2),
                ("GET", 3) where parts[2] == "content":
                guard let id = QueueID(parts[1]), let (message, content) = try await scheduler.message(id) else {
                    return try await responder.send(404, "text/plain", "no message \(parts[1]) in the queue\n")
                }
                try await show(message, content, onlyContent: parts.count == 3, request, responder)
            case ("POST", 2):
                guard let verb = QueueVerb(rawValue: parts[1]) else { return try await responder.send(404, "text/plain", "no such request\n") }
                try await change(verb, request, responder)
            default: try await responder.send(405, "text/plain", "method not allowed\n")
            }
        } catch let failure as SpoolFailure {
            try await responder.send(503, "text/plain", "\(failure.reason)\n")
        }
    }

    private func change(_ verb: QueueVerb, _ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        var answer = ""
        let count: Int
        if let names = request.query["id"] {
            let names = names.split(separator: ",")
            guard names.count <= ControlRoutes.page else { return try await responder.send(400, "text/plain", "more ids than \(ControlRoutes.page)\n") }
            let changes = try await scheduler.change(verb, names.compactMap { QueueID($0) })
            for (id, change) in changes { answer += "\(change.rawValue) \(id)\n" }
            for name in names where QueueID(name) == nil { answer += "\(QueueChange.missing.rawValue) \(name)\n" }
            count = changes.count { $0.change == .changed }
        } else {
            var selection = QueueSelection()
            if let names = request.query["queue"] { selection.queues = Set(names.split(separator: ",").compactMap { QueueName(rawValue: String($0)) }) }
            if let site = request.query["site"] {
                guard let domain = Domain(site) else { return try await responder.send(400, "text/plain", "\(site) is not a domain\n") }
                selection.site = domain
            }
            count = try await scheduler.change(verb, where: selection)
        }
        try await responder.send(200, "text/plain", "\(answer)done \(count)\n")
    }

    private func format(_ request: HTTPRequest) -> QueueListing.Format { request.query["format"].flatMap { .init(rawValue: $0) } ?? .mailq }

    private func list(_ request: HTTPRequest, _ responder: HTTPResponder) async throws {
        var listing = QueueListing(format: format(request))
        // Before the head of the answer: a spool that cannot be read is an answer of its own.
        var page = try await scheduler.list(after: QueueID(rawValue: -1), limit: ControlRoutes.page)
        try await responder.begin(200, "text/plain; charset=utf-8")
        var text: [UInt8] = []
        do {
            while let last = page.last {
                // While one page is put into words, the next is read, and the one before sent.
                let before = text
                async let next = scheduler.list(after: last.id, limit: ControlRoutes.page)
                async let sent: Void = responder.write(before)
                text = listing.render(page)
                page = try await next
                try await sent
            }
            text += listing.end()
        } catch let failure as SpoolFailure {
            // The head of the answer is out. A script that reads lines of JSON fails at this one, as it should.
            text += Array("the listing ends here: \(failure.reason)\n".utf8)
        }
        try await responder.write(text)
        try await responder.end()
    }

    private func show(
        _ message: StoredMessage, _ content: MessageContent, onlyContent: Bool, _ request: HTTPRequest, _ responder: HTTPResponder
    ) async throws {
        let format = format(request)
        let entry = onlyContent ? [] : QueueListing.shown(message, format)
        if format.isEntryOnly {
            try await responder.begin(200, "text/plain; charset=utf-8")
            try await responder.write(entry)
            return try await responder.end()
        }
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

/// Nil at the end, and where the file cannot be read.
private func readChunk(_ descriptor: CInt) -> [UInt8]? {
    let bytes = [UInt8](unsafeUninitializedCapacity: 64 << 10) { buffer, count in count = max(0, read(descriptor, buffer.baseAddress, buffer.count)) }
    return bytes.isEmpty ? nil : bytes
}
