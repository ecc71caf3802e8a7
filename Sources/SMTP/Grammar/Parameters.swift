// The arguments of MAIL and RCPT with the parameters of SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531) and DSN
// (RFC 3461), REQUIRETLS (RFC 8689), and XVERP of Postfix. Unknown parameters get 555 (RFC 5321 §4.1.1.11); one that comes twice is an error: its meaning is undefined.

internal import MailSyntax

/// `MAIL FROM:<…> …`
struct MailCommand: Hashable, Sendable {
    /// Nil is `<>`.
    var sender: BareAddress?
    var declaredSize: Int?
    var body = Envelope.BodyType.sevenBit
    var isInternationalized = false
    var returnContent: Envelope.ReturnContent?
    var envelopeID: String?
    /// XVERP: the sender names the recipient; `.some(nil)`: between the usual delimiters.
    var verp: VERP??
    /// AUTH= says who wrote the message (RFC 4954 §5). Nobody here believes it, and nobody is told: what was said is not kept.
    var namesAuthor = false
    var requiresTLS = false

    ///     mail = "MAIL FROM:" Reverse-path [SP Mail-parameters] CRLF
    init(_ cursor: inout Cursor) throws(SyntaxFlaw) {
        guard cursor.take(word: "FROM:") else { throw .usage("MAIL FROM:<address>") }
        cursor.skipBlanks()
        guard !cursor.isAtEnd else { throw .usage("MAIL FROM:<address>") }
        guard let path = Path.parse(&cursor), cursor.isAtEnd || isBlank(cursor.next!) else { throw .badSender }
        sender = path
        var seen = SeenParameters()
        while let parameter = try Parameter(&cursor) {
            try seen.insert(parameter)
            try take(parameter)
        }
        // RFC 6531 §3.5: without SMTPUTF8 the address is refused, 553 5.6.7.
        if let sender, !isInternationalized, !sender.isASCII { throw .needsSMTPUTF8 }
    }

    private mutating func take(_ parameter: Parameter) throws(SyntaxFlaw) {
        switch parameter.keyword {
        case .size:
            // RFC 1870 §4: size-value = 1*20DIGIT
            var digits = Cursor(parameter.value)
            guard let size = digits.takeNumber(), digits.isAtEnd else { throw parameter.flaw }
            declaredSize = size
        case .body:
            // RFC 6152 §2, RFC 3030 §3: body-value = "7BIT" / "8BITMIME" / "BINARYMIME"
            if parameter.value.equals(word: "8BITMIME") { body = .eightBitMIME }
            else if parameter.value.equals(word: "7BIT") { body = .sevenBit }
            else if parameter.value.equals(word: "BINARYMIME") { body = .binary }
            else { throw .unknownParameter(parameter.name) }
        case .smtputf8:
            // RFC 6531 §3.4: the parameter has no value.
            guard !parameter.hasValue else { throw .unknownParameter(parameter.name) }
            isInternationalized = true
        case .ret:
            // RFC 3461 §4.3: ret-value = "FULL" / "HDRS"
            if parameter.value.equals(word: "FULL") { returnContent = .full }
            else if parameter.value.equals(word: "HDRS") { returnContent = .headers }
            else { throw parameter.flaw }
        case .envid:
            // RFC 3461 §4.4: envid-parameter = "ENVID=" xtext
            guard parameter.value.count <= GrammarLimits.envelopeID, let id = printableXText(parameter.value) else { throw parameter.flaw }
            envelopeID = id
        case .xverp:
            // VERP_README: XVERP, or XVERP= and two delimiters.
            guard parameter.hasValue else { return verp = .some(nil) }
            guard let delimiters = VERP(delimiters: String(decoding: parameter.value, as: UTF8.self)) else { throw parameter.flaw }
            verp = delimiters
        case .auth:
            // RFC 4954 §5: a mailbox in xtext, or "<>". §3 (5): MAIL grows by 500 octets for it.
            guard parameter.value.count <= GrammarLimits.author, let author = printableXText(parameter.value),
                author == "<>" || BareAddress(author) != nil
            else { throw parameter.flaw }
            namesAuthor = true
        case .requiretls:
            // RFC 8689 §2: the parameter has no value.
            guard !parameter.hasValue else { throw parameter.flaw }
            requiresTLS = true
        case .notify, .orcpt, nil: throw .unknownParameter(parameter.name)
        }
    }
}

