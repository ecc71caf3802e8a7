// The log: one JSON object a line, or lines as Postfix writes them, and a counter for each event of the same closed list.
//
// `record` never blocks its caller and never throws: it renders the line into a buffer that a thread of its own writes,
// a hundred times a second at most: a wake-up for each line would cost more than the line.
// When the reader of standard output does not keep up, lines are dropped beyond a bound, those of errors beyond a later
// one, and how many were is logged when it goes on. `close` writes out what is left.

internal import Glibc
internal import NIOConcurrencyHelpers

package enum Level: Int, Comparable, CaseIterable, Sendable {
    case debug, info, warning, error
    package static func < (a: Level, b: Level) -> Bool { a.rawValue < b.rawValue }
    /// Spelled out, because interpolating a case looks it up in the type's metadata: each line has one.
    package var name: String {
        switch self {
        case .debug: "debug"
        case .info: "info"
        case .warning: "warning"
        case .error: "error"
        }
    }
}

/// How events are written. `time` gives the present moment as the format has it.
package struct LogFormat: Sendable {
    /// Nil: JSON.
    fileprivate let text: PostfixLines?
    fileprivate let time: @Sendable () -> String

    /// With the time of RFC 3339.
    package static func json(time: @escaping @Sendable () -> String) -> LogFormat { LogFormat(text: nil, time: time) }
    /// As Postfix writes to syslog (RFC 3164 §4.1.2), with this host's name in each line.
    package static func text(host: String, time: @escaping @Sendable () -> String) -> LogFormat {
        LogFormat(text: PostfixLines(host: host, process: getpid(), user: getuid()), time: time)
    }
}

package final class EventLog: Sendable {
    private struct State {
        var pending: [UInt8] = []
        var dropped = 0
        var counts = [Int](repeating: 0, count: Event.allCases.count)
        /// By version and verification: few words of ours and OpenSSL's.
        var encrypted: [String: [String: Int]] = [:]
        var threshold: Level
        var isWriting = false
        var isClosed = false
    }

    /// How long lines gather before they are written, in microseconds.
    private static let gathering: UInt32 = 10_000
    /// Beyond this many unwritten octets, lines below `error` are dropped: a stalled reader must not cost memory.
    package static let bound = 8 << 20
    /// Nor may a storm of errors: beyond one half more, every line is.
    private var boundForErrors: Int { bound + bound / 2 }

    private let state: NIOLockedValueBox<State>
    private let wakeUp = ConditionLock<Bool>(value: false)
    private let descriptor: CInt
    private let bound: Int
    private let format: LogFormat

    /// Lines go to `descriptor`, standard output unless told.
    package init(level: Level, format: LogFormat, descriptor: CInt = 1, bound: Int = EventLog.bound) {
        self.bound = bound
        self.format = format
        state = NIOLockedValueBox(State(threshold: level))
        self.descriptor = descriptor
        startWriter()
    }

    /// In JSON.
    package convenience init(level: Level, descriptor: CInt = 1, bound: Int = EventLog.bound, time: @escaping @Sendable () -> String) {
        self.init(level: level, format: .json(time: time), descriptor: descriptor, bound: bound)
    }

    package var level: Level {
        get { state.withLockedValue { $0.threshold } }
        set { state.withLockedValue { $0.threshold = newValue } }
    }

    /// Counts the event and, where its level is not below the threshold, logs it with the fields that `fill` sets.
    /// `fill` runs only if the line is wanted.
    package func record(_ event: Event, by service: Service, level: Level? = nil, _ fill: (inout Fields) -> Void = { _ in }) {
        let level = level ?? (format.text == nil ? event.level : PostfixLines.level(of: event))
        let threshold = state.withLockedValue { state in
            state.counts[event.index] += 1
            return state.threshold
        }
        guard level >= threshold else { return }
        var fields = Fields()
        fill(&fields)
        append(format.line(event, service, level, fields, isVerbose: threshold == .debug), level: level)
    }

    /// How often each event happened since the start, in the order of `Event.allCases`.
    package var counts: [(event: Event, count: Int)] {
        let counts = state.withLockedValue { $0.counts }
        return Event.allCases.map { ($0, counts[$0.index]) }
    }

    /// One more connection to another server in TLS.
    package func countEncryptedConnection(version: String, verification: String) {
        state.withLockedValue { $0.encrypted[version, default: [:]][verification, default: 0] += 1 }
    }

    package var encryptedConnections: [(version: String, verification: String, count: Int)] {
        let counts = state.withLockedValue { $0.encrypted }
        return counts.sorted { $0.key < $1.key }.flatMap { version, counts in
            counts.sorted { $0.key < $1.key }.map { (version, $0.key, $0.value) }
        }
    }

    /// Writes what is left and ends the writer. Later lines are lost.
    package func close() {
        wake()
        for _ in 0..<2000 where !state.withLockedValue({ $0.pending.isEmpty && !$0.isWriting }) { usleep(1000) }
        state.withLockedValue { $0.isClosed = true }
        wake()
    }

    private func append(_ line: [UInt8], level: Level) {
        let mustWake = state.withLockedValue { state in
            guard !state.isClosed else { return false }
            guard state.pending.count < (level >= .error ? boundForErrors : bound) else {
                state.dropped += 1
                return false
            }
            state.pending.append(contentsOf: line)
            defer { state.isWriting = true }
            return !state.isWriting
        }
        if mustWake { wake() }
    }

    private func wake() {
        wakeUp.lock()
        wakeUp.unlock(withValue: true)
    }

    // MARK: The writer thread

    private func startWriter() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self)
        let failure = pthread_create(&thread, nil, { context in
            Unmanaged<EventLog>.fromOpaque(context!).takeRetainedValue().writeUntilClosed()
            return nil
        }, context.toOpaque())
        precondition(failure == 0, "no thread for the log")
        pthread_detach(thread)
    }

    private func writeUntilClosed() {
        while true {
            wakeUp.lock(whenValue: true)
            wakeUp.unlock(withValue: false)
            if !state.withLockedValue({ $0.isClosed }) { usleep(EventLog.gathering) }
            while let bytes = takePending() { writeAll(bytes) }
            if state.withLockedValue({ $0.isClosed }) { return }
        }
    }

    private func takePending() -> [UInt8]? {
        let (bytes, dropped): ([UInt8]?, Int) = state.withLockedValue { state in
            guard !state.pending.isEmpty || state.dropped > 0 else {
                state.isWriting = false
                return (nil, 0)
            }
            state.isWriting = true
            if state.dropped > 0 { state.counts[Event.linesDropped.index] += 1 }
            defer {
                state.pending = []
                state.dropped = 0
            }
            return (state.pending, state.dropped)
        }
        guard var bytes else { return nil }
        if dropped > 0 {
            var fields = Fields()
            fields.count = dropped
            bytes += format.line(.linesDropped, .appliance, .warning, fields, isVerbose: false)
        }
        return bytes
    }

    private func writeAll(_ bytes: [UInt8]) {
        bytes.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
                if count > 0 {
                    offset += count
                } else if errno == EAGAIN {
                    usleep(1000)
                } else if errno != EINTR {
                    return  // nobody reads: there is nowhere to say so
                }
            }
        }
    }
}

extension LogFormat {
    fileprivate func line(_ event: Event, _ service: Service, _ level: Level, _ fields: Fields, isVerbose: Bool) -> [UInt8] {
        if let text { return text.render(event, service, level, fields, time: time(), isVerbose: isVerbose) }
        var line = JSONLine()
        line.field("time", time())
        line.field("level", level.name)
        line.field("service", service.rawValue)
        line.field("event", event.rawValue)
        fields.write(to: &line)
        line.finish()
        return line.bytes
    }
}

extension Event {
    /// Position in `allCases`: the compiler numbers cases without payload in their order, in one octet. A dictionary would hash
    /// the raw value for each event.
    var index: Int { Int(unsafeBitCast(self, to: UInt8.self)) }
}
