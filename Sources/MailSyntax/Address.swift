// Mail addresses (RFC 5321 §4.1.2 Mailbox; RFC 6531 §3.3 for UTF-8).
//
// An `Address` holds the local part without quoting and escapes, and the domain. Its `description` quotes again
// where the grammar needs it, so that what goes out is always valid. Parsing of whole SMTP paths is `SMTP`'s.

/// `local-part@domain`. Two addresses are equal when they differ in case only; the spelling is kept for output.
package struct Address: Sendable {
    /// Without quotes and backslashes: `john smith` for `"john smith"@example.org`.
    package let localPart: String
    package let domain: Domain

    /// RFC 5321 §4.5.3.1.1 asks for 64 octets at least; real ones (VERP, SRS, BATV) are longer, and Postfix takes them.
    package static let longestLocalPart = 256

    package init(localPart: String, domain: Domain) {
        self.localPart = localPart
        self.domain = domain
    }

    /// Parses `local@domain`, quoted local parts too. Nil where the text is no mailbox.
    package init?(_ text: String) {
        guard let bare = BareAddress(text), let domain = bare.domain else { return nil }
        self.init(localPart: bare.localPart, domain: domain)
    }

    /// What look-ups use for the local part: ours compare without case.
    package var localKey: String { lowercasedASCII(localPart) }

    package var isASCII: Bool { domain.isASCII && localPart.utf8.allSatisfy { $0 < 0x80 } }
}

extension Address: Hashable, CustomStringConvertible {
    package static func == (a: Address, b: Address) -> Bool { a.domain == b.domain && a.localKey == b.localKey }
    package func hash(into hasher: inout Hasher) {
        hasher.combine(localKey)
        hasher.combine(domain)
    }
    package var description: String { "\(quotedLocalPart)@\(domain.text)" }

    /// The local part as the grammar writes it: a Dot-string as it is, anything else as a Quoted-string.
    package var quotedLocalPart: String {
        if isDotString(localPart.utf8) { return localPart }
        var quoted = "\""
        for scalar in localPart.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { quoted += "\\" }
            quoted.unicodeScalars.append(scalar)
        }
        return quoted + "\""
    }
}

/// An address whose domain may be missing, as manifests, `sendmail` and `RCPT TO:<postmaster>` write it.
package struct BareAddress: Hashable, Sendable {
    package let localPart: String
    package let domain: Domain?

    ///     Mailbox       = Local-part "@" ( Domain / address-literal )
    ///     Local-part    = Dot-string / Quoted-string
    /// - Parameter allowsAnyDots: also takes what would be a Dot-string but for the place of its dots.
    package init?(_ text: String, allowsAnyDots: Bool = false) {
        var rest = Substring(text)
        if rest.utf8.first == UInt8(ascii: "\"") {
            guard let unquoted = BareAddress.takeQuotedString(from: &rest) else { return nil }
            localPart = unquoted
        } else {
            let end = text.utf8.lastIndex(of: UInt8(ascii: "@")) ?? text.endIndex
            localPart = String(text[..<end])
            guard allowsAnyDots ? isDotted(localPart.utf8) : isDotString(localPart.utf8) else { return nil }
            rest = text[end...]
        }
        guard localPart.utf8.count <= Address.longestLocalPart else { return nil }
        if rest.isEmpty {
            domain = nil
        } else {
            // By octets: a combining mark after the "@" belongs to the domain, and to Swift's first Character.
            guard rest.utf8.first == UInt8(ascii: "@"), let parsed = Domain(String(Substring(rest.utf8.dropFirst()))),
                // RFC 5321 §4.1.3: an IP address in the place of a domain stands in brackets.
                !parsed.text.utf8.allSatisfy({ $0 == UInt8(ascii: ".") || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) })
            else { return nil }
            domain = parsed
        }
    }

    package func qualified(with origin: Domain) -> Address { Address(localPart: localPart, domain: domain ?? origin) }

    ///     Quoted-string = DQUOTE *QcontentSMTP DQUOTE
    ///     QcontentSMTP  = qtextSMTP / quoted-pairSMTP       ; printable ASCII, RFC 6531: or UTF-8
    private static func takeQuotedString(from rest: inout Substring) -> String? {
        var result = String.UnicodeScalarView()
        var escaped = false
        for index in rest.unicodeScalars.indices.dropFirst() {
            let scalar = rest.unicodeScalars[index]
            guard scalar.value >= 0x20, scalar.value != 0x7F else { return nil }
            if escaped {
                guard scalar.isASCII else { return nil }
                result.append(scalar)
                escaped = false
            } else if scalar == "\\" {
                escaped = true
            } else if scalar == "\"" {
                rest = rest[rest.unicodeScalars.index(after: index)...]
                return String(result)
            } else {
                result.append(scalar)
            }
        }
        return nil
    }
}

///     Dot-string = Atom *("." Atom)       ; RFC 6531: atext or UTF-8
func isDotString(_ bytes: String.UTF8View) -> Bool {
    var previous = UInt8(ascii: ".")
    for byte in bytes {
        if byte == UInt8(ascii: ".") {
            guard previous != byte else { return false }
        } else {
            guard isAtext(byte) else { return false }
        }
        previous = byte
    }
    return previous != UInt8(ascii: ".")
}

private func isDotted(_ bytes: String.UTF8View) -> Bool {
    !bytes.isEmpty && bytes.allSatisfy { $0 == UInt8(ascii: ".") || isAtext($0) }
}

/// RFC 5322 §3.2.3 atext, and every octet of UTF-8 beyond ASCII.
package func isAtext(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), 0x80...:
        true
    case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"), UInt8(ascii: "'"),
        UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "?"),
        UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "{"), UInt8(ascii: "|"), UInt8(ascii: "}"),
        UInt8(ascii: "~"):
        true
    default: false
    }
}
