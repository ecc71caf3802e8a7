// The manifest's names, hashed, and the order in which an address looks for itself among them. One step only:
// what the found entry leads to is `Expansion`'s.

internal import MailSyntax

/// The entry that an address or a bare name hits. Numbers are positions in the manifest's order.
enum Match: Hashable {
    case alias(Int)
    case user(Int)
    /// Of a virtual domain; `entry` nil is its catch-all.
    case virtual(domain: Int, entry: Int?)
    /// Of a relay domain; `recipient` nil where it has no list.
    case relay(domain: Int, recipient: Int?)
    /// An address of a domain of ours, or (nil) a bare name, that nobody has.
    case nobody(domain: Int?)
    case outside
}

struct RoutingTables: Sendable {
    let manifest: String
    let domains: [Router.MailDomain]
    let users: [Router.User]
    let aliases: [Router.Entry]
    let relayhost: NextHop?
    let relayhostLine: Int?
    /// False: an alias that is a list is where a way ends for now.
    let opensLists: Bool
    /// By pattern.
    let routes: [String: Router.OutsideRoute]
    let senderRoutes: [String: Router.OutsideRoute]
    private let origin: Domain
    private let delimiter: UInt8?

    // Keys are in lower case. 32 bits a position: 100,000 users are a table of 5 MB, not of 8.
    private let domainNumbers: [String: Int32]
    private let userNumbers: [String: Int32]
    private let aliasNumbers: [String: Int32]
    /// For each domain the addresses of a virtual or the recipients of a relay one; empty for others.
    private let addressNumbers: [[String: Int32]]

    init(_ configuration: Router.Configuration) {
        manifest = configuration.manifest
        domains = configuration.domains
        users = configuration.users
        aliases = configuration.aliases
        relayhost = configuration.relayhost
        relayhostLine = configuration.relayhostLine
        routes = Dictionary(configuration.routes.map { ($0.pattern, $0) }, uniquingKeysWith: { first, _ in first })
        senderRoutes = Dictionary(configuration.senderRoutes.map { ($0.pattern, $0) }, uniquingKeysWith: { first, _ in first })
        origin = configuration.origin
        opensLists = configuration.opensLists
        delimiter = configuration.extensionDelimiter
        domainNumbers = numbered(configuration.domains, by: \.name.key)
        userNumbers = numbered(configuration.users, by: \.name)
        aliasNumbers = numbered(configuration.aliases, by: \.name)
        addressNumbers = configuration.domains.map { domain in
            switch domain.kind {
            case .local: [:]
            case .virtual(let entries, _): numbered(entries, by: \.name)
            case .relay(_, let recipients): numbered(recipients ?? [], by: \.name)
            }
        }
    }

    func domain(_ domain: Domain) -> Int? { domainNumbers[domain.key].map(Int.init) }

    /// Address literals are in no table: mail to them is outside.
    func match(_ address: Address, _ trace: Trace? = nil) -> Match {
        let key = address.localKey
        guard let number = domain(address.domain) else {
            // Where the origin is none of our domains, the bare postmaster of RFC 5321 §4.5.1 arrives with it.
            let isBarePostmaster = isPostmaster(key) && address.domain == origin
            trace?.note(
                .domain, address.domain.text, isBarePostmaster ? "is the origin, and its postmaster is ours" : "is outside, none of the domains here")
            return isBarePostmaster ? match(key: key, ifNone: .outside, trace) : .outside
        }
        let nobody = Match.nobody(domain: number)
        trace?.note(.domain, address.domain.text, "is \(kindName(ofDomain: number))", rule: rule(of: nobody))
        switch domains[number].kind {
        case .local:
            return match(key: key, ifNone: nobody, trace)
        case .virtual(_, let catchAll):
            if let entry = number32(of: key, in: addressNumbers[number], trace) { return .virtual(domain: number, entry: entry) }
            if catchAll != nil { return .virtual(domain: number, entry: nil) }
        case .relay(_, let recipients):
            guard recipients != nil else { return .relay(domain: number, recipient: nil) }
            if let recipient = number32(of: key, in: addressNumbers[number], trace) { return .relay(domain: number, recipient: recipient) }
        }
        // RFC 5321 §4.5.1: every domain has a postmaster; ours stands in where the domain names none.
        return isPostmaster(key) ? match(key: key, ifNone: nobody, trace) : nobody
    }

    /// The local look-up, which bare names anywhere in the manifest mean too.
    func match(name: String, _ trace: Trace? = nil) -> Match { match(key: lowercasedASCII(name), ifNone: .nobody(domain: nil), trace) }

    private func match(key: String, ifNone: Match, _ trace: Trace?) -> Match {
        if let found = exactMatch(key) { return found }
        trace?.note(.lookup, key, "is no alias and no user")
        if let base = withoutExtension(key) {
            if let found = exactMatch(base) { return found }
            trace?.note(.lookup, base, "is no alias and no user")
        }
        guard isPostmaster(key), !users.isEmpty else { return ifNone }
        trace?.note(.lookup, key, "goes to the first user, since nobody is named so")
        return .user(0)
    }

    private func isPostmaster(_ key: String) -> Bool { key == postmaster || withoutExtension(key) == postmaster }

    private func exactMatch(_ key: String) -> Match? {
        if let alias = aliasNumbers[key] { return .alias(Int(alias)) }
        return userNumbers[key].map { .user(Int($0)) }
    }

    /// By the name, then by the name without its extension.
    private func number32(of key: String, in table: [String: Int32], _ trace: Trace?) -> Int? {
        if let number = table[key] { return Int(number) }
        trace?.note(.lookup, key, "is not in its list")
        guard let base = withoutExtension(key) else { return nil }
        if let number = table[base] { return Int(number) }
        trace?.note(.lookup, base, "is not in its list")
        return nil
    }

    /// `alice` for `alice+lists`. A delimiter at the start begins no extension: what is left would name nobody.
    func withoutExtension(_ key: String) -> String? {
        guard let delimiter, let end = key.utf8.firstIndex(of: delimiter), end > key.startIndex else { return nil }
        return String(key[..<end])
    }

    /// The user that an alias means when it lists its own name.
    func user(ofAlias number: Int) -> Int? { user(named: aliases[number].name) }

    /// Of a name in lower case.
    func aliasNumber(_ key: String) -> Int? { aliasNumbers[key].map(Int.init) }

    func user(named name: String) -> Int? { userNumbers[lowercasedASCII(name)].map(Int.init) }

    private func kindName(ofDomain number: Int) -> String {
        switch domains[number].kind {
        case .local: "a local domain"
        case .virtual: "a virtual domain"
        case .relay(_, nil): "a relay domain that takes every address"
        case .relay(_, _?): "a relay domain with a list of recipients"
        }
    }

    func targets(ofVirtual entry: Int?, in number: Int) -> [Router.Target] {
        guard case .virtual(let entries, let catchAll) = domains[number].kind else { return [] }
        return (entry.map { entries[$0] } ?? catchAll)?.targets ?? []
    }

    /// What a person calls it.
    func name(of match: Match) -> String {
        switch match {
        case .alias(let number): return aliases[number].name
        case .user(let number): return users[number].name
        case .virtual(let number, let entry):
            guard case .virtual(let entries, _) = domains[number].kind else { return "" }
            return "\(entry.map { entries[$0].name } ?? "*")@\(domains[number].name)"
        case .relay(let number, let recipient):
            guard case .relay(_, let recipients) = domains[number].kind else { return "" }
            let name = recipient.flatMap { recipients?[$0].name }
            return name.map { "\($0)@\(domains[number].name)" } ?? domains[number].name.text
        case .nobody, .outside: return ""
        }
    }

    func rule(of match: Match) -> Rule {
        switch match {
        case .alias(let number): return rule(aliases[number].line, "aliases.\(aliases[number].name)")
        case .user(let number): return rule(users[number].line, "users.\(users[number].name)")
        case .virtual(let number, let entry):
            guard case .virtual(let entries, let catchAll) = domains[number].kind else { break }
            let found = entry.map { entries[$0] } ?? catchAll
            return rule(found?.line, "domains.\(domains[number].name).addresses.\(found?.name ?? "*")")
        case .relay(let number, let recipient?):
            guard case .relay(_, let recipients?) = domains[number].kind else { break }
            return rule(recipients[recipient].line, "domains.\(domains[number].name).recipients")
        case .relay(let number, nil), .nobody(let number?):
            return rule(domains[number].line, "domains.\(domains[number].name)")
        case .nobody(nil), .outside: break
        }
        // No address is routed to these: the router asks for the rule of what `match(_: Address)` found.
        return "default outside"
    }

    func rule(_ line: Int?, _ path: String) -> Rule {
        if let line { "\(manifest):\(line) \(path)" } else { "default \(path)" }
    }
}

private let postmaster = "postmaster"

/// Positions by name in lower case; of equal names the first counts.
private func numbered<Element>(_ elements: [Element], by name: (Element) -> String) -> [String: Int32] {
    var numbers = [String: Int32](minimumCapacity: elements.count)
    for (number, element) in elements.enumerated() {
        let key = lowercasedASCII(name(element))
        if numbers[key] == nil { numbers[key] = Int32(number) }
    }
    return numbers
}
