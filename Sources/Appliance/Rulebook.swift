// What the server would answer, asked without a server: the router and the policy that a manifest gives it, and one message
// to one recipient put to them in the order of SMTP. Decides nothing itself.

package import MailSyntax
internal import Manifest
internal import Policy
internal import Routing

/// Who sends what to whom.
package struct Question: Sendable {
    /// Nil: a stranger, in no network.
    package var client: IPAddress?
    package var login: String?
    /// Nil: not said, which nothing refuses; `.some(nil)` is `<>`.
    package var sender: Address??
    /// Nil: only the answer to MAIL is asked for.
    package var recipient: Address?

    package init(client: IPAddress? = nil, login: String? = nil, sender: Address?? = nil, recipient: Address? = nil) {
        self.client = client
        self.login = login
        self.sender = sender
        self.recipient = recipient
    }
}

/// The last answer of the server: the first refusal, else what the last command gets.
struct Verdict {
    enum Command: String { case mail = "MAIL", rcpt = "RCPT" }

    let command: Command
    let reply: Reply
    let rule: Rule?
    /// Of an accepted recipient.
    let destinations: [Destination]
}

struct Rulebook {
    let router: Router
    let policy: AccessPolicy

    init(_ system: MailSystem) {
        // A secret that cannot be read here is no reason not to answer: then addresses of that scheme are like others.
        var faults: [Diagnostic] = []
        router = Router(routerConfiguration(system, srs: srsConfiguration(system, faults: &faults)))
        policy = AccessPolicy(policyConfiguration(system), router: router)
    }

    func answer(_ question: Question, trace: Trace? = nil) -> Verdict {
        let client = ClientFacts(address: question.client, login: question.login)
        trace?.part = .client
        if let trace { policy.note(client, in: trace) }
        trace?.part = .sender
        var verdict = Verdict(command: .mail, reply: Reply(250, EnhancedCode(2, 1, 0), "Ok"), rule: nil, destinations: [])
        if let sender = question.sender {
            let (reply, rule) = policy.answer(sender: sender, client: client, trace: trace)
            verdict = Verdict(command: .mail, reply: reply, rule: rule, destinations: [])
            if let trace, let sender { _ = router.rewriting?.incoming(sender, .envelopeSender, trace: trace) }
        }
        guard verdict.reply.isPositive, let recipient = question.recipient else { return verdict }
        trace?.part = .recipient
        let decision = policy.decide(recipient: recipient, client: client, trace: trace)
        if let trace, case .accept(let destinations, _) = decision { note(question, recipient, destinations, trace) }
        switch decision {
        case .accept(let destinations, let rule): return Verdict(command: .rcpt, reply: decision.reply, rule: rule, destinations: destinations)
        case .refuse(let reply, let rule): return Verdict(command: .rcpt, reply: reply, rule: rule, destinations: [])
        }
    }

    /// Who gets copies, and what is different where mail goes out.
    private func note(_ question: Question, _ recipient: Address, _ destinations: [Destination], _ trace: Trace) {
        guard let rewriting = router.rewriting else { return }
        for case .remote(let address) in destinations { _ = rewriting.generic(address, trace: trace) }
        let sender = (question.sender ?? nil).map { rewriting.incoming($0, .envelopeSender) }
        for (address, rule) in rewriting.copies(sender: sender, recipients: [router.canonical(recipient) ?? recipient]) {
            trace.note(.copy, address.description, "gets a copy", rule: rule)
        }
    }
}
