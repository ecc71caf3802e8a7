// SMTP replies (RFC 5321 §4.2) and enhanced status codes (RFC 3463, RFC 2034).

/// `class.subject.detail` of RFC 3463.
package struct EnhancedCode: Hashable, Sendable, CustomStringConvertible {
    package let category: UInt16
    package let subject: UInt16
    package let detail: UInt16

    package init(_ category: UInt16, _ subject: UInt16, _ detail: UInt16) {
        self.category = category
        self.subject = subject
        self.detail = detail
    }

    ///     status-code = class "." subject "." detail      ; class 2, 4 or 5; the others up to three digits
    package init?(_ text: String) { self.init(text.utf8[...]) }

    /// Each reply of a next hop is looked at for one.
    package init?(_ octets: Substring.UTF8View) {
        // Digits gather in `detail`; a dot moves what is there one up.
        var numbers = (category: UInt16(0), subject: UInt16(0), detail: UInt16(0))
        var digits = 0
        var dots = 0
        for octet in octets {
            switch octet {
            case UInt8(ascii: "0")...UInt8(ascii: "9") where digits < 3:
                numbers.detail = numbers.detail * 10 + UInt16(octet - UInt8(ascii: "0"))
                digits += 1
            case UInt8(ascii: ".") where digits > 0 && dots < 2:
                numbers = (numbers.subject, numbers.detail, 0)
                digits = 0
                dots += 1
            default: return nil
            }
        }
        guard dots == 2, digits > 0, numbers.category == 2 || numbers.category == 4 || numbers.category == 5 else { return nil }
        self.init(numbers.category, numbers.subject, numbers.detail)
    }

    package var description: String { "\(category).\(subject).\(detail)" }
}

/// One reply of an SMTP server: what we answer to a client, and what a next hop answered to us.
package struct Reply: Hashable, Sendable, Error {
    package let code: UInt16
    package let enhanced: EnhancedCode?
    /// One entry a line, without code, enhanced code and line end. Never empty: a reply without a line would not be written.
    package let lines: [String]

    package init(_ code: UInt16, _ enhanced: EnhancedCode? = nil, lines: [String]) {
        self.code = code
        self.enhanced = enhanced
        self.lines = lines.isEmpty ? [""] : lines
    }

    package init(_ code: UInt16, _ enhanced: EnhancedCode? = nil, _ text: String) {
        self.init(code, enhanced, lines: [text])
    }

    package var isPositive: Bool { code < 400 }
    package var isTransient: Bool { code >= 400 && code < 500 }
    package var isPermanent: Bool { code >= 500 }

    /// In one line, for logs, `mailq` and reports: `550 5.1.1 No such user`.
    package var summary: String { "\(code) \(enhanced.map { "\($0) " } ?? "")\(lines.joined(separator: " "))" }

    ///     Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
    /// RFC 2034 §4: the enhanced code stands at the head of every line of text.
    package func write(to output: inout [UInt8]) {
        for (index, line) in lines.enumerated() {
            output.append(contentsOf: "\(code)\(index == lines.count - 1 ? " " : "-")".utf8)
            if let enhanced { output.append(contentsOf: "\(enhanced) ".utf8) }
            output.append(contentsOf: line.utf8)
            output.append(contentsOf: [UInt8(ascii: "\r"), UInt8(ascii: "\n")])
        }
    }
}
