// Rewrites the addresses in a message's header, and adds fields that are missing, while the header goes by.
//
// Fed with pieces of a message from its beginning, it answers with edits: which octets of the piece give way to which. What
// needs no edit is never copied. Folding, display names and comments stay as they are: only the addr-spec itself is
// exchanged (RFC 5322 §3.4). Strict: an entry that is no address by the grammar stays; the first line that is no field ends
// the header, and so does a field that is longer than any has to be.

package struct HeaderRewriter: Sendable {
    /// Postfix's classes of address fields.
    package enum Role: Sendable { case sender, recipient }

    /// What a submission server adds where a header lacks it (RFC 6409 §8).
    package struct Completion: Sendable {
        package var from: Address
        package var date: Timestamp
        /// Without its angle brackets.
        package var messageID: String

        package init(from: Address, date: Timestamp, messageID: String) {
            self.from = from
            self.date = date
            self.messageID = messageID
        }
    }

    /// Octets of the piece that give way to others.
    package struct Edit: Hashable, Sendable {
        package let range: Range<Int>
        package let octets: [UInt8]
    }

    package struct Result: Sendable {
        /// In the order of the piece; they do not overlap.
        package fileprivate(set) var edits: [Edit] = []
        /// How much of the piece is done with. What follows comes again with the next piece.
        package fileprivate(set) var end = 0
    }

    /// What is kept of an unfinished field: Postfix's header_size_limit.
    package static let longestField = 102_400

    /// RFC 5322 §2.1.1: a line has 998 octets at most; an edit begins a new one before that.
    private static let longestLine = 900

    private let rewrite: @Sendable (Role, BareAddress) -> Address?
    private let completion: Completion?
    private var seen: Seen = []
    /// The header is over: all that follows passes as it is.
    package private(set) var isDone = false

    /// - Parameter rewrite: what an address of the header becomes; nil: it stays.
    package init(completion: Completion? = nil, rewrite: @escaping @Sendable (Role, BareAddress) -> Address?) {
        self.completion = completion
        self.rewrite = rewrite
    }

    /// - Parameter isLast: no more will come: an unfinished field is the last one.
    package mutating func scan(_ piece: UnsafeRawBufferPointer, isLast: Bool) -> Result {
        var result = Result()
        while !isDone, result.end < piece.count {
            let start = result.end
            guard let end = fieldEnd(piece, from: start, isLast: isLast) else {
                guard piece.count - start > HeaderRewriter.longestField else { return result }
                // Too long to be kept until it is whole; and what stands behind it is not known, so that nothing is added.
                isDone = true
                break
            }
            guard let name = fieldName(piece, start..<end) else {
                finish(at: start, &result.edits)
                break
            }
            let field = Field(piece, name)
            seen.insert(field.seen)
            if let role = field.role { edit(piece, name.upperBound + 1..<end, start, role, &result.edits) }
            result.end = end
        }
        if isDone { result.end = piece.count }
        if isLast, !isDone { finish(at: piece.count, &result.edits) }
        return result
    }

    /// Adds what is missing, before the empty line.
    private mutating func finish(at offset: Int, _ edits: inout [Edit]) {
        isDone = true
        guard let completion else { return }
        // As Postfix: a message that was resent gets the Resent- fields that it lacks (RFC 5322 §3.6.6), and no others.
        let isResent = seen.contains(.resent)
        let prefix = isResent ? "Resent-" : ""
        var fields = ""
        if !seen.contains(isResent ? .resentMessageID : .messageID) { fields += "\(prefix)Message-ID: <\(completion.messageID)>\r\n" }
        if !seen.contains(isResent ? .resentDate : .date) { fields += "\(prefix)Date: \(completion.date.rfc5322)\r\n" }
        if !seen.contains(isResent ? .resentFrom : .from) { fields += "\(prefix)From: \(completion.from)\r\n" }
        if !fields.isEmpty { edits.append(Edit(range: offset..<offset, octets: Array(fields.utf8))) }
    }

    /// Where the field that begins at `start` ends, its last line end included: the first line that does not begin with
    /// white space (RFC 5322 §2.2.3). Nil: that has not come yet.
    private func fieldEnd(_ piece: UnsafeRawBufferPointer, from start: Int, isLast: Bool) -> Int? {
        var next = start
        while let end = lineFeed(piece, from: next) {
            next = end + 1
            // The empty line is complete by itself.
            if next - start <= 2, isLineEnd(piece[start]) { return next }
            guard next < piece.count else { break }
            if !isWhiteSpace(piece[next]) { return next }
        }
        return isLast ? piece.count : nil
    }

    ///     field-name = 1*ftext        ; RFC 5322 §3.6.8: printable, no colon. §4.5: white space may stand before the colon
    /// The name with its white space; nil: that is no field.
    private func fieldName(_ piece: UnsafeRawBufferPointer, _ field: Range<Int>) -> Range<Int>? {
        var isOver = false
        for index in field {
            switch piece[index] {
            case UInt8(ascii: ":"): return index > field.lowerBound ? field.lowerBound..<index : nil
            case 0x20, 0x09:
                if index == field.lowerBound { return nil }
                isOver = true
            case 0x21..<0x7F: if isOver { return nil }
            default: return nil
            }
        }
        return nil
    }

    private func edit(_ piece: UnsafeRawBufferPointer, _ value: Range<Int>, _ fieldStart: Int, _ role: Role, _ edits: inout [Edit]) {
        var reader = AddressSpans(UnsafeRawBufferPointer(rebasing: piece[value]))
        // Where the line of the output began, seen from the input: grown lines are broken before an address.
        var (growth, lineStart) = (0, fieldStart)
        while let (span, address) = reader.next() {
            guard let other = rewrite(role, address) else { continue }
            let range = value.lowerBound + span.lowerBound..<value.lowerBound + span.upperBound
            var octets = Array(other.description.utf8)
            guard !octets.elementsEqual(piece[range]) else { continue }
            if let feed = lastLineFeed(piece, in: lineStart..<range.lowerBound) { (lineStart, growth) = (feed + 1, 0) }
            if range.lowerBound - lineStart + growth + octets.count > HeaderRewriter.longestLine, range.lowerBound > lineStart + 1 {
                octets.insert(contentsOf: [0x0D, 0x0A, 0x20], at: 0)
                (lineStart, growth) = (range.lowerBound, 1)
            }
            growth += octets.count - range.count
            edits.append(Edit(range: range, octets: octets))
        }
    }
}

