// What every connection of the SMTP server shares: queue, log, and who is connected. What changes with the manifest is
// `Configuration`: each event loop has a reference of its own to it (`Roster`), so that nobody waits for a lock to read it.

package import Accounts
package import DNS
package import MailQueue
package import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOCore
package import NIOPosix
package import Policy
package import SMTP
package import TLS
package import Telemetry

package final class SMTPService: Sendable {
    /// Replaced as a whole when another manifest comes into force. A transaction keeps what it began with.
    package final class Configuration: Sendable {
        package let session: ServerSession.Configuration
        package let policy: AccessPolicy
        package let connectionsPerClient: Int
        package let rules: Rules
        package let limits: ClientLimits
        /// Nil: addresses and headers stay as they come.
        package let rewriting: MessageRewriting?
        /// Nil: mail from other servers comes here.
        package let submission: Submission?
        /// Nil: no TLS here.
        package let tls: TLSOffer?

        package init(
            session: ServerSession.Configuration, policy: AccessPolicy, connectionsPerClient: Int, rules: Rules, limits: ClientLimits = ClientLimits(),
            rewriting: MessageRewriting? = nil, submission: Submission? = nil, tls: TLSOffer? = nil
        ) {
            self.tls = tls
            self.rewriting = rewriting
            self.submission = submission
            self.session = session
            self.policy = policy
            self.connectionsPerClient = connectionsPerClient
            self.rules = rules
            self.limits = limits
        }
    }

    package struct TLSOffer: Sendable {
        package var context: ServerContext
        /// From the first octet on (RFC 8314 §3.3), without STARTTLS.
        package var isImplicit: Bool

        package init(_ context: ServerContext, isImplicit: Bool = false) {
            self.context = context
            self.isImplicit = isImplicit
        }
    }

    /// What is different where users hand in their mail (RFC 6409).
    package struct Submission: Sendable {
        /// As the log names it.
        package var service: Telemetry.Service
        package var authenticator: Authenticator
        /// Received does not say where the client is.
        package var hidesClient: Bool
        /// What one user may do in a minute, from wherever.
        package var rates: [RateTable.Activity: Limit]

        package init(
            service: Telemetry.Service, authenticator: Authenticator, hidesClient: Bool = false, rates: [RateTable.Activity: Limit] = [:]
        ) {
            self.service = service
            self.authenticator = authenticator
            self.hidesClient = hidesClient
            self.rates = rates
        }
    }

    /// A number that the manifest sets, and its line.
    package struct Limit: Sendable {
        package let most: Int
        package let rule: String

        package init(_ most: Int, rule: String) {
            self.most = most
            self.rule = rule
        }
    }

    /// What one client may do in a minute, and how long and how many all of them may be connected.
    package struct ClientLimits: Sendable {
        /// By `RateTable.Activity`; what is not in it has no limit and is not counted.
        package var rates: [RateTable.Activity: Limit] = [:]
        /// Clients to whom no limit of this kind applies.
        package var exempt: [Network] = []
        /// Of all clients together.
        package var connections = Limit(20_000, rule: "default limits.connections")
        /// How long a client may take for a command. RFC 5321 §4.5.3.2.7: 5 minutes at least.
        package var timeout = TimeAmount.minutes(5)

        package init() {}
    }

    /// The manifest lines behind the limits, as the log shows them when one refuses something; and who may use which command beyond
    /// those of every SMTP server.
    package struct Rules: Sendable {
        package var messageSize: String
        package var recipients: String
        package var connections: String
        package var flushableRule = "default smtpd.etrn_domains"
        /// Who may say XCLIENT and XFORWARD.
        package var override: [Network] = []
        package var forward: [Network] = []
        /// Domains that ETRN may ask for.
        package var flushable: [Domain] = []
        package var looksUpNames = true

        package init(messageSize: String, recipients: String, connections: String) {
            self.messageSize = messageSize
            self.recipients = recipients
            self.connections = connections
        }
    }

    /// Why the spool takes no more, for the log.
    package struct Shortage: Sendable {
        package var reason: String
        /// The manifest line that says so; nil: none does.
        package var rule: String?

        package init(reason: String, rule: String?) {
            self.reason = reason
            self.rule = rule
        }
    }

    private struct State {
        var clients: [RateTable.Subject: Int] = [:]
        var rates = RateTable()
        var isRunningQueue = false
        var sessions = 0
        var lastSession = 0
    }

    let queue: DeliveryScheduler
    let log: EventLog
    let threads: NIOThreadPool
    let now: @Sendable () -> Timestamp
    /// Nil: the spool has room for so many octets more and keeps `queue.minimum_free`.
    let shortage: @Sendable (Int) -> Shortage?
    /// Nil: nobody's name is looked up.
    let names: ClientNames?
    let logins = LoginService()
    private let state: NIOLockedValueBox<State>

    package init(
        queue: DeliveryScheduler, log: EventLog, threads: NIOThreadPool, now: @escaping @Sendable () -> Timestamp,
        shortage: @escaping @Sendable (Int) -> Shortage?, resolver: (any NameService)? = nil
    ) {
        names = resolver.map { ClientNames(resolver: $0) }
        self.queue = queue
        self.log = log
        self.threads = threads
        self.now = now
        self.shortage = shortage
        state = NIOLockedValueBox(State())
    }

    /// Sessions that are open.
    package var sessionCount: Int { state.withLockedValue { $0.sessions } }

    enum Admission {
        case admitted(number: Int)
        case refused(Reply, rule: String)
    }

    /// Counts a client in, if it has not too many connections already (`limits.connections_per_client`) and opens none too fast, and
    /// the server has not. A process of this host has no address and no limit.
    func admit(_ client: IPAddress?, _ configuration: Configuration, at now: NIODeadline) -> Admission {
        state.withLockedValue { state in
            if let client, let refusal = refusal(of: client, configuration, &state, now) { return refusal }
            state.sessions += 1
            state.lastSession += 1
            return .admitted(number: state.lastSession)
        }
    }

    /// RFC 5321 §4.2.2: 421, closing; Postfix's words.
    private func refusal(of client: IPAddress, _ configuration: Configuration, _ state: inout State, _ now: NIODeadline) -> Admission? {
        func refused(_ text: String, rule: String, _ code: EnhancedCode = EnhancedCode(4, 7, 0)) -> Admission {
            .refused(Reply(421, code, "\(configuration.session.hostname) Error: \(text)"), rule: rule)
        }
        let limits = configuration.limits
        if state.sessions >= limits.connections.most {
            return refused("too many connections", rule: limits.connections.rule, EnhancedCode(4, 3, 2))
        }
        let subject = RateTable.Subject.network(of: client)
        if !limits.exempt.contains(where: { $0.contains(client) }) {
            if let limit = limits.rates[.connections], state.rates.note(.connections, by: subject, at: now.seconds) > limit.most {
                return refused("too many connections from \(client)", rule: limit.rule)
            }
            if let limit = limits.rates[.errors], state.rates.noted(.errors, by: subject, at: now.seconds) > limit.most {
                return refused("too many errors from \(client)", rule: limit.rule)
            }
            guard state.clients[subject, default: 0] < configuration.connectionsPerClient else {
                return refused("too many connections from \(client)", rule: configuration.rules.connections)
            }
        }
        state.clients[subject, default: 0] += 1
        return nil
    }

    /// Counts what a user does. The limit, where this is more than it allows. Costs nothing where there is none.
    func excess(_ activity: RateTable.Activity, by user: String?, _ submission: Submission?, at now: NIODeadline) -> Limit? {
        guard let user, let limit = submission?.rates[activity] else { return nil }
        let count = state.withLockedValue { $0.rates.note(activity, by: .user(lowercasedASCII(user)), at: now.seconds) }
        return count > limit.most ? limit : nil
    }

    func dismiss(_ client: IPAddress?) {
        state.withLockedValue { state in
            state.sessions -= 1
            guard let client else { return }
            let subject = RateTable.Subject.network(of: client)
            guard let count = state.clients[subject] else { return }
            state.clients[subject] = count > 1 ? count - 1 : nil
        }
    }

    /// Counts what a client does. The limit, where this is more than it allows. Costs nothing where there is none.
    func excess(_ activity: RateTable.Activity, by client: IPAddress?, _ limits: ClientLimits, at now: NIODeadline) -> Limit? {
        guard !limits.rates.isEmpty, let limit = limits.rates[activity], let client else { return nil }
        if limits.exempt.contains(where: { $0.contains(client) }) { return nil }
        let count = state.withLockedValue { $0.rates.note(activity, by: .network(of: client), at: now.seconds) }
        return count > limit.most ? limit : nil
    }

    /// False: there is one under way.
    func beginQueueRun() -> Bool {
        state.withLockedValue { state in
            defer { state.isRunningQueue = true }
            return !state.isRunningQueue
        }
    }

    func endQueueRun() { state.withLockedValue { $0.isRunningQueue = false } }

    /// So many sessions are open that those that wait for their client have to make room (Postfix's STRESS_README).
    func isUnderStress(_ limits: ClientLimits) -> Bool { sessionCount >= limits.connections.most / 5 * 4 }
}

extension NIODeadline {
    fileprivate var seconds: Int64 { Int64(uptimeNanoseconds / 1_000_000_000) }
}

extension SMTPService.Configuration {
    /// What a session goes by: the logins that are offered follow the directories as they are now. A process of this host needs no TLS to
    /// its own socket.
    func sessionNow(for client: ClientFacts) -> ServerSession.Configuration {
        var session = session
        if tls == nil || tls?.isImplicit == true || client.address == nil { session.encryption = .none }
        guard let submission, session.logins != nil else { return session }
        let mechanisms = submission.authenticator.mechanisms
        session.logins?.mechanisms = mechanisms.filter { !$0.bindsChannel }.map(\.rawValue)
        session.logins?.boundMechanisms = mechanisms.filter(\.bindsChannel).map(\.rawValue)
        return session
    }
}
