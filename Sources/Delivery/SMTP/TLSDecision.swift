// From what is asked and what is known of one server to what is done there: pure, so that every case can be tested and explained.

package import DNS
package import MailSyntax
package import TLS

package enum TLSDecision: Hashable, Sendable {
    case clear
    /// `mayGoClear`: without it where the server offers none or it does not come about.
    case encrypt(PeerRequirement, mayGoClear: Bool)
    /// No mail goes to this server; another may do.
    case skip(Reply)

    /// RFC 7672 §2.2.1: TLSA records of a host to which an MX record led that anybody could forge prove nothing, and are not looked up.
    package static func needsAssociations(_ demand: TLSDemand, _ target: Target) -> Bool {
        (demand.rule.level == .dane || demand.minimum == .authenticated && demand.rule.level != .verify) && target.isSecure && target.address != nil && IPAddress(target.host) == nil
    }

    /// `associations`: of the server, where they were looked up.
    package static func decide(
        _ demand: TLSDemand, _ hop: NextHop, _ target: Target, associations: Lookup<CertificateAssociations>? = nil
    ) -> TLSDecision {
        let anybody = PeerRequirement(serverName: serverName(target))
        switch demand.rule.level {
        case .verify: return .encrypt(verified(demand.rule, hop, target), mayGoClear: false)
        case .none where demand.minimum == .any && !demand.isImplicit: return .clear
        case _ where needsAssociations(demand, target):
            switch associations {
            case .failure(let reason):
                // RFC 7672 §2.1.2: whoever can keep the records away must not thereby have mail sent without them.
                return .skip(Reply(451, EnhancedCode(4, 7, 5), "TLSA records of host \(target.peer) could not be looked up: \(reason)"))
            case .found(let found):
                let usable = found.records.map(TLSARecord.init).filter(\.isUsable)
                if !usable.isEmpty { return .encrypt(dane(found.base, usable, hop), mayGoClear: false) }
                // RFC 7672 §2.2: none that can be used: TLS all the same, with whomever.
                if demand.minimum < .authenticated { return .encrypt(anybody, mayGoClear: false) }
            case nil, .noSuchName, .noRecords: break
            }
        default: break
        }
        if demand.minimum == .authenticated { return .encrypt(verified(demand.rule, hop, target, mayBeTarget: true), mayGoClear: false) }
        let isRequired = demand.rule.level == .encrypt || demand.minimum == .encrypted || demand.isImplicit
        return .encrypt(anybody, mayGoClear: !isRequired)
    }

    /// `mayBeTarget`: for the host as well to which a name led that nobody can forge (RFC 8689 §2, with DNSSEC).
    private static func verified(_ rule: TLSPolicy.Rule, _ hop: NextHop, _ target: Target, mayBeTarget: Bool = false) -> PeerRequirement {
        var names = rule.names
        if names.isEmpty {
            names = TLSPolicy.names(of: hop)
            if mayBeTarget, target.isSecure, let host = serverName(target), !names.contains(host) { names.append(host) }
        }
        return PeerRequirement(serverName: serverName(target), verification: .names(names))
    }

    /// RFC 7672 §8.1: the name to ask for is the base domain; §3.2.2: with DANE-TA the certificate may be for the next hop, too.
    private static func dane(_ base: Domain, _ records: [TLSARecord], _ hop: NextHop) -> PeerRequirement {
        let base = Punycode.ascii(base) ?? base.key
        let names = TLSPolicy.names(of: hop).prefix(1).filter { $0 != base }
        return PeerRequirement(serverName: base, verification: .dane(base: base, names: Array(names), records: records))
    }

    /// RFC 6066 §3: an address is no name.
    private static func serverName(_ target: Target) -> String? {
        guard let domain = Domain(target.host), IPAddress(target.host) == nil, target.address != nil else { return nil }
        return Punycode.ascii(domain) ?? domain.key
    }
}

extension TLSARecord {
    init(_ record: CertificateAssociations.Record) {
        self.init(usage: record.usage, selector: record.selector, matchingType: record.matchingType, data: record.data)
    }
}
