// Connections that have done their work and wait a little for more to the same place, if there is reason to expect it: a server
// counts its clients, and one that has nothing to say holds another's place (Postfix: `smtp_connection_cache_on_demand`). Knows nothing of
// SMTP: a connection that times out or breaks takes itself away, and whoever takes one must be ready to find it broken.

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore

/// A connection outside its event loop.
struct PooledConnection: Sendable {
    let eventLoop: any EventLoop
    let connection: NIOLoopBound<SMTPConnection>
    let id: ObjectIdentifier

    /// With QUIT. The future is the end of the connection, which comes within that time in any case.
    func leave(within limit: Duration) -> EventLoopFuture<Void> {
        eventLoop.flatSubmit {
            let connection = connection.value
            connection.leave()
            guard let channel = connection.context?.channel else { return eventLoop.makeSucceededVoidFuture() }
            eventLoop.scheduleTask(in: TimeAmount(limit)) { channel.close(promise: nil) }
            return channel.closeFuture
        }
    }
}

final class ConnectionPool: Sendable {
    /// Where a connection leads, and under which demand it was made.
    struct Key: Hashable, Sendable {
        var hop: NextHop
        var demand: TLSDemand
    }

    /// What goes to one place.
    private struct Traffic {
        var batches = 0
        /// When one was last done.
        var ended: NIODeadline?
        /// The last one that began was not alone, or came soon after another.
        var isSteady = false
    }

    private struct State {
        var idle: [Key: [PooledConnection]] = [:]
        var traffic: [Key: Traffic] = [:]
        var nextSweep = NIODeadline.distantPast
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    // MARK: Traffic

    /// A batch is on its way; `end` follows. `window`: what comes that soon after another is more of the same.
    func begin(_ key: Key, window: TimeAmount) {
        let now = NIODeadline.now()
        state.withLockedValue { state in
            if state.nextSweep <= now {
                state.traffic = state.traffic.filter { $0.value.batches > 0 || $0.value.ended.map { now - $0 < window } == true }
                state.nextSweep = now + window
            }
            var traffic = state.traffic[key] ?? Traffic()
            traffic.isSteady = traffic.batches > 0 || traffic.ended.map { now - $0 < window } == true
            traffic.batches += 1
            state.traffic[key] = traffic
        }
    }

    func end(_ key: Key) {
        state.withLockedValue { state in
            state.traffic[key]?.batches -= 1
            state.traffic[key]?.ended = .now()
        }
    }

    // MARK: Connections

    /// The connection that was last used: the others may then reach their time limit.
    func take(_ key: Key) -> PooledConnection? {
        state.withLockedValue { state in
            let connection = state.idle[key]?.popLast()
            if state.idle[key]?.isEmpty == true { state.idle[key] = nil }
            return connection
        }
    }

    /// False when it is not kept: nothing speaks for more to come, or all is over.
    func put(_ connection: PooledConnection, for key: Key) -> Bool {
        state.withLockedValue { state in
            guard !state.isClosed, let traffic = state.traffic[key], traffic.isSteady || traffic.batches > 1 else { return false }
            state.idle[key, default: []].append(connection)
            return true
        }
    }

    /// False when the connection is not here: somebody took it.
    func remove(_ id: ObjectIdentifier, for key: Key) -> Bool {
        state.withLockedValue { state in
            guard let index = state.idle[key]?.firstIndex(where: { $0.id == id }) else { return false }
            state.idle[key]!.remove(at: index)
            if state.idle[key]!.isEmpty { state.idle[key] = nil }
            return true
        }
    }

    /// Empties the pool for good.
    func close() -> [PooledConnection] {
        state.withLockedValue { state in
            defer { state.idle = [:] }
            state.isClosed = true
            return state.idle.values.flatMap { $0 }
        }
    }
}
