// Reading mail by commands, one a line (mail(1)): list, print, delete, undelete, save, next, quit. The words and columns are those
// of BSD's Mail, which scripts know.
//
// The mailbox itself changes when the session ends by `quit`, or with its input; by `exit` it stays as it was. What has been read
// stays in the mailbox: there is no `mbox` that it moves to (mail's `set hold`).

import Mailboxes

struct MailSession {
    /// What the session asks of its surroundings.
    struct Surroundings {
        var print: (String) -> Void
        var printBytes: ([UInt8]) -> Void
        /// Appends to a file, on disk when it returns. True: the file is new.
        var append: (_ path: String, _ text: [UInt8]) throws -> Bool
    }

    enum End { case quit, exit }

    private let folder: any MailFolder
    private let name: String
    /// A user's own mailbox: what is saved leaves it.
    private let isMailbox: Bool
    private let surroundings: Surroundings

    private(set) var states: [ReadingState]
    private(set) var deleted: Set<Int> = []
    private var saved: Set<Int> = []
    /// Its index; nil: there is no message that is not deleted.
    private var current: Int?
    private var hasShown = false
    private var page = 0

    private static let pageSize = 20
    private static let topLines = 5
    /// Columns of a line of the list.
    private static let width = 80
    /// What Debian's mail.rc has people not see.
    private static let ignored: Set = [
        "received", "message-id", "resent-message-id", "status", "mail-from", "return-path", "via", "delivered-to",
    ]

    init(_ folder: any MailFolder, name: String, isMailbox: Bool, _ surroundings: Surroundings) {
        (self.folder, self.name, self.isMailbox, self.surroundings) = (folder, name, isMailbox, surroundings)
        states = folder.messages.map(\.state)
        current = states.firstIndex(of: .new) ?? states.firstIndex(of: .unread) ?? (states.isEmpty ? nil : 0)
        page = (current ?? 0) / MailSession.pageSize
    }

    private func say(_ text: String) { surroundings.print(text + "\n") }

    // MARK: Lists

    func greet(hidingList: Bool) {
        say("Mail of Valija.  Type ? for help.")
        sayCount()
        if !hidingList { list(page) }
    }

    private func sayCount() {
        let (new, unread) = (states.count { $0 == .new }, states.count { $0 != .read })
        var text = "\"\(name)\": \(states.count) message\(states.count == 1 ? "" : "s")"
        if new > 0 { text += " \(new) new" }
        if unread > 0 { text += " \(unread) unread" }
        if !deleted.isEmpty { text += " \(deleted.count) deleted" }
        say(text)
    }

    func listAll() { for index in states.indices { say(line(index, current: current)) } }

    private func list(_ page: Int) {
        let start = page * MailSession.pageSize
        if deleted.count == states.count { say("No applicable messages") }
        let shown = states.indices.dropFirst(start).filter { !deleted.contains($0) }.prefix(MailSession.pageSize)
        for index in shown { say(line(index, current: current)) }
    }

    ///     >N  1 sender@example.n   Tue Nov 24 13:01   15/327   a subject
    private func line(_ index: Int, current: Int?) -> String {
        let message = folder.messages[index]
        let mark = saved.contains(index) ? "*" : states[index] == .new ? "N" : states[index] == .unread ? "U" : " "
        func right(_ text: String, _ width: Int) -> String { String(repeating: " ", count: max(0, width - text.count)) + text }
        func left(_ text: String, _ width: Int) -> String { String(text.prefix(width)) + String(repeating: " ", count: max(0, width - text.count)) }
        var line = (index == current ? ">" : " ") + mark + right("\(index + 1)", 3) + " " + left(message.address, 17) + "  "
        line += left(message.date, 16) + " " + right("\(message.lines)", 4) + "/" + left("\(message.octets)", max(5, "\(message.octets)".count)) + " "
        return line + String((message.subject ?? "").prefix(max(0, MailSession.width - line.count)))
    }

    // MARK: Commands

    /// Nil: the session goes on.
    mutating func perform(_ line: String) -> End? {
        let line = line.drop { $0 == " " || $0 == "\t" }
        var verb = line.prefix { $0.isLetter || $0 == "?" || $0 == "=" || $0 == "+" || $0 == "-" }
        if let first = line.first, first == "?" || first == "=" || first == "+" || first == "-" { verb = line.prefix(1) }
        // `z-`: a page back.
        if verb.count > 1, verb.hasPrefix("z") { verb = verb.prefix(1) }
        let words = line[verb.endIndex...].split { $0 == " " || $0 == "\t" || $0 == "," }
        if line.first == "#" { return nil }
        switch verb {
        case "q", "quit": return .quit
        case "x", "ex", "exi", "exit", "xit": return .exit
        default: break
        }
        do throws(MessageList.Complaint) {
            try perform(verb, words, line)
        } catch {
            say(error.text)
        }
        return nil
    }

