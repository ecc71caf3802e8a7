// Address lists of header fields (RFC 5322 §3.4), as `To`, `Cc` and `Bcc` carry them, reduced to the addresses.
//
// Lenient where mail in the wild is: a mailbox without a domain is let through, the obsolete forms of §4.4 are read,
// an open bracket ends with the text. Display names and comments are dropped. No address is lost in silence: what
// cannot be read as one is a flaw.

package enum AddressList {
    ///     address      = mailbox / group
    ///     mailbox      = name-addr / addr-spec
    ///     name-addr    = [display-name] "<" addr-spec ">"
    ///     group        = display-name ":" [group-list] [CFWS] ";"
    ///
    /// The addresses in the order of the text; entries that are none come in `flaws`.
    package static func parse(_ text: String) -> (addresses: [BareAddress], flaws: [String]) {
        var reader = AddressReader(text)
        reader.read()
        return (reader.addresses, reader.flaws)
    }
}

private struct AddressReader {
    private(set) var addresses: [BareAddress] = []
    private(set) var flaws: [String] = []
    // By scalars: a combining mark after a comma belongs to the comma's Character.
    private var rest: Substring.UnicodeScalarView
    /// What stands outside of angle brackets: an addr-spec or a display name.
    private var words = Words()
    /// What stands inside of them.
    private var angle: Words?

    init(_ text: String) { rest = Substring(text).unicodeScalars }

    mutating func read() {
        while let scalar = rest.popFirst() {
            switch scalar {
            case "(":
                skipComment()
                add(" ")
            case "\"": add(quotedString())
            case "[": add(literal())
            case "<":
                // Two addresses without the comma between them.
                if angle != nil { endEntry() }
                angle = Words()
                readAngle()
            case ",", ";": endEntry()
            case ":": words = Words()  // the name of a group
            default: add(String(scalar))
            }
        }
        endEntry()
    }

    /// Up to the ">" that is neither quoted nor in a comment.
    private mutating func readAngle() {
        while let scalar = rest.popFirst() {
            switch scalar {
            case ">": return
            case "(":
                skipComment()
                angle?.append(" ")
            case "\"":
                let quoted = quotedString()
                angle?.append(quoted)
            case "[":
                let literal = literal()
                angle?.append(literal)
            // obs-route = obs-domain-list ":" (RFC 5322 §4.4): the way to the address, which nobody goes any more.
            case ":" where angle?.text.hasPrefix("@") == true: angle = Words()
            default: angle?.append(String(scalar))
            }
        }
    }

    private mutating func add(_ text: String) {
        // What follows the angle brackets of an entry is a comment in all but form.
        if angle == nil { words.append(text) }
    }

    private mutating func endEntry() {
        let entry = (angle ?? words).text
        if let address = BareAddress(entry) {
            addresses.append(address)
        } else if !entry.isEmpty {
            flaws.append(entry)
        }
        words = Words()
        angle = nil
    }

    ///     comment = "(" *([FWS] ccontent) [FWS] ")"       ; ccontent may be a comment
    private mutating func skipComment() {
        let comment = rest
        var depth = 1
        while depth > 0, let scalar = rest.popFirst() {
            switch scalar {
            case "\\": _ = rest.popFirst()
            case "(": depth += 1
            case ")": depth -= 1
            default: break
            }
        }
        // There may be addresses in it.
        if depth > 0 { flaws.append("(" + String(comment)) }
    }

    /// With its quotes and escapes, as `BareAddress` reads it; a fold inside is undone (RFC 5322 §2.2.3).
    private mutating func quotedString() -> String {
        var quoted = String.UnicodeScalarView("\"".unicodeScalars)
        while let scalar = rest.popFirst() {
            if scalar == "\r" || scalar == "\n" { continue }
            quoted.append(scalar)
            if scalar == "\"" { break }
            if scalar == "\\", let next = rest.popFirst() { quoted.append(next) }
        }
        return String(quoted)
    }

    ///     domain-literal = "[" *([FWS] dtext) [FWS] "]"   ; may hold colons
    private mutating func literal() -> String {
        var literal = String.UnicodeScalarView("[".unicodeScalars)
        while let scalar = rest.popFirst() {
            if !isWhiteSpace(scalar) { literal.append(scalar) }
            if scalar == "]" { break }
        }
        return String(literal)
    }
}

/// Text in which white space and comments count only between words: around "@" and "." they do not (the CFWS of
/// RFC 5322 §3.4.1 and the obsolete forms of §4.4).
private struct Words {
    private(set) var text = ""
    private var isSpaced = false

    mutating func append(_ part: String) {
        guard let first = part.unicodeScalars.first else { return }
        if isWhiteSpace(first) {
            isSpaced = true
            return
        }
        if isSpaced, let last = text.unicodeScalars.last, !isJoint(last), !isJoint(first) { text += " " }
        isSpaced = false
        text.unicodeScalars.append(contentsOf: part.unicodeScalars)
    }

    private func isJoint(_ scalar: Unicode.Scalar) -> Bool { scalar == "@" || scalar == "." }
}

private func isWhiteSpace(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || scalar == "\t" || scalar == "\r" || scalar == "\n" }
