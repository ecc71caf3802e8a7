// What changes when one manifest takes the place of another: who gets mail, who may send it, what is listened at, which values
// differ, and where queued mail goes. Pure: two manifests in, a value out; `valija plan` shows it.
//
// Addresses are compared by what both routers answer, one by one for all that either manifest names, once for all local domains
// together, since every user and alias exists in each of them. `*@DOMAIN` stands for all that neither names.

internal import MailSyntax
package import Manifest
internal import Routing

package struct ManifestComparison: Sendable {
    /// One thing that differs. Nil: it was not there, or is not any more.
    package struct Change: Hashable, Sendable {
        package let name: String
        package var from: String?
        package var to: String?
    }

    /// As many changes as were asked for, and how many there are.
    package struct Listing: Sendable {
        package private(set) var count = 0
        package private(set) var shown: [Change] = []

        fileprivate mutating func add(_ change: Change, most: Int) {
            count += 1
            if shown.count < most { shown.append(change) }
        }
    }

    /// A recipient in the queue, as `GET /queue?format=recipients` lists it.
    package struct Queued: Sendable {
        let id: String
        let user: String?
        let address: Address

        /// Nil: that is no such line.
        package init?(line: Substring) {
            let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
            guard parts.count == 3, let address = Address(String(parts[2])) else { return nil }
            id = String(parts[0])
            user = parts[1].isEmpty ? nil : String(parts[1])
            self.address = address
        }
    }

    package struct Reroute: Sendable {
        package let from: String
        package let to: String
        package fileprivate(set) var messages = 0
        package fileprivate(set) var ids: [String] = []
    }

    package private(set) var begins = Listing()
    package private(set) var ceases = Listing()
    package private(set) var leadsElsewhere = Listing()
    /// Who may send mail to anywhere: networks, and users by login.
    package private(set) var relaying: [Change] = []
    package private(set) var listeners: [Change] = []
    package private(set) var values = Listing()
    /// Of `values`, those that a reload refuses.
    package private(set) var needsRestart: [Change] = []
    package private(set) var queue: [Reroute] = []

    package var isEmpty: Bool {
        begins.count + ceases.count + leadsElsewhere.count + values.count == 0 && relaying.isEmpty && listeners.isEmpty && queue.isEmpty
    }

    /// What a server that runs cannot change: `Reload` refuses it.
    static let fixedKeys: Set<String> = ["queue.directory", "logging.format"]

    private let old: Side
    private let new: Side
    private let most: Int

    /// `most`: changes of one kind that are kept; all are counted.
    package init(from old: MailSystem, to new: MailSystem, queue queued: [Queued] = [], most: Int) {
        (self.old, self.new, self.most) = (Side(old), Side(new), most)
        compareAddresses()
        compareRelaying()
        compareListeners()
        compareValues()
        compareQueue(queued)
    }

    // MARK: Addresses

    private mutating func compareAddresses() {
        var localNames: [[Bool]: [String]] = [:]
        let origins = [old.system.origin.value, new.system.origin.value]
        let names = Set(old.domains.keys).union(new.domains.keys).union(origins.map(\.key)).sorted()
        for name in names {
            guard let domain = old.domains[name]?.name.value ?? new.domains[name]?.name.value ?? origins.first(where: { $0.key == name }) else { continue }
            let sides = [old.domains[name], new.domains[name]]
            // What both sides know of a local domain is the same for each of them: looked up once, shown for all.
            let isShared = sides.allSatisfy { if case .local? = $0?.kind { true } else { $0 == nil } }
            let category = sides.map { $0 != nil }
            var candidates: [String]
            if isShared, let known = localNames[category] {
                candidates = known
            } else {
                candidates = Set(old.names(in: sides[0]) + new.names(in: sides[1]) + ["postmaster"]).sorted()
                if isShared {
                    candidates = candidates.filter { difference(Address(localPart: $0, domain: domain)) != nil }
                    localNames[category] = candidates
                }
            }
            for candidate in candidates { note(Address(localPart: candidate, domain: domain), as: "\(candidate)@\(domain)") }
            note(Address(localPart: unnamed(besides: candidates), domain: domain), as: "*@\(domain)")
        }
        if old.system.addressExtension.value != new.system.addressExtension.value {
            if let mark = old.system.addressExtension.value { ceases.add(Change(name: "NAME\(mark)TEXT for every NAME", from: "NAME"), most: most) }
            if let mark = new.system.addressExtension.value { begins.add(Change(name: "NAME\(mark)TEXT for every NAME", to: "NAME"), most: most) }
        }
    }

    private func difference(_ address: Address) -> (from: String?, to: String?)? {
        let (from, to) = (old.ends(address), new.ends(address))
        return from == to ? nil : (from, to)
    }

    private mutating func note(_ address: Address, as name: String) {
        guard let (from, to) = difference(address) else { return }
        let change = Change(name: name, from: from, to: to)
        if from == nil {
            begins.add(change, most: most)
        } else if to == nil {
            ceases.add(change, most: most)
        } else {
            leadsElsewhere.add(change, most: most)
        }
    }

    /// Letters and digits alone: no extension of it is anybody's.
    private func unnamed(besides names: [String]) -> String {
        let taken = Set(names)
        return (0...).lazy.map { "anyone\($0)" }.first { !taken.contains($0) && !old.localNames.contains($0) && !new.localNames.contains($0) }!
    }

    // MARK: Relaying and listeners

    private mutating func compareRelaying() {
        let (before, after) = (old.system.networks.value, new.system.networks.value)
        for network in before where !after.contains(where: { $0.covers(network) }) {
            let rest = after.filter { network.covers($0) }.map(\.description)
            relaying.append(Change(name: "\(network)", from: "may relay", to: rest.isEmpty ? nil : "only \(rest.joined(separator: ", "))"))
        }
        for network in after where !before.contains(where: { $0.covers(network) }) {
            relaying.append(Change(name: "\(network)", from: nil, to: "may relay"))
        }
        let (usersBefore, usersAfter) = (old.logins, new.logins)
        for user in usersBefore.subtracting(usersAfter).sorted() { relaying.append(Change(name: "user \(user)", from: "may relay with a login")) }
        for user in usersAfter.subtracting(usersBefore).sorted() { relaying.append(Change(name: "user \(user)", to: "may relay with a login")) }
    }

    private mutating func compareListeners() {
        let (before, after) = (old.listeners, new.listeners)
        for listener in before where !after.contains(listener) { listeners.append(Change(name: listener, from: "open")) }
        for listener in after where !before.contains(listener) { listeners.append(Change(name: listener, to: "open")) }
    }

    // MARK: Values

    private mutating func compareValues() {
        let (before, after) = (old.values, new.values)
        let byName = Dictionary(before.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
        let names = Set(after.map(\.name))
        for value in after where byName[value.name] != value { note(byName[value.name], value) }
        for value in before where !names.contains(value.name) { note(value, nil) }
    }

    private mutating func note(_ before: Value?, _ after: Value?) {
        guard let name = after?.name ?? before?.name else { return }
        var change = Change(name: name, from: before?.shown, to: after?.shown)
        if change.from == change.to { (change.from, change.to) = ("as it was", "changed") }
        values.add(change, most: most)
        if ManifestComparison.fixedKeys.contains(name) { needsRestart.append(change) }
    }

    // MARK: The queue

    private mutating func compareQueue(_ queued: [Queued]) {
        var seen: [[String]: (index: Int, ids: Set<String>)] = [:]
        for recipient in queued {
            let (from, to) = (old.place(recipient), new.place(recipient))
            guard from != to else { continue }
            let key = [from, to]
            if seen[key] == nil {
                seen[key] = (queue.count, [])
                queue.append(Reroute(from: from, to: to))
            }
            guard let index = seen[key]?.index, seen[key]!.ids.insert(recipient.id).inserted else { continue }
            queue[index].messages += 1
            if queue[index].ids.count < most { queue[index].ids.append(recipient.id) }
        }
        queue.sort { ($1.messages, $0.from, $0.to) < ($0.messages, $1.from, $1.to) }
    }
}

extension Network {
    /// Every address of `other` is in this one.
    fileprivate func covers(_ other: Network) -> Bool { prefixLength <= other.prefixLength && contains(other.base) }
}
