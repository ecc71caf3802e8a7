// Address lists of header fields (RFC 5322 §3.4), as `To`, `Cc` and `Bcc` carry them, reduced to the addresses.
//
// Lenient where mail in the wild is: a mailbox without a domain is let through, unbalanced comments end with the text.
// Display names and comments are dropped.

package enum AddressList {
    ///     address      = mailbox / group
    ///     mailbox      = name-addr / addr-spec
    ///     name-addr    = [display-name] "<" addr-spec ">"
    ///     group        = display-name ":" [group-list] [CFWS] ";"
    ///
    /// The addresses in the order of the text; entries that are none come in `flaws`.
    package static func parse(_ text: String) -> (addresses: [BareAddress], flaws: [String]) {
        var addresses: [BareAddress] = []
        var flaws: [String] = []
        var words = ""  // what stands outside of angle brackets
        var angle: String?  // what stands inside of them
        func endEntry() {
            let entry = trimmed(angle ?? words)
            if let address = BareAddress(entry) {
                addresses.append(address)
            } else if !entry.isEmpty {
                flaws.append(entry)
            }
            words = ""
            angle = nil
        }
        var rest = Substring(text)
        while let character = rest.first {
            switch character {
            case "(": skipComment(&rest)
            case "\"":
                let quoted = takeQuoted(&rest)
                if angle != nil { angle! += quoted } else { words += quoted }
            case "<":
                rest.removeFirst()
                let end = closingBracket(rest)
                // obs-angle-addr (RFC 5322 §4.4): a source route before the address is ignored.
                var inner = String(rest[..<end])
                if inner.hasPrefix("@"), let colon = inner.lastIndex(of: ":") { inner = String(inner[inner.index(after: colon)...]) }
                angle = inner
                rest = rest[end...].dropFirst()
            case ",", ";":
                rest.removeFirst()
                endEntry()
            case ":" where !words.contains("["):
                rest.removeFirst()
                words = ""  // the name of a group
            default:
                rest.removeFirst()
                if angle == nil, !character.isNewline { words.append(character) }
            }
        }
        endEntry()
        return (addresses, flaws)
    }

    private static func skipComment(_ rest: inout Substring) {
        var depth = 0
        while let character = rest.popFirst() {
            switch character {
            case "\\": _ = rest.popFirst()
            case "(": depth += 1
            case ")": depth -= 1
            default: break
            }
            if depth == 0 { return }
        }
    }

    private static func takeQuoted(_ rest: inout Substring) -> String {
        var quoted = String(rest.removeFirst())
        while let character = rest.popFirst() {
            quoted.append(character)
            if character == "\\", let next = rest.popFirst() {
                quoted.append(next)
            } else if character == "\"" {
                break
            }
        }
        return quoted
    }

    /// The `>` that is not inside of a quoted string, or the end.
    private static func closingBracket(_ text: Substring) -> Substring.Index {
        var isQuoted = false
        var isEscaped = false
        for index in text.indices {
            if isEscaped {
                isEscaped = false
            } else if text[index] == "\\" {
                isEscaped = true
            } else if text[index] == "\"" {
                isQuoted.toggle()
            } else if text[index] == ">", !isQuoted {
                return index
            }
        }
        return text.endIndex
    }

    private static func trimmed(_ text: String) -> String {
        let isSpace: (Character) -> Bool = { $0 == " " || $0 == "\t" || $0.isNewline }
        return String(text.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }
}
