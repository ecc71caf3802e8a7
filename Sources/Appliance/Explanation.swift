// Why mail goes where it goes, or is refused: the steps of the decision that the server would make, its reply, where each copy
// ends, and the line of the manifest to change. As text for people, and as JSON.

internal import Delivery
internal import MailSyntax
package import Manifest
internal import Routing
internal import Telemetry

package struct Explanation {
    private struct Delivery {
        enum Kind { case maildir, mbox, lmtp, relay, file, command, list }

        /// A user, or an address.
        let name: String
        /// A path, the next hop, or a command.
        let place: String
        let kind: Kind
        let rule: Rule?
        /// What is asked of a relay's TLS.
        var demand: TLSDemand?
    }

    private let system: MailSystem
    private let question: Question
    private let verdict: Verdict
    private let steps: [Trace.Step]
    private let deliveries: [Delivery]
    private let advice: String?

    package init(_ system: MailSystem, _ question: Question) {
        let rules = Rulebook(system)
        let trace = Trace()
        let verdict = rules.answer(question, trace: trace)
        self.system = system
        self.question = question
        self.verdict = verdict
        steps = trace.steps
        let deliveries = verdict.destinations.map { Explanation.delivery($0, from: question.sender ?? nil, system, rules.router) }
        self.deliveries = deliveries
        advice = verdict.reply.isPositive ? Explanation.advice(verdict, deliveries) : Explanation.adviceOnRefusal(system, question, verdict, rules.router)
    }

    package var isAccepted: Bool { verdict.reply.isPositive }

    private static func delivery(_ destination: Destination, from sender: Address?, _ system: MailSystem, _ router: Router) -> Delivery {
        switch destination {
        case .mailbox(let name):
            let user = system.users.first { $0.name.value == name }
            if let via = system.mailboxes.via {
                return Delivery(name: name, place: "\(via.value)", kind: .lmtp, rule: system.rule(via.position, "mailboxes.via"))
            }
            let format = (user?.format ?? system.mailboxes.format).value
            let path = "\(system.mailboxes.directory.value)/\(name)\(format == .maildir ? "/" : "")"
            let rule = user.map { system.rule($0.name.position, "users.\(name)") }
            return Delivery(name: name, place: path, kind: format == .maildir ? .maildir : .mbox, rule: rule)
        case .remote(let address):
            let trace = Trace()
            let hop = router.nextHop(for: address, from: sender, trace: trace)
            return Delivery(
                name: address.description, place: hop.description, kind: .relay, rule: trace.steps.last?.rule, demand: tlsDemand(system, hop))
        case .file(let path): return Delivery(name: path, place: path, kind: .file, rule: nil)
        case .command(let command): return Delivery(name: command, place: command, kind: .command, rule: nil)
        case .include(let path): return Delivery(name: path, place: path, kind: .list, rule: nil)
        case .list(let alias): return Delivery(name: alias, place: alias, kind: .list, rule: nil)
        }
    }

    /// What to do if the reader wants it otherwise.
    private static func advice(_ verdict: Verdict, _ deliveries: [Delivery]) -> String? {
        // What lets a client send to anywhere does not say where that goes.
        let isOutside = verdict.destinations.count == 1 && deliveries[0].kind == .relay
        return (isOutside ? deliveries[0].rule : verdict.rule).map { "to send it elsewhere, edit \($0)" }
    }

    private static func adviceOnRefusal(_ system: MailSystem, _ question: Question, _ verdict: Verdict, _ router: Router) -> String? {
        let rule = verdict.rule.map { " (\($0))" } ?? ""
        if verdict.command == .mail {
            guard let sender = question.sender ?? nil, let login = question.login else { return nil }
            return "to allow it, add \(sender) to users.\(login).send_as\(rule), or let the address lead to \(login) alone"
        }
        guard let recipient = question.recipient else { return nil }
        let name = (router.withoutExtension(recipient) ?? recipient).quotedLocalPart
        let nearest = system.nearestName(to: name, in: recipient.domain).map { "; did you mean \($0)@\(recipient.domain)?" } ?? ""
        switch router.addressClass(of: recipient.domain) {
        case .outside:
            return "to allow it, add the client to networks\(rule) or let it log in; if \(recipient.domain) is yours, add it to domains"
        case _ where verdict.reply.code == 554:
            return "to allow it, add the client to networks\(rule) or let it log in: others may not name a route in an address"
        case .local: return "to allow it, add \(name) to users or aliases\(nearest)"
        case .virtual: return "to allow it, add \(name) to the addresses of \(recipient.domain)\(rule)\(nearest)"
        case .relay: return "to allow it, add \(name) to the recipients of \(recipient.domain)\(rule)\(nearest)"
        }
    }
}

