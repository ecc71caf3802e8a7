// The names of clients, as the DNS has them: looked up while a client says EHLO, and waited for at MAIL, so that neither the event
// loop nor the greeting waits for a name server. Bounded: in time, in look-ups under way, in what is kept of them.
//
// A name counts if it leads back to the address, as Postfix's smtpd_peer.c wants it; whoever owns an address can give it any name.

internal import DNS
internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import Policy

final class ClientNames: Sendable {
    private struct State {
        var known: [IPAddress: (name: ReverseName, until: NIODeadline)] = [:]
        var underWay = 0
    }

    /// Answers come within a second or not at all; a client is not to wait longer than a patient one would (`ReverseName.unavailable`).
    static let timeout = TimeAmount.seconds(5)
    /// Look-ups at a time: a flood of clients is not to become a flood of queries.
    private static let mostUnderWay = 1000
    private static let mostKnown = 10_000
    /// How long an answer is good: the next connections of a client come within that, and a changed zone is seen soon.
    private static let lifetime = TimeAmount.seconds(60)

    private let resolver: any NameService
    private let state = NIOLockedValueBox(State())

    init(resolver: any NameService) { self.resolver = resolver }

    /// What is known already.
    func known(_ address: IPAddress, at now: NIODeadline) -> ReverseName? {
        state.withLockedValue { state in state.known[address].flatMap { $0.until > now ? $0.name : nil } }
    }

    /// Nil: so many are looked up already that this one is not.
    func lookUp(_ address: IPAddress, on loop: any EventLoop) -> EventLoopFuture<ReverseName>? {
        let isAllowed = state.withLockedValue { state in
            guard state.underWay < ClientNames.mostUnderWay else { return false }
            state.underWay += 1
            return true
        }
        guard isAllowed else { return nil }
        let promise = loop.makePromise(of: ReverseName.self)
        promise.completeWithTask { [self] in
            let name = await find(address)
            keep(name, of: address, at: .now())
            return name
        }
        return promise.futureResult
    }

    /// What the DNS has of a name in HELO: an address or a mail exchanger, as Postfix's reject_unknown_helo_hostname wants it.
    func standing(ofHelo name: String, on loop: any EventLoop) -> EventLoopFuture<HeloStanding> {
        let promise = loop.makePromise(of: HeloStanding.self)
        promise.completeWithTask { [resolver] in
            guard let domain = Domain(name) else { return .notFound }
            switch await resolver.addresses(of: domain) {
            case .found: return .found
            case .failure: return .unavailable
            case .noSuchName: return .notFound
            case .noRecords:
                if case .found(.hosts) = await resolver.mailExchangers(of: domain).lookup { return .found }
                return .notFound
            }
        }
        return promise.futureResult
    }

    private func find(_ address: IPAddress) async -> ReverseName {
        switch await resolver.clientName(of: address) {
        // A name beyond ASCII has no place in a trace header of a message that is not internationalized.
        case .confirmed(let name): name.isASCII ? .confirmed(name) : .unknown(hasReverse: true)
        case .unconfirmed: .unknown(hasReverse: true)
        case .none: .unknown(hasReverse: false)
        case .failure: .unavailable
        }
    }

    private func keep(_ name: ReverseName, of address: IPAddress, at now: NIODeadline) {
        state.withLockedValue { state in
            state.underWay -= 1
            if case .unavailable = name { return }
            if state.known.count >= ClientNames.mostKnown {
                state.known = state.known.filter { $0.value.until > now }
                // All of them are fresh: a flood. What is asked for again is looked up again.
                if state.known.count >= ClientNames.mostKnown { state.known.removeAll(keepingCapacity: true) }
            }
            state.known[address] = (name, now + ClientNames.lifetime)
        }
    }
}
