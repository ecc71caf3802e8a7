// An mbox file as its owner reads it.
//
// A change writes the file anew beside the old one, under the locks of delivery, and puts it in its place: what remains of the
// messages that were listed, and behind them whatever has arrived since. A program that is killed, or a machine that stops,
// leaves the old file or the new one. Messages that another program deleted or changed meanwhile are noticed, and
// then nothing is changed at all.

struct MboxFolder: MailFolder {
    let messages: [FolderMessage]
    private let entries: [MboxEntry]
    /// How long the file was when it was read.
    private let size: Int
    private let location: MailboxLocation
    private let disk: any Disk

    private static let chunkSize = 256 << 10

    init(_ location: MailboxLocation, disk: any Disk) throws(MailboxError) {
        self.location = location
        self.disk = disk
        (entries, size) = try MboxFolder.read(location, disk)
        messages = entries.map { entry in
            let state: ReadingState = entry.status.contains("R") ? .read : entry.status.contains("O") ? .unread : .new
            return FolderMessage(
                sender: entry.sender, date: entry.date, from: entry.from, subject: entry.subject, lines: entry.lines, octets: entry.length, state: state)
        }
    }

    /// Locked where that is possible: who may only read may not make a lock file either.
    private static func read(_ location: MailboxLocation, _ disk: any Disk) throws(MailboxError) -> ([MboxEntry], Int) {
        do throws(MailboxError) {
            let box = try LockedMbox(location, .updating, disk: disk)
            defer { box.release() }
            return try scan(box.file, disk)
        } catch {
            guard case .disk(let cause) = error, cause.isNotPermitted else { throw error }
        }
        let base = try openBase(location, disk)
        defer { disk.close(base) }
        let file = try onDisk { () throws(DiskError) in try disk.open(location.user, at: base, .reading) }
        defer { disk.close(file) }
        return try scan(file, disk)
    }

    private static func scan(_ file: Descriptor, _ disk: any Disk) throws(MailboxError) -> ([MboxEntry], Int) {
        var scanner = MboxScanner()
        var size = 0
        try forEachChunk(file, 0, nil, disk) { (chunk: UnsafeRawBufferPointer) throws(DiskError) in
            scanner.take(chunk)
            size += chunk.count
        }
        return (scanner.finish(), size)
    }

    /// - Parameter end: nil: to the end of the file.
    private static func forEachChunk(
        _ file: Descriptor, _ start: Int, _ end: Int?, _ disk: any Disk, _ body: (UnsafeRawBufferPointer) throws(DiskError) -> Void
    ) throws(MailboxError) {
        var offset = start
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkSize, alignment: 16)
        defer { buffer.deallocate() }
        try onDisk { () throws(DiskError) in
            while end.map({ offset < $0 }) ?? true {
                let wanted = UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(chunkSize, (end ?? .max) - offset)])
                let count = try disk.read(file, into: wanted, offset: offset)
                if count == 0 { return }
                try body(UnsafeRawBufferPointer(rebasing: wanted[..<count]))
                offset += count
            }
        }
    }

    func text(of index: Int) throws(FolderError) -> [UInt8] {
        let entry = entries[index]
        var text: [UInt8] = []
        do throws(MailboxError) {
            let base = try openBase(location, disk)
            defer { disk.close(base) }
            let file = try onDisk { () throws(DiskError) in try disk.open(location.user, at: base, .reading) }
            defer { disk.close(file) }
            text.reserveCapacity(entry.length)
            try MboxFolder.forEachChunk(file, entry.offset, entry.offset + entry.length, disk) { chunk in text += chunk }
        } catch {
            throw .mailbox(error)
        }
        guard text.count == entry.length, MboxScanner.mark(MboxScanner.emptyMark, text) == entry.mark else { throw .changed }
        return text
    }

    // MARK: Changing

    func commit(deleting: Set<Int>, states: [ReadingState]) throws(FolderError) {
        guard !deleting.isEmpty || zip(messages, states).contains(where: { $0.state != $1 }) else { return }
        let isDone: Bool
        do throws(MailboxError) {
            let box = try LockedMbox(location, .updating, disk: disk)
            defer { box.release() }
            isDone = try isUnchanged(box.file)
            if isDone { try rewrite(box, deleting, states) }
        } catch {
            throw .mailbox(error)
        }
        if !isDone { throw .changed }
    }

    private func isUnchanged(_ file: Descriptor) throws(MailboxError) -> Bool {
        for entry in entries {
            var mark = MboxScanner.emptyMark
            var count = 0
            try MboxFolder.forEachChunk(file, entry.offset, entry.offset + entry.length, disk) { chunk in
                mark = MboxScanner.mark(mark, chunk)
                count += chunk.count
            }
            if count != entry.length || mark != entry.mark { return false }
        }
        return true
    }

    private func rewrite(_ box: LockedMbox, _ deleting: Set<Int>, _ states: [ReadingState]) throws(MailboxError) {
        let draft = ".\(location.user).rewrite"  // no user's name begins with a dot
        let file = try onDisk { () throws(DiskError) in try disk.open(draft, at: box.base, .replacing) }
        do throws(MailboxError) {
            defer { disk.close(file) }
            try onDisk { () throws(DiskError) in try disk.copyAccess(from: box.file, to: file) }
            var end = 0
            for (index, entry) in entries.enumerated() {
                // What stands between messages belongs to none; it stays.
                try copy(box.file, end, entry.offset, to: file)
                end = entry.offset + entry.length
                if deleting.contains(index) { continue }
                if states[index] == messages[index].state {
                    try copy(box.file, entry.offset, end, to: file)
                } else {
                    try copy(entry, states[index], box.file, to: file)
                }
            }
            try copy(box.file, end, nil, to: file)
            try onDisk { () throws(DiskError) in
                try disk.sync(file)
                try disk.rename(draft, to: location.user, at: box.base)
                try disk.sync(box.base)
            }
        } catch {
            try? disk.remove(draft, at: box.base)
            throw error
        }
    }

    private func copy(_ source: Descriptor, _ start: Int, _ end: Int?, to file: Descriptor) throws(MailboxError) {
        if let end, end <= start { return }
        try MboxFolder.forEachChunk(source, start, end, disk) { (chunk: UnsafeRawBufferPointer) throws(DiskError) in
            try disk.writeAll(chunk, UnsafeRawBufferPointer(start: nil, count: 0), to: file)
        }
    }

    /// With another `Status` field, at the end of the header, where readers of mbox put it.
    private func copy(_ entry: MboxEntry, _ state: ReadingState, _ source: Descriptor, to file: Descriptor) throws(MailboxError) {
        var header: [UInt8] = []
        let headerEnd = entry.offset + entry.headerLength
        try MboxFolder.forEachChunk(source, entry.offset, headerEnd, disk) { chunk in header += chunk }
        var lines = header.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: true).map(Array.init)
        lines.removeAll { String(decoding: $0.prefix(7), as: UTF8.self).lowercased() == "status:" }
        switch state {
        case .new: break
        case .unread: lines.append(Array("Status: O".utf8))
        case .read: lines.append(Array("Status: RO".utf8))
        }
        let text = lines.flatMap { $0 + [UInt8(ascii: "\n")] }
        let written = text.withUnsafeBytes { text in
            Result { () throws(DiskError) in try disk.writeAll(text, UnsafeRawBufferPointer(start: nil, count: 0), to: file) }
        }
        try onDisk { () throws(DiskError) in try written.get() }
        try copy(source, headerEnd, entry.offset + entry.length, to: file)
    }
}
