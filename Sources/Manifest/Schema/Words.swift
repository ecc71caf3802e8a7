// The scalars of a manifest: numbers, sizes, durations, choices, names of hosts, domains and networks, paths.
// `Targets.swift` has those of the mail users: local parts and targets.

internal import MailSyntax

extension Syntax where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Syntax {
        let forms = "a whole number from \(range.lowerBound) to \(range.upperBound)"
        let word = Word(
            name: "integer from \(range.lowerBound) to \(range.upperBound)", noun: "a whole number", forms: forms,
            json: [("type", .string("integer")), ("minimum", .int(range.lowerBound)), ("maximum", .int(range.upperBound))])
        return .word(word) { text throws(Flaw) in
            guard !text.isEmpty, text.utf8.allSatisfy(isDigit), let value = Int(text) else {
                throw Flaw("\(quoted(text)) is not a whole number")
            }
            guard range.contains(value) else { throw Flaw("\(text) is out of range", code: .outOfRange) }
            return value
        }
    }

    /// Octets: a bare number, or with a unit of a power of 1000 or of 1024.
    static func size(from smallest: Int) -> Syntax {
        let word = Word(
            name: "size", noun: "a size", forms: "a size is a number of octets, bare or with a unit: 10240000, 10MB, 25MiB, 2GiB",
            json: [
                ("type", .array([.string("integer"), .string("string")])), ("minimum", .int(smallest)),
                ("pattern", .string("^[0-9]+([KMGT]i?B)?$")),
            ])
        return .word(word) { text throws(Flaw) in
            let digits = text.prefix { $0.isASCII && $0.isNumber }
            let unit = String(text.dropFirst(digits.count))
            guard !digits.isEmpty, let factor = sizeUnits[unit] else {
                let known = sizeUnits.keys.sorted().first {
                    !$0.isEmpty && lowercasedASCII($0).hasPrefix(lowercasedASCII(unit.filter { $0 != " " })) && unit != ""
                }
                let better = digits.isEmpty ? nil : known.map { "did you mean \(digits)\($0)? \(word.forms)" }
                throw Flaw("\(quoted(text)) is not a size", hint: better)
            }
            // What JSON and every 64-bit reader hold without loss; nobody has so much disk.
            let largest = 1 << 53
            let (octets, isTooMuch) = (Int(digits) ?? .max).multipliedReportingOverflow(by: factor)
            guard !isTooMuch, octets <= largest else { throw Flaw("\(text) is too large", code: .outOfRange, hint: "at most 8192TiB") }
            guard octets >= smallest else { throw Flaw("\(text) is too small", code: .outOfRange, hint: "at least \(smallest)") }
            return octets
        }
    }
}

private let sizeUnits = [
    "": 1, "B": 1, "KB": 1000, "MB": 1_000_000, "GB": 1_000_000_000, "TB": 1_000_000_000_000,
    "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40,
]

extension Syntax where Value == Duration {
    /// Up to a year: longer is a slip of the unit.
    static var longestDuration: Int { 52 * 7 * 86_400 }

    static func duration() -> Syntax {
        let word = Word(
            name: "duration", noun: "a duration", forms: "a duration is a number with a unit: 30s, 5m, 4h, 5d, 1w",
            json: [("type", .string("string")), ("pattern", .string("^[0-9]+[smhdw]$"))])
        let longest = longestDuration
        return .word(word) { text throws(Flaw) in
            let digits = text.prefix { $0.isASCII && $0.isNumber }
            let unit = String(text.dropFirst(digits.count))
            guard !digits.isEmpty, let factor = durationUnits[unit] else {
                let better = unit.isEmpty ? "\(digits)s" : unit.first.map { "\(digits)\($0.lowercased())" }
                let isClose = !digits.isEmpty && better.map { durationUnits[String($0.suffix(1))] != nil } == true
                throw Flaw("\(quoted(text)) is not a duration", hint: isClose ? "did you mean \(better!)? \(word.forms)" : nil)
            }
            let (seconds, isTooMuch) = (Int(digits) ?? .max).multipliedReportingOverflow(by: factor)
            guard !isTooMuch, seconds <= longest else { throw Flaw("\(text) is too long", code: .outOfRange, hint: "at most 52w") }
            guard seconds > 0 else { throw Flaw("\(text) is too short", code: .outOfRange, hint: "at least 1s") }
            return .seconds(seconds)
        }
    }
}

private let durationUnits = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400]

extension Syntax where Value == Bool {
    static var truth: Syntax { .word(
        Word(name: "boolean", noun: "true or false", forms: "true or false", json: [("type", .string("boolean"))])
    ) { text throws(Flaw) in
        guard let value = truthValue(text) else { throw Flaw("\(quoted(text)) is neither true nor false") }
        return value
    } }
}

extension Syntax where Value == String {
    /// Free text, for people.
    static var text: Syntax { .word(
        Word(name: "text", noun: "a text", forms: "any text", json: [("type", .array([.string("string"), .string("number")]))]), isText: true
    ) { text throws(Flaw) in
        try refuseControls(text)
        return text
    } }

    static var path: Syntax { .word(
        Word(
            name: "path", noun: "a path", forms: "a path; a relative one counts from the working directory",
            json: [("type", .string("string")), ("minLength", .int(1))]), isText: true
    ) { text throws(Flaw) in
        guard !text.isEmpty else { throw Flaw("the path is empty") }
        try refuseControls(text)
        return text
    } }

