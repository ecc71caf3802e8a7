// Where mail that is passed on is handed to. In Postfix's order (trivial-rewrite(8)): the next hop of the relay domain or of the
// recipient's route, then that of the sender, then the relayhost, then the MX records.

package import MailSyntax

extension Router {
    /// For `address`, of a relay domain or outside; a nil sender is the null sender, or not known.
    package func nextHop(for address: Address, from sender: Address? = nil, trace: Trace? = nil) -> NextHop {
        let domain = address.domain
        if let index = tables.domain(domain), case .relay(let via?, _) = tables.domains[index].kind {
            let of = tables.domains[index]
            trace?.note(.nextHop, domain.text, "goes to \(via)", rule: tables.rule(of.viaLine, "domains.\(of.name).via"))
            return via
        }
        if let route = tables.route(to: address) { return follow(route, "routes", domain, trace) }
        if let sender, let route = tables.route(from: sender) { return follow(route, "sender_routes", domain, trace) }
        let relayhostRule = { tables.rule(tables.relayhostLine, "relayhost") }
        if let relayhost = tables.relayhost {
            trace?.note(.nextHop, domain.text, "goes to \(relayhost)", rule: relayhostRule())
            return relayhost
        }
        trace?.note(.nextHop, domain.text, domain.literal == nil ? "goes to the hosts of its MX records" : "goes to that very host", rule: relayhostRule())
        return exchangers(of: domain)
    }

    private func follow(_ route: OutsideRoute, _ key: String, _ domain: Domain, _ trace: Trace?) -> NextHop {
        let what = route.hop.map { "goes to \($0)" } ?? "goes to the hosts of its MX records"
        trace?.note(.nextHop, domain.text, what, rule: tables.rule(route.line, "\(key).\(route.pattern)"))
        return route.hop ?? exchangers(of: domain)
    }

    /// RFC 5321 §5.1: an address literal names the host itself, there is no MX to look up.
    private func exchangers(of domain: Domain) -> NextHop {
        NextHop(host: domain.literal.map(NextHop.Host.address) ?? .mailExchangers(of: domain))
    }
}

extension RoutingTables {
    /// transport(5): the address, the address without its extension, the domain, the nearest domain above it.
    func route(to address: Address) -> Router.OutsideRoute? {
        guard !routes.isEmpty else { return nil }
        if let route = routes[addressKey(address)] { return route }
        if let base = withoutExtension(address.localKey),
            let route = routes[addressKey(Address(localPart: base, domain: address.domain))] { return route }
        var rest = Substring(address.domain.key)
        if let route = routes[String(rest)] { return route }
        while let dot = rest.firstIndex(of: ".") {
            rest = rest[rest.index(after: dot)...]
            if let route = routes[".\(rest)"] { return route }
        }
        return nil
    }

    /// postconf(5) sender_dependent_relayhost_maps: the address, then its domain.
    func route(from sender: Address) -> Router.OutsideRoute? {
        guard !senderRoutes.isEmpty else { return nil }
        if let route = senderRoutes[addressKey(sender)] { return route }
        if let base = withoutExtension(sender.localKey),
            let route = senderRoutes[addressKey(Address(localPart: base, domain: sender.domain))] { return route }
        return senderRoutes[sender.domain.key]
    }

    private func addressKey(_ address: Address) -> String { lowercasedASCII(address.description) }
}
