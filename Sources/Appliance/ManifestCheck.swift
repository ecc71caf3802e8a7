// Is this manifest fit to be put into force? The one question that `check`, `serve` and a reload ask, so that no one of them
// takes what another refuses: the manifest is valid, and what its `tests` say of it is so.
//
// A test is put to the router and the policy that the server would get. One that fails is put to them again with a trace, to show
// the way that was taken.

internal import MailSyntax
package import Manifest
internal import Routing

/// Reads and judges a manifest as a whole.
package func checkManifest(text: [UInt8], file: String) -> ReadResult {
    let result = ManifestReader.read(text: text, file: file)
    guard let system = result.system, !system.tests.isEmpty else { return result }
    let trial = Trial(system)
    return result.adding(system.tests.compactMap(trial.failure))
}

private struct Trial {
    /// Longer ways are shown by their beginning.
    private static let longestRoute = 8

    private let system: MailSystem
    private let rules: Rulebook

    init(_ system: MailSystem) {
        self.system = system
        rules = Rulebook(system)
    }

    /// Nil if it is as the test says.
    func failure(_ test: MailSystem.Test) -> Diagnostic? {
        let question = question(test)
        let verdict = rules.answer(question)
        guard !holds(test.expectation.value, question, verdict) else { return nil }
        let trace = Trace()
        _ = rules.answer(question, trace: trace)
        var reasons: [String] = []
        let route = route(trace)
        if !route.isEmpty { reasons.append("the route: \(route)") }
        if let rule = verdict.rule { reasons.append("decided by \(rule)") }
        return Diagnostic(
            .failedTest, .error, "\(actual(question, verdict)); expected: \(expected(test.expectation.value))", file: system.file,
            at: test.expectation.position, endColumn: test.expectation.endColumn, hint: reasons.isEmpty ? nil : reasons.joined(separator: "; "))
    }

    private func question(_ test: MailSystem.Test) -> Question {
        let origin = system.origin.value
        return Question(
            client: test.client?.value, login: test.login?.value, sender: test.sender.map { $0.value?.qualified(with: origin) },
            recipient: test.recipient?.value.qualified(with: origin))
    }

    private func holds(_ expectation: MailSystem.Test.Expectation, _ question: Question, _ verdict: Verdict) -> Bool {
        switch expectation {
        case .reaches(let ends): verdict.reply.isPositive && Set(verdict.destinations) == destinations(ends)
        case .via(let hop):
            verdict.reply.isPositive && !verdict.destinations.isEmpty && verdict.destinations.allSatisfy { goes($0, from: question.sender ?? nil, to: hop) }
        case .refused(.anyhow): !verdict.reply.isPositive
        case .refused(.code(let code)): verdict.reply.code == code
        case .refused(.enhanced(let code)): verdict.reply.enhanced == code
        }
    }

    private func goes(_ destination: Destination, from sender: Address?, to hop: NextHop) -> Bool {
        switch destination {
        case .remote(let address): rules.router.nextHop(for: address, from: sender) == hop
        case .mailbox: system.mailboxes.via?.value == hop
        default: false
        }
    }

    /// A user stands for all that becomes of mail to that user: the mailbox, and where the user forwards.
    private func destinations(_ ends: [Located<MailSystem.Target>]) -> Set<Destination> {
        ends.reduce(into: []) { set, end in
            switch end.value {
            case .name(let name): set.formUnion(rules.router.destinations(ofUser: name) ?? [])
            case .address(let address): set.insert(.remote(address))
            case .file(let path): set.insert(.file(path))
            case .command(let command): set.insert(.command(command))
            case .include(let path): set.insert(.include(file: path))
            }
        }
    }

    // MARK: Words

    private func expected(_ expectation: MailSystem.Test.Expectation) -> String {
        switch expectation {
        case .reaches(let ends): "it reaches \(ends.map { "\($0.value)" }.joined(separator: ", "))"
        case .via(let hop): "it goes to \(hop)"
        case .refused(.anyhow): "it is refused"
        case .refused(.code(let code)): "it is refused with \(code)"
        case .refused(.enhanced(let code)): "it is refused with \(code)"
        }
    }

    private func actual(_ question: Question, _ verdict: Verdict) -> String {
        guard verdict.reply.isPositive else {
            return "the answer to \(verdict.command.rawValue) is \(verdict.reply.summary)"
        }
        guard let recipient = question.recipient else { return "\(question.login ?? "this client") may send as \(question.sender??.description ?? "<>")" }
        let ends = verdict.destinations.map { destination in
            switch destination {
            case .mailbox(let user): user
            case .remote(let address): "\(address) by \(rules.router.nextHop(for: address, from: question.sender ?? nil))"
            case .file(let path): path
            case .command(let command): "|\(command)"
            case .include(let path): ":include:\(path)"
            case .list(let alias): alias
            }
        }
        return "mail to \(recipient) reaches \(ends.joined(separator: ", "))"
    }

    private func route(_ trace: Trace) -> String {
        let steps = trace.steps.filter { [.address, .alias, .forward, .sender].contains($0.kind) }
        var shown = steps.prefix(Trial.longestRoute).map { step in
            // The place alone: what stands at it is what the step says.
            let place = step.rule.flatMap { $0.hasPrefix("default ") ? nil : $0.prefix { $0 != " " } }
            return "\(step.subject) \(step.outcome)\(place.map { " (\($0))" } ?? "")"
        }
        if steps.count > Trial.longestRoute { shown.append("… (\(steps.count - Trial.longestRoute) more)") }
        return shown.joined(separator: ", ")
    }
}
