// What a connection does for AUTH: it holds one `LoginDialogue` at a time, passes on what is said, and logs what became of it. And
// what depends on who is logged in: limits by user, and what Received says.

internal import Accounts
internal import MailSyntax
internal import NIOCore
internal import Policy
internal import SMTP
internal import Telemetry

extension Connection {
    func beginLogin(_ name: String, _ initial: [UInt8]?) {
        guard let authenticator = configuration.submission?.authenticator, let mechanism = SASLMechanism(rawValue: name), let loop else {
            return session.answer(ServerSession.loginUnavailable("no login here"))
        }
        login = LoginDialogue(mechanism, authenticator, service.logins, client: client.address, bindings: bindings, now: service.now, loop: loop) { [weak self] turn in
            self?.take(turn)
        }
        login?.begin(initial)
    }

    private func take(_ turn: LoginDialogue.Turn) {
        switch turn {
        case .challenge(let octets): session.challenge(octets)
        case .success(let user):
            client.login = user
            renewPrivileges()
            service.log.record(.loginSucceeded, by: part) { fields in
                self.identify(&fields)
                fields.user = user
                fields.mechanism = self.login?.mechanism.rawValue
            }
            session.loggedIn(as: user)
            endLogin(as: user)
        case .failure(let reply, let reason):
            logFailedLogin(reason, reply)
            session.answer(reply)
            endLogin()
        }
        pump()
    }

    func endLogin(as user: String? = nil) {
        login?.cancel()
        loginMechanism = user == nil ? nil : login?.mechanism.rawValue
        login = nil
    }

    func logFailedLogin(_ reason: String, _ reply: Reply? = nil) {
        service.log.record(.loginFailed, by: part) { fields in
            self.identify(&fields)
            fields.user = self.login?.user
            fields.mechanism = self.login?.mechanism.rawValue
            fields.dsn = reply?.enhanced?.description
            fields.reply = reply?.summary
            fields.reason = reason
        }
    }

    func userExcess(_ activity: RateTable.Activity) -> SMTPService.Limit? {
        guard let submission = configuration.submission, !submission.rates.isEmpty, let loop else { return nil }
        return service.excess(activity, by: client.login, submission, at: loop.now)
    }

    func cancelLogin() {
        logFailedLogin("the client cancelled it")
        endLogin()
    }

    // MARK: What depends on it

    /// The service as the log names it.
    var part: Telemetry.Service { configuration.submission?.service ?? .smtpd }

    /// Mail is handed in here, and not passed on by another server.
    var isSubmission: Bool { client.isLocalProcess || configuration.submission != nil }

    /// What Received says of the client.
    var origin: Origin {
        let isHidden = configuration.submission?.hidesClient == true && client.login != nil
        return Origin(
            client: isHidden ? nil : client.address, name: client.name, helo: session.helo, protocolName: session.protocolName, tls: tls?.facts?.trace)
    }

    /// The refusal of more than the user or the client may do in a minute; nil: it is not too much.
    func refusalOfTooMuch(_ activity: RateTable.Activity, _ command: String, sender: Address?, to recipient: Address? = nil) -> Reply? {
        let what = activity == .messages ? "much mail" : "many recipients"
        let ofUser = userExcess(activity)
        guard let limit = ofUser ?? excess(activity) else { return nil }
        let whose = ofUser == nil ? client.place : "user \(client.login ?? "")"
        let reply = Reply(450, EnhancedCode(4, 7, 1), "Error: too \(what) from \(whose)")
        logRefusal(reply, command: command, envelope: Envelope(sender: sender), to: recipient, rule: limit.rule)
        return reply
    }

    func excess(_ activity: RateTable.Activity) -> SMTPService.Limit? {
        guard !configuration.limits.rates.isEmpty, let loop else { return nil }
        return service.excess(activity, by: client.address, configuration.limits, at: loop.now)
    }

    /// The manifest line behind a refusal of the session's own, which knows limits but not where they come from.
    func rule(behind reply: Reply) -> String? {
        let rules = configuration.rules
        return switch reply.enhanced {
        case EnhancedCode(5, 3, 4): rules.messageSize
        case EnhancedCode(4, 5, 3): rules.recipients
        default: nil
        }
    }
}
