// Reading and sending mail by `mail`. The dialogue is compared with BSD's in t-51-mail; here are its parts.

import Mailboxes
import Testing

@testable import valija

private struct TestFolder: MailFolder {
    let messages: [FolderMessage]
    func text(of index: Int) throws(FolderError) -> [UInt8] { Array("From x\nReceived: y\n\tz\nSubject: \(index)\n\nbody \(index)\n\n".utf8) }
    func commit(deleting: Set<Int>, states: [ReadingState]) throws(FolderError) { throw .changed }
}

private func folder(_ states: [ReadingState]) -> TestFolder {
    TestFolder(
        messages: states.enumerated().map { index, state in
            FolderMessage(
                sender: "s\(index)@x.test", date: "Tue Nov 24 13:05:09 2026", from: index == 0 ? "Someone Else <else@x.test>" : nil, subject: "Number \(index)",
                lines: 7, octets: 52, state: state)
        })
}

private func list(_ line: String, deleted: Set<Int> = [], ofDeleted: Bool = false, current: Int? = 1) throws -> [Int] {
    let folder = folder([.new, .unread, .read, .read])
    let list = MessageList(messages: folder.messages, states: folder.messages.map(\.state), deleted: deleted, current: current)
    return try list.indices(line.split(separator: " "), ofDeleted: ofDeleted).map { $0 + 1 }
}

@Test(
    "a message list names messages",
    arguments: [
        ("", [2]), ("3", [3]), ("1 3", [1, 3]), ("2-4", [2, 3, 4]), ("*", [1, 2, 3, 4]), ("$", [4]), ("^", [1]), (".", [2]), ("+", [3]), ("-", [1]), ("3-$", [3, 4]), (":n", [1]),
        (":u", [1, 2]), (":r", [3, 4]), ("/number", [1, 2, 3, 4]), ("/2", [3]), ("else", [1]), ("S2@X", [3]), ("4 1-2", [1, 2, 4]),
    ])
func messageLists(line: String, want: [Int]) throws { #expect(try list(line) == want) }

@Test("deleted messages are left out of ranges, and are all that undelete sees")
func deletedInLists() throws {
    #expect(try list("*", deleted: [1]) == [1, 3, 4])
    #expect(try list("+", deleted: [2]) == [4])
    #expect(try list("*", deleted: [1, 2], ofDeleted: true) == [2, 3])
    #expect(try list("1", deleted: [1], ofDeleted: true) == [])
}

@Test(
    "a list that names nothing says so",
    arguments: [
        ("9", "9: Invalid message number"), ("0", "0: Invalid message number"), ("2", "2: Inappropriate message"), ("nobody", "No applicable messages from {nobody}"),
        (":o /zero", "No applicable messages from {/zero}"), ("4-3", "Range 4-3 is empty"), ("", "No applicable messages"),
    ])
func faultyLists(line: String, want: String) {
    #expect(throws: MessageList.Complaint(text: want)) { _ = try list(line, deleted: [1]) }
}

@Test("text that a mailbox's owner need not see is left out of what is printed")
func ignoredFields() throws {
    let text = try folder([.new]).text(of: 0)
    #expect(String(decoding: MailSession.withoutIgnored(text), as: UTF8.self) == "From x\nSubject: 0\n\nbody 0\n\n")
}

private func mailOptions(_ line: String) throws -> MailOptions { try MailOptions(line.split(separator: " ").map(String.init)) }

@Test("options may stand behind addresses; without addresses mail is read")
func mailCommandLines() throws {
    let sent = try mailOptions("bob -s hello -c c@x -b d@x -a X-A:1 alice -r me@x")
    #expect(sent.work == .send && sent.recipients == ["bob", "alice"] && sent.subject == "hello" && sent.cc == ["c@x"] && sent.bcc == ["d@x"])
    #expect(sent.fields == ["X-A:1"] && sent.sender == "me@x")
    #expect(try mailOptions("-s x -- -bob").recipients == ["-bob"])
    #expect(try mailOptions("").work == .read(file: nil))
    #expect(try mailOptions("-f box -N").work == .read(file: "box"))
    #expect(try mailOptions("-f").work == .read(file: "~/mbox"))
    #expect(try mailOptions("-H -u alice").user == "alice")
    #expect(throws: MailOptions.UsageError.self) { _ = try mailOptions("-s hello") }
    #expect(throws: MailOptions.UsageError.self) { _ = try mailOptions("-f box bob") }
    #expect(throws: MailOptions.UsageError.self) { _ = try mailOptions("-Z") }
}

@Test("what is sent has its fields, a subject beyond ASCII in encoded words, and no line end that an option brought")
func drafts() throws {
    var options = try mailOptions("-c c@x bob -a X-A:1")
    options.subject = "Grüße\nBcc: evil@x"
    let text = String(decoding: MailDraft(options: options, text: Array("héllo\n".utf8)).octets, as: UTF8.self)
    #expect(
        text == """
            To: bob
            Subject: =?UTF-8?B?R3LDvMOfZSBCY2M6IGV2aWxAeA==?=
            Cc: c@x
            X-A:1
            MIME-Version: 1.0
            Content-Type: text/plain; charset=UTF-8
            Content-Transfer-Encoding: 8bit

            héllo

            """)
}
