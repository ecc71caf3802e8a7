// The log: each line one JSON object, each event counted, and a reader that stalls costs neither memory nor time.

import Glibc
import NIOConcurrencyHelpers
import Testing

@testable import Telemetry

struct EventLogTests {
    /// A pipe whose reading end a test holds.
    private final class Pipe: Sendable {
        let reading: CInt
        let writing: CInt
        init() {
            var ends: [CInt] = [0, 0]
            precondition(pipe(&ends) == 0)
            (reading, writing) = (ends[0], ends[1])
        }
        deinit { Glibc.close(reading) }

        /// All that is written until the writing end is closed.
        func readAll() -> [UInt8] {
            var bytes: [UInt8] = []
            var chunk = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = read(reading, &chunk, chunk.count)
                guard count > 0 else { return bytes }
                bytes += chunk[..<count]
            }
        }

        /// Reads on a thread of its own, so that no other test holds it up. The closure waits for the end.
        func startReading() -> () -> [UInt8] {
            final class Box: Sendable {
                let pipe: Pipe
                let bytes = NIOLockedValueBox<[UInt8]>([])
                init(_ pipe: Pipe) { self.pipe = pipe }
            }
            let box = Box(self)
            var thread = pthread_t()
            pthread_create(&thread, nil, { context in
                let box = Unmanaged<Box>.fromOpaque(context!).takeRetainedValue()
                let bytes = box.pipe.readAll()
                box.bytes.withLockedValue { $0 = bytes }
                return nil
            }, Unmanaged.passRetained(box).toOpaque())
            return {
                pthread_join(thread, nil)
                return box.bytes.withLockedValue { $0 }
            }
        }
    }

    private func lines(level: Level = .debug, _ body: (EventLog) -> Void) -> [String] {
        let pipe = Pipe()
        let log = EventLog(level: level, descriptor: pipe.writing) { "2026-11-24T13:05:09.123456Z" }
        body(log)
        log.close()
        Glibc.close(pipe.writing)
        return String(decoding: pipe.readAll(), as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test("an event is one line of JSON with time, level, service, event, then its fields")
    func line() {
        let lines = lines { log in
            log.record(.deliverySent, by: .local) {
                $0.queueID = "64F"
                $0.to = "a@example.org"
                $0.delay = .milliseconds(1500)
                $0.client = Fields.Client(address: "192.0.2.1", helo: "x")
                $0.size = 12
                $0.from = ""
            }
        }
        #expect(lines == [
            #"{"time":"2026-11-24T13:05:09.123456Z","level":"info","service":"local","event":"delivery.sent","queue_id":"64F","client":{"address":"192.0.2.1","helo":"x"},"from":"","to":"a@example.org","size":12,"delay":1.500}"#
        ])
    }

    @Test("text that would break a line or a string is escaped, and python3 reads back what was written", arguments: [
        "plain", "quote\" back\\slash", "line\r\nbreak\t", "\u{0}\u{1}\u{1F}\u{7F}", "ünï \u{1F4E8} \u{2028}", "",
    ])
    func escaping(text: String) throws {
        let lines = lines { log in log.record(.diagnostic, by: .appliance) { $0.message = text } }
        try #require(lines.count == 1)
        let codes = text.unicodeScalars.map { "\($0.value)" }.joined(separator: ",")
        let script = "import json,sys; assert [ord(c) for c in json.loads(sys.argv[1])['message']] == [\(codes)]"
        #expect(run("/usr/bin/python3", "-c", script, lines[0]) == 0)
    }

    @Test("each event is counted in its own place") func places() { #expect(Event.allCases.map(\.index) == Array(Event.allCases.indices)) }

    @Test("the text format has its own levels: what Postfix tells at its ordinary one is not debug")
    func textLevels() {
        let pipe = Pipe()
        let log = EventLog(level: .info, format: .text(host: "mx") { "Nov 24 13:05:09" }, descriptor: pipe.writing)
        log.record(.messageRemoved, by: .queue) { $0.queueID = "64F" }
        log.record(.diagnostic, by: .appliance, level: .debug) { _ in Issue.record("below the level") }
        log.close()
        Glibc.close(pipe.writing)
        #expect(String(decoding: pipe.readAll(), as: UTF8.self) == "Nov 24 13:05:09 mx postfix/qmgr[\(getpid())]: 64F: removed\n")
    }

    @Test("a negative delay is written as none") func negativeDelay() {
        #expect(lines { $0.record(.deliverySent, by: .smtp) { $0.delay = .seconds(-3) } }[0].contains(#""delay":0.000"#))
    }

    @Test("events below the threshold are counted, not written, and their fields not made")
    func threshold() {
        let lines = lines(level: .warning) { log in
            log.record(.deliverySent, by: .smtp) { _ in Issue.record("made for nothing") }
            log.record(.deliveryDeferred, by: .smtp)
            log.record(.diagnostic, by: .appliance, level: .error)
            log.level = .debug
            log.record(.sessionOpened, by: .smtpd)
            let counts = Dictionary(uniqueKeysWithValues: log.counts.map { ($0.event, $0.count) })
            #expect(counts.count == Event.allCases.count)
            #expect(counts.filter { $0.value > 0 } == [.deliverySent: 1, .deliveryDeferred: 1, .diagnostic: 1, .sessionOpened: 1])
        }
        #expect(lines.count == 3)
    }

    @Test("lines of many threads are whole, and none is missing")
    func concurrent() async {
        let pipe = Pipe()
        let log = EventLog(level: .debug, descriptor: pipe.writing) { "t" }
        let bytes = pipe.startReading()
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask { for number in 0..<500 { log.record(.diagnostic, by: .queue) { $0.count = writer * 1000 + number } } }
            }
        }
        log.close()
        Glibc.close(pipe.writing)
        let lines = String(decoding: bytes(), as: UTF8.self).split(separator: "\n")
        #expect(lines.count == 4000)
        #expect(Set(lines).count == 4000)
        #expect(lines.allSatisfy { $0.hasPrefix("{") && $0.hasSuffix("}") })
    }

    @Test("while the reader stalls, lines are dropped beyond a bound, errors beyond a later one; how many is said when it goes on")
    func stalledReader() {
        let pipe = Pipe()
        let bound = 256 << 10
        let log = EventLog(level: .debug, descriptor: pipe.writing, bound: bound) { "t" }
        let filler = String(repeating: "x", count: 4000)
        // The pipe holds 64 KiB, the writer one batch of up to the bound: six times that cannot fit.
        let written = 6 * bound / filler.utf8.count
        for _ in 0..<written { log.record(.diagnostic, by: .queue) { $0.message = filler } }
        log.record(.queueFailed, by: .queue) { $0.reason = "error while full" }
        for _ in 0..<written { log.record(.queueFailed, by: .queue) { $0.reason = filler } }
        let bytes = pipe.startReading()
        log.close()
        Glibc.close(pipe.writing)
        let lines = String(decoding: bytes(), as: UTF8.self).split(separator: "\n")
        #expect(lines.contains { $0.contains("error while full") })
        let dropped = lines.compactMap { line -> Int? in
            guard line.contains(#""event":"log.dropped""#), let count = line.split(separator: #""count":"#).last else { return nil }
            return Int(count.dropLast())
        }
        #expect(!dropped.isEmpty)
        #expect(lines.count - dropped.count + dropped.reduce(0, +) == 2 * written + 1)
        // What the pipe held, one batch at the writer, one that waited: each within the later bound.
        #expect(lines.reduce(0) { $0 + $1.utf8.count } <= (64 << 10) + 3 * bound + 4 * filler.utf8.count)
        #expect(log.counts.first { $0.event == .linesDropped }?.count == dropped.count)
    }

    @Test("a line after the end is lost, and costs no memory that stays")
    func afterClose() {
        let pipe = Pipe()
        let log = EventLog(level: .debug, descriptor: pipe.writing) { "t" }
        log.close()
        log.record(.diagnostic, by: .queue)
        log.close()
        Glibc.close(pipe.writing)
        #expect(pipe.readAll().isEmpty)
        #expect(log.counts.first { $0.event == .diagnostic }?.count == 1)
    }

    @Test("every event has a name and a meaning of its own")
    func events() {
        #expect(Set(Event.allCases.map(\.meaning)).count == Event.allCases.count)
        #expect(Event.allCases.allSatisfy { $0.meaning.hasSuffix(".") && $0.rawValue.contains(where: { $0 == "." }) || $0 == .diagnostic })
    }

    private func run(_ arguments: String...) -> CInt {
        var pid = pid_t()
        var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { argv.forEach { free($0) } }
        guard posix_spawn(&pid, arguments[0], nil, nil, &argv, environ) == 0 else { return -1 }
        var status: CInt = 0
        waitpid(pid, &status, 0)
        return status
    }
}
