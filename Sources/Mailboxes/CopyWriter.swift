// Writes one copy of a message into an open file, in the form of either mailbox format, from memory or as a stream.

internal import MailSyntax

/// Keeps its buffers from copy to copy.
struct CopyWriter {
    let disk: any Disk
    private var chunk: [UInt8] = []
    private var lines: [UInt8] = []
    private var quoted: [UInt8] = []

    /// Of a spool file, read at once: large enough that system calls cost little, small enough for many threads.
    private static let chunkSize = 128 * 1024

    init(disk: any Disk) { self.disk = disk }

    /// Trace header and message. Returns the size.
    /// - Parameter room: throws `overQuota(limit:)` before it writes more than this.
    mutating func writeMaildir(_ copy: MailboxCopy, to file: Descriptor, room: Int) throws(MailboxError) -> Int {
        var sink = Sink(disk: disk, file: file, room: room, limit: copy.location.quota)
        switch copy.message.content {
        case .text(let text): try sink.write(copy.trace, text)
        case .file(let path), .binaryFile(let path):
            try sink.write(copy.trace, [])
            try stream(path, of: copy.message.content) { (piece: [UInt8]) throws(MailboxError) in try sink.write(piece, []) }
        }
        return sink.written
    }

    /// `From ` line, trace header, message with `From ` quoted, and the empty line that separates it from the next.
    ///
    ///     From sender@example.org  Tue Nov 24 13:05:09 2026        ; RFC 4155: the time of receipt, in UTC
    mutating func writeMbox(_ copy: MailboxCopy, after separator: String, to file: Descriptor, room: Int) throws(MailboxError) -> Int {
        var sink = Sink(disk: disk, file: file, room: room, limit: copy.location.quota)
        // Two spaces, as Postfix writes them: readers of mbox have seen that for decades.
        let sender = copy.message.sender?.description ?? "MAILER-DAEMON"
        let head = Array("\(separator)From \(sender)  \(copy.message.received.asctime)\n".utf8) + copy.trace
        var quoting = FromQuoting()
        var last: UInt8?
        quoted.removeAll(keepingCapacity: true)
        switch copy.message.content {
        case .text(let text):
            text.withUnsafeBytes { quoting.quote($0, to: &quoted) }
            last = text.last
            try sink.write(head, quoted)
        case .file(let path), .binaryFile(let path):
            try sink.write(head, [])
            var buffer: [UInt8] = []
            try stream(path, of: copy.message.content) { (piece: [UInt8]) throws(MailboxError) in
                buffer.removeAll(keepingCapacity: true)
                piece.withUnsafeBytes { quoting.quote($0, to: &buffer) }
                last = piece.last ?? last
                try sink.write(buffer, [])
            }
        }
        var tail: [UInt8] = []
        quoting.finish(to: &tail)
        if let last, last != UInt8(ascii: "\n") { tail.append(UInt8(ascii: "\n")) }
        tail.append(UInt8(ascii: "\n"))
        try sink.write(tail, [])
        return sink.written
    }

    /// Hands `body` the file's text with LF line ends, or its octets where it is binary, piece by piece.
    private mutating func stream(
        _ path: String, of content: MailboxMessage.Content, _ body: ([UInt8]) throws(MailboxError) -> Void
    ) throws(MailboxError) {
        let isBinary = if case .binaryFile = content { true } else { false }
        do {
            let source = try disk.open(path, at: nil, .reading)
            defer { disk.close(source) }
            if chunk.isEmpty { chunk = [UInt8](repeating: 0, count: CopyWriter.chunkSize) }
            var converter = LineEnds()
            while true {
                let count = try fill(from: source)
                let isLast = count == 0
                let input = chunk[..<count]
                if isBinary {
                    if isLast { return }
                    try body(Array(input))
                    continue
                }
                lines = [UInt8](unsafeUninitializedCapacity: count + 1) { output, size in
                    let output = UnsafeMutableRawBufferPointer(output)
                    size = isLast ? converter.finish(to: output) : input.withUnsafeBytes { converter.convert($0, to: output) }
                }
                if !lines.isEmpty { try body(lines) }
                if isLast { return }
            }
        } catch let error as DiskError {
            throw .source(error)
        } catch let error as MailboxError {
            throw error
        } catch {
            fatalError("unreachable: only these two are thrown above")
        }
    }

    private mutating func fill(from source: Descriptor) throws(DiskError) -> Int {
        var result = Result<Int, DiskError>.success(0)
        let disk = disk
        chunk.withUnsafeMutableBytes { buffer in
            result = Result { () throws(DiskError) in try disk.read(source, into: buffer, offset: nil) }
        }
        return try result.get()
    }

    /// Counts what it writes and stops before the limit.
    private struct Sink {
        let disk: any Disk
        let file: Descriptor
        let room: Int
        let limit: Int
        var written = 0

        mutating func write(_ first: [UInt8], _ second: [UInt8]) throws(MailboxError) {
            let size = first.count + second.count
            guard written + size <= room else { throw .overQuota(limit: limit) }
            let result = first.withUnsafeBytes { first in
                second.withUnsafeBytes { second in
                    Result { () throws(DiskError) in try disk.writeAll(first, second, to: file) }
                }
            }
            if case .failure(let error) = result { throw .disk(error) }
            written += size
        }
    }
}
