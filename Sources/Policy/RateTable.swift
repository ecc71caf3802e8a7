// How much each client and each user did in the last minute, and whether that is too much: what anvil(8) is to Postfix.
//
// The counts of a subject begin with its first event and start over a minute after it. Everything is counted, also what is
// then refused: whoever keeps trying stays out. Memory is bounded: where more subjects come than there is room for, those
// that did least are forgotten, so that a flood from many addresses hides no single busy one.

package import MailSyntax

package struct RateTable: Sendable {
    /// Who is counted.
    package enum Subject: Hashable, Sendable {
        case client(IPAddress)
        /// In lower case.
        case user(String)

        /// An IPv6 host has all addresses of its network to choose from (RFC 4291 §2.5.4: 64 bits of interface identifier), so
        /// the network counts as one client.
        package static func network(of address: IPAddress) -> Subject {
            guard address.isV6 else { return .client(address) }
            return .client(IPAddress(bytes: address.bytes[..<8] + [UInt8](repeating: 0, count: 8)))
        }
    }

    package enum Activity: Int, CaseIterable, Sendable { case connections, messages, recipients, errors, logins }

    private struct Entry {
        let since: Int64
        var counts = SIMD8<UInt32>()

        var total: UInt32 { counts.wrappedSum() }
    }

    /// Seconds; limits are per minute.
    private static let interval: Int64 = 60

    private let capacity: Int
    private var entries: [Subject: Entry] = [:]

    /// A subject takes some hundred octets.
    package init(capacity: Int = 20_000) { self.capacity = capacity }

    package var count: Int { entries.count }

    /// Counts one more and says how many that makes. `now`: seconds of any clock that only runs forward.
    package mutating func note(_ activity: Activity, by subject: Subject, at now: Int64) -> Int {
        var entry = current(subject, at: now)
        if entry == nil {
            if entries.count >= capacity { makeRoom(at: now) }
            entry = Entry(since: now)
        }
        entry!.counts[activity.rawValue] &+= 1
        entries[subject] = entry
        return Int(entry!.counts[activity.rawValue])
    }

    /// How many there were, without counting.
    package func noted(_ activity: Activity, by subject: Subject, at now: Int64) -> Int {
        current(subject, at: now).map { Int($0.counts[activity.rawValue]) } ?? 0
    }

    private func current(_ subject: Subject, at now: Int64) -> Entry? {
        guard let entry = entries[subject], now - entry.since < RateTable.interval else { return nil }
        return entry
    }

    /// Drops what is over; where that is too little, the less busy half. Either pays for as many events as it drops entries.
    private mutating func makeRoom(at now: Int64) {
        entries = entries.filter { now - $0.value.since < RateTable.interval }
        guard entries.count > capacity / 2 else { return }
        let busiest = entries.sorted { $0.value.total > $1.value.total }.prefix(capacity / 2)
        entries = Dictionary(uniqueKeysWithValues: busiest.map { ($0.key, $0.value) })
    }
}
