// The keys of `tests`: what must be true of the manifest that they stand in. Reading them is here; whether what they name
// exists is `Checks/TestCheck`'s, and whether they hold is decided by the router and the policy, in `Appliance`.

internal import MailSyntax

enum TestKeys {
    static let client = Key(
        "client", .ipAddress, defaultNote: "a stranger, in none of `networks`", example: "203.0.113.9", "The address of the client that sends.")
    static let login = Key("login", .userName, defaultNote: "no login", example: "alice", "The user whom the client is logged in as.")
    static let from = Key(
        "from", .sender, defaultNote: "a sender whom nothing refuses", example: "sales@example.org",
        "The sender, as in MAIL FROM; `<>` is the null sender.")
    static let rcpt = Key(
        "rcpt", .recipient, example: "sales@example.org",
        "The recipient, as in RCPT TO; may be left out only where `login` and `from` say whether a user may use a sender address.")
    static let reaches = Key(
        "reaches", Syntax<Targets>.oneOrMany(of: .destination), example: "[alice, bob]",
        "The mail is taken, and these get it, nobody else: users, each with what their `forward` does, and addresses elsewhere.")
    static let via = Key(
        "via", .nextHop, example: "\"[192.0.2.25]:25\"",
        "The mail is taken and passed on, all of it, to this next hop, written as in `relayhost`.")
    static let refused = Key(
        "refused", .refusal, example: "550", "The mail is refused: with this reply code, this enhanced code (`5.1.1`), or in any way (`true`).")

    static let section = Syntax<MailSystem.Test?>.section([client, login, from, rcpt, reaches, via, refused]) { section, findings in
        let client = section.optional(client, &findings)
        let login = section.optional(login, &findings)
        let sender = section.optional(from, &findings)
        let recipient = section.optional(rcpt, &findings)
        let expectation = expectation(of: section, &findings)
        let isOfSender = section.position(of: Self.login) != nil && section.position(of: from) != nil
        guard let expectation, requireRecipient(section, isOfSender, &findings) else { return nil }
        return MailSystem.Test(client: client, login: login, sender: sender, recipient: recipient, expectation: expectation)
    }

    static let list = Syntax<[Located<MailSystem.Test>]>
        .list(of: section.then { test, _, _ in test })
        .then { list, _, _ in list.map(\.value) }

    /// Exactly one; nil otherwise, or where it could not be read.
    private static func expectation(of section: Section, _ findings: inout Findings) -> Located<MailSystem.Test.Expectation>? {
        let reaches = section.optional(reaches, &findings).map { located($0) { .reaches($0) } }
        let via = section.optional(via, &findings).map { located($0) { .via($0) } }
        let refused = section.optional(refused, &findings).map { located($0) { .refused($0) } }
        let keys: [any Declared] = [Self.reaches, Self.via, Self.refused]
        let present = keys.compactMap { key in section.position(of: key).map { (name: key.declaration.name, span: $0) } }
            .sorted { $0.span.start < $1.span.start }
        guard let first = present.first else {
            findings.error(
                .missingKey, "the test expects nothing", at: Span(start: section.span.start, endColumn: nil), hint: "add one of: reaches, via, refused")
            return nil
        }
        guard present.count == 1 else {
            findings.error(
                .misplacedKey, "a test expects one thing, and this one has \(quoted(first.name)) already", at: present[1].span, hint: "write two tests")
            return nil
        }
        return reaches ?? via ?? refused
    }

    private static func located<Value>(
        _ value: Located<Value>, _ convert: (Value) -> MailSystem.Test.Expectation
    ) -> Located<MailSystem.Test.Expectation> {
        Located(convert(value.value), at: value.position, endColumn: value.endColumn)
    }

    /// Only the answer to MAIL can be asked for without a recipient, and that needs a login that may be refused.
    private static func requireRecipient(_ section: Section, _ isOfSender: Bool, _ findings: inout Findings) -> Bool {
        guard section.position(of: rcpt) == nil, !isOfSender || section.position(of: refused) == nil else { return true }
        let hint =
            if isOfSender { "without it only \"refused\" can be expected" }
            else if section.position(of: login) != nil { "add: rcpt: ADDRESS, or, to test whether the user may use a sender address, from: ADDRESS" }
            else { "add: rcpt: ADDRESS" }
        findings.error(.missingKey, "\"rcpt\" is missing", at: Span(start: section.span.start, endColumn: nil), hint: hint)
        return false
    }
}

extension Syntax where Value == IPAddress {
    fileprivate static var ipAddress: Syntax { .word(
        Word(name: "IP address", noun: "an IP address", forms: "an IP address such as 192.0.2.7 or \"2001:db8::7\"", json: [("type", .string("string"))])
    ) { text throws(Flaw) in
        guard let address = IPAddress(text) else {
            throw Flaw("\(quoted(text)) is not an IP address", hint: text.contains("/") ? "one address, not a block of them" : nil)
        }
        return address
    } }
}

extension Syntax where Value == BareAddress? {
    /// Nil is `<>`.
    fileprivate static var sender: Syntax { .word(
        Word(
            name: "sender", noun: "a sender", forms: "an address such as sales@example.org, or <> for the null sender",
            json: [("type", .string("string"))]),
        isText: true
    ) { text throws(Flaw) in text == "<>" ? nil : try bareAddress(text) } }
}

extension Syntax where Value == BareAddress {
    fileprivate static var recipient: Syntax { .word(
        Word(
            name: "recipient", noun: "a recipient", forms: "an address such as sales@example.org; a bare name gets the origin, as it does in RCPT",
            json: [("type", .array([.string("string"), .string("number")]))]),
        isText: true
    ) { text throws(Flaw) in try bareAddress(text) } }
}

private func bareAddress(_ text: String) throws(Flaw) -> BareAddress {
    guard let address = BareAddress(text) else {
        throw Flaw("\(quoted(text)) is not an address", hint: text.contains("<") ? "without the angle brackets" : nil)
    }
    return address
}

extension Syntax where Value == MailSystem.Target {
    /// Where mail may end: a target, but for those that `Checks/TestCheck` finds to lead on.
    fileprivate static var destination: Syntax { .word(
        Word(
            name: "destination", noun: "a user or an address",
            forms: "where mail ends: a user, a whole address elsewhere, or a file, a command or a list as an alias names it",
            json: [("type", .array([.string("string"), .string("number")]))]),
        isText: true, anyTarget)
    }
}

extension Syntax where Value == MailSystem.Test.Refusal {
    fileprivate static var refusal: Syntax { .word(
        Word(
            name: "refusal", noun: "a refusal", forms: "a reply code such as 550, an enhanced code such as 5.1.1, or true for any refusal",
            json: [
                ("anyOf", .array([
                    .object([("const", .bool(true))]),
                    .object([("type", .string("integer")), ("minimum", .int(400)), ("maximum", .int(599))]),
                    .object([("type", .string("string")), ("pattern", .string("^[45]\\.[0-9]{1,3}\\.[0-9]{1,3}$"))]),
                ]))
            ])
    ) { text throws(Flaw) in
        if let truth = truthValue(text) {
            guard truth else { throw Flaw("what is not refused arrives somewhere", hint: "write where: reaches, or via") }
            return .anyhow
        }
        if let code = UInt16(text), (400...599).contains(code) { return .code(code) }
        if let enhanced = EnhancedCode(text), enhanced.category != 2 { return .enhanced(enhanced) }
        throw Flaw("\(quoted(text)) is not the code of a refusal", hint: text.contains(" ") ? "one of the two codes" : nil)
    } }
}
