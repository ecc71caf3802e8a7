// What a connection does for AUTH: it holds one `LoginDialogue` at a time, passes on what is said, and logs what became of it.

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
            session.mayUseVERP = configuration.policy.mayRelay(client)
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
}