// MARK: Text

extension Explanation {
    private struct Line {
        var label = ""
        let text: String
        var rule: String?
    }

    /// Several lines: what was looked at, what came of it, and at the right the manifest line that says so.
    package var text: String {
        var lines: [Line] = []
        for step in steps where step.part == .client { lines.append(Line(label: step.kind.rawValue, text: sentence(step), rule: step.rule)) }
        let ofSender = steps.filter { $0.part == .sender }
        if ofSender.count == 1 {
            lines.append(Line(label: "sender", text: sentence(ofSender[0]), rule: ofSender[0].rule))
        } else if let sender = question.sender ?? nil {
            lines.append(Line(label: "sender", text: sender.description))
            lines += nested(ofSender)
        }
        if let recipient = question.recipient, verdict.command == .rcpt {
            lines.append(Line(label: "recipient", text: recipient.description))
            lines += nested(steps.filter { $0.part == .recipient })
        }
        lines.append(Line(label: "answer", text: "\(verdict.command.rawValue): \(verdict.reply.summary)", rule: verdict.rule))
        for (number, delivery) in deliveries.enumerated() {
            lines.append(Line(label: number == 0 ? "delivery" : "", text: sentence(delivery), rule: delivery.rule))
        }
        if let advice { lines.append(Line(label: "change", text: advice)) }
        return Explanation.columns(lines)
    }

    private func nested(_ steps: [Trace.Step]) -> [Line] {
        steps.map { Line(text: String(repeating: "  ", count: $0.depth + 1) + sentence($0), rule: $0.rule) }
    }

    private func sentence(_ step: Trace.Step) -> String { "\(step.subject) \(step.outcome)" }

    private func sentence(_ delivery: Delivery) -> String {
        switch delivery.kind {
        case .maildir, .mbox: "\(delivery.name), in the \(delivery.kind) \(delivery.place)"
        case .relay, .lmtp: "\(delivery.name), by \(delivery.place)" + (delivery.demand.flatMap(described).map { ", \($0)" } ?? "")
        case .file: "the file \(delivery.place)"
        case .command: "the command \(delivery.place)"
        case .list: "those whom the file \(delivery.place) lists"
        }
    }

    private static func columns(_ lines: [Line]) -> String {
        let labelWidth = 11
        /// Longer lines have their rule behind them, out of line, rather than all others far to the right.
        let widest = 72
        let width = lines.filter { $0.rule != nil }.map { $0.text.count }.filter { $0 <= widest }.max() ?? 0
        return lines.map { line in
            let left = padded(line.label, to: labelWidth) + (line.rule == nil ? line.text : padded(line.text, to: width))
            return left + (line.rule.map { "  [\($0)]" } ?? "") + "\n"
        }.joined()
    }

    private static func padded(_ text: String, to width: Int) -> String { text + String(repeating: " ", count: max(0, width - text.count)) }
}

// MARK: JSON

extension Explanation {
    /// One object, with a line end.
    package var json: [UInt8] {
        var line = JSONLine()
        line.field("manifest", system.file)
        line.field("client", question.client?.description)
        line.field("login", question.login)
        if let sender = question.sender { line.field("from", sender?.description ?? "") }
        line.field("to", question.recipient?.description)
        line.field("accepted", isAccepted)
        line.field("command", verdict.command.rawValue)
        line.field("code", Int(verdict.reply.code))
        line.field("dsn", verdict.reply.enhanced?.description)
        line.field("reply", verdict.reply.summary)
        line.field("rule", verdict.rule)
        line.field("advice", advice)
        line.beginArray("deliveries")
        for delivery in deliveries {
            line.beginElement()
            line.field("to", delivery.name)
            line.field("kind", "\(delivery.kind)")
            line.field("place", delivery.place)
            line.field("tls", delivery.demand.map { "\($0.level)" })
            line.field("rule", delivery.rule)
            line.endObject()
        }
        line.endArray()
        line.beginArray("steps")
        for step in steps {
            line.beginElement()
            line.field("part", step.part.rawValue)
            line.field("depth", step.depth)
            line.field("about", step.kind.rawValue)
            line.field("subject", step.subject)
            line.field("outcome", step.outcome)
            line.field("rule", step.rule)
            line.endObject()
        }
        line.endArray()
        line.finish()
        return line.bytes
    }
}