    private mutating func perform(_ verb: Substring, _ words: [Substring], _ line: Substring) throws(MessageList.Complaint) {
        switch verb {
        case "" where words.isEmpty: try next([])
        case "": for index in try chosen(words) { show(index) }
        case "n", "next", "+": try next(words)
        case "-": try previous()
        case "p", "pr", "print", "t", "type": for index in try chosen(words) { show(index) }
        case "P", "Print", "T", "Type": for index in try chosen(words) { show(index, whole: true) }
        case "to", "top": for index in try chosen(words) { top(index) }
        case "d", "delete": delete(try chosen(words))
        case "dp", "dt":
            delete(try chosen(words))
            if let current { show(current) } else { say("No more messages") }
        case "u", "undelete": try undelete(words)
        case "s", "save": try save(words, marks: true)
        case "c", "co", "copy": try save(words, marks: false)
        case "w", "write": try save(words, marks: true, textOnly: true)
        case "U", "unread", "new", "New": for index in try chosen(words) { mark(index, .unread) }
        case "h", "headers": try headers(words)
        case "z": turn(line.contains("-") ? -1 : 1)
        case "f", "from": try from(words)
        case "=": say("\((current ?? 0) + 1)")
        case "si", "size": for index in try chosen(words) { say("\(index + 1): \(folder.messages[index].lines)/\(folder.messages[index].octets)") }
        case "fi", "file": sayCount()
        case "ho", "hold", "pre", "preserve": if !isMailbox { say("Cannot \"preserve\" in edit mode") }
        case "?", "help": say(MailSession.help)
        default: say("Unknown command: \"\(line.prefix { $0 != " " })\"")
        }
    }

    static let help = """
        p, t [list]   print messages             n, + or Enter  the next message    -   the one before
        h [N], z, z-  list messages; by pages    f [list]       list these          =   the current number
        d [list]      delete                     u [list]       undelete            dp  delete, print the next
        s [list] FILE save to a file             c [list] FILE  copy                w   write the text alone
        P [list]      print with all fields      top, size, unread, file            ?   this help
        q             quit: the mailbox changes  x              exit: it stays as it was
        A list is 3, 2-5, *, $, ^, ., :n (new), :u (unread), :r (read), /word of a subject, or part of an address.
        """

    private func chosen(_ words: [Substring]) throws(MessageList.Complaint) -> [Int] {
        try MessageList(messages: folder.messages, states: states, deleted: deleted, current: current).indices(words)
    }

    private mutating func next(_ words: [Substring]) throws(MessageList.Complaint) {
        if let first = words.isEmpty ? nil : try chosen(words).first { return show(first) }
        // The first time, the current message is the next to see.
        guard hasShown else {
            guard let current else { throw MessageList.Complaint(text: "No applicable messages") }
            return show(current)
        }
        guard let index = states.indices.first(where: { $0 > current ?? -1 && !deleted.contains($0) }) else { throw MessageList.Complaint(text: "At EOF") }
        show(index)
    }

    private mutating func previous() throws(MessageList.Complaint) {
        guard let index = states.indices.last(where: { $0 < current ?? 0 && !deleted.contains($0) }) else {
            throw MessageList.Complaint(text: "Nonzero message number required")
        }
        show(index)
    }

    private mutating func mark(_ index: Int, _ state: ReadingState) {
        states[index] = state
        current = index
    }

    private func text(_ index: Int) -> [UInt8]? {
        do throws(FolderError) {
            return try folder.text(of: index)
        } catch {
            say("\(index + 1): \(describe(error, name))")
            return nil
        }
    }

    private mutating func show(_ index: Int, whole: Bool = false) {
        guard let text = text(index) else { return }
        say("Message \(index + 1):")
        surroundings.printBytes(whole ? text : MailSession.withoutIgnored(text))
        mark(index, .read)
        hasShown = true
    }

    private mutating func top(_ index: Int) {
        guard let text = text(index) else { return }
        say("Message \(index + 1):")
        let lines = text.split(separator: UInt8(ascii: "\n"), maxSplits: MailSession.topLines + 1, omittingEmptySubsequences: false)
        surroundings.printBytes(lines.prefix(MailSession.topLines + 1).flatMap { $0 + [UInt8(ascii: "\n")] })
        mark(index, .read)
        hasShown = true
    }

