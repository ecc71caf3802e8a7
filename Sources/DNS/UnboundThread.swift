// libunbound behind one thread of ours: all calls into the library are made on it, so that nothing needs a lock but the
// list of new questions. The thread sleeps in poll(2) on libunbound's descriptor and on a pipe that wakes it for new
// questions, cancelled ones and the end. libunbound itself works on a thread of its own.

internal import CUnbound
internal import Glibc
internal import MailSyntax
internal import NIOConcurrencyHelpers

/// What libunbound answered.
struct RecordAnswer: Sendable {
    var lookup: Lookup<[[UInt8]]>
    /// Signed, and the signatures lead to a trust anchor (RFC 4035 §4.3).
    var isSecure = false
    /// Signatures are wrong or missing: `lookup` is a failure that says why.
    var isBogus = false
    /// Where CNAME records led, without the dot at its end.
    var canonicalName: String?

    init(_ lookup: Lookup<[[UInt8]]>) { self.lookup = lookup }

    static func failure(_ reason: String) -> RecordAnswer { RecordAnswer(.failure(reason: reason)) }
}

/// One question. Its continuation is resumed exactly once: by the answer, the time limit, the caller's cancellation, or
/// the end of the thread, whichever comes first.
private final class Question: Sendable {
    private enum State: Sendable {
        case waiting(CheckedContinuation<RecordAnswer, Never>?)
        case answered(RecordAnswer)
        case done
    }

    let name: String
    let type: ResourceData.RecordType
    let deadline: ContinuousClock.Instant
    private let state = NIOLockedValueBox(State.waiting(nil))

    init(_ name: String, _ type: ResourceData.RecordType, deadline: ContinuousClock.Instant) {
        self.name = name
        self.type = type
        self.deadline = deadline
    }

    var isSettled: Bool {
        state.withLockedValue { if case .waiting = $0 { false } else { true } }
    }

    func answer(_ answer: RecordAnswer) {
        let continuation: CheckedContinuation<RecordAnswer, Never>? = state.withLockedValue { state in
            guard case .waiting(let continuation) = state else { return nil }
            state = continuation == nil ? .answered(answer) : .done
            return continuation
        }
        continuation?.resume(returning: answer)
    }

    func wait(_ continuation: CheckedContinuation<RecordAnswer, Never>) {
        let early: RecordAnswer? = state.withLockedValue { state in
            if case .answered(let answer) = state {
                state = .done
                return answer
            }
            state = .waiting(continuation)
            return nil
        }
        if let early { continuation.resume(returning: early) }
    }
}

final class UnboundThread: Sendable {
    private struct Inbox {
        var questions: [Question] = []
        var isStopped = false
    }

    private let inbox = NIOLockedValueBox(Inbox())
    /// A byte in it wakes the thread. Closed with this object, which the thread holds on to.
    private let wakeup: (read: Int32, write: Int32)

    /// `anchors`: the keys that signatures have to lead to; nil: nothing is validated.
    init(_ configuration: Resolver.Configuration, anchors: Resolver.TrustAnchor?) throws(Resolver.Flaw) {
        wakeup = try UnboundThread.makePipe()
        let context = try UnboundThread.makeContext(configuration, anchors)
        let start = Unmanaged.passRetained(ThreadStart(owner: self, context: context))
        var thread = pthread_t()
        let error = pthread_create(
            &thread, nil,
            { argument in
                let start = Unmanaged<ThreadStart>.fromOpaque(argument!).takeRetainedValue()
                start.owner.run(UnboundLoop(context: start.context))
                return nil
            }, start.toOpaque())
        guard error == 0 else {
            start.release()
            ub_ctx_delete(context)
            throw Resolver.Flaw(description: "pthread_create: errno \(error)")
        }
        pthread_detach(thread)
    }

    deinit {
        close(wakeup.read)
        close(wakeup.write)
    }

