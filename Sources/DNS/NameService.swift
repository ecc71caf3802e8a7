// What mail asks of the names on the net, as a protocol, so that tests and dry runs answer from memory.
//
// Errors are part of the answers: for mail it decides between "never" and "later" whether a name does not exist, has no
// record of that type, or could not be looked up.

package import MailSyntax

/// The answer to one question.
package enum Lookup<Value: Sendable>: Sendable {
    /// Never empty where `Value` is a collection.
    case found(Value)
    /// There is no such name (NXDOMAIN).
    case noSuchName
    /// The name exists and has no such record.
    case noRecords
    /// Nobody knows now: ask again later. The reason is for logs and reports.
    case failure(reason: String)
}

extension Lookup: Equatable where Value: Equatable {}

/// An answer, and whether DNSSEC vouches for it (RFC 4035 §4.3): for what is there as for what is not.
///
/// A bogus answer, whose signatures do not fit, never comes here: it is a `failure`.
package struct Answer<Value: Sendable>: Sendable {
    package let lookup: Lookup<Value>
    package let isSecure: Bool

    package init(_ lookup: Lookup<Value>, isSecure: Bool = false) {
        self.lookup = lookup
        self.isSecure = isSecure
    }
}

extension Answer: Equatable where Value: Equatable {}

/// Which hosts take mail for a domain (RFC 5321 §5.1).
package enum MailExchange: Hashable, Sendable {
    /// In no particular order; never empty.
    case hosts([MailExchanger])
    /// The domain has no MX: it is its own and only exchanger, if it has an address.
    case implicit
    /// The null MX of RFC 7505: the domain takes no mail at all.
    case none
}

package struct MailExchanger: Hashable, Sendable {
    /// Lower is preferred.
    package let preference: UInt16
    package let host: Domain

    package init(preference: UInt16, host: Domain) {
        self.preference = preference
        self.host = host
    }
}

package protocol NameService: Sendable {
    /// The IPv4 and IPv6 addresses of a host; of an address literal, the address in it.
    func addresses(of host: Domain) async -> Lookup<[IPAddress]>
    /// `noRecords` is never among the answers: it is `implicit`.
    func mailExchangers(of domain: Domain) async -> Answer<MailExchange>
    /// The names that the reverse zone gives an address. Whoever believes one must look up its addresses: `clientName(of:)`.
    func names(of address: IPAddress) async -> Lookup<[Domain]>
    /// TXT records, each with its strings joined (RFC 7208 §3.3, RFC 6376 §3.6.2.2).
    func texts(of name: Domain) async -> Lookup<[[UInt8]]>
    /// Where a service is: `_submission._tcp.example.org` (RFC 2782).
    func services(of name: Domain) async -> Lookup<[ServiceLocation]>
    /// What the DNS says, secured by DNSSEC, of the certificate at a port of a host. Whatever is not secure is `noRecords`.
    func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations>
}

package struct ServiceLocation: Hashable, Sendable {
    package let priority: UInt16
    package let weight: UInt16
    package let port: UInt16
    package let host: Domain

    package init(priority: UInt16, weight: UInt16, port: UInt16, host: Domain) {
        self.priority = priority
        self.weight = weight
        self.port = port
        self.host = host
    }
}

/// The TLSA records of a service (RFC 6698), for SMTP as RFC 7672 finds them.
package struct CertificateAssociations: Hashable, Sendable {
    /// The name that they were found under and that a certificate must bear (RFC 7672 §2.2.2, §3.2.2).
    package let base: Domain
    /// As they are: whether one can be used is for TLS to judge.
    package let records: [Record]

    package init(base: Domain, records: [Record]) {
        self.base = base
        self.records = records
    }

    package struct Record: Hashable, Sendable, CustomStringConvertible {
        package let usage: UInt8
        package let selector: UInt8
        package let matchingType: UInt8
        package let data: [UInt8]

        package init(usage: UInt8, selector: UInt8, matchingType: UInt8, data: [UInt8]) {
            self.usage = usage
            self.selector = selector
            self.matchingType = matchingType
            self.data = data
        }

        /// In the form of zone files, cut where it gets long.
        package var description: String {
            let digits = data.prefix(16).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
            return "\(usage) \(selector) \(matchingType) \(digits)\(data.count > 16 ? "…" : "")"
        }
    }
}

extension MailExchange {
    /// The meaning of all MX records of a domain, given as rdata. Nil if none of them can be used.
    init?(rdata: [[UInt8]]) {
        var exchangers: [MailExchanger] = []
        var isNull = false
        for record in rdata {
            switch ResourceData.mailExchanger(record) {
            case .null: isNull = true
            case .host(let exchanger): exchangers.append(exchanger)
            case nil: break
            }
        }
        // RFC 7505 §3: a null MX stands alone. Where others stand beside it, those are what the domain must mean.
        if !exchangers.isEmpty {
            self = .hosts(exchangers)
        } else if isNull {
            self = .none
        } else {
            return nil
        }
    }
}

/// Names in memory, for tests and dry runs.
package struct NameTable: NameService {
    package var hosts: [Domain: Lookup<[IPAddress]>]
    package var exchangers: [Domain: Lookup<MailExchange>]
    package var reverse: [IPAddress: Lookup<[Domain]>]
    package var texts: [Domain: Lookup<[[UInt8]]>] = [:]
    package var services: [Domain: Lookup<[ServiceLocation]>] = [:]
    package var associations: [Domain: Lookup<CertificateAssociations>] = [:]
    /// Domains whose exchangers DNSSEC vouches for.
    package var secure: Set<Domain> = []

    package init(
        hosts: [Domain: Lookup<[IPAddress]>] = [:], exchangers: [Domain: Lookup<MailExchange>] = [:],
        reverse: [IPAddress: Lookup<[Domain]>] = [:]
    ) {
        self.hosts = hosts
        self.exchangers = exchangers
        self.reverse = reverse
    }

    package func addresses(of host: Domain) async -> Lookup<[IPAddress]> {
        if let literal = host.literal { return .found([literal]) }
        return hosts[host] ?? .noSuchName
    }

    package func mailExchangers(of domain: Domain) async -> Answer<MailExchange> {
        Answer(exchangers[domain] ?? (hosts[domain] == nil ? .noSuchName : .found(.implicit)), isSecure: secure.contains(domain))
    }

    package func names(of address: IPAddress) async -> Lookup<[Domain]> { reverse[address] ?? .noSuchName }

    package func texts(of name: Domain) async -> Lookup<[[UInt8]]> { texts[name] ?? .noSuchName }

    package func services(of name: Domain) async -> Lookup<[ServiceLocation]> { services[name] ?? .noSuchName }

    package func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations> {
        associations[host] ?? .noRecords
    }
}
