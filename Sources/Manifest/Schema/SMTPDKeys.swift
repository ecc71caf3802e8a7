// The keys of `smtpd`: how the SMTP server treats those who connect to it. Named after smtpd(8), which does so in Postfix.

internal import MailSyntax

enum SMTPDKeys {
    static let lookUpNames = Key(
        "lookup_names", .truth, default: "true", example: "false", postfix: "smtpd_peername_lookup",
        "Whether a client's name is looked up, for the log and the trace header; one counts that leads back to the client's address.")
    static let restrictions = Key(
        "restrictions", restrictionList, default: "[]", example: "[reject_invalid_helo_hostname, reject_unknown_client_hostname]",
        postfix: "smtpd_client_restrictions, smtpd_helo_restrictions",
        "What is refused to clients that are neither in `networks` nor logged in.")
    static let expn = Key(
        "expn", .truth, default: "false", example: "true", "Whether EXPN tells clients that may send to anywhere whom an address leads to.")
    static let etrnDomains = Key(
        "etrn_domains", domainList, defaultNote: "the relay domains", example: "[branch.example]", postfix: "fast_flush_domains",
        "Domains that a client may ask for by ETRN (RFC 1985): what waits for them is tried at once; an empty list turns ETRN off.")
    static let xclient = Key(
        "xclient", .networks, default: "[]", example: "[192.0.2.10]", postfix: "smtpd_authorized_xclient_hosts",
        "Proxies that may say for which client they speak, with all that this client may do (XCLIENT).")
    static let xforward = Key(
        "xforward", .networks, default: "[]", example: "[192.0.2.10]", postfix: "smtpd_authorized_xforward_hosts",
        "Filters that may say from whom they have a message, for the log alone (XFORWARD).")

    private static let restrictionList = Syntax<[MailSystem.SMTPD.Restriction]>.listOfValues(.choice(MailSystem.SMTPD.Restriction.self)) { "\($0.rawValue)" }
    private static let domainList = Syntax<[Domain]>.listOfValues(.domain) { "\($0)" }

    static let syntax = Syntax<MailSystem.SMTPD>.section([lookUpNames, restrictions, expn, etrnDomains, xclient, xforward]) { section, findings in
        MailSystem.SMTPD(
            lookUpNames: section.value(lookUpNames, &findings), restrictions: section.value(restrictions, &findings),
            expn: section.value(expn, &findings), etrnDomains: section.optional(etrnDomains, &findings),
            xclient: section.value(xclient, &findings), xforward: section.value(xforward, &findings))
    }
}

extension Syntax {
    /// A list in which nothing stands twice.
    static func listOfValues<Element: Hashable & Sendable>(
        _ element: Syntax<Element>, _ text: @escaping @Sendable (Element) -> String
    ) -> Syntax<[Element]> {
        Syntax<[Located<Element>]>.list(of: element).then { list, _, findings in
            var seen: Set<Element> = []
            for item in list where !seen.insert(item.value).inserted { findings.error(.duplicateEntry, "\(text(item.value)) stands twice", at: item.span) }
            return list.map(\.value)
        }
    }
}

enum LMTPKeys {
    static let path = Key("path", .path, isRequired: true, example: "/run/valija/lmtp", "The socket's path; it is made anew at each start.")
    static let mode = Key("mode", .octalMode, default: "\"0660\"", example: "\"0666\"", "Who may connect, as an octal mode.")

    private static let socket = Syntax<MailSystem.LMTPSocket?>.section([path, mode]) { section, findings in
        let mode = section.value(mode, &findings).value
        return section.optional(path, &findings).map { .unix(path: $0.value, mode: mode) }
    }.then { socket, _, _ in socket }

    static let sockets = Syntax<[Located<MailSystem.LMTPSocket>]>.list(
        of: .either(Syntax<Endpoint>.endpoint.then { endpoint, _, _ in .inet(endpoint) }, orMapping: socket)
    ).then { list, _, findings -> [MailSystem.LMTPSocket]? in
        var seen: Set<String> = []
        for item in list {
            if !seen.insert(item.value.description).inserted { findings.error(.duplicateEntry, "\(item.value) stands twice", at: item.span) }
            if case .inet(let endpoint) = item.value, endpoint.port == 25 {
                findings.error(.invalidValue, "LMTP must not be at port 25 (RFC 2033 section 5)", at: item.span, hint: "24 is usual")
            }
        }
        return list.map(\.value)
    }
}

extension Syntax where Value == Int {
    fileprivate static var octalMode: Syntax { .word(
        Word(
            name: "mode", noun: "an octal mode", forms: "three octal digits, with a 0 before them, in quotes: \"0660\"",
            json: [("type", .string("string")), ("pattern", .string("^0?[0-7]{3}$"))])
    ) { text throws(Flaw) in
        let digits = text.utf8.count == 4 && text.hasPrefix("0") ? text.dropFirst() : Substring(text)
        guard digits.utf8.count == 3, let mode = Int(digits, radix: 8), mode >= 0, !digits.hasPrefix("+"), !digits.hasPrefix("-") else {
            throw Flaw("\(quoted(text)) is not an octal mode")
        }
        return mode
    } }
}