    func ask(_ name: String, _ type: ResourceData.RecordType, timeout: Duration) async -> RecordAnswer {
        let question = Question(name, type, deadline: .now + timeout)
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                question.wait(continuation)
                let isStopped = inbox.withLockedValue { inbox in
                    if !inbox.isStopped { inbox.questions.append(question) }
                    return inbox.isStopped
                }
                if isStopped { question.answer(.failure("the resolver is shut down")) } else { wake() }
            }
        } onCancel: {
            question.answer(.failure("look-up of \(name) was given up"))
            wake()
        }
    }

    func stop() {
        inbox.withLockedValue { $0.isStopped = true }
        wake()
    }

    private func wake() {
        var byte: UInt8 = 0
        // Fails only when the pipe is full, and then the thread is about to wake anyway.
        _ = write(wakeup.write, &byte, 1)
    }

    // MARK: On the thread

    private func run(_ loop: UnboundLoop) {
        while true {
            let (questions, isStopped) = inbox.withLockedValue { inbox in
                defer { inbox.questions = [] }
                return (inbox.questions, inbox.isStopped)
            }
            loop.sweep(at: .now)
            for question in questions { loop.start(question) }
            if isStopped { break }
            loop.wait(wakeup.read)
        }
        loop.end()
    }

    // MARK: Setting up

    private static func makePipe() throws(Resolver.Flaw) -> (read: Int32, write: Int32) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Resolver.Flaw(description: "pipe: errno \(errno)") }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        return (ends[0], ends[1])
    }

    private static func makeContext(_ configuration: Resolver.Configuration, _ anchors: Resolver.TrustAnchor?) throws(Resolver.Flaw) -> OpaquePointer {
        guard let context = ub_ctx_create() else { throw Resolver.Flaw(description: "libunbound could not be started") }
        do {
            try configure(context, configuration, anchors)
        } catch {
            ub_ctx_delete(context)
            throw error
        }
        return context
    }

    private static func configure(
        _ context: OpaquePointer, _ configuration: Resolver.Configuration, _ anchors: Resolver.TrustAnchor?
    ) throws(Resolver.Flaw) {
        // The resolvers of containers and of systemd are at loopback addresses.
        try check(ub_ctx_set_option(context, "do-not-query-localhost:", "no"), "do-not-query-localhost")
        // A name that is missing now may be a container that starts in a moment (RFC 2308 §5 allows three hours).
        try check(ub_ctx_set_option(context, "cache-max-negative-ttl:", "60"), "cache-max-negative-ttl")
        try check(ub_ctx_set_option(context, "unblock-lan-zones:", "yes"), "unblock-lan-zones")
        try check(ub_ctx_set_option(context, "insecure-lan-zones:", "yes"), "insecure-lan-zones")
        for server in configuration.servers {
            try check(ub_ctx_set_fwd(context, "\(server.address)@\(server.port)"), "forwarding to \(server)")
        }
        switch anchors {
        case .root: for record in Resolver.TrustAnchor.rootKeys { try check(ub_ctx_add_ta(context, record), "the root's key") }
        case .file(let path): try check(ub_ctx_add_ta_file(context, path), "\(path)")
        case nil: break
        }
        if anchors != nil {
            let named = configuration.insecureDomains.compactMap { Punycode.ascii($0).map { "\($0)." } }
            for zone in Resolver.TrustAnchor.unsignedZones + named { try check(ub_ctx_set_option(context, "domain-insecure:", zone), "domain-insecure \(zone)") }
        }
        // A thread and no process: fork(2) would copy a program of many threads.
        try check(ub_ctx_async(context, 1), "ub_ctx_async")
        // libunbound answers for these by itself (RFC 6761, RFC 8375). With resolvers of the system's own, it is theirs to
        // know them: containers and home networks use such names. The first call of this kind also reads the trust anchors.
        let ownZones = configuration.servers.isEmpty ? ["home.arpa."] : ["test.", "home.arpa."]
        for zone in ownZones { try check(ub_ctx_zone_remove(context, zone), anchors?.flaw ?? "removing \(zone)") }
        for zone in configuration.zones {
            try check(ub_ctx_zone_add(context, zone.name, "static"), "zone \(zone.name)")
            for record in zone.records { try check(ub_ctx_data_add(context, record), "record \(record)") }
        }
    }

    private static func check(_ code: Int32, _ what: String) throws(Resolver.Flaw) {
        guard code == 0 else { throw Resolver.Flaw(description: "libunbound: \(what): \(String(cString: ub_strerror(code)))") }
    }
}

/// Carries what the new thread needs across pthread_create.
private final class ThreadStart {
    let owner: UnboundThread
    let context: OpaquePointer

    init(owner: UnboundThread, context: OpaquePointer) {
        self.owner = owner
        self.context = context
    }
}

/// The thread's own state: libunbound's context and what was asked of it.
private final class UnboundLoop {
    private struct Flight {
        let question: Question
        let id: Int32
        /// The reference that libunbound's callback will take over, unless the question is cancelled before.
        let reference: Unmanaged<Question>
    }

