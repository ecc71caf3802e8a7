// What a program hands to `sendmail`, made into a message: line ends, recipients from the header, missing fields
// (RFC 6409 §8 lets a submission server add Date, Message-ID and From). Pure.
//
// Octets, not text: a header in Latin-1 passes through as it is. What no server takes is mended here, since
// programs and cron do write it: a lone CR becomes a line end, NUL goes.

package struct Submission: Sendable {
    /// A field of the header: its name in lower case, and all its octets with inner line ends as CRLF, without the last one.
    private struct Field {
        let name: String
        var octets: [UInt8]
    }

    private var fields: [Field] = []
    private let body: [UInt8]

    /// Splits `text`, whose lines end with LF or CRLF. `dotEnds`: a line of a single dot ends the message, as sendmail's
    /// input does without `-i`.
    package init(_ text: [UInt8], dotEnds: Bool) {
        var lines = Submission.lines(text)
        if dotEnds, let end = lines.firstIndex(where: { $0.elementsEqual(".".utf8) }) { lines.removeSubrange(end...) }
        // The line that mbox files have before each message, and that programs which resend from one leave there.
        if let first = lines.first, first.starts(with: "From ".utf8) || first.starts(with: ">From ".utf8) { lines.removeFirst() }
        var header = 0
        for line in lines {
            if let first = line.first, first == UInt8(ascii: " ") || first == UInt8(ascii: "\t"), !fields.isEmpty {
                fields[fields.count - 1].octets += crlf + line
            } else if let name = Submission.fieldName(line) {
                fields.append(Field(name: name, octets: Array(line)))
            } else {
                break  // the empty line, or no field: the body begins here without one
            }
            header += 1
        }
        if header < lines.count, lines[header].isEmpty { header += 1 }
        var body: [UInt8] = []
        for line in lines[header...] {
            body += line
            body += crlf
        }
        self.body = body
    }

    /// Without their ends. No line is there after the last line end.
    private static func lines(_ text: [UInt8]) -> [ArraySlice<UInt8>] {
        let (lf, cr) = (UInt8(ascii: "\n"), UInt8(ascii: "\r"))
        let text = text.contains(0) ? text.filter { $0 != 0 } : text
        var lines: [ArraySlice<UInt8>] = []
        for line in text.split(separator: lf, omittingEmptySubsequences: false) {
            let line = line.last == cr ? line.dropLast() : line
            if line.contains(cr) { lines += line.split(separator: cr, omittingEmptySubsequences: false) } else { lines.append(line) }
        }
        if lines.last?.isEmpty ?? false { lines.removeLast() }
        return lines
    }

    ///     field-name = 1*ftext        ; RFC 5322 §3.6.8; §4.5: white space may stand before the colon
    private static func fieldName(_ line: ArraySlice<UInt8>) -> String? {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return nil }
        var name = line[..<colon]
        while let last = name.last, last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { name.removeLast() }
        guard !name.isEmpty, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else { return nil }
        return lowercasedASCII(String(decoding: name, as: UTF8.self))
    }

    /// The addresses of To, Cc and Bcc, or of their Resent- forms where there are any (RFC 5322 §3.6.6).
    package func headerRecipients() -> (addresses: [BareAddress], flaws: [String]) {
        let isResent = fields.contains { $0.name.hasPrefix("resent-") }
        let names = ["to", "cc", "bcc"].map { isResent ? "resent-\($0)" : $0 }
        var (addresses, flaws): ([BareAddress], [String]) = ([], [])
        for field in fields where names.contains(field.name) {
            let value = field.octets.drop { $0 != UInt8(ascii: ":") }.dropFirst()
            let found = AddressList.parse(String(decoding: value, as: UTF8.self))
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
            let name = lowercasedASCII(field)
            if !fields.contains(where: { $0.name == name }) { fields.append(Field(name: name, octets: Array("\(field): \(value)".utf8))) }
        }
        add("Message-ID", "<\(messageID)>")
        add("Date", time.rfc5322)
        let phrase = phrase(name ?? "")
        add("From", phrase.isEmpty ? "\(from)" : "\(phrase) <\(from)>")
    }

    /// The message with CRLF line ends.
    package var octets: [UInt8] { fields.flatMap { $0.octets + crlf } + crlf + body }

    /// Some octet is beyond ASCII: BODY=8BITMIME (RFC 6152).
    package var isEightBit: Bool { !(body.allSatisfy { $0 < 0x80 } && fields.allSatisfy { $0.octets.allSatisfy { $0 < 0x80 } }) }

    /// The header holds UTF-8, which needs SMTPUTF8 (RFC 6532 §3). Octets beyond ASCII that are no UTF-8, of old programs,
    /// are none: no extension makes them right, and every server passes them on.
    package var isInternationalized: Bool {
        fields.contains { field in !field.octets.allSatisfy { $0 < 0x80 } && String(validating: field.octets, as: UTF8.self) != nil }
    }

    /// A display name: atoms as they are, all else quoted (RFC 5322 §3.2.5).
    private func phrase(_ name: String) -> String {
        let scalars = name.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7F }
        if scalars.allSatisfy({ $0 == " " || !$0.isASCII || isAtext(UInt8($0.value)) }) { return String(String.UnicodeScalarView(scalars)) }
        return "\"" + scalars.map { $0 == "\"" || $0 == "\\" ? "\\\($0)" : "\($0)" }.joined() + "\""
    }
}

private let crlf = [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
