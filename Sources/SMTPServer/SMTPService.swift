// What every connection of the SMTP server shares: queue, log, and who is connected. What changes with the manifest is
// `Configuration`: each event loop has a reference of its own to it (`Roster`), so that nobody waits for a lock to read it.

package import MailQueue
package import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOPosix
package import Policy
package import SMTP
package import Telemetry

package final class SMTPService: Sendable {
    /// Replaced as a whole when another manifest comes into force. A transaction keeps what it began with.
    package final class Configuration: Sendable {
        package let session: ServerSession.Configuration
        package let policy: AccessPolicy
        package let connectionsPerClient: Int
        package let rules: Rules
        /// Nil: addresses and headers stay as they come.
        package let rewriting: MessageRewriting?

        package init(
            session: ServerSession.Configuration, policy: AccessPolicy, connectionsPerClient: Int, rules: Rules, rewriting: MessageRewriting? = nil
        ) {
            self.rewriting = rewriting
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
        queue: DeliveryScheduler, log: EventLog, threads: NIOThreadPool, now: @escaping @Sendable () -> Timestamp,
        shortage: @escaping @Sendable (Int) -> Shortage?
    ) {
        self.queue = queue
        self.log = log
        self.threads = threads
        self.now = now
        self.shortage = shortage
        state = NIOLockedValueBox(State())
    }

    /// Sessions that are open.
    package var sessionCount: Int { state.withLockedValue { $0.sessions } }

    /// Counts a client in. Nil: it has `limit` connections already (`limits.connections_per_client`).
    /// A process of this host has no address and no limit.
    func admit(_ client: IPAddress?, limit: Int) -> Int? {
        state.withLockedValue { state in
            if let client {
                guard state.clients[client, default: 0] < limit else { return nil }
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