    /// Escapes in double quotes could bring in what the text itself may not hold: a NUL would cut a path short.
    private static func refuseControls(_ text: String) throws(Flaw) {
        guard text.unicodeScalars.allSatisfy(isPrintable) else { throw Flaw("\(quoted(text)) contains a control character") }
    }
}

extension Syntax where Value: CaseIterable & RawRepresentable & Hashable, Value.RawValue == String, Value.AllCases: Sendable {
    /// One of a closed list of words. `planned`: words to come, with advice.
    static func choice(_ type: Value.Type, planned: [String: String] = [:]) -> Syntax {
        let names = type.allCases.map(\.rawValue)
        let list = names.count == 1 ? names[0] : names.dropLast().joined(separator: ", ") + " or " + names.last!
        let word = Word(
            name: (names + planned.keys.sorted().map { "\($0) (not yet)" }).joined(separator: ", "), noun: list,
            forms: names.count == 1 ? "the only value is \(list)" : "one of: \(names.joined(separator: ", "))",
            json: [("enum", .array(names.map(JSON.string)))])
        return Syntax(form: .word(word)) { node, findings in
            guard case .scalar(let text, _) = node.content, !node.isNull else {
                if node.isUnknown { return nil }
                findings.error(
                    .wrongType, "expected \(word.noun), found \(node.kindName)", at: node.span, hint: node.isTemplateMark ? Node.templateHint : word.forms)
                return nil
            }
            if let value = Value(rawValue: text) { return value }
            if let advice = planned[text] {
                findings.error(.notSupportedYet, "\(quoted(text)) is not supported yet", at: node.span, hint: advice)
            } else {
                let nearest = findings.suggestions.hint(for: text, among: names + planned.keys.sorted())
                findings.error(.invalidValue, "expected \(list), found \(quoted(text))", at: node.span, hint: nearest)
            }
            return nil
        }
    }
}

extension Syntax where Value == Domain {
    static var domain: Syntax { .word(
        Word(name: "domain", noun: "a domain", forms: "a domain such as example.org", json: [("type", .string("string")), ("format", .string("idn-hostname"))]),
        isText: true
    ) { text throws(Flaw) in
        guard let domain = Domain(text), domain.literal == nil else {
            let isList = text.contains(",") || text.contains(" ")
            throw Flaw("\(quoted(text)) is not a domain", hint: text.contains("@") ? "only what stands after the @" : isList ? "one domain only" : nil)
        }
        guard IPAddress(text) == nil else { throw Flaw("\(text) is an address, not a domain") }
        return domain
    } }

    /// The name that the server gives of itself: RFC 5321 §4.1.1.1 wants a fully qualified one, and ASCII goes to every peer.
    static var hostname: Syntax { .word(
        Word(
            name: "host name", noun: "a fully qualified host name", forms: "a host name with its domain, such as mx.example.org",
            json: [("type", .string("string")), ("format", .string("hostname")), ("pattern", .string("\\."))]),
        isText: true
    ) { text throws(Flaw) in
        guard let domain = Domain(text), domain.literal == nil else { throw Flaw("\(quoted(text)) is not a host name") }
        guard domain.isASCII else { throw Flaw("\(quoted(text)) is not ASCII", hint: "write the name in its xn-- form") }
        guard IPAddress(text) == nil else { throw Flaw("\(text) is an address, not a host name") }
        guard text.contains(".") else { throw Flaw("\(quoted(text)) lacks its domain") }
        return domain
    } }
}

extension Syntax where Value == Endpoint {
    static var endpoint: Syntax { .word(
        Word(
            name: "socket address", noun: "an address with a port", forms: "address:port in quotes, such as \"0.0.0.0:25\", \"[::]:25\" or \"127.0.0.1:2525\"",
            json: [("type", .string("string"))])
    ) { text throws(Flaw) in
        guard let endpoint = Endpoint(text), endpoint.port > 0 else {
            if text.utf8.allSatisfy(isDigit), let port = UInt16(text), port > 0 {
                throw Flaw("\(text) is a port without an address", hint: "did you mean \"0.0.0.0:\(text)\" (every IPv4 address)?")
            }
            if IPAddress(text) != nil { throw Flaw("\(quoted(text)) lacks a port") }
            throw Flaw("\(quoted(text)) is not an address with a port from 1 to 65535")
        }
        return endpoint
    } }
}

extension Syntax where Value == NextHop {
    static var nextHop: Syntax { .word(
        Word(
            name: "next hop", noun: "a host", forms: "\"[host]:port\" for this very host, domain:port for the hosts of its MX records, lmtp:[host]:port or lmtp:unix:/path",
            json: [("type", .string("string"))]), isText: true
    ) { text throws(Flaw) in
        guard let hop = NextHop(text) else {
            throw Flaw("\(quoted(text)) is not a host", hint: IPAddress(text) != nil ? "write an address in brackets: \"[\(text)]\"" : nil)
        }
        if case .mailExchangers(let domain) = hop.host, let address = IPAddress(domain.text) {
            throw Flaw("\(quoted(text)) is an address, and addresses have no MX records", hint: "did you mean \"[\(address)]:\(hop.port)\"?")
        }
        return hop
    } }
}

extension Syntax where Value == NextHop {
    static var lmtpHop: Syntax {
        nextHop.then { hop, node, findings in
            guard hop.dialect == .lmtp else {
                findings.error(.invalidValue, "\(hop) is no LMTP server", at: node.span, hint: "write lmtp: before it, or lmtp:unix:/path")
                return nil
            }
            return hop
        }
    }
}

func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }
