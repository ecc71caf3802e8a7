// Connections that have done their work and wait a little for more to the same place. Knows nothing of SMTP: a
// connection that times out or breaks takes itself away, and whoever takes one must be ready to find it broken.

internal import MailSyntax
internal import NIOConcurrencyHelpers
internal import NIOCore

/// A connection outside its event loop.
struct PooledConnection: Sendable {
    let eventLoop: any EventLoop
    let connection: NIOLoopBound<SMTPConnection>
    let id: ObjectIdentifier
}

final class ConnectionPool: Sendable {
    /// Where a connection leads, and under which demand it was made.
    struct Key: Hashable, Sendable {
        var hop: NextHop
        var demand: TLSDemand
    }

    private struct State {
        var idle: [Key: [PooledConnection]] = [:]
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    /// The connection that was last used: the others may then reach their time limit.
    func take(_ key: Key) -> PooledConnection? {
        state.withLockedValue { state in
            let connection = state.idle[key]?.popLast()
            if state.idle[key]?.isEmpty == true { state.idle[key] = nil }
            return connection
        }
    }

    /// False when no connection is kept any more.
    func put(_ connection: PooledConnection, for key: Key) -> Bool {
        state.withLockedValue { state in
            guard !state.isClosed else { return false }
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
