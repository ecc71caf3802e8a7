// What every connection of the SMTP server shares: configuration in force, policy, queue, log, and who is connected.

package import MailQueue
package import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOPosix
package import Policy
package import SMTP
package import Telemetry

package final class SMTPService: Sendable {
    /// Replaced as a whole when another manifest comes into force. A transaction keeps what it began with.
    package struct Configuration: Sendable {
        package var session: ServerSession.Configuration
        package var policy: AccessPolicy
        package var connectionsPerClient: Int
        package var rules: Rules

        package init(session: ServerSession.Configuration, policy: AccessPolicy, connectionsPerClient: Int, rules: Rules) {
            self.session = session
            self.policy = policy
            self.connectionsPerClient = connectionsPerClient
            self.rules = rules
        }
    }

    /// The manifest lines behind the limits, as the log shows them when one refuses something.
    package struct Rules: Sendable {
        package var messageSize: String
        package var recipients: String
        package var connections: String

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
        var configuration: Configuration
        var clients: [IPAddress: Int] = [:]
        var sessions = 0
        var lastSession = 0
    }

    let queue: DeliveryScheduler
    let log: EventLog
    let threads: NIOThreadPool
    let now: @Sendable () -> Timestamp
    /// Nil: the spool has room for so many octets more and keeps `queue.minimum_free`.
    let shortage: @Sendable (Int) -> Shortage?
    private let state: NIOLockedValueBox<State>

    package init(
        configuration: Configuration, queue: DeliveryScheduler, log: EventLog, threads: NIOThreadPool, now: @escaping @Sendable () -> Timestamp,
        shortage: @escaping @Sendable (Int) -> Shortage?
    ) {
        self.queue = queue
        self.log = log
        self.threads = threads
        self.now = now
        self.shortage = shortage
        state = NIOLockedValueBox(State(configuration: configuration))
    }

    package var configuration: Configuration {
        get { state.withLockedValue { $0.configuration } }
        set { state.withLockedValue { $0.configuration = newValue } }
    }

    /// Sessions that are open.
    package var sessionCount: Int { state.withLockedValue { $0.sessions } }

    /// Counts a client in. Nil: it has as many connections as it may (`limits.connections_per_client`).
    /// A process of this host has no address and no limit.
    func admit(_ client: IPAddress?) -> Int? {
        state.withLockedValue { state in
            if let client {
                guard state.clients[client, default: 0] < state.configuration.connectionsPerClient else { return nil }
                state.clients[client, default: 0] += 1
            }
            state.sessions += 1
            state.lastSession += 1
            return state.lastSession
        }
    }

    func dismiss(_ client: IPAddress?) {
        state.withLockedValue { state in
            state.sessions -= 1
            guard let client, let count = state.clients[client] else { return }
            state.clients[client] = count > 1 ? count - 1 : nil
        }
    }
}
