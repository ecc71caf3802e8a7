// The SMTP envelope (RFC 5321 §2.3.1) with the parameters of DSN (RFC 3461), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and REQUIRETLS (RFC 8689).

/// Who a message is from and to, apart from what its header says.
package struct Envelope: Hashable, Sendable {
    /// Nil is the null reverse-path `<>` of bounces.
    package var sender: Address?
    package var recipients: [EnvelopeRecipient]
    package var body: BodyType
    /// The client asked for SMTPUTF8: addresses or header may hold UTF-8.
    package var isInternationalized: Bool
    /// RET: how much of the message a failure report returns. Nil when the client did not say.
    package var returnContent: ReturnContent?
    /// ENVID, decoded from xtext.
    package var envelopeID: String?
    /// Each recipient gets the message from an address of the sender's that names the recipient.
    package var verp: VERP?
    /// What the sender asks of TLS on the way; nil: nothing, so that whoever sends it on decides.
    package var tlsOption: TLSOption?

    package init(
        sender: Address?, recipients: [EnvelopeRecipient] = [], body: BodyType = .sevenBit, isInternationalized: Bool = false,
        returnContent: ReturnContent? = nil, envelopeID: String? = nil, tlsOption: TLSOption? = nil
    ) {
        self.tlsOption = tlsOption
        self.sender = sender
        self.recipients = recipients
        self.body = body
        self.isInternationalized = isInternationalized
        self.returnContent = returnContent
        self.envelopeID = envelopeID
    }

    /// BODY (RFC 6152, RFC 3030 §3). `binary` has no lines: CR, LF and NUL are octets like others in it.
    package enum BodyType: String, Sendable { case sevenBit = "7BIT", eightBitMIME = "8BITMIME", binary = "BINARYMIME" }
    package enum ReturnContent: String, Sendable { case full = "FULL", headers = "HDRS" }
}

/// How a message is tagged (RFC 8689 §4.1), which it keeps through aliases, lists and reports (§4.1, §5, §6).
package enum TLSOption: Hashable, Sendable {
    /// REQUIRETLS: it goes over TLS to servers that have proved who they are and promise the same, or it goes back.
    case required
    /// `TLS-Required: No`: it goes with TLS or without, whatever the recipient's domain says of it by DANE or MTA-STS (§3).
    case notRequired
}

package struct EnvelopeRecipient: Hashable, Sendable {
    package var address: Address
    package var notify: Notify
    /// ORCPT as `addr-type;address`, decoded from xtext (RFC 3461 §4.2).
    package var originalRecipient: String?

    package init(address: Address, notify: Notify = .unspecified, originalRecipient: String? = nil) {
        self.address = address
        self.notify = notify
        self.originalRecipient = originalRecipient
    }
}

/// NOTIFY (RFC 3461 §4.1): on which events the sender wants a report.
package struct Notify: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let never = Notify(rawValue: 1)
    package static let success = Notify(rawValue: 2)
    package static let failure = Notify(rawValue: 4)
    package static let delay = Notify(rawValue: 8)
    /// No NOTIFY was given: failures are reported, and delays may be (RFC 3461 §4.1).
    package static let unspecified: Notify = []

    /// For one copy that two recipients lead to: every report that either of them is to bring.
    package func combined(with other: Notify) -> Notify {
        if self == other || other.contains(.never) { return self }
        if contains(.never) { return other }
        let stated: (Notify) -> Notify = { $0.isEmpty ? [.failure, .delay] : $0 }
        return stated(self).union(stated(other))
    }

    /// What is left of it where success is reported already; not the silence that says: failures.
    package var withoutSuccess: Notify {
        let rest = subtracting(.success)
        return rest.isEmpty ? .never : rest
    }

    package var wantsFailure: Bool { isEmpty || contains(.failure) }

    /// `NEVER`, or the others with commas, as the parameter writes them; empty when none was given.
    package var parameter: String {
        if contains(.never) { return "NEVER" }
        let names: [(Notify, String)] = [(.success, "SUCCESS"), (.failure, "FAILURE"), (.delay, "DELAY")]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: ",")
    }
}

