// A directory of mailboxes for one test, and how to look into it.

import Glibc
import MailSyntax
@testable import Mailboxes

final class TestMailboxes {
    let path: String

    init() {
        var template = Array("/tmp/valija-mailboxes.XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("mkdtemp: \(errno)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { removeTree(path) }

    func location(_ user: String = "alice", _ format: MailboxFormat = .maildir, quota: Int = 0) -> MailboxLocation {
        try! MailboxLocation(directory: path, user: user, format: format, quota: quota)
    }

    /// Names below the directory, sorted; nothing where it is missing.
    func names(_ directory: String) -> [String] {
        guard let descriptor = try? SystemDisk().openDirectory("\(path)/\(directory)", at: nil) else { return [] }
        defer { SystemDisk().close(descriptor) }
        return try! SystemDisk().names(in: descriptor).sorted()
    }

    /// The contents of the files in it, in the order of their names.
    func contents(of directory: String) -> [String] { names(directory).map { read("\(directory)/\($0)") ?? "" } }

    func read(_ name: String) -> String? {
        guard let file = fopen("\(path)/\(name)", "r") else { return nil }
        defer { fclose(file) }
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while case let count = fread(&buffer, 1, buffer.count, file), count > 0 { result += buffer[..<count] }
        return String(decoding: result, as: UTF8.self)
    }

    func write(_ name: String, _ text: String) {
        guard let file = fopen("\(path)/\(name)", "w") else { fatalError("\(name): \(errno)") }
        fputs(text, file)
        fclose(file)
    }

    func makeDirectory(_ name: String) { mkdir("\(path)/\(name)", 0o700) }

    func makeMaildir(_ user: String = "alice") {
        for name in [user, "\(user)/tmp", "\(user)/new", "\(user)/cur"] { makeDirectory(name) }
    }

    private func removeTree(_ path: String) {
        if let descriptor = try? SystemDisk().openDirectory(path, at: nil) {
            for name in (try? SystemDisk().names(in: descriptor)) ?? [] {
                if unlink("\(path)/\(name)") != 0 { removeTree("\(path)/\(name)") }
            }
            SystemDisk().close(descriptor)
        }
        rmdir(path)
    }
}

let aca = Address("aca@mydom.com")!
let sender = Address("sender@example.org")!
let arrival = Timestamp(microseconds: 1_764_000_000_000_042)

/// A message with LF line ends, as the agent hands it over.
func message(_ text: String = "Subject: hello\n\nbody\n", from: Address? = sender) -> MailboxMessage {
    MailboxMessage(sender: from, received: arrival, content: .text(Array(text.utf8)))
}

func copy(_ location: MailboxLocation, _ message: MailboxMessage = message(), number: Int = 0, id: String = "ABC") -> MailboxCopy {
    MailboxCopy(
        location: location, message: message, name: MailName(arrival: arrival, queueID: id, recipient: number),
        original: Address("phb@ventas.mindns.es")!, delivered: aca)
}

let trace = "Return-Path: <sender@example.org>\nX-Original-To: phb@ventas.mindns.es\nDelivered-To: aca@mydom.com\n"
let whole = trace + "Subject: hello\n\nbody\n"
