// Delivery into mbox files (RFC 4155): the messages of one batch for one mailbox under one lock and one fsync.
//
// What could not be written whole is truncated away, so that a reader never finds half a message between two. A
// machine that stops in the middle cannot do that: the next delivery then starts on a new line, so that only the torn
// message is torn. And a message whose report was lost in a crash is delivered again: mbox has no names to overwrite.

internal import MailSyntax
internal import Synchronization

/// Threads may deliver at the same time; those to one mailbox wait for one another.
package struct MboxStore: Sendable {
    private let disk: any Disk
    private let turns = Turns()

    package init(disk: any Disk) { self.disk = disk }

    /// Appends the copies, all of them for the same mailbox, in order.
    /// - Returns: for each copy nil if it is on disk, else why it is not; then nothing of it is in the mailbox.
    package func deliver(_ copies: [MailboxCopy]) -> [MailboxError?] {
        guard let location = copies.first?.location else { return [] }
        return turns.take(location.path) {
            do throws(MailboxError) {
                let box = try LockedMbox(location, .extending, disk: disk)
                defer { box.release() }
                return try append(copies, location, box)
            } catch {
                return copies.map { _ in error }
            }
        }
    }

    private func append(_ copies: [MailboxCopy], _ location: MailboxLocation, _ box: LockedMbox) throws(MailboxError) -> [MailboxError?] {
        let file = box.file
        let start = try onDisk { () throws(DiskError) in try disk.status(of: file).size }
        var separator = try onDisk { () throws(DiskError) in
            try disk.seekToEnd(file)
            return try self.separator(file, size: start)
        }
        var end = start
        var results: [MailboxError?] = []
        var writer = CopyWriter(disk: disk)
        for copy in copies {
            do throws(MailboxError) {
                let room = location.quota > 0 ? max(0, location.quota - end) : .max
                end += try writer.writeMbox(copy, after: separator, to: file, room: room)
                separator = ""
                results.append(nil)
            } catch {
                rollBack(file, to: end)
                results.append(error)
                // A message that is too large says nothing of the next; a disk that refuses does.
                if case .disk = error { break }
            }
        }
        if end > start { results = makeDurable(file, box.base, isNew: start == 0, start, results) }
        while results.count < copies.count { results.append(results.last ?? nil) }
        return results
    }

    /// What is missing of the empty line before the next `From `.
    private func separator(_ file: Descriptor, size: Int) throws(DiskError) -> String {
        guard size > 0 else { return "" }
        var tail: [UInt8] = [0, 0]
        let count = min(2, size)
        let result = tail.withUnsafeMutableBytes { buffer in
            Result { () throws(DiskError) in
                try disk.read(file, into: UnsafeMutableRawBufferPointer(rebasing: buffer.suffix(count)), offset: size - count)
            }
        }
        _ = try result.get()
        let newline = UInt8(ascii: "\n")
        if tail[1] != newline { return "\n\n" }
        return tail[0] == newline || size == 1 ? "" : "\n"
    }

    private func makeDurable(
        _ file: Descriptor, _ base: Descriptor, isNew: Bool, _ start: Int, _ results: [MailboxError?]
    ) -> [MailboxError?] {
        do throws(DiskError) {
            try disk.sync(file)
            if isNew { try disk.sync(base) }
            return results
        } catch {
            rollBack(file, to: start)
            return results.map { $0 ?? .disk(error) }
        }
    }

    /// Truncates away what was written beyond `size`. If even this fails there is nothing left to try.
    private func rollBack(_ file: Descriptor, to size: Int) {
        try? disk.truncate(file, to: size)
        try? disk.seekToEnd(file)
        try? disk.sync(file)
    }
}

/// Lets the threads of this process have a mailbox one after the other: they would else find each other's dot-lock
/// and sleep, where they only have to wait.
private final class Turns: Sendable {
    private final class Turn: Sendable { let held = Mutex(()) }

    private struct Waiting {
        let turn = Turn()
        var count = 0
    }

    private let waiting = Mutex<[String: Waiting]>([:])

    func take<Value>(_ path: String, _ body: () -> sending Value) -> Value {
        let turn = waiting.withLock { waiting in
            waiting[path, default: Waiting()].count += 1
            return waiting[path]!.turn
        }
        defer {
            waiting.withLock { waiting in
                waiting[path]!.count -= 1
                if waiting[path]!.count == 0 { waiting[path] = nil }
            }
        }
        return turn.held.withLock { _ in body() }
    }
}
