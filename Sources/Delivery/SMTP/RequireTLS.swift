// What a message asks of TLS itself (RFC 8689), and which servers will do for it.
//
// A message that requires TLS goes to a server that is in TLS, has proved who it is, and promises the same for the rest of the way
// (§4.2.1): another server is skipped, and where none will do the message goes back. One whose sender waives TLS goes with it or without,
// whatever the recipient's domain says in its DNS (§4.2.2); what the manifest says of a destination stays.
//
// A server of LMTP on this host is a mailbox (§4.4), and nobody stands between: mail to it has arrived.

internal import MailQueue
internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import TLS

/// The messages of one batch that ask the same of TLS, for one next hop.
struct TLSClass {
    let option: TLSOption?
    let requests: [DeliveryRequest]

    /// Those that ask for nothing come first: most do.
    static func classes(of requests: [DeliveryRequest], to hop: NextHop) -> [TLSClass] {
        if requests.allSatisfy({ $0.tlsOption == nil }) { return [TLSClass(option: nil, requests: requests)] }
        let requests = hop.isMailboxOfThisHost ? requests.map { $0.asking(nil, for: $0.recipients) } : requests
        return [nil, .notRequired, .required].map { option in TLSClass(option: option, requests: requests.filter { $0.tlsOption == option }) }
            .filter { !$0.requests.isEmpty }
    }
}

extension NextHop {
    fileprivate var isMailboxOfThisHost: Bool {
        guard dialect == .lmtp else { return false }
        return switch host {
        case .socket: true
        case .address(let address): address.isLoopback
        case .name(let name): name.key == "localhost"
        case .mailExchangers: false
        }
    }
}

extension TLSPolicy {
    /// RFC 8689 §3: without what the recipient's domain asserts by itself. What the manifest says of it by name is another matter.
    func rule(for hop: NextHop, _ option: TLSOption?) -> Rule {
        guard option == .notRequired, level == .dane else { return rule(for: hop) }
        var lenient = self
        lenient.level = .may
        return lenient.rule(for: hop)
    }
}

extension Reply {
    /// RFC 8689 §4.2.1, §7.3.
    static func requireTLSNotOffered(by peer: String) -> Reply {
        Reply(550, EnhancedCode(5, 7, 30), "REQUIRETLS support required, but it was not offered by host \(peer)")
    }

    /// RFC 8689 §4.2.1: what stands for good between a message that requires TLS and this server; nil: it may be otherwise the next time.
    static func encryptionNeeded(_ reason: Reply, _ failure: TLSFailure?) -> Reply? {
        // RFC 3463 §3.8: X.7.4, security features not supported.
        guard reason.enhanced == EnhancedCode(4, 7, 4) || failure?.kind == .unverified else { return nil }
        return Reply(550, EnhancedCode(5, 7, 10), "Encryption needed (REQUIRETLS): \(reason.lines.joined(separator: " "))")
    }
}

/// What a message with the null sender came to where TLS was required of its way: kept back where only that stood against it.
///
/// RFC 8689 §5: such a message is a report, and what is in the way of its requirement should not discard it.
final class KeptBack: Sendable {
    private let recipients = NIOLockedValueBox<[QueueID: [QueuedRecipient]]>([:])
    private let reports: Set<QueueID>

    init(_ requests: [DeliveryRequest]) { reports = Set(requests.filter { $0.sender == nil }.map(\.id)) }

    /// True: it is to be tried without.
    func takes(_ report: DeliveryReport) -> Bool {
        guard case .failed(let reply) = report.outcome, report.answers == nil, reports.contains(report.id),
            [EnhancedCode(5, 7, 10), EnhancedCode(5, 7, 30)].contains(reply.enhanced)
        else { return false }
        recipients.withLockedValue { $0[report.id, default: []].append(report.recipient) }
        return true
    }

    func requests(_ all: [DeliveryRequest]) -> [DeliveryRequest] {
        let kept = recipients.withLockedValue { $0 }
        return all.compactMap { request in kept[request.id].map { request.asking(nil, for: $0) } }
    }
}
