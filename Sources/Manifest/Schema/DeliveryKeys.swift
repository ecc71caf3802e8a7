// The keys of mail on its way out: routes, and how the servers that it goes to are treated.

internal import MailSyntax

enum RouteKeys {
    static let routes = Key(
        "routes", table, default: "{}", example: "{partner.example: \"[mx.partner.example]:25\", .branch.example: mx}", postfix: "transport_maps",
        "Where mail for an address, a domain, or (with a dot before it) the subdomains of a domain goes, if not to `relayhost`: a host, or `mx` for the hosts of its MX records.")
    static let senderRoutes = Key(
        "sender_routes", senderTable, default: "{}", example: "{\"@sales.example.org\": \"[relay.example.net]:587\"}",
        postfix: "sender_dependent_relayhost_maps",
        "The server that gets the mail of a sender, or of all senders of a `\"@domain\"`, to the outside, instead of `relayhost`.")

    private static let table = Syntax<[(name: Located<MailSystem.RoutePattern>, entry: Located<NextHop?>)]>
        .table(of: .routePattern, key: \.description, orElse: Located(nil), Syntax<Located<NextHop?>>.located(.nextHopOrMX))
        .then { table, _, _ in table.map { MailSystem.MailRoute(pattern: $0.name, hop: $0.entry) } }
    private static let senderTable = Syntax<[(name: Located<MailSystem.RoutePattern>, entry: Located<NextHop?>)]>
        .table(of: .senderPattern, key: \.description, orElse: Located(nil), Syntax<Located<NextHop?>>.located(.nextHopOrMX))
        .then { table, _, _ in table.map { MailSystem.MailRoute(pattern: $0.name, hop: $0.entry) } }

    /// A route for a domain of this server's own says something that the domain says already.
    static func refuseOwnDomains(_ routes: [MailSystem.MailRoute], _ domains: [MailSystem.MailDomain], _ findings: inout Findings) {
        let own = Dictionary(domains.map { ($0.name.value.key, $0.kind) }, uniquingKeysWith: { first, _ in first })
        for route in routes {
            guard let domain = route.pattern.value.domain, let kind = own[domain.key] else { continue }
            let hint = if case .relay = kind { "write it as domains.\(domain).via" } else { "a domain that is passed on is of kind relay, with via" }
            findings.error(.misplacedKey, "\(domain) is a domain of this server, and routes are for the outside", at: route.pattern.span, hint: hint)
        }
    }
}

enum DeliveryKeys {
    private static let counts = 1...10_000

    static let concurrency = Key(
        "concurrency", .integer(counts), default: "20", example: "10", postfix: "default_destination_concurrency_limit",
        "Deliveries to one destination at a time, at most.")
    static let initialConcurrency = Key(
        "initial_concurrency", .integer(counts), default: "5", example: "2", postfix: "initial_destination_concurrency",
        "Deliveries to one destination at a time, to begin with: each that is answered allows one more, each that is not one less.")
    static let rateDelay = Key(
        "rate_delay", .duration(), defaultNote: "none", example: "1s", postfix: "default_destination_rate_delay",
        "The pause between two messages to one destination, which then come one at a time.")
    static let recipients = Key(
        "recipients_per_message", .integer(counts), default: "50", example: "100", postfix: "default_destination_recipient_limit",
        "Recipients of one message in one transaction; more get another.")
    static let addressLimit = Key(
        "mx_address_limit", .integer(0...1000), default: "5", example: "10", postfix: "smtp_mx_address_limit",
        "Addresses of a destination that are tried for one delivery; 0: all.")
    static let sessionLimit = Key(
        "mx_session_limit", .integer(0...1000), default: "2", example: "5", postfix: "smtp_mx_session_limit",
        "Servers of a destination that a message is offered to in one delivery, as long as they say \"later\" (4xx); 0: all.")
    static let fallbackRelay = Key(
        "fallback_relay", Syntax<[Located<NextHop>]>.oneOrMany(of: .nextHop), defaultNote: "none", example: "\"[backup.example.net]:25\"",
        postfix: "smtp_fallback_relay", "Servers that get mail whose own destination cannot be found or reached, or puts it off (4xx).")
    static let timeouts = Key("timeouts", TimeoutKeys.syntax, default: "{}", example: "{connect: 10s}", "How long another server may take to answer.")