    static func withoutIgnored(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        var rest = text[...]
        var isHidden = false
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[...end]
            if line.count == 1 { break }
            let isFolded = line.first == UInt8(ascii: " ") || line.first == UInt8(ascii: "\t")
            if !isFolded { isHidden = ignored.contains(String(decoding: line.prefix { $0 != UInt8(ascii: ":") }, as: UTF8.self).lowercased()) }
            if !isHidden { result += line }
            rest = rest[(end + 1)...]
        }
        return result + rest
    }

    private mutating func delete(_ indices: [Int]) {
        deleted.formUnion(indices)
        // Who deletes a message has seen it, and undeleting does not change that.
        for index in indices { states[index] = .read }
        let last = indices.last ?? 0
        let remaining = states.indices.filter { !deleted.contains($0) }
        current = remaining.first { $0 > last } ?? remaining.last
        hasShown = true
    }

    private mutating func undelete(_ words: [Substring]) throws(MessageList.Complaint) {
        let list = MessageList(messages: folder.messages, states: states, deleted: deleted, current: current)
        guard !words.isEmpty || !deleted.isEmpty else { throw MessageList.Complaint(text: "No applicable messages.") }
        let words = words.isEmpty ? deleted.max().map { ["\($0 + 1)"] } ?? [] : words
        for index in try list.indices(words, ofDeleted: true) {
            deleted.remove(index)
            current = index
        }
    }

    private mutating func save(_ words: [Substring], marks: Bool, textOnly: Bool = false) throws(MessageList.Complaint) {
        guard let path = words.last.map(String.init) else { throw MessageList.Complaint(text: "No file specified.") }
        let indices = try chosen(Array(words.dropLast()))
        var octets: [UInt8] = []
        for index in indices {
            guard let text = text(index) else { return }
            octets += textOnly ? MailSession.body(text) : text
        }
        do {
            let isNew = try surroundings.append(path, octets)
            say("\"\(path)\" [\(isNew ? "New file" : "Appended")]")
        } catch {
            throw MessageList.Complaint(text: "\(path): \(error)")
        }
        for index in indices {
            if marks { saved.insert(index) }
            states[index] = .read
        }
    }

    private static func body(_ text: [UInt8]) -> [UInt8] {
        var previous: UInt8?
        for (index, byte) in text.enumerated() {
            if byte == UInt8(ascii: "\n"), previous == byte {
                // Without the empty line that separates it from the next.
                return Array(text[(index + 1)...].dropLast())
            }
            previous = byte
        }
        return []
    }

    private mutating func headers(_ words: [Substring]) throws(MessageList.Complaint) {
        page = (words.isEmpty ? current ?? 0 : try chosen(words)[0]) / MailSession.pageSize
        list(page)
    }

    private mutating func turn(_ by: Int) {
        let last = max(0, states.count - 1) / MailSession.pageSize
        guard (0...last).contains(page + by) else { return say(by > 0 ? "On last screenful of messages" : "On first screenful of messages") }
        page += by
        current = states.indices.first { $0 >= page * MailSession.pageSize && !deleted.contains($0) } ?? current
        list(page)
    }

    private mutating func from(_ words: [Substring]) throws(MessageList.Complaint) {
        let indices = try chosen(words)
        for index in indices { say(line(index, current: current)) }
        current = indices.last ?? current
    }

    // MARK: The end

    /// Changes the mailbox. What was new has been seen in a list now.
    func quit() throws(FolderError) {
        let leaving = isMailbox ? deleted.union(saved) : deleted
        let seen = states.map { $0 == .new ? .unread : $0 }
        let isChanged = !leaving.isEmpty || seen != folder.messages.map(\.state)
        try folder.commit(deleting: leaving, states: seen)
        let rest = states.count - leaving.count
        if isMailbox, rest > 0 {
            say("Held \(rest) message\(rest == 1 ? "" : "s") in \(name)")
        } else if isChanged {
            say("\"\(name)\" \(rest == 0 ? "truncated" : "complete")")
        }
    }
}

/// What went wrong with a mailbox, in a sentence.
func describe(_ error: FolderError, _ name: String) -> String {
    switch error {
    case .missing: "\(name): No such file or directory"
    case .changed: "\(name) was changed by another program meanwhile; nothing was changed here"
    case .mailbox(.locked(let kind)): "\(name): another program holds its \(kind.rawValue); nothing was changed"
    case .mailbox(.disk(let cause)): "\(name): \(cause.reason)"
    case .mailbox(.noDirectory(let cause)): "\(name): \(cause.reason)"
    case .mailbox(.wrongKind): "\(name): neither an mbox file nor a Maildir"
    case .mailbox(.unsafeName): "\(name): not the name of a mailbox"
    case .mailbox(let other): "\(name): \(other)"
    }
}