/// `RCPT TO:<…> …`
struct RecipientCommand: Hashable, Sendable {
    var recipient: BareAddress
    var notify = Notify.unspecified
    /// `addr-type;address`, decoded.
    var originalRecipient: String?
    private var isOriginalASCII = true

    /// As it was written: without SMTPUTF8 in MAIL the session refuses anything else (RFC 6531 §3.5).
    var isASCII: Bool { recipient.isASCII && isOriginalASCII }

    ///     rcpt = "RCPT TO:" ( "<Postmaster@" Domain ">" / "<Postmaster>" / Forward-path ) [SP Rcpt-parameters] CRLF
    init(_ cursor: inout Cursor) throws(SyntaxFlaw) {
        guard cursor.take(word: "TO:") else { throw .usage("RCPT TO:<address>") }
        cursor.skipBlanks()
        guard !cursor.isAtEnd else { throw .usage("RCPT TO:<address>") }
        guard case .some(.some(let path)) = Path.parse(&cursor), cursor.isAtEnd || isBlank(cursor.next!) else { throw .badRecipient }
        recipient = path
        var seen = SeenParameters()
        while let parameter = try Parameter(&cursor) {
            try seen.insert(parameter)
            try take(parameter)
        }
    }

    private mutating func take(_ parameter: Parameter) throws(SyntaxFlaw) {
        switch parameter.keyword {
        case .notify: notify = try RecipientCommand.notify(parameter)
        case .orcpt:
            originalRecipient = try RecipientCommand.originalRecipient(parameter)
            isOriginalASCII = parameter.value.isASCII
        case .size, .body, .smtputf8, .ret, .envid, .auth, .xverp, .requiretls, nil: throw .unknownParameter(parameter.name)
        }
    }

    ///     notify-esmtp-value  = "NEVER" / 1#notify-list-element
    ///     notify-list-element = "SUCCESS" / "FAILURE" / "DELAY"
    private static func notify(_ parameter: Parameter) throws(SyntaxFlaw) -> Notify {
        if parameter.value.equals(word: "NEVER") { return .never }
        var result = Notify.unspecified
        for element in parameter.value.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
            let word = UnsafeRawBufferPointer(rebasing: element)
            if word.equals(word: "SUCCESS") { result.insert(.success) }
            else if word.equals(word: "FAILURE") { result.insert(.failure) }
            else if word.equals(word: "DELAY") { result.insert(.delay) }
            else { throw parameter.flaw }
        }
        return result
    }

    ///     original-recipient-address = addr-type ";" xtext
    ///     addr-type                  = atom                       ; and xtext may be empty
    /// The type utf-8 has an encoding of its own, and its address may stand in UTF-8 where SMTPUTF8 was asked for (RFC 6533 §3). What is
    /// kept is the address itself; it goes into the fields of reports, where a hidden line end would forge others.
    private static func originalRecipient(_ parameter: Parameter) throws(SyntaxFlaw) -> String {
        var cursor = Cursor(parameter.value)
        let type = cursor.take(while: { isAtext($0) && $0 < 0x80 })
        guard parameter.value.count <= GrammarLimits.originalRecipient, !type.isEmpty, cursor.take(UInt8(ascii: ";")) else {
            throw parameter.flaw
        }
        let address: String?
        if type.equals(word: "UTF-8") {
            address = String(validating: cursor.rest, as: UTF8.self).flatMap { XText.decode(utf8Recipient: $0) }
                .flatMap { $0.unicodeScalars.contains { $0.value < 0x20 || (0x7F...0x9F).contains($0.value) } ? nil : $0 }
        } else {
            address = cursor.rest.isASCII ? printableXText(cursor.rest) : nil
        }
        guard let address else { throw parameter.flaw }
        return "\(String(decoding: type, as: UTF8.self));\(address)"
    }
}

