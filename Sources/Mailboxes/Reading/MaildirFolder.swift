// A Maildir as its owner reads it: messages in `new` and `cur` by their names, which begin with the time of arrival; what has been
// read is in `cur` with the flag S (the Maildir specification). Renames and deletions are each whole in themselves, so
// nothing is locked; a message that another program took meanwhile is left to it.

internal import MailSyntax

struct MaildirFolder: MailFolder {
    let messages: [FolderMessage]
    /// Relative to the Maildir.
    private let names: [String]
    private let location: MailboxLocation
    private let disk: any Disk

    private static let chunkSize = 128 << 10

    init(_ location: MailboxLocation, disk: any Disk) throws(MailboxError) {
        self.location = location
        self.disk = disk
        var names: [String] = []
        var messages: [FolderMessage] = []
        let root = try MaildirFolder.openRoot(location, disk)
        defer { disk.close(root) }
        for part in ["new", "cur"] { names += try MaildirFolder.names(in: part, root, disk).map { "\(part)/\($0)" } }
        names.sort { MaildirFolder.order($0) < MaildirFolder.order($1) }
        var present: [String] = []
        for name in names {
            guard let text = try MaildirFolder.read(name, root, disk) else { continue }  // taken by another program just now
            present.append(name)
            messages.append(MaildirFolder.message(name, text))
        }
        self.names = present
        self.messages = messages
    }

    private static func openRoot(_ location: MailboxLocation, _ disk: any Disk) throws(MailboxError) -> Descriptor {
        let base = try openBase(location, disk)
        defer { disk.close(base) }
        return try onDisk { () throws(DiskError) in try disk.openDirectory(location.user, at: base) }
    }

    private static func names(in part: String, _ root: Descriptor, _ disk: any Disk) throws(MailboxError) -> [String] {
        try onDisk { () throws(DiskError) in
            do throws(DiskError) {
                let directory = try disk.openDirectory(part, at: root)
                defer { disk.close(directory) }
                return try disk.names(in: directory).filter { !$0.hasPrefix(".") }
            } catch {
                if error.isMissing { return [] }
                throw error
            }
        }
    }

    /// By the second of arrival, then by name.
    private static func order(_ name: String) -> (Int, String) {
        let file = name.dropFirst(4)
        return (Int(file.prefix { $0.isNumber }) ?? 0, String(file))
    }

    private static func read(_ name: String, _ root: Descriptor, _ disk: any Disk) throws(MailboxError) -> [UInt8]? {
        var text: [UInt8] = []
        do throws(DiskError) {
            let file = try disk.open(name, at: root, .reading)
            defer { disk.close(file) }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: chunkSize, alignment: 16)
            defer { buffer.deallocate() }
            while true {
                let count = try disk.read(file, into: buffer, offset: text.count)
                if count == 0 { return text }
                text += buffer[..<count]
            }
        } catch {
            if error.isMissing { return nil }
            throw .disk(error)
        }
    }

    /// As it would stand in an mbox.
    private static func envelope(_ name: String, _ text: [UInt8]) -> [UInt8] {
        var sender = "MAILER-DAEMON"
        for line in text.split(separator: UInt8(ascii: "\n"), maxSplits: 50, omittingEmptySubsequences: false) {
            if line.isEmpty { break }
            guard String(decoding: line.prefix(12), as: UTF8.self).lowercased() == "return-path:" else { continue }
            let address = String(decoding: line.dropFirst(12), as: UTF8.self).filter { $0 != "<" && $0 != ">" && $0 != " " }
            if !address.isEmpty { sender = address }
            break
        }
        let date = Timestamp(microseconds: Int64(order(name).0) * 1_000_000).asctime
        return Array("From \(sender)  \(date)\n".utf8)
    }

    private static func whole(_ name: String, _ text: [UInt8]) -> [UInt8] {
        let end = text.last == UInt8(ascii: "\n") ? "\n" : "\n\n"
        return envelope(name, text) + text + Array(end.utf8)
    }

    private static func message(_ name: String, _ text: [UInt8]) -> FolderMessage {
        var quoting = FromQuoting()
        var quoted: [UInt8] = []
        text.withUnsafeBytes { quoting.quote($0, to: &quoted) }
        quoting.finish(to: &quoted)
        var scanner = MboxScanner()
        whole(name, quoted).withUnsafeBytes { scanner.take($0) }
        let entry = scanner.finish()[0]
        let isRead = name.hasPrefix("cur/") && flags(of: name).contains("S")
        let state: ReadingState = isRead ? .read : name.hasPrefix("cur/") ? .unread : .new
        let length = whole(name, text).count
        return FolderMessage(
            sender: entry.sender, date: entry.date, from: entry.from, subject: entry.subject, lines: entry.lines, octets: length, state: state)
    }

    private static func flags(of name: String) -> String {
        name.split(separator: ":", maxSplits: 1).dropFirst().first.flatMap { $0.hasPrefix("2,") ? String($0.dropFirst(2)) : nil } ?? ""
    }

    func text(of index: Int) throws(FolderError) -> [UInt8] {
        do throws(MailboxError) {
            let root = try MaildirFolder.openRoot(location, disk)
            defer { disk.close(root) }
            if let text = try MaildirFolder.read(names[index], root, disk) { return MaildirFolder.whole(names[index], text) }
        } catch {
            throw .mailbox(error)
        }
        throw .changed
    }

    func commit(deleting: Set<Int>, states: [ReadingState]) throws(FolderError) {
        do throws(MailboxError) {
            let root = try MaildirFolder.openRoot(location, disk)
            defer { disk.close(root) }
            try onDisk { () throws(DiskError) in
                var changed: Set<String> = []
                for (index, name) in names.enumerated() {
                    do throws(DiskError) {
                        if deleting.contains(index) {
                            try disk.remove(name, at: root)
                            changed.insert(String(name.prefix(3)))
                        } else if let other = MaildirFolder.renamed(name, states[index]) {
                            try disk.rename(name, to: other, at: root)
                            changed.formUnion(["cur", String(name.prefix(3))])
                        }
                    } catch {
                        if !error.isMissing { throw error }
                    }
                }
                for part in changed.sorted() {
                    let directory = try disk.openDirectory(part, at: root)
                    defer { disk.close(directory) }
                    try disk.sync(directory)
                }
            }
        } catch {
            throw .mailbox(error)
        }
    }

    /// Nil: the name says it already.
    private static func renamed(_ name: String, _ state: ReadingState) -> String? {
        guard state != .new else { return nil }
        let base = name.dropFirst(4).prefix { $0 != ":" }
        var flags = Set(flags(of: name))
        if state == .read { flags.insert("S") } else { flags.remove("S") }
        // Flags stand in ASCII order.
        let other = "cur/\(base):2,\(String(flags.sorted()))"
        return other == name ? nil : other
    }
}