    static let syntax = Syntax<MailSystem.Delivery>.section([
        concurrency, initialConcurrency, rateDelay, recipients, addressLimit, sessionLimit, fallbackRelay, timeouts,
    ]) { section, findings in
        MailSystem.Delivery(
            concurrency: section.value(concurrency, &findings), initialConcurrency: section.value(initialConcurrency, &findings),
            rateDelay: section.optional(rateDelay, &findings), recipientsPerMessage: section.value(recipients, &findings),
            addressLimit: section.value(addressLimit, &findings), sessionLimit: section.value(sessionLimit, &findings),
            fallbackRelays: section.optional(fallbackRelay, &findings)?.value ?? [], timeouts: section.value(timeouts, &findings).value)
    }
}

enum TimeoutKeys {
    static let connect = Key("connect", .duration(), default: "30s", example: "10s", postfix: "smtp_connect_timeout", "To take a connection, for each address.")
    static let hello = Key("helo", .duration(), default: "5m", example: "1m", postfix: "smtp_helo_timeout", "To greet, and to answer EHLO.")
    static let mail = Key("mail", .duration(), default: "5m", example: "1m", postfix: "smtp_mail_timeout", "To answer MAIL.")
    static let recipient = Key("rcpt", .duration(), default: "5m", example: "1m", postfix: "smtp_rcpt_timeout", "To answer RCPT.")
    static let data = Key("data_init", .duration(), default: "2m", example: "1m", postfix: "smtp_data_init_timeout", "To answer DATA.")
    static let block = Key(
        "data_xfer", .duration(), default: "3m", example: "1m", postfix: "smtp_data_xfer_timeout", "To take each portion of a message.")
    static let endOfData = Key(
        "data_done", .duration(), default: "10m", example: "15m", postfix: "smtp_data_done_timeout",
        "To answer for the whole message; who hangs up earlier sends it twice.")

    static let syntax = Syntax<MailSystem.DeliveryTimeouts>.section([connect, hello, mail, recipient, data, block, endOfData]) { section, findings in
        MailSystem.DeliveryTimeouts(
            connect: section.value(connect, &findings), hello: section.value(hello, &findings), mail: section.value(mail, &findings),
            recipient: section.value(recipient, &findings), data: section.value(data, &findings), block: section.value(block, &findings),
            endOfData: section.value(endOfData, &findings))
    }
}

extension Syntax where Value == MailSystem.RoutePattern {
    static var routePattern: Syntax { .word(
        Word(
            name: "address or domain", noun: "an address or a domain", forms: "user@example.net, example.net, or .example.net for its subdomains",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        if text.contains("@") {
            guard let address = Address(text) else { throw Flaw("\(quoted(text)) is not an address") }
            return .address(address)
        }
        let isBelow = text.hasPrefix(".")
        guard let domain = Domain(isBelow ? String(text.dropFirst()) : text), domain.literal == nil else {
            throw Flaw("\(quoted(text)) is not a domain", hint: text == "*" ? "the server that gets all mail to the outside is `relayhost`" : nil)
        }
        return isBelow ? .subdomains(of: domain) : .domain(domain)
    } }

    static var senderPattern: Syntax { .word(
        Word(
            name: "sender", noun: "an address, or @ and a domain", forms: "user@example.org, or \"@example.org\" for all of its senders",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        if text.hasPrefix("@") {
            guard let domain = Domain(String(text.dropFirst())), domain.literal == nil else { throw Flaw("\(quoted(text)) is not @ and a domain") }
            return .domain(domain)
        }
        guard let address = Address(text) else {
            throw Flaw("\(quoted(text)) is not an address", hint: Domain(text) != nil ? "all senders of a domain are \"@\(text)\"" : nil)
        }
        return .address(address)
    } }
}

extension Syntax where Value == NextHop? {
    /// `mx`: nil, the hosts of the MX records.
    static var nextHopOrMX: Syntax {
        let hop = Syntax<NextHop>.nextHop
        guard case .word(let word) = hop.form else { preconditionFailure("a next hop is a word") }
        return Syntax(form: .word(word)) { node, findings in
            if case .scalar("mx", _) = node.content { return .some(nil) }
            return hop.read(node, &findings).map { .some($0) }
        }
    }
}

extension Syntax {
    /// With the place where it stands.
    fileprivate static func located<Element>(_ inner: Syntax<Element>) -> Syntax where Value == Located<Element> {
        Syntax(form: inner.form) { node, findings in inner.located(node, &findings) }
    }
}