/// xtext (RFC 3461 §4): printable ASCII but `+` and `=`, all else as `+` and two upper-case hex digits.
package enum XText {
    package static func encode(_ text: String) -> String {
        var result: [UInt8] = []
        let digits = Array("0123456789ABCDEF".utf8)
        for byte in text.utf8 {
            if byte >= 0x21, byte <= 0x7E, byte != UInt8(ascii: "+"), byte != UInt8(ascii: "=") {
                result.append(byte)
            } else {
                result += [UInt8(ascii: "+"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// The value of ORCPT: `addr-type;address`. RFC 6533 §3 has an encoding of its own for the type utf-8, which is ASCII
    /// and so needs nothing of the next hop:
    ///
    ///     utf-8-addr-xtext    = 1*(QCHAR / EmbeddedUnicodeChar)
    ///     QCHAR               = %x21-2a / %x2c-3c / %x3e-5b / %x5d-7e
    ///     EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"           ; also for \, + and =, and for controls and blanks
    package static func encode(originalRecipient text: String) -> String {
        guard isUTF8Type(text) else { return encode(text) }
        var result = String(text.prefix(6))
        for scalar in text.unicodeScalars.dropFirst(6) {
            if isQChar(scalar) {
                result.unicodeScalars.append(scalar)
            } else {
                let digits = String(scalar.value, radix: 16, uppercase: true)
                result += "\\x{\(digits.utf8.count < 2 ? "0" : "")\(digits)}"
            }
        }
        return result
    }

    /// `addr-type;address` as fields of reports have it: RFC 6533 §3 wants utf-8-address where the report may hold UTF-8, and
    /// the ASCII form where it may not.
    package static func field(originalRecipient text: String, isInternationalized: Bool) -> String {
        isUTF8Type(text) && !isInternationalized ? encode(originalRecipient: text) : text
    }

    /// The address of an ORCPT of type utf-8, in either form of RFC 6533 §3; nil where it is neither. A `+` or `=` in it, which the
    /// grammar wants written as \x{2B} and \x{3D}, is taken for itself, as Postfix takes it: no other meaning is possible.
    ///
    ///     utf-8-enc-addr       = utf-8-addr-xtext / utf-8-addr-unitext / utf-8-address
    ///     utf-8-addr-unitext   = 1*(QUCHAR / EmbeddedUnicodeChar)
    ///     QUCHAR               = QCHAR / UTF8-2 / UTF8-3 / UTF8-4
    ///     HEXPOINT             = ( ( "0"/"1" ) %x31-39 ) / "10" / "20" / "2B" / "3D" / "7F" / "5C" / (HEXDIG8 HEXDIG) / …    ; two to six digits
    package static func decode(utf8Recipient text: String) -> String? {
        var result = String.UnicodeScalarView()
        var rest = Substring(text).unicodeScalars
        while let scalar = rest.popFirst() {
            guard scalar == "\\" else {
                guard scalar.value >= 0x21, scalar.value != 0x7F else { return nil }
                result.append(scalar)
                continue
            }
            guard rest.popFirst() == "x", rest.popFirst() == "{", let end = rest.firstIndex(of: "}") else { return nil }
            let digits = rest[..<end]
            guard (2...6).contains(digits.count), digits.allSatisfy({ $0.isASCII && Character($0).isHexDigit }),
                let value = UInt32(String(digits), radix: 16), let decoded = Unicode.Scalar(value)
            else { return nil }
            result.append(decoded)
            rest = rest[rest.index(after: end)...]
        }
        return String(result)
    }

    private static func isUTF8Type(_ text: String) -> Bool { lowercasedASCII(String(text.prefix(6))) == "utf-8;" }

    private static func isQChar(_ scalar: Unicode.Scalar) -> Bool {
        (0x21...0x7E).contains(scalar.value) && scalar != "+" && scalar != "=" && scalar != "\\"
    }

    /// Nil where `text` is no xtext.
    package static func decode(_ text: some StringProtocol) -> String? {
        var result: [UInt8] = []
        var bytes = text.utf8.makeIterator()
        while let byte = bytes.next() {
            if byte == UInt8(ascii: "+") {
                guard let high = bytes.next().flatMap(hexDigit), let low = bytes.next().flatMap(hexDigit) else { return nil }
                result.append(high << 4 | low)
            } else {
                guard byte >= 0x21, byte <= 0x7E, byte != UInt8(ascii: "=") else { return nil }
                result.append(byte)
            }
        }
        return String(validating: result, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}
