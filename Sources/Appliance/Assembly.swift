// From a manifest to a running appliance: which parts there are, what each is told, and in which order they start and stop.
//
// Start: spool, agents, sockets, and with them the queue, which keeps mail from its first moment on. Stop: sockets, queue,
// spool, so that no mail is taken that nobody would keep, and deliveries under way may end. Within `Grace` all of it is over.

internal import DNS
internal import Delivery
internal import Glibc
internal import Logging
internal import MailQueue
internal import MailSyntax
package import Manifest
internal import NIOCore
internal import NIOPosix
internal import Policy
internal import Routing
internal import SMTP
internal import SMTPServer
internal import ServiceLifecycle
internal import UnixSignals
package import Telemetry

/// How long each part may take to stop; together less than the ten seconds that a container engine waits.
private enum Grace {
    static let sessions = TimeAmount.seconds(3)
    static let deliveries = Duration.seconds(3)
    /// What a conversation with a next hop, asked to end after that, may take on top.
    static let conversations = Duration.seconds(2)
}

/// Why an appliance did not start, or what ended it.
package struct ApplianceFailure: Error, CustomStringConvertible {
    package let description: String
}

package struct Assembly {
    private let system: MailSystem
    private let log: EventLog
    private let started = Timestamp.now()
    private static let blockingThreads = 4

    package init(_ system: MailSystem, log: EventLog) {
        self.system = system
        self.log = log
    }

    /// Starts everything, serves until SIGTERM or SIGINT, and stops everything. Returns when all accepted mail is safe and
    /// all sockets are closed.
    package func run() async throws {
        log.record(.manifestLoaded, by: .appliance) { fields in
            fields.rule = system.file
            fields.message = "\(system.domains.count) domains, \(system.users.count) users, \(system.aliases.count) aliases"
        }
        // A loop for every second core: what remains is for the spool's writer, the deliveries and the kernel. Measured on two
        // cores, one loop takes 37 % more messages than two, which wake each other's core all the time.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, System.coreCount / 2))
        // Blocking work of intake, health and agents. Few threads: what they wait for is one disk.
        let threads = NIOThreadPool(numberOfThreads: Assembly.blockingThreads)
        threads.start()
        for _ in 0..<Assembly.blockingThreads { threads.submit { _ in stepBack() } }
        let spool = try openSpool()
        try makeMailboxDirectory()
        let space = SpoolSpace(
            directory: system.queue.directory.value, minimum: system.queue.minimumFree.value,
            rule: system.rule(system.queue.minimumFree.position, "queue.minimum_free"), threads: threads)
        let router = Router(routerConfiguration(system))
        let scheduler = try scheduler(spool, router, group, threads)
        let smtp = SMTPService(
            configuration: smtpConfiguration(router), queue: scheduler, log: log, threads: threads, now: Timestamp.now, shortage: space.shortage)
        let health = Health(scheduler: scheduler, smtp: smtp, space: space, log: log, manifest: system.file, started: started)
        let control = ControlRoutes(scheduler: scheduler, threads: threads)

        let listeners = try await openListeners(smtp, health, control, group)
        health.listenersAreUp()
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: QueueService(scheduler: scheduler, grace: Grace.deliveries)),
                    .init(service: ListenerService(listeners: listeners, health: health, log: log, grace: Grace.sessions, started: started)),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: Logger(label: "lifecycle") { _ in LibraryLog(log: log) }))
        try await services.run()
        try? await threads.shutdownGracefully()
        log.record(.serviceStopped, by: .appliance)
    }

    private func openSpool() throws -> Spool {
        do {
            return try Spool(directory: system.queue.directory.value, owner: system.hostname.value.key)
        } catch {
            throw ApplianceFailure(description: "queue.directory: \(error.reason)\(ownershipAdvice(system.queue.directory.value))")
        }
    }

    private func makeMailboxDirectory() throws {
        let directory = system.mailboxes.directory.value
        do {
            try makeDirectory(directory)
        } catch {
            throw ApplianceFailure(description: "mailboxes.directory: \(error)")
        }
        // Else all mail would be accepted, and wait.
        guard access(directory, W_OK | X_OK) == 0 else {
            throw ApplianceFailure(description: "mailboxes.directory: \(directory): \(String(cString: strerror(errno)))\(ownershipAdvice(directory))")
        }
    }

    private func scheduler(_ spool: Spool, _ router: Router, _ group: MultiThreadedEventLoopGroup, _ threads: NIOThreadPool) throws -> DeliveryScheduler {
        let mailboxes = LocalAgent(configuration: mailboxConfiguration(system), threads: threads)
        var limits = SMTPAgent.Limits()
        limits.grace = Grace.conversations
        let nextHops = SMTPAgent(
            configuration: SMTPAgent.Configuration(hostname: system.hostname.value, limits: limits), resolver: try Resolver(.system()), group: group,
            threadPool: threads)
        return DeliveryScheduler(
            spool: spool, mailboxes: mailboxes, nextHops: nextHops, configuration: queueConfiguration(system, router), log: log, loop: group.next(),
            now: Timestamp.now)
    }

    private func smtpConfiguration(_ router: Router) -> SMTPService.Configuration {
        SMTPService.Configuration(
            session: ServerSession.Configuration(
                hostname: system.hostname.value, origin: system.origin.value, messageSizeLimit: system.limits.messageSize.value,
                recipientLimit: system.limits.recipientsPerMessage.value),
            policy: AccessPolicy(policyConfiguration(system), router: router), connectionsPerClient: system.limits.connectionsPerClient.value,
            rules: SMTPService.Rules(
                messageSize: system.rule(system.limits.messageSize.position, "limits.message_size"),
                recipients: system.rule(system.limits.recipientsPerMessage.position, "limits.recipients_per_message"),
                connections: system.rule(system.limits.connectionsPerClient.position, "limits.connections_per_client")))
    }

    // MARK: Sockets

    private func openListeners(
        _ smtp: SMTPService, _ health: Health, _ control: ControlRoutes, _ group: MultiThreadedEventLoopGroup
    ) async throws -> ListenerService.Listeners {
        var listeners = ListenerService.Listeners()
        let directory = system.queue.directory.value
        // Health first: a probe then sees why the rest is not up.
        for endpoint in system.listen.health.value {
            listeners.http.append(
                try await opened("\(endpoint)", .health, port: endpoint.port) {
                    try await HTTPServer.bind(endpoint, group: group, routes: health.routes)
                })
        }
        for endpoint in system.listen.smtp.value {
            listeners.smtp.append(
                try await opened("\(endpoint)", .smtpd, port: endpoint.port) { try await Listener.bind(endpoint, service: smtp, group: group) })
        }
        let submission = ApplianceSockets.smtp(directory)
        listeners.smtp.append(try await opened(submission, .smtpd) { try await Listener.bind(unixSocket: submission, service: smtp, group: group) })
        let socket = ApplianceSockets.control(directory)
        // Health here too: `valija health` finds it where the manifest opens no port for it.
        let routes: HTTPRoutes = { request, responder in
            try await request.path.hasPrefix("/queue") ? control.routes(request, responder) : health.routes(request, responder)
        }
        listeners.http.append(try await opened(socket, .control) { try await HTTPServer.bind(unixSocket: socket, group: group, routes: routes) })
        return listeners
    }

    private func opened<Value>(
        _ address: String, _ service: Telemetry.Service, port: UInt16? = nil, _ bind: () async throws -> Value
    ) async throws -> Value {
        do {
            let value = try await bind()
            log.record(.listenerOpened, by: service) { $0.address = address }
            return value
        } catch {
            let reason = Assembly.reason(error, port: port)
            log.record(.listenerFailed, by: service) { fields in
                fields.address = address
                fields.reason = reason
            }
            throw ApplianceFailure(description: "cannot listen at \(address): \(reason)")
        }
    }

    /// What the system said, and for the faults that everybody meets what to do.
    static func reason(_ error: any Error, port: UInt16?) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        let advice: String? =
            switch error.errnoCode {
            case EACCES where (port ?? 1024) < 1024: "ports below 1024 need the capability CAP_NET_BIND_SERVICE or the sysctl net.ipv4.ip_unprivileged_port_start=0"
            case EADDRINUSE where port != nil: "another program listens there"
            case EADDRNOTAVAIL: "no interface of this host has this address"
            case EAFNOSUPPORT: "this host has no IPv6; leave the address out of listen"
            default: nil
            }
        return String(cString: strerror(error.errnoCode)) + (advice.map { "; \($0)" } ?? "")
    }
}

