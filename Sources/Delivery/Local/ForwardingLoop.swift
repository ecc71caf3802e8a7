// Mail that comes back to a mailbox it was in before: found by the `Delivered-To` that each delivery leaves, as
// Postfix's local(8) does. It catches what no counting of hops would catch in time: a user who forwards to a mailbox
// elsewhere that forwards back.

internal import Glibc
internal import MailQueue
internal import Mailboxes
internal import MailSyntax
internal import NIOCore

enum ForwardingLoop {
    /// Of a message in a file no more header than this is searched.
    private static let longestHeader = 256 * 1024

    /// The addresses to which the message was delivered before. Nothing where a file cannot be read: delivery finds that too.
    static func earlierDeliveries(of message: MailboxMessage, disk: any Disk) -> Set<Address> {
        switch message.content {
        case .text(let text): text.withUnsafeBytes { addresses(inHeaderOf: $0) }
        case .file(let path), .binaryFile(let path): head(of: path, disk).withUnsafeBytes { addresses(inHeaderOf: $0) }
        }
    }

    static func earlierDeliveries(of content: MessageContent) -> Set<Address> {
        switch content {
        case .inline(let bytes): bytes.withUnsafeReadableBytes { addresses(inHeaderOf: $0) }
        case .file(let path, _): head(of: path, SystemDisk()).withUnsafeBytes { addresses(inHeaderOf: $0) }
        }
    }

    /// Values of `Delivered-To` that are addresses, up to the first empty line. Lines may end with LF or CRLF.
    static func addresses(inHeaderOf message: UnsafeRawBufferPointer) -> Set<Address> {
        var found: Set<Address> = []
        var rest = message[...]
        while let start = rest.first, let base = message.baseAddress {
            let end = memchr(base + rest.startIndex, 0x0A, rest.count).map { UnsafeRawPointer($0) - base } ?? rest.endIndex
            if start == UInt8(ascii: "\n") || (start == UInt8(ascii: "\r") && end == rest.startIndex + 1) { break }
            if start | 0x20 == UInt8(ascii: "d"), let address = address(in: rest[..<end]) { found.insert(address) }
            rest = rest[min(end + 1, rest.endIndex)...]
        }
        return found
    }

    private static let name = Array("delivered-to:".utf8)

    private static func address(in line: Slice<UnsafeRawBufferPointer>) -> Address? {
        guard line.count > name.count, zip(line, name).allSatisfy({ $0 == $1 || ($0 >= 0x41 && $0 <= 0x5A && $0 | 0x20 == $1) })
        else { return nil }
        let isSpace = { (octet: UInt8) in octet == 0x20 || octet == 0x09 || octet == 0x0D }
        var value = line.dropFirst(name.count).drop(while: isSpace)
        while let last = value.last, isSpace(last) { value.removeLast() }
        return Address(String(decoding: value, as: UTF8.self))
    }

    private static func head(of path: String, _ disk: any Disk) -> [UInt8] {
        guard let file = try? disk.open(path, at: nil, .reading) else { return [] }
        defer { disk.close(file) }
        return [UInt8](unsafeUninitializedCapacity: longestHeader) { buffer, count in
            let buffer = UnsafeMutableRawBufferPointer(buffer)
            while count < longestHeader {
                let room = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                guard let read = try? disk.read(file, into: room, offset: count), read > 0 else { return }
                count += read
            }
        }
    }
}
