// What a program hands to `sendmail`, made into a message: line ends, recipients from the header, missing fields
// (RFC 6409 §8 lets a submission server add Date, Message-ID and From). Pure.

package struct Submission: Sendable {
    /// The header's fields, each with its name, and the whole text with inner line ends as CRLF and without the last one.
    private var fields: [(name: String, text: String)]
    private let body: [UInt8]

    /// Splits `text`, whose lines end with LF or CRLF. `dotEnds`: a line of a single dot ends the message, as sendmail's
    /// input does without `-i`.
    package init(_ text: [UInt8], dotEnds: Bool) {
        var lines = text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        }
        if lines.last?.isEmpty ?? false { lines.removeLast() }
        if dotEnds, let end = lines.firstIndex(where: { $0.elementsEqual([UInt8(ascii: ".")]) }) { lines.removeSubrange(end...) }
        fields = []
        var index = 0
        while index < lines.count, !lines[index].isEmpty {
            let line = String(decoding: lines[index], as: UTF8.self)
            if line.first == " " || line.first == "\t", !fields.isEmpty {
                fields[fields.count - 1].text += "\r\n" + line
            } else if let colon = line.firstIndex(of: ":"), line[..<colon].utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) {
                fields.append((lowercasedASCII(String(line[..<colon])), line))
            } else {
                break  // no field: the body begins here, without the empty line
            }
            index += 1
        }
        if index < lines.count, lines[index].isEmpty { index += 1 }
        var body: [UInt8] = []
        for line in lines[index...] {
            body += line
            body += [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
        }
        self.body = body
    }

    /// The addresses of To, Cc and Bcc, or of their Resent- forms where there are any (RFC 5322 §3.6.6).
    package func headerRecipients() -> (addresses: [BareAddress], flaws: [String]) {
        let isResent = fields.contains { $0.name.hasPrefix("resent-") }
        let names = ["to", "cc", "bcc"].map { isResent ? "resent-\($0)" : $0 }
        var (addresses, flaws): ([BareAddress], [String]) = ([], [])
        for field in fields where names.contains(field.name) {
            let found = AddressList.parse(String(field.text[field.text.index(after: field.text.firstIndex(of: ":")!)...]))
            addresses += found.addresses
            flaws += found.flaws
        }
        return (addresses, flaws)
    }

    /// RFC 5322 §3.6.3: blind copies stay blind.
    package mutating func removeBlindCopies() { fields.removeAll { $0.name == "bcc" || $0.name == "resent-bcc" } }

    /// Adds what is missing of From, Date and Message-ID.
    package mutating func complete(from: Address, name: String?, messageID: String, at time: Timestamp) {
        func add(_ field: String, _ value: String) {
            if !fields.contains(where: { $0.name == lowercasedASCII(field) }) { fields.append((lowercasedASCII(field), "\(field): \(value)")) }
        }
        add("Message-ID", "<\(messageID)>")
        add("Date", time.rfc5322)
        add("From", name.map { "\(phrase($0)) <\(from)>" } ?? "\(from)")
    }

    /// The message with CRLF line ends.
    package var octets: [UInt8] {
        fields.flatMap { Array($0.text.utf8) + [UInt8(ascii: "\r"), UInt8(ascii: "\n")] } + [UInt8(ascii: "\r"), UInt8(ascii: "\n")] + body
    }

    package var headerIsASCII: Bool { fields.allSatisfy { $0.text.utf8.allSatisfy { $0 < 0x80 } } }
    package var bodyIsASCII: Bool { body.allSatisfy { $0 < 0x80 } }

    /// A display name: atoms as they are, all else quoted (RFC 5322 §3.2.5).
    private func phrase(_ name: String) -> String {
        if name.utf8.allSatisfy({ isAtext($0) || $0 == UInt8(ascii: " ") }) { return name }
        let escaped = name.filter { !$0.isNewline }.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : String($0) }.joined()
        return "\"\(escaped)\""
    }
}
