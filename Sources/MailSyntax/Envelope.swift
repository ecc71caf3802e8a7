// The SMTP envelope (RFC 5321 §2.3.1) with the parameters of DSN (RFC 3461), 8BITMIME (RFC 6152) and SMTPUTF8 (RFC 6531).

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

    package init(
        sender: Address?, recipients: [EnvelopeRecipient] = [], body: BodyType = .sevenBit, isInternationalized: Bool = false,
        returnContent: ReturnContent? = nil, envelopeID: String? = nil
    ) {
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
    ///     EmbeddedUnicodeChar = %x5C.78 "{" HEXPOINT "}"
    /// A backslash in it is the beginning of one that was not decoded.
    package static func encode(originalRecipient text: String) -> String {
        guard lowercasedASCII(String(text.prefix(6))) == "utf-8;" else { return encode(text) }
        var result = ""
        for scalar in text.unicodeScalars {
            if (0x21...0x7E).contains(scalar.value), scalar != "+", scalar != "=" {
                result.unicodeScalars.append(scalar)
            } else {
                result += "\\x{\(String(scalar.value, radix: 16, uppercase: true))}"
            }
        }
        return result
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
