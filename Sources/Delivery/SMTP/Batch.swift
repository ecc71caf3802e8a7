// The messages of one call to the SMTP agent, on their way from connection to connection. A value: whoever holds it
// holds what is still to be done, and each recipient leaves it with exactly one report.

internal import MailQueue
internal import MailSyntax
internal import SMTP
internal import Telemetry

/// One mail transaction: a message, and as many of its recipients as go with it at once.
struct Shipment: Sendable {
    let request: DeliveryRequest
    let recipients: [QueuedRecipient]
    /// Nil: it goes out as it is in the queue.
    var outgoing: Outgoing?
    /// What the last server that was tried said to each recipient; empty: none was.
    var refusals: [Refusal] = []
    /// The servers that put it off, by their `relay`.
    var visited: Set<String> = []
    /// How many of those belong to the next hop that is being tried.
    var sessions = 0

    /// "Not now", from a server that is not the last to be tried.
    struct Refusal: Sendable {
        let reply: Reply
        let relay: String
        let answers: String?
        let blamesPlace: Bool
        /// Of the connection that it came over.
        var tls: Fields.TLS?
        /// Not now and not later: the server will not do for the message.
        var isFinal = false
    }

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
            envelopeID: request.envelopeID, tlsOption: request.tlsOption)
    }
}

struct Batch: Sendable {
    private let report: @Sendable (DeliveryReport) -> Void
    /// Last first, so that taking the next is cheap.
    private var waiting: [Shipment]
    /// What a server put off, for the next one.
    private var passedOn: [Shipment] = []
    /// What may be done with what a server puts off.
    var prospects = Prospects()

    struct Prospects: Sendable {
        /// After this server there is none of this next hop.
        var isLastServer = false
        /// After this next hop there is another.
        var hasFallback = false
        /// How many servers of a next hop are to be asked for one message.
        var mostSessions = Int.max
    }

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

    /// Nothing is to be sent now.
    var isEmpty: Bool { waiting.isEmpty }
    /// And nothing was put off.
    var isDone: Bool { waiting.isEmpty && passedOn.isEmpty }
    var count: Int { waiting.count }

    mutating func next() -> Shipment? { waiting.popLast() }

    /// Puts back what `next` gave and nobody was told of.
    mutating func putBack(_ shipment: Shipment) { waiting.append(shipment) }

    // MARK: From server to server

    /// Whether what this server puts off goes to another.
    func mayPassOn(_ shipment: Shipment) -> Bool {
        prospects.hasFallback || !prospects.isLastServer && shipment.sessions + 1 < prospects.mostSessions
    }

    /// The recipients of `shipment` that the server `relay` put off, by their places in it.
    mutating func passOn(_ shipment: Shipment, _ refusals: [(index: Int, refusal: Shipment.Refusal)], by relay: String) {
        guard !refusals.isEmpty else { return }
        var rest = Shipment(request: shipment.request, recipients: refusals.map { shipment.recipients[$0.index] }, outgoing: shipment.outgoing)
        rest.refusals = refusals.map(\.refusal)
        rest.visited = shipment.visited.union([relay])
        rest.sessions = shipment.sessions + 1
        passedOn.append(rest)
    }

    /// The server will not do for this message, whatever it would say of it; another may, however many were asked.
    mutating func bar(_ shipment: Shipment, because reply: Reply, relay: String) {
        var rest = shipment
        // What another server put off is not over.
        if rest.refusals.isEmpty || rest.refusals.allSatisfy(\.isFinal) {
            rest.refusals = shipment.recipients.map { _ in
                Shipment.Refusal(reply: reply, relay: relay, answers: nil, blamesPlace: false, isFinal: true)
            }
        }
        rest.visited.insert(relay)
        passedOn.append(rest)
    }

    /// For none of those that wait.
    mutating func bar(because reply: Reply, relay: String) {
        while let shipment = next() { bar(shipment, because: reply, relay: relay) }
    }

    /// From here on `relay` is tried: what it was not asked for yet waits, all else does not.
    mutating func turn(to relay: String) {
        let isFor = { [prospects] (shipment: Shipment) in shipment.sessions < prospects.mostSessions && !shipment.visited.contains(relay) }
        let others = waiting.filter { !isFor($0) }
        waiting = waiting.filter(isFor) + passedOn.filter(isFor).reversed()
        passedOn = passedOn.filter { !isFor($0) } + others.reversed()
    }

    /// Another next hop is tried for what is left.
    mutating func beginNextHop() {
        for index in passedOn.indices { passedOn[index].sessions = 0 }
        for index in waiting.indices { waiting[index].sessions = 0 }
    }

    // MARK: Reports

    func report(_ outcome: DeliveryReport.Outcome, for recipient: QueuedRecipient, of shipment: Shipment, relay: String, answers: String? = nil, blamesPlace: Bool = false, tls: Fields.TLS? = nil) {
        report(DeliveryReport(
            id: shipment.request.id, recipient: recipient, outcome: outcome, relay: relay, answers: answers, blamesPlace: blamesPlace, tls: tls))
    }

    /// What a server said to a recipient says more than that the next one could not be asked; but where that one may still do for a message
    /// that the others will not do for, it waits for it.
    func giveUp(_ shipment: Shipment, because reply: Reply, relay: String, blamesPlace: Bool = false) {
        for (index, recipient) in shipment.recipients.enumerated() {
            var refusal = Shipment.Refusal(reply: reply, relay: relay, answers: nil, blamesPlace: blamesPlace, isFinal: reply.isPermanent)
            if !shipment.refusals.isEmpty, !(shipment.refusals[index].isFinal && reply.isTransient) { refusal = shipment.refusals[index] }
            report(
                refusal.isFinal ? .failed(refusal.reply) : .deferred(refusal.reply), for: recipient, of: shipment, relay: refusal.relay,
                answers: refusal.answers, blamesPlace: refusal.blamesPlace, tls: refusal.tls)
        }
    }

    /// Reports all that is left. `reply`: why; nil: what the servers said says it. `blamesPlace`: the next hop could not be used at all.
    mutating func giveUp(because reply: Reply?, relay: String, blamesPlace: Bool = false) {
        let excuse = reply ?? Reply(554, EnhancedCode(5, 3, 0), "server unavailable or unable to receive mail")
        for shipment in passedOn { giveUp(shipment, because: excuse, relay: relay, blamesPlace: blamesPlace) }
        passedOn = []
        while let shipment = next() { giveUp(shipment, because: excuse, relay: relay, blamesPlace: blamesPlace) }
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
