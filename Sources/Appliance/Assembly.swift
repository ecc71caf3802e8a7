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
enum Grace {
    static let sessions = TimeAmount.seconds(3)
    static let deliveries = Duration.seconds(3)
    /// What a conversation with a next hop, asked to end after that, may take on top.
    static let conversations = Duration.seconds(2)
    /// What next hops may take for their answer to QUIT, beside the deliveries.
    static let farewells = Duration.seconds(2)
}

/// Why an appliance did not start, or what ended it.
package struct ApplianceFailure: Error, CustomStringConvertible {
    package let description: String
}

package struct Assembly {
    private let file: String
    private let hostname: Domain
    private let first: Preparation
    private let watches: Bool
    private let log: EventLog
    private let started = Timestamp.now()
    private static let blockingThreads = 4

    /// `text`: what `system` was read from. `watches`: the file is loaded again whenever it changes.
    package init(_ system: MailSystem, text: [UInt8], watches: Bool = false, log: EventLog) {
        file = system.file
        hostname = system.hostname.value
        first = Preparation(system, text: text, log: log)
        self.watches = watches
        self.log = log
    }

    /// Starts everything, serves until SIGTERM or SIGINT, and stops everything. Returns when all accepted mail is safe and
    /// all sockets are closed.
    package func run() async throws {
        if let fault = first.faults.first { throw ApplianceFailure(description: fault.message) }
        log.record(.manifestLoaded, by: .appliance) { fields in
            fields.rule = file
            fields.message = first.contents
        }
        record(first.certificates, log)
        // A loop for every second core: what remains is for the spool's writer, the deliveries and the kernel. Measured on two
        // cores, one loop takes 37 % more messages than two, which wake each other's core all the time.
        let group = MultiThreadedEventLoopGroup(numberOfThreads: max(1, System.coreCount / 2))
        // Blocking work of intake, health and agents. Few threads: what they wait for is one disk.
        let threads = NIOThreadPool(numberOfThreads: Assembly.blockingThreads)
        threads.start()
        for _ in 0..<Assembly.blockingThreads { threads.submit { _ in stepBack() } }
        let spool = try openSpool()
        if let directory = first.mailboxDirectory?.value {
            do { try makeMailboxDirectory(directory) } catch { throw ApplianceFailure(description: "mailboxes.directory: \(error)") }
        }
        let parts = try assemble(spool, group, threads)
        let reload = Reload(file: file, inForce: first, since: started, parts: parts)
        try await openListeners(parts, control: ControlRoutes(scheduler: parts.scheduler, threads: threads), ReloadRoutes(reload: reload))
        let services = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(service: QueueService(scheduler: parts.scheduler, nextHops: parts.nextHops)),
                    .init(service: ListenerService(listeners: parts.listeners, health: parts.health, log: log, grace: Grace.sessions, started: started)),
                    .init(service: ReloadService(reload: reload, watches: watches)),
                ],
                gracefulShutdownSignals: [.sigterm, .sigint], logger: Logger(label: "lifecycle") { _ in LibraryLog(log: log) }))
        try await services.run()
        try? await threads.shutdownGracefully()
        log.record(.serviceStopped, by: .appliance)
    }

    private func openSpool() throws -> Spool {
        do {
            return try Spool(directory: first.queueDirectory.value, owner: hostname.key)
        } catch {
            throw ApplianceFailure(description: "queue.directory: \(error.reason)\(ownershipAdvice(first.queueDirectory.value))")
        }
    }

    private func openResolver() throws -> DNS.Resolver {
        do throws(DNS.Resolver.Flaw) {
            return try DNS.Resolver(first.names, notice: resolverNotice(log))
        } catch {
            throw ApplianceFailure(description: "dns: \(error)")
        }
    }

    private func assemble(_ spool: Spool, _ group: MultiThreadedEventLoopGroup, _ threads: NIOThreadPool) throws -> ReloadableParts {
        let names = CurrentNames(try openResolver())
        let space = SpoolSpace(directory: first.queueDirectory.value, minimum: first.space, threads: threads)
        let commands = CommandAgent(configuration: first.commands)
        let mailboxes = LocalAgent(configuration: first.mailboxes, spool: spool, threads: threads)
        let nextHops = SMTPAgent(configuration: first.nextHops, resolver: names, group: group, threadPool: threads)
        let scheduler = DeliveryScheduler(
            spool: spool, mailboxes: mailboxes, commands: commands, nextHops: nextHops, configuration: first.queue, log: log,
            loop: group.next(), now: Timestamp.now, chance: { .random(in: 0..<1) })
        let smtp = SMTPService(queue: scheduler, log: log, threads: threads, now: Timestamp.now, shortage: space.shortage, resolver: names)
        let health = Health(scheduler: scheduler, smtp: smtp, space: space, log: log, manifest: file, started: started)
        let listeners = Listeners(service: smtp, healthRoutes: health.routes, group: group, log: log)
        return ReloadableParts(
            scheduler: scheduler, mailboxes: mailboxes, commands: commands, nextHops: nextHops, names: names, space: space, health: health, listeners: listeners, log: log)
    }

    private func openListeners(_ parts: ReloadableParts, control: ControlRoutes, _ reload: ReloadRoutes) async throws {
        let addresses = Listeners.Addresses(first.listen)
        // Health here too: `valija health` finds it where the manifest opens no port for it.
        let routes: HTTPRoutes = { [health = parts.health] request, responder in
            switch request.path.split(separator: "/").first {
            case "queue": try await control.routes(request, responder)
            case "reload", "manifest": try await reload.routes(request, responder)
            default: try await health.routes(request, responder)
            }
        }
        do throws(ListenerFailure) {
            let opened = try await parts.listeners.open(addresses, first.mail)
            _ = await parts.listeners.takeOver(opened, addresses, first.mail)
            try await parts.listeners.openLocal(in: first.queueDirectory.value, first.mail, control: routes)
        } catch {
            throw ApplianceFailure(description: "\(error)")
        }
        parts.health.manifestLoaded(at: started, networksFault: first.networksFault)
        first.logNetworksFault(log)
        parts.health.listenersAreUp()
    }
}

/// Makes the directory that mailboxes lie in, if need be, and sees to it that it can be written: else all mail would be
/// accepted, and wait.
func makeMailboxDirectory(_ directory: String) throws(ApplianceFailure) {
    do {
        try makeDirectory(directory)
    } catch {
        throw ApplianceFailure(description: "\(error)")
    }
    guard access(directory, W_OK | X_OK) == 0 else {
        throw ApplianceFailure(description: "\(directory): \(String(cString: strerror(errno)))\(ownershipAdvice(directory))")
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
    let nextHops: SMTPAgent

    func run() async throws {
        scheduler.start()
        try? await gracefulShutdown()
        // Connections without work say farewell while others finish theirs.
        async let farewells: Void = nextHops.close(within: Grace.farewells)
        await scheduler.stop(grace: Grace.deliveries)
        await farewells
        await scheduler.spool.close()
    }
}

private struct ListenerService: ServiceLifecycle.Service {
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
        await listeners.close(grace: grace)
    }
}

/// Lets this thread wait where others are ready: a reply that a client waits for goes before a delivery, which nobody
/// waits for. Each thread of a pool that does nothing else yet takes one of as many calls.
func stepBack() {
    setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, 10)  // 0: the calling thread (setpriority(2), Linux)
    usleep(10_000)
}