    private let context: OpaquePointer
    private var flights: [Flight] = []

    init(context: OpaquePointer) {
        self.context = context
    }

    func start(_ question: Question) {
        guard !question.isSettled else { return }
        let reference = Unmanaged.passRetained(question)
        var id: Int32 = 0
        let classIN: Int32 = 1
        let error = ub_resolve_async(
            context, question.name, question.type.rawValue, classIN, reference.toOpaque(),
            { reference, error, result in
                let question = Unmanaged<Question>.fromOpaque(reference!).takeRetainedValue()
                question.answer(answer(question.name, error, result?.pointee))
                if let result { ub_resolve_free(result) }
            }, &id)
        guard error == 0 else {
            reference.release()
            question.answer(.failure("look-up of \(question.name): \(String(cString: ub_strerror(error)))"))
            return
        }
        flights.append(Flight(question: question, id: id, reference: reference))
    }

    /// Sleeps until libunbound has answers, or the pipe or a deadline calls.
    func wait(_ wakeup: Int32) {
        var descriptors = [
            pollfd(fd: ub_fd(context), events: Int16(POLLIN), revents: 0),
            pollfd(fd: wakeup, events: Int16(POLLIN), revents: 0),
        ]
        var timeout: Int32 = -1
        if let next = flights.map(\.question.deadline).min() {
            let milliseconds = (next - .now) / .milliseconds(1)
            // One more, so that the deadline is over when poll returns.
            timeout = Int32(min(max(milliseconds, 0), 60_000)) + 1
        }
        _ = poll(&descriptors, 2, timeout)
        if descriptors[1].revents != 0 {
            var bytes: (UInt64, UInt64) = (0, 0)
            while read(wakeup, &bytes, 16) > 0 {}
        }
        if descriptors[0].revents != 0 { _ = ub_process(context) }
    }

    /// Forgets the questions that were answered, and gives up those that were cancelled or are out of time.
    func sweep(at now: ContinuousClock.Instant) {
        for flight in flights where flight.question.deadline <= now {
            flight.question.answer(.failure("look-up of \(flight.question.name) timed out"))
        }
        let settled = flights.filter { $0.question.isSettled }
        guard !settled.isEmpty else { return }
        settled.forEach(cancel)
        flights.removeAll { flight in settled.contains { $0.id == flight.id } }
    }

    /// Succeeds only while the callback has not been called, and then it never will be.
    private func cancel(_ flight: Flight) {
        if ub_cancel(context, flight.id) == 0 { flight.reference.release() }
    }

    func end() {
        for flight in flights {
            flight.question.answer(.failure("the resolver is shut down"))
            cancel(flight)
        }
        ub_ctx_delete(context)
    }
}

/// What a result of libunbound means for mail.
private func answer(_ name: String, _ error: Int32, _ result: ub_result?) -> RecordAnswer {
    guard error == 0, let result else { return .failure("look-up of \(name): \(String(cString: ub_strerror(error)))") }
    guard result.bogus == 0 else {
        let why = result.why_bogus.map { String(cString: $0) } ?? "the signatures are wrong"
        var answer = RecordAnswer.failure("look-up of \(name): DNSSEC: \(why)")
        answer.isBogus = true
        return answer
    }
    var answer = RecordAnswer(lookup(name, result))
    answer.isSecure = result.secure != 0
    if let canonical = result.canonname {
        let text = String(cString: canonical)
        answer.canonicalName = text.hasSuffix(".") ? String(text.dropLast()) : text
    }
    return answer
}

private func lookup(_ name: String, _ result: ub_result) -> Lookup<[[UInt8]]> {
    if result.havedata != 0 {
        var records: [[UInt8]] = []
        var index = 0
        while let data = result.data[index] {
            let length = Int(result.len[index])
            records.append(data.withMemoryRebound(to: UInt8.self, capacity: length) { Array(UnsafeBufferPointer(start: $0, count: length)) })
            index += 1
        }
        return records.isEmpty ? .noRecords : .found(records)
    }
    // RFC 1035 §4.1.1: RCODE 0 is no error, 3 a name error; all others leave the question open.
    switch result.rcode {
    case 0: return .noRecords
    case 3: return .noSuchName
    case 2: return .failure(reason: "look-up of \(name): the name servers failed (SERVFAIL)")
    default: return .failure(reason: "look-up of \(name): the name servers answered with RCODE \(result.rcode)")
    }
}
