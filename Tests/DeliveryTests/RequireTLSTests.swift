import MailQueue
import MailSyntax
import NIOConcurrencyHelpers
import TLS
import Testing

@testable import Delivery

/// Mail that requires TLS, and mail that waives it (RFC 8689); the wire is in `t-46-requiretls`.
@Suite("SMTP agent: REQUIRETLS")
struct RequireTLSTests {
    private func request(_ id: Int64, _ option: TLSOption?, from sender: String? = "a@me.example", to recipients: [String] = ["b@you.example"]) -> DeliveryRequest {
        let plain = SMTPAgentTests().request(id, to: recipients)
        return DeliveryRequest(
            id: plain.id, sender: sender.flatMap { Address($0) }, body: plain.body, isInternationalized: false, returnContent: nil, envelopeID: nil, tlsOption: option,
            received: plain.received, content: plain.content, recipients: plain.recipients)
    }

    private func described(_ classes: [TLSClass]) -> [String] {
        classes.map { group in
            let name = group.option.map { $0 == .required ? "required" : "waived" } ?? "plain"
            return "\(name) \(group.requests.map { "\($0.id)" }.joined(separator: " "))"
        }
    }

    @Test("messages go together that ask the same", arguments: ["you.example", "[192.0.2.1]:25", "[127.0.0.1]:10025", "lmtp:[192.0.2.1]:24", "lmtp:[mail.example]:24"])
    func classes(hop: String) {
        let requests = [request(1, nil), request(2, .required), request(3, .notRequired), request(4, .required), request(5, nil)]
        #expect(described(TLSClass.classes(of: requests, to: NextHop(hop)!)) == ["plain 1 5", "waived 3", "required 2 4"])
        #expect(described(TLSClass.classes(of: [requests[0], requests[4]], to: NextHop(hop)!)) == ["plain 1 5"])
        #expect(described(TLSClass.classes(of: [requests[1]], to: NextHop(hop)!)) == ["required 2"])
    }

    @Test("a server of LMTP on this host is the end of the way", arguments: ["lmtp:unix:/run/lmtp", "lmtp:[127.0.0.1]:24", "lmtp:[IPv6:::1]:24", "lmtp:[localhost]:24"])
    func mailboxes(hop: String) {
        let classes = TLSClass.classes(of: [request(1, .required), request(2, nil)], to: NextHop(hop)!)
        #expect(described(classes) == ["plain 1 2"])
        #expect(classes[0].requests.allSatisfy { $0.tlsOption == nil })
    }

    @Test("a waiver undoes what the recipient's domain says, and not what the manifest says", arguments: [
        (TLSPolicy.Level.dane, TLSPolicy.Level.may), (.verify, .verify), (.encrypt, .encrypt), (.may, .may), (.none, .none),
    ] as [(TLSPolicy.Level, TLSPolicy.Level)])
    func waiver(level: TLSPolicy.Level, waived: TLSPolicy.Level) {
        var policy = TLSPolicy(level: level)
        policy.hops[NextHop("named.example")!] = TLSPolicy.Rule(.dane)
        let hop = NextHop("you.example")!
        #expect(policy.rule(for: hop, .notRequired).level == waived)
        #expect(policy.rule(for: hop, .required).level == level)
        #expect(policy.rule(for: hop, nil).level == level)
        #expect(policy.rule(for: NextHop("named.example")!, .notRequired).level == .dane)
    }

    @Test("what stands for good between a server and such a message is told from what may pass")
    func unfit() {
        let notOffered = Reply(451, EnhancedCode(4, 7, 4), "TLS is required, but was not offered by host x")
        #expect(Reply.encryptionNeeded(notOffered, nil)?.summary == "550 5.7.10 Encryption needed (REQUIRETLS): TLS is required, but was not offered by host x")
        let broken = Reply(451, EnhancedCode(4, 7, 5), "cannot start TLS")
        #expect(Reply.encryptionNeeded(broken, TLSFailure(.unverified, "self-signed"))?.enhanced == EnhancedCode(5, 7, 10))
        #expect(Reply.encryptionNeeded(broken, nil) == nil)
        #expect(Reply.encryptionNeeded(Reply(451, EnhancedCode(4, 4, 1), "connect"), nil) == nil)
    }

