// The messages of one call to the SMTP agent, on their way from connection to connection. A value: whoever holds it
// holds what is still to be done, and each recipient leaves it with exactly one report.

internal import MailQueue
internal import MailSyntax
internal import SMTP

/// One mail transaction: a message, and as many of its recipients as go with it at once.
struct Shipment: Sendable {
    let request: DeliveryRequest
    let recipients: [QueuedRecipient]
    /// Nil: it goes out as it is in the queue.
    var outgoing: Outgoing?

    /// What is different about it on the way.
    struct Outgoing: Sendable {
        let rewriting: OutgoingRewriting
        let isForwarded: Bool
        let content: MessageContent
        let head: ContentFile.Head?
    }

    /// What is sent.
    var content: MessageContent { outgoing?.content ?? request.content }

    var envelope: Envelope {
        Envelope(
            sender: outgoing.map { $0.rewriting.sender(request.sender, isForwarded: $0.isForwarded) } ?? request.sender,
            recipients: recipients.map {
                EnvelopeRecipient(address: outgoing?.rewriting.recipient($0.target.address) ?? $0.target.address, notify: $0.notify, originalRecipient: $0.reportedOriginal)
            },
            body: request.body, isInternationalized: request.isInternationalized, returnContent: request.returnContent,
            envelopeID: request.envelopeID)
    }
}

struct Batch: Sendable {
    private let report: @Sendable (DeliveryReport) -> Void
    /// Last first, so that taking the next is cheap.
    private var waiting: [Shipment]

    /// `recipients`: how many go with one transaction.
    init(_ requests: [DeliveryRequest], recipients most: Int = 50, report: @escaping @Sendable (DeliveryReport) -> Void) {
        self.report = report
        waiting = requests.flatMap { Batch.shipments($0, $0.recipients, nil, most: most) }.reversed()
    }

    /// The same with addresses rewritten. Blocks where a message is in a file.
    init(_ requests: [DeliveryRequest], rewriting: OutgoingRewriting, recipients most: Int = 50, report: @escaping @Sendable (DeliveryReport) -> Void) {
        self.report = report
        waiting = []
        for request in requests {
            do {
                let (content, head) = try rewriting.rewriteContent(of: request.content)
                let forwarded = request.recipients.filter { rewriting.isForwarded($0, from: request.sender) }
                let others = forwarded.isEmpty ? request.recipients : request.recipients.filter { !rewriting.isForwarded($0, from: request.sender) }
                for (recipients, isForwarded) in [(others, false), (forwarded, true)] {
                    waiting += Batch.shipments(
                        request, recipients, Shipment.Outgoing(rewriting: rewriting, isForwarded: isForwarded, content: content, head: head), most: most)
                }
            } catch {
                let reply = Reply(451, EnhancedCode(4, 3, 0), "the message could not be read: \(error)")
                for shipment in Batch.shipments(request, request.recipients, nil, most: most) { giveUp(shipment, because: reply, relay: "none") }
            }
        }
        waiting.reverse()
    }

    private static func shipments(_ request: DeliveryRequest, _ recipients: [QueuedRecipient], _ outgoing: Shipment.Outgoing?, most: Int) -> [Shipment] {
        stride(from: 0, to: recipients.count, by: most).map { start in
            Shipment(request: request, recipients: Array(recipients[start...].prefix(most)), outgoing: outgoing)
        }
    }

    var isEmpty: Bool { waiting.isEmpty }
    var count: Int { waiting.count }

    mutating func next() -> Shipment? { waiting.popLast() }

    /// Puts back what `next` gave and nobody was told of.
    mutating func putBack(_ shipment: Shipment) { waiting.append(shipment) }

    func report(_ outcome: DeliveryReport.Outcome, for recipient: QueuedRecipient, of shipment: Shipment, relay: String, answers: String? = nil, blamesPlace: Bool = false) {
        report(DeliveryReport(
            id: shipment.request.id, recipient: recipient, outcome: outcome, relay: relay, answers: answers, blamesPlace: blamesPlace))
    }

    func giveUp(_ shipment: Shipment, because reply: Reply, relay: String, blamesPlace: Bool = false) {
        for recipient in shipment.recipients {
            report(reply.isPermanent ? .failed(reply) : .deferred(reply), for: recipient, of: shipment, relay: relay, blamesPlace: blamesPlace)
        }
    }

    /// Reports all that is left. `blamesPlace`: the next hop could not be used at all.
    mutating func giveUp(because reply: Reply, relay: String, blamesPlace: Bool = false) {
        while let shipment = next() { giveUp(shipment, because: reply, relay: relay, blamesPlace: blamesPlace) }
    }
}

extension DeliveryReport.Outcome {
    init(_ outcome: ClientSession.Outcome) {
        switch outcome {
        case .accepted(let reply, let passesOnDSN): self = .delivered(reply, passesOnDSN: passesOnDSN)
        case .deferred(let reply): self = .deferred(reply)
        case .failed(let reply): self = .failed(reply)
        }
    }
}

extension Reply {
    /// What is reported for mail whose delivery was cut short by the end of this process.
    static let stopped = Reply(451, EnhancedCode(4, 3, 2), "delivery was stopped: the server is shutting down")
}
