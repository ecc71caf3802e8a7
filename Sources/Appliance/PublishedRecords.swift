// Whether the DNS holds what `DomainRecords` asks for: each record is looked up, and what is found is judged by what it does
// and not by its spelling. Other records beside ours are nobody's business: a second exchanger, another PTR.

internal import DNS
internal import MailSyntax
package import Manifest

package struct PublishedRecord: Sendable {
    package enum State: String, Sendable {
        case ok
        /// There is none of this kind.
        case missing
        /// There are some, and ours is not among them.
        case differs
        /// The look-up failed.
        case unknown
    }

    package let record: DomainRecord
    package let state: State
    /// What there is of this kind.
    package let published: [String]
    package let reason: String?
}

package struct PublishedRecords: Sendable {
    package let records: [PublishedRecord]

    /// Asks the resolvers of the manifest, and not /etc/hosts: that is not what others see.
    package init(of records: DomainRecords, _ system: MailSystem) async throws {
        var configuration = resolverConfiguration(system.dns)
        configuration.hosts = HostsTable()
        await self.init(of: records, try DNS.Resolver(configuration))
    }

    init(of records: DomainRecords, _ names: some NameService) async {
        var all = records.records
        var published: [PublishedRecord] = []
        if records.addresses.isEmpty {
            // What is published is what others use: its reverse is to be there.
            let found = await PublishedRecords.addressesOfHost(records, names)
            published += found.published
            all += found.reverse
        }
        for record in all { published.append(await PublishedRecords.judge(record, names)) }
        self.records = published
    }

    private static func addressesOfHost(_ records: DomainRecords, _ names: some NameService) async -> (published: [PublishedRecord], reverse: [DomainRecord]) {
        let host = records.host
        let wanted = DomainRecord(name: "\(host.key).", kind: .a, data: "?", purpose: "the server's address", rule: records.hostRule)
        switch await names.addresses(of: host) {
        case .found(let addresses):
            let found = addresses.map { DomainRecord(name: wanted.name, kind: $0.isV6 ? .aaaa : .a, data: "\($0)", purpose: wanted.purpose, rule: wanted.rule) }
            return (
                found.map { PublishedRecord(record: $0, state: .ok, published: [$0.data], reason: nil) },
                addresses.map { records.reverse(of: $0) }
            )
        case .noSuchName, .noRecords: return ([PublishedRecord(record: wanted, state: .missing, published: [], reason: nil)], [])
        case .failure(let reason): return ([PublishedRecord(record: wanted, state: .unknown, published: [], reason: reason)], [])
        }
    }

    // MARK: One record

    private static func judge(_ record: DomainRecord, _ names: some NameService) async -> PublishedRecord {
        guard let name = Domain(String(record.name.dropLast())) else { return PublishedRecord(record: record, state: .unknown, published: [], reason: "not a name") }
        switch record.kind {
        case .a, .aaaa:
            return outcome(record, await names.addresses(of: name)) { "\($0)" } isRight: { $0.contains { "\($0)" == record.data } }
        case .ptr:
            guard let address = record.address else { return PublishedRecord(record: record, state: .unknown, published: [], reason: "not an address") }
            return outcome(record, await names.names(of: address)) { "\($0.key)." } isRight: { $0.contains { "\($0.key)." == record.data } }
        case .mx: return exchangers(record, await names.mailExchangers(of: name).lookup)
        case .txt: return policy(record, await names.texts(of: name))
        case .srv:
            return outcome(record, await names.services(of: name)) { "\($0.priority) \($0.weight) \($0.port) \($0.host.key)." } isRight: { services in
                services.contains { "\($0.port) \($0.host.key)." == record.data.split(separator: " ").suffix(2).joined(separator: " ") }
            }
        case .tlsa: return await associations(record, name, names)
        }
    }

    private static func outcome<Item>(
        _ record: DomainRecord, _ lookup: Lookup<[Item]>, words: (Item) -> String, isRight: ([Item]) -> Bool
    ) -> PublishedRecord {
        switch lookup {
        case .found(let items): PublishedRecord(record: record, state: isRight(items) ? .ok : .differs, published: items.map(words), reason: nil)
        case .noSuchName, .noRecords: PublishedRecord(record: record, state: .missing, published: [], reason: nil)
        case .failure(let reason): PublishedRecord(record: record, state: .unknown, published: [], reason: reason)
        }
    }

    private static func exchangers(_ record: DomainRecord, _ lookup: Lookup<MailExchange>) -> PublishedRecord {
        let host = record.data.split(separator: " ").last.map(String.init)
        switch lookup {
        case .found(.hosts(let hosts)):
            let published = hosts.sorted { ($0.preference, $0.host) < ($1.preference, $1.host) }
            return PublishedRecord(
                record: record, state: hosts.contains { "\($0.host.key)." == host } ? .ok : .differs, published: published.map { "\($0.preference) \($0.host.key)." },
                reason: nil)
        case .found(.none): return PublishedRecord(record: record, state: .differs, published: ["0 ."], reason: "a null MX: the domain takes no mail")
        case .found(.implicit), .noSuchName, .noRecords: return PublishedRecord(record: record, state: .missing, published: [], reason: nil)
        case .failure(let reason): return PublishedRecord(record: record, state: .unknown, published: [], reason: reason)
        }
    }

    /// RFC 7208 §3.2, §4.5: of the TXT records one is the policy. Ours may say more than was asked of it: what it must have are our
    /// mechanisms; how it ends is for its owner to say.
    private static func policy(_ record: DomainRecord, _ lookup: Lookup<[[UInt8]]>) -> PublishedRecord {
        let texts: [String]
        switch lookup {
        case .found(let records): texts = records.map { String(decoding: $0, as: UTF8.self) }
        case .noSuchName, .noRecords: texts = []
        case .failure(let reason): return PublishedRecord(record: record, state: .unknown, published: [], reason: reason)
        }
        let policies = texts.filter { lowercasedASCII($0) == "v=spf1" || lowercasedASCII($0).hasPrefix("v=spf1 ") }
        let published = policies.map { "\"\($0)\"" }
        guard policies.count < 2 else {
            return PublishedRecord(record: record, state: .differs, published: published, reason: "two policies count as none (RFC 7208 §4.5)")
        }
        guard let policy = policies.first else { return PublishedRecord(record: record, state: .missing, published: [], reason: nil) }
        let words = Set(lowercasedASCII(policy).split(separator: " ").map { $0.first == "+" ? $0.dropFirst() : $0 })
        let wanted = record.data.split { $0 == " " || $0 == "\"" }.filter { !$0.hasSuffix("all") }
        return PublishedRecord(record: record, state: wanted.allSatisfy(words.contains) ? .ok : .differs, published: published, reason: nil)
    }

    private static func associations(_ record: DomainRecord, _ name: Domain, _ names: some NameService) async -> PublishedRecord {
        guard let host = Domain(String(name.key.dropFirst("_25._tcp.".count))) else {
            return PublishedRecord(record: record, state: .unknown, published: [], reason: "not a name")
        }
        let lookup: Lookup<[CertificateAssociations.Record]>
        switch await names.certificateAssociations(of: host, port: 25) {
        case .found(let found): lookup = .found(found.records)
        case .noSuchName, .noRecords:
            return PublishedRecord(record: record, state: .missing, published: [], reason: "or not secured by DNSSEC, without which it does not count")
        case .failure(let reason): lookup = .failure(reason: reason)
        }
        return outcome(record, lookup, words: \.full) { $0.contains { $0.full == record.data } }
    }
}

extension CertificateAssociations.Record {
    fileprivate var full: String { "\(usage) \(selector) \(matchingType) \(data.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())" }
}