    /// What is reported of a batch with one message, after these deeds.
    private func reports(_ deed: (inout Batch) -> Void) -> [String] {
        let box = NIOLockedValueBox<[String]>([])
        var batch = Batch([request(1, .required)]) { report in
            let text =
                switch report.outcome {
                case .failed(let reply): "failed \(reply.enhanced!)"
                case .deferred(let reply): "deferred \(reply.enhanced!)"
                default: "odd"
                }
            box.withLockedValue { $0.append("\(text) by \(report.relay)") }
        }
        deed(&batch)
        return box.withLockedValue { $0 }
    }

    private let lacks = Reply(550, EnhancedCode(5, 7, 30), "no")
    private let unreachable = Reply(451, EnhancedCode(4, 4, 1), "connect")

    @Test("a message that no server will do for goes back; where one could not be asked, it waits; however many there are")
    func bars() {
        var waiting: [Int] = []
        let byNone = reports { batch in
            batch.prospects.mostSessions = 1
            for relay in ["a", "b", "c"] {
                batch.turn(to: relay)
                waiting.append(batch.count)
                batch.bar(because: lacks, relay: relay)
            }
            batch.giveUp(because: nil, relay: "none")
        }
        #expect(byNone == ["failed 5.7.30 by c"] && waiting == [1, 1, 1])
        let secondIsDown = reports { batch in
            batch.turn(to: "a")
            batch.bar(because: lacks, relay: "a")
            batch.turn(to: "b")
            batch.giveUp(because: unreachable, relay: "b")
        }
        #expect(secondIsDown == ["deferred 4.4.1 by b"])
        let firstIsDown = reports { batch in
            batch.turn(to: "b")
            batch.bar(because: lacks, relay: "b")
            batch.giveUp(because: unreachable, relay: "a")
        }
        #expect(firstIsDown == ["deferred 4.4.1 by a"])
    }

    @Test("what one server put off is not over because the next one will not do")
    func barredAfterRefusal() {
        let reported = reports { batch in
            batch.turn(to: "a")
            let shipment = batch.next()!
            let later = Shipment.Refusal(reply: Reply(450, EnhancedCode(4, 2, 0), "later"), relay: "a", answers: "RCPT TO", blamesPlace: false)
            batch.passOn(shipment, [(0, later)], by: "a")
            batch.turn(to: "b")
            batch.bar(because: lacks, relay: "b")
            batch.giveUp(because: nil, relay: "none")
        }
        #expect(reported == ["deferred 4.2.0 by a"])
    }

    @Test("a report is tried without, where only that stood against it (section 5); other mail is not, and other refusals are final")
    func keptBack() {
        let requests = [request(1, .required, from: nil, to: ["b@you.example", "c@you.example"]), request(2, .required)]
        let kept = KeptBack(requests)
        func report(_ number: Int, _ index: Int, _ reply: Reply, answers: String? = nil) -> Bool {
            kept.takes(DeliveryReport(id: requests[number].id, recipient: requests[number].recipients[index], outcome: .failed(reply), relay: "x", answers: answers))
        }
        #expect(!report(0, 0, Reply(550, EnhancedCode(5, 1, 1), "no")))
        #expect(!report(0, 0, lacks, answers: "MAIL FROM"))
        #expect(!report(1, 0, lacks))
        #expect(report(0, 1, lacks))
        let again = kept.requests(requests)
        #expect(again.map(\.id) == [requests[0].id] && again[0].recipients.map(\.number) == [1] && again[0].tlsOption == nil && again[0].sender == nil)
    }
}
