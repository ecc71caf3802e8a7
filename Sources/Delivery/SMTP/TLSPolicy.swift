// What is asked of the servers that mail goes to, by the next hop that it goes by: the manifest's levels as values. Which server
// gets which demand in the end, `TLSDecision` says.

internal import DNS
package import MailSyntax

package struct TLSPolicy: Sendable {
    package enum Level: Hashable, Sendable {
        /// No TLS.
        case none
        /// Where the server offers it, with any certificate (RFC 7435).
        case may
        /// With any certificate, or not at all.
        case encrypt
        /// With a certificate of the trust store's authorities for one of the names, or not at all.
        case verify
        /// As TLSA records have it (RFC 7672); `may` where there are none.
        case dane
    }

    package struct Rule: Hashable, Sendable {
        package var level: Level
        /// For `verify`; empty: those that `TLSPolicy.names(of:)` says.
        package var names: [String]

        package init(_ level: Level, names: [String] = []) {
            self.level = level
            self.names = names
        }
    }

    /// Where no other rule is for the hop.
    package var level: Level
    package var hops: [NextHop: Rule] = [:]
    /// By the domain, in lower case, whose subdomains they are for.
    package var subdomains: [String: Rule] = [:]
    /// Whether TLS begins with the first octet; others by their port.
    package var implicit: [NextHop: Bool] = [:]

    package init(level: Level = .none) { self.level = level }

    /// As Postfix looks up `smtp_tls_policy_maps`: the next hop as it is written, then, of a domain without a port, the domains that
    /// it lies under, nearest first.
    package func rule(for hop: NextHop) -> Rule {
        // Where that is, it is this server's own mailboxes.
        guard hop.dialect == .smtp else { return Rule(.none) }
        if let rule = hops[hop] { return rule }
        guard case .mailExchangers(let domain) = hop.host, hop.port == NextHop.smtpPort, !subdomains.isEmpty else { return Rule(level) }
        var name = Substring(domain.key)
        while let dot = name.firstIndex(of: ".") {
            name = name[name.index(after: dot)...]
            if let rule = subdomains[String(name)] { return rule }
        }
        return Rule(level)
    }

    /// RFC 8314 §7.3: port 465 is for TLS from the first octet.
    package func isImplicit(_ hop: NextHop) -> Bool { implicit[hop] ?? (hop.dialect == .smtp && hop.port == 465) }

    /// Whom a certificate must be for where nobody says it: what the manifest or the sender calls the place. Names that an MX record says
    /// are whoever's who can forge one. Postfix has the same at its level `secure` (`nexthop, dot-nexthop`).
    package static func names(of hop: NextHop) -> [String] {
        switch hop.host {
        case .mailExchangers(let domain):
            let name = Punycode.ascii(domain) ?? domain.key
            return [name, ".\(name)"]
        case .name(let host): return [Punycode.ascii(host) ?? host.key]
        case .address(let address): return [address.description]
        case .socket: return []
        }
    }
}

/// What one message asks of every server on its way, whatever the manifest asks; each includes those before it.
package enum TLSMinimum: Int, Comparable, Hashable, Sendable {
    case any
    /// A login whose password nobody may hear.
    case encrypted
    /// By a server that has proved who it is.
    case authenticated

    package static func < (a: TLSMinimum, b: TLSMinimum) -> Bool { a.rawValue < b.rawValue }
}

/// All that is asked for one connection. One that was made under another demand is not used.
package struct TLSDemand: Hashable, Sendable {
    package var rule: TLSPolicy.Rule
    package var minimum: TLSMinimum
    package var isImplicit: Bool

    package init(_ rule: TLSPolicy.Rule, minimum: TLSMinimum = .any, isImplicit: Bool = false) {
        self.rule = rule
        self.minimum = minimum
        self.isImplicit = isImplicit
    }

    /// What it comes to.
    package var level: TLSPolicy.Level {
        switch rule.level {
        case .none, .may: isImplicit || minimum == .encrypted ? .encrypt : minimum == .authenticated ? .verify : rule.level
        case .encrypt: minimum == .authenticated ? .verify : .encrypt
        case .verify, .dane: rule.level
        }
    }
}
