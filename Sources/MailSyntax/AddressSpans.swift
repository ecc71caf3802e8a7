// The addresses of a header field and where each stands, octet by octet, so that one can be exchanged and all around it left
// alone. The grammar is that of `AddressList` (RFC 5322 §3.4 with the obsolete forms of §4.4), read strictly: what is
// not closed (a quote, a comment, a bracket) ends the reading, and an entry that is no address is passed over.

package struct AddressSpans {
    private let text: UnsafeRawBufferPointer
    private var index = 0
    /// The addr-spec of the present entry as far as it was read, without white space and comments.
    private var words: [UInt8] = []
    private var span: Range<Int>?
    private var isSpaced = false
    /// Two words side by side are a display name, no addr-spec.
    private var isPhrase = false
    /// Nil: no angle bracket has come in this entry; else whether it is still open.
    private var angle: Bool?

    package init(_ text: UnsafeRawBufferPointer) { self.text = text }

    /// The next address, and the octets that it takes: from the first of its local part to the last of its domain.
    package mutating func next() -> (Range<Int>, BareAddress)? {
        while index < text.count {
            let start = index
            let octet = text[index]
            index += 1
            switch octet {
            case 0x20, 0x09, 0x0D, 0x0A: isSpaced = true
            case UInt8(ascii: "("):
                guard skipComment() else { return abandon() }
                isSpaced = true
            case UInt8(ascii: "\""):
                guard skipQuoted() else { return abandon() }
                add(start..<index)
            case UInt8(ascii: "["):
                guard skipLiteral() else { return abandon() }
                add(start..<index)
            case UInt8(ascii: "<"):
                // Two addresses without the comma between them: neither is certain.
                if angle != nil { return abandon() }
                angle = true
                startOver()
            case UInt8(ascii: ">"):
                guard angle == true else { return abandon() }
                angle = false
            case UInt8(ascii: ","), UInt8(ascii: ";"):
                // Within the brackets a comma belongs to a route.
                if angle == true {
                    add(start..<index)
                } else if let found = endEntry() {
                    return found
                }
            case UInt8(ascii: ":"):
                // The end of a route (§4.4), or of the name of a group.
                if angle != false { startOver() }
            default:
                while index < text.count, !isSpecial(text[index]) { index += 1 }
                add(start..<index)
            }
        }
        return angle == true ? abandon() : endEntry()
    }

    private mutating func add(_ range: Range<Int>) {
        // What follows the brackets is a comment in all but form.
        guard angle != false else { return }
        if isSpaced, let last = words.last, let first = text[range].first {
            // White space counts for nothing around the joints of an address.
            if !isJoint(last), !isJoint(first) { isPhrase = true }
        }
        isSpaced = false
        for octet in text[range] where octet != 0x0D && octet != 0x0A { words.append(octet) }
        span = (span?.lowerBound ?? range.lowerBound)..<range.upperBound
    }

    private mutating func startOver() {
        words.removeAll(keepingCapacity: true)
        (span, isSpaced, isPhrase) = (nil, false, false)
    }

    private mutating func endEntry() -> (Range<Int>, BareAddress)? {
        defer {
            startOver()
            angle = nil
        }
        guard let span, !isPhrase, let text = String(validating: words, as: UTF8.self), let address = BareAddress(text) else { return nil }
        return (span, address)
    }

    /// The rest cannot be told apart.
    private mutating func abandon() -> (Range<Int>, BareAddress)? {
        index = text.count
        startOver()
        angle = nil
        return nil
    }

    private mutating func skipComment() -> Bool {
        var depth = 1
        while index < text.count {
            let octet = text[index]
            index += 1
            switch octet {
            case UInt8(ascii: "\\"): index += 1
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"):
                depth -= 1
                if depth == 0 { return true }
            default: break
            }
        }
        return false
    }

    private mutating func skipQuoted() -> Bool {
        while index < text.count {
            let octet = text[index]
            index += 1
            if octet == UInt8(ascii: "\"") { return true }
            if octet == UInt8(ascii: "\\") { index += 1 }
        }
        return false
    }

    private mutating func skipLiteral() -> Bool {
        while index < text.count {
            let octet = text[index]
            index += 1
            if octet == UInt8(ascii: "]") { return true }
        }
        return false
    }

    private func isJoint(_ octet: UInt8) -> Bool { octet == UInt8(ascii: "@") || octet == UInt8(ascii: ".") }

    private func isSpecial(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x20, 0x09, 0x0D, 0x0A, UInt8(ascii: "("), UInt8(ascii: "\""), UInt8(ascii: "["), UInt8(ascii: "<"), UInt8(ascii: ">"), UInt8(ascii: ","),
            UInt8(ascii: ";"), UInt8(ascii: ":"):
            true
        default: false
        }
    }
}
