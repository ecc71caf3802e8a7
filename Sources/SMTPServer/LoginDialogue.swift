// One login of one connection, from AUTH to its verdict: holds the SASL exchange, asks the authenticator, keeps the throttle.
// Lives on the connection's event loop; what takes long is done on the authenticator's threads.

internal import Accounts
internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore
internal import SMTP

/// Who may log in, for all connections together.
final class LoginService: Sendable {
    private let throttle = NIOLockedValueBox(LoginThrottle())

    fileprivate func delay(_ client: IPAddress?, _ user: String, _ now: Timestamp) -> Duration {
        guard let client else { return .zero }
        return throttle.withLockedValue { $0.delay(client: client, user: user, now: now) }
    }

    fileprivate func note(_ isRight: Bool, _ client: IPAddress?, _ user: String, _ now: Timestamp) {
        guard let client else { return }
        throttle.withLockedValue { throttle in
            if isRight {
                throttle.succeeded(client: client, user: user)
            } else {
                throttle.failed(client: client, user: user, now: now)
            }
        }
    }
}

final class LoginDialogue {
    enum Turn {
        case challenge([UInt8])
        case success(user: String)
        /// `reason` is for the log, and holds no secret.
        case failure(Reply, reason: String)
    }

    let mechanism: SASLMechanism
    /// The name that was given; nil: none was yet.
    private(set) var user: String?
    private let authenticator: Authenticator
    private let service: LoginService
    private let client: IPAddress?
    private let now: @Sendable () -> Timestamp
    private let loop: any EventLoop
    private let report: (Turn) -> Void
    private var exchange: SASLExchange
    /// As the directory spells it.
    private var account: String?
    /// The client has yet to acknowledge the last challenge, and then is logged in.
    private var isProved = false
    private var isOver = false

    /// `report` is called for each turn, on `loop`, until `cancel`.
    init(
        _ mechanism: SASLMechanism, _ authenticator: Authenticator, _ service: LoginService, client: IPAddress?, bindings: [ChannelBinding],
        now: @escaping @Sendable () -> Timestamp, loop: any EventLoop, report: @escaping (Turn) -> Void
    ) {
        self.mechanism = mechanism
        self.authenticator = authenticator
        self.service = service
        self.client = client
        self.now = now
        self.loop = loop
        self.report = report
        exchange = SASLExchange(mechanism, bindings: bindings, nonce: SASLExchange.freshNonce())
    }

    func begin(_ initial: [UInt8]?) { take(exchange.start(initial: initial)) }

    func receive(_ response: [UInt8]) {
        guard isProved else { return take(exchange.receive(response)) }
        // RFC 4422 §5: the last challenge is answered by nothing.
        guard response.isEmpty, let user = account ?? user else { return end(.failure(ServerSession.loginMalformed, reason: "the last response is not empty")) }
        succeed(user)
    }

    func cancel() { isOver = true }

    private func take(_ step: SASLExchange.Step) {
        switch step {
        case .challenge(let octets): report(.challenge(octets))
        case .verify(let user, let password):
            guard admits(user) else { return }
            authenticator.verify(user: user, password: password, completion: later { $0.judge($1) })
        case .lookUp(let user, let digest):
            guard admits(user) else { return }
            authenticator.keys(of: user, digest, completion: later { $0.take($1) })
        case .success(let user, final: nil): succeed(account ?? user)
        case .success(_, let final?):
            isProved = true
            report(.challenge(final))
        case .failure(let failure): fail(failure)
        }
    }

    /// A call back to this loop, for as long as anybody waits for it.
    private func later<Value: Sendable>(_ body: @escaping @Sendable (LoginDialogue, Value) -> Void) -> @Sendable (Value) -> Void {
        let dialogue = NIOLoopBound(self, eventLoop: loop)
        return { [loop] value in
            loop.execute {
                if !dialogue.value.isOver { body(dialogue.value, value) }
            }
        }
    }

    private func admits(_ user: String) -> Bool {
        self.user = user
        let delay = service.delay(client, user, now())
        guard delay > .zero else { return true }
        let seconds = delay.components.seconds + 1
        end(.failure(ServerSession.loginUnavailable("too many failures, try again in \(seconds) seconds"), reason: "too many failures before: not looked at"))
        return false
    }

    private func judge(_ verdict: Authenticator.Verdict) {
        switch verdict {
        case .right(let user):
            account = user
            take(exchange.passwordIs(right: true))
        case .wrong: take(exchange.passwordIs(right: false))
        case .unavailable(let reason): unavailable(reason)
        }
    }

    private func take(_ keys: Authenticator.Keys) {
        switch keys {
        case .keys(let keys, let user):
            account = user
            take(exchange.keysAre(keys))
        case .unavailable(let reason): unavailable(reason)
        }
    }

    private func unavailable(_ reason: String) { end(.failure(ServerSession.loginUnavailable("try again later"), reason: reason)) }

    private func succeed(_ user: String) {
        service.note(true, client, self.user ?? user, now())
        end(.success(user: user))
    }

    private func fail(_ failure: SASLExchange.Failure) {
        switch failure {
        case .malformed: return end(.failure(ServerSession.loginMalformed, reason: "the response is not that of the mechanism"))
        case .credentials:
            service.note(false, client, user ?? "", now())
            end(.failure(ServerSession.loginFailed, reason: "wrong name or password"))
        case .authorization: end(.failure(ServerSession.loginFailed, reason: "asked to act for another user"))
        case .channelBinding: end(.failure(ServerSession.loginFailed, reason: "the channel is not the one that the client sees"))
        }
    }

    private func end(_ turn: Turn) {
        guard !isOver else { return }
        isOver = true
        report(turn)
    }
}
