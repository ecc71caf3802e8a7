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
    private struct State {
        var idle: [NextHop: [PooledConnection]] = [:]
        var isClosed = false
    }

    private let state = NIOLockedValueBox(State())

    /// The connection that was last used: the others may then reach their time limit.
    func take(_ hop: NextHop) -> PooledConnection? {
        state.withLockedValue { state in
            let connection = state.idle[hop]?.popLast()
            if state.idle[hop]?.isEmpty == true { state.idle[hop] = nil }
            return connection
        }
    }

    /// False when no connection is kept any more.
    func put(_ connection: PooledConnection, for hop: NextHop) -> Bool {
        state.withLockedValue { state in
            guard !state.isClosed else { return false }
            state.idle[hop, default: []].append(connection)
            return true
        }
    }

    /// False when the connection is not here: somebody took it.
    func remove(_ id: ObjectIdentifier, for hop: NextHop) -> Bool {
        state.withLockedValue { state in
            guard let index = state.idle[hop]?.firstIndex(where: { $0.id == id }) else { return false }
            state.idle[hop]!.remove(at: index)
            if state.idle[hop]!.isEmpty { state.idle[hop] = nil }
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