/// One parameter as written.
///
///     esmtp-param   = esmtp-keyword ["=" esmtp-value]
///     esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
///     esmtp-value   = 1*(%d33-60 / %d62-126)                  ; RFC 6531 §3.3: / UTF8-non-ascii
private struct Parameter {
    enum Keyword: UInt8 { case size, body, smtputf8, ret, envid, notify, orcpt, auth, xverp, requiretls }

    let keyword: Keyword?
    /// For replies: bounded and printable.
    let name: String
    let hasValue: Bool
    let value: UnsafeRawBufferPointer

    var flaw: SyntaxFlaw { .badParameter(name) }

    /// Nil at the end of the line.
    init?(_ cursor: inout Cursor) throws(SyntaxFlaw) {
        cursor.skipBlanks()
        guard !cursor.isAtEnd else { return nil }
        let word = cursor.take { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") }
        keyword = Parameter.keyword(word)
        hasValue = cursor.take(UInt8(ascii: "="))
        // One of the delimiters of VERP may be a `=`, against the grammar above.
        let mayHoldEquals = keyword == .xverp
        value = cursor.take { $0 > 0x20 && (mayHoldEquals || $0 != UInt8(ascii: "=")) && $0 != 0x7F }
        name = keyword.map { "\($0)".uppercased() } ?? word.excerpt(GrammarLimits.echo)
        // All but these have a value: without it, it is not the parameter of that name.
        if let keyword, ![.smtputf8, .xverp, .requiretls].contains(keyword), !hasValue { throw .unknownParameter(name) }
        let startsRight = word.first.map { isLetter($0) || isDigit($0) } ?? false
        guard startsRight, cursor.isAtEnd || isBlank(cursor.next!), hasValue != value.isEmpty else {
            throw .badParameter(name)
        }
    }

    private static func keyword(_ word: UnsafeRawBufferPointer) -> Keyword? {
        if word.equals(word: "SIZE") { .size }
        else if word.equals(word: "BODY") { .body }
        else if word.equals(word: "SMTPUTF8") { .smtputf8 }
        else if word.equals(word: "RET") { .ret }
        else if word.equals(word: "ENVID") { .envid }
        else if word.equals(word: "NOTIFY") { .notify }
        else if word.equals(word: "ORCPT") { .orcpt }
        else if word.equals(word: "XVERP") { .xverp }
        else if word.equals(word: "REQUIRETLS") { .requiretls }
        else if word.equals(word: "AUTH") { .auth }
        else { nil }
    }
}

private struct SeenParameters {
    private var bits: UInt16 = 0

    mutating func insert(_ parameter: Parameter) throws(SyntaxFlaw) {
        guard let keyword = parameter.keyword else { return }
        let bit = UInt16(1) << UInt16(keyword.rawValue)
        guard bits & bit == 0 else { throw .duplicateParameter(parameter.name) }
        bits |= bit
    }
}

/// xtext whose decoded form is printable ASCII, as RFC 3461 §4.2 and §4.4 require: it goes into the fields of reports,
/// where a hidden line end would forge others.
private func printableXText(_ bytes: UnsafeRawBufferPointer) -> String? {
    guard let text = XText.decode(String(decoding: bytes, as: UTF8.self)), text.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) else {
        return nil
    }
    return text
}

extension BareAddress {
    var isASCII: Bool { localPart.utf8.allSatisfy { $0 < 0x80 } && domain?.isASCII ?? true }
}
