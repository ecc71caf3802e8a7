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
    func mailExchangers(of domain: Domain) async -> Lookup<MailExchange>
    /// The names that the reverse zone gives an address. Whoever believes one must look up its addresses.
    func names(of address: IPAddress) async -> Lookup<[Domain]>
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

    package func mailExchangers(of domain: Domain) async -> Lookup<MailExchange> {
        exchangers[domain] ?? (hosts[domain] == nil ? .noSuchName : .found(.implicit))
    }

    package func names(of address: IPAddress) async -> Lookup<[Domain]> { reverse[address] ?? .noSuchName }
}