/// For the usual first fault: a volume that was made for another user.
private func ownershipAdvice(_ directory: String) -> String {
    guard access(directory, F_OK) == 0, access(directory, W_OK | X_OK) != 0 else { return "" }
    return "; user \(geteuid()) has to be able to write there"
}

// MARK: Services

/// The queue: runs until the listeners are closed.
private struct QueueService: ServiceLifecycle.Service {
    let scheduler: DeliveryScheduler
    let grace: Duration

    func run() async throws {
        scheduler.start()
        try? await gracefulShutdown()
        await scheduler.stop(grace: grace)
        await scheduler.spool.close()
    }
}

private struct ListenerService: ServiceLifecycle.Service {
    struct Listeners: Sendable {
        var smtp: [Listener] = []
        var http: [HTTPServer] = []
    }

    let listeners: Listeners
    let health: Health
    let log: EventLog
    let grace: TimeAmount
    let started: Timestamp

    func run() async throws {
        log.record(.serviceReady, by: .appliance) { $0.delay = Timestamp.now() - started }
        try? await gracefulShutdown()
        log.record(.serviceStopping, by: .appliance)
        health.willStop()
        await withTaskGroup { group in
            for listener in listeners.smtp { group.addTask { await listener.close(grace: grace) } }
        }
        for server in listeners.http { await server.close() }
    }
}

/// Lets this thread wait where others are ready: a reply that a client waits for goes before a delivery, which nobody
/// waits for. Each thread of a pool that does nothing else yet takes one of as many calls.
private func stepBack() {
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)  // 0: the calling thread (setpriority(2), Linux)
    usleep(10_000)
}
