// Who has failed to log in so often that the next try has to wait. Pure: the time is passed in.
//
// Counted by address (of IPv6 the /64 that one customer has) and by the pair of address and user, never by the user alone: a
// stranger who guesses at a name must not lock its owner out. The wait doubles with each failure and is bounded; memory
// is too, by forgetting whom it is longest ago.

package import MailSyntax

package struct LoginThrottle: Sendable {
    /// Failures that are free: fingers slip, and phones go on trying an old password.
    private static let free = 5
    private static let longestWait: Int64 = 60_000_000  // µs
    /// After this time without a failure all is forgiven.
    private static let memory: Int64 = 900_000_000  // µs
    private let capacity: Int

    private struct Record: Sendable {
        var failures = 0
        var last: Timestamp
    }

    private struct Key: Hashable, Sendable {
        let network: [UInt8]
        let user: String?
    }

    private var records: [Key: Record] = [:]
    var count: Int { records.count }

    package init(capacity: Int = 20_000) { self.capacity = capacity }

    /// How long that client has to wait before a login of that user is looked at; zero: not at all.
    package func delay(client: IPAddress, user: String, now: Timestamp) -> Duration {
        let waits = keys(client, user).compactMap { records[$0] }.map { record -> Int64 in
            let excess = record.failures - LoginThrottle.free
            guard excess >= 0 else { return 0 }
            let wait = min(LoginThrottle.longestWait, 1_000_000 << Int64(min(excess, 6)))
            return max(0, record.last.microseconds + wait - now.microseconds)
        }
        return .microseconds(waits.max() ?? 0)
    }

    package mutating func failed(client: IPAddress, user: String, now: Timestamp) {
        for key in keys(client, user) {
            var record = records[key] ?? Record(last: now)
            if now.microseconds - record.last.microseconds > LoginThrottle.memory { record.failures = 0 }
            record.failures += 1
            record.last = now
            records[key] = record
        }
        if records.count > capacity { forget(now) }
    }

    /// The owner is here: what this address failed at with that name was slips.
    package mutating func succeeded(client: IPAddress, user: String) {
        records[Key(network: network(client), user: lowercasedASCII(user))] = nil
    }

    private func keys(_ client: IPAddress, _ user: String) -> [Key] {
        let network = network(client)
        return [Key(network: network, user: nil), Key(network: network, user: lowercasedASCII(user))]
    }

    private func network(_ client: IPAddress) -> [UInt8] { client.isV6 ? Array(client.bytes.prefix(8)) : client.bytes }

    /// Drops what is forgiven, and if that is not enough the older half: rarely, so that each failure costs little.
    private mutating func forget(_ now: Timestamp) {
        records = records.filter { now.microseconds - $0.value.last.microseconds <= LoginThrottle.memory }
        guard records.count > capacity / 2 else { return }
        let middle = records.values.map(\.last).sorted()[records.count - capacity / 2]
        records = records.filter { $0.value.last >= middle }
    }
}
