// Message lists of mail(1): `3`, `2-5`, `*`, `$`, `^`, `.`, `+`, `-`, `:n`, `/word` of a subject, or part of a sender. Numbers count from 1.
// Pure: the words and what the mailbox is like go in, indices or a complaint come out.

import Mailboxes

struct MessageList {
    let messages: [FolderMessage]
    let states: [ReadingState]
    let deleted: Set<Int>
    /// The current message; nil where there is none.
    let current: Int?

    struct Complaint: Error, Equatable { let text: String }

    /// - Parameter ofDeleted: the command is for deleted messages, else for those that are not.
    func indices(_ words: [Substring], ofDeleted: Bool = false) throws(Complaint) -> [Int] {
        func isFit(_ index: Int) -> Bool { deleted.contains(index) == ofDeleted }
        var chosen: Set<Int> = []
        if words.isEmpty {
            guard let current, isFit(current) else { throw Complaint(text: "No applicable messages") }
            return [current]
        }
        for word in words {
            if let index = try single(word, isFit) {
                // What is there already needs no undeleting.
                if ofDeleted, !isFit(index) { continue }
                guard isFit(index) else { throw Complaint(text: "\(index + 1): Inappropriate message") }
                chosen.insert(index)
            } else if let range = try range(word) {
                chosen.formUnion(range.filter(isFit))
            } else {
                let found = messages.indices.filter { isFit($0) && matches($0, word) }
                guard !found.isEmpty else {
                    throw Complaint(text: word.hasPrefix(":") ? "No messages satisfy \(word)" : "No applicable messages from {\(word)}")
                }
                chosen.formUnion(found)
            }
        }
        guard !chosen.isEmpty || ofDeleted else { throw Complaint(text: "No applicable messages") }
        return chosen.sorted()
    }

    /// Nil: the word is not one message.
    private func single(_ word: Substring, _ isFit: (Int) -> Bool) throws(Complaint) -> Int? {
        switch word {
        case ".": return try valid(current)
        case "^": return try valid(messages.indices.first(where: isFit))
        case "$": return try valid(messages.indices.last(where: isFit))
        case "+": return try valid(messages.indices.first { $0 > current ?? -1 && isFit($0) })
        case "-": return try valid(messages.indices.last { $0 < current ?? 0 && isFit($0) })
        default:
            guard word.allSatisfy({ $0.isASCII && $0.isNumber }) else { return nil }
            return try number(word)
        }
    }

    private func number(_ word: Substring) throws(Complaint) -> Int {
        if word == "$", let last = messages.indices.last { return last }
        if word == "^", let first = messages.indices.first { return first }
        guard let number = Int(word), messages.indices.contains(number - 1) else { throw Complaint(text: "\(word): Invalid message number") }
        return number - 1
    }

    private func valid(_ index: Int?) throws(Complaint) -> Int {
        guard let index else { throw Complaint(text: "Nonexistent message") }
        return index
    }

    private func range(_ word: Substring) throws(Complaint) -> ClosedRange<Int>? {
        if word == "*" {
            guard !messages.isEmpty else { throw Complaint(text: "No applicable messages") }
            return 0...messages.count - 1
        }
        let ends = word.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
        guard ends.count == 2, ends.allSatisfy({ $0 == "$" || $0 == "^" || !$0.isEmpty && $0.allSatisfy { $0.isASCII && $0.isNumber } }) else { return nil }
        let (first, last) = (try number(ends[0]), try number(ends[1]))
        guard first <= last else { throw Complaint(text: "Range \(word) is empty") }
        return first...last
    }

    private func matches(_ index: Int, _ word: Substring) -> Bool {
        let (message, state) = (messages[index], states[index])
        switch word {
        case ":n": return state == .new
        case ":u": return state != .read
        case ":r": return state == .read
        case ":o": return state != .new
        case ":d": return deleted.contains(index)
        default:
            if word.hasPrefix("/") { return contains(message.subject ?? "", word.dropFirst()) }
            return contains(message.address, word) || contains(message.sender, word)
        }
    }

    private func contains(_ text: String, _ part: Substring) -> Bool {
        let (text, part) = (Array(text.lowercased().utf8), Array(part.lowercased().utf8))
        guard !part.isEmpty else { return true }
        guard text.count >= part.count else { return false }
        return (0...text.count - part.count).contains { text[$0...].starts(with: part) }
    }
}

extension FolderMessage {
    /// Whom a list names as the sender: the address of From, else the envelope's.
    var address: String {
        guard let from else { return sender }
        if let start = from.lastIndex(of: "<"), let end = from[start...].firstIndex(of: ">") { return String(from[from.index(after: start)..<end]) }
        return String(from.prefix { $0 != "(" && $0 != " " })
    }
}