private func lineFeed(_ piece: UnsafeRawBufferPointer, from start: Int) -> Int? {
    var index = start
    while index < piece.count {
        if piece[index] == 0x0A { return index }
        index += 1
    }
    return nil
}

private func lastLineFeed(_ piece: UnsafeRawBufferPointer, in range: Range<Int>) -> Int? {
    var index = range.upperBound - 1
    while index >= range.lowerBound {
        if piece[index] == 0x0A { return index }
        index -= 1
    }
    return nil
}

private func isWhiteSpace(_ octet: UInt8) -> Bool { octet == 0x20 || octet == 0x09 }
private func isLineEnd(_ octet: UInt8) -> Bool { octet == 0x0D || octet == 0x0A }

/// Fields that say whether something is missing.
private struct Seen: OptionSet, Sendable {
    let rawValue: UInt8
    static let from = Seen(rawValue: 1)
    static let date = Seen(rawValue: 2)
    static let messageID = Seen(rawValue: 4)
    static let resent = Seen(rawValue: 8)
    static let resentFrom = Seen(rawValue: 16)
    static let resentDate = Seen(rawValue: 32)
    static let resentMessageID = Seen(rawValue: 64)
}

/// What is known of a field by its name. The address fields and their classes are those of Postfix's header_opts table.
private struct Field {
    let role: HeaderRewriter.Role?
    let seen: Seen

    private static let longestName = 27

    init(_ piece: UnsafeRawBufferPointer, _ name: Range<Int>) {
        var name = name
        while let last = name.last, isWhiteSpace(piece[last]) { name.removeLast() }
        guard name.count <= Field.longestName else { (role, seen) = (nil, []); return }
        // Most fields are none of these: their first letter says so.
        switch piece[name.lowerBound] | 0x20 {
        case UInt8(ascii: "a"), UInt8(ascii: "b"), UInt8(ascii: "c"), UInt8(ascii: "d"), UInt8(ascii: "e"), UInt8(ascii: "f"), UInt8(ascii: "m"),
            UInt8(ascii: "r"), UInt8(ascii: "s"), UInt8(ascii: "t"):
            break
        default: (role, seen) = (nil, []); return
        }
        switch lowercasedASCII(String(decoding: piece[name], as: UTF8.self)) {
        case "from": (role, seen) = (.sender, .from)
        case "sender", "reply-to", "errors-to", "mail-followup-to", "disposition-notification-to", "return-receipt-to": (role, seen) = (.sender, [])
        case "to", "cc", "bcc", "apparently-to": (role, seen) = (.recipient, [])
        case "resent-from": (role, seen) = (.sender, [.resent, .resentFrom])
        case "resent-sender", "resent-reply-to": (role, seen) = (.sender, .resent)
        case "resent-to", "resent-cc", "resent-bcc": (role, seen) = (.recipient, .resent)
        case "resent-date": (role, seen) = (nil, [.resent, .resentDate])
        case "resent-message-id": (role, seen) = (nil, [.resent, .resentMessageID])
        case "date": (role, seen) = (nil, .date)
        case "message-id": (role, seen) = (nil, .messageID)
        default: (role, seen) = (nil, [])
        }
    }
}

extension Range<Int> {
    fileprivate mutating func removeLast() { self = lowerBound..<upperBound - 1 }
}
