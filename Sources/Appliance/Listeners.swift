// The sockets of a running appliance: opens them, lets another manifest's addresses take over from those before, closes them.
//
// A take-over has two halves. `open` binds what is missing, and nothing changes if one of it cannot be bound. `takeOver` cannot
// fail: the new ones take connections, the old ones that are not wanted any more take none, and sessions go on in all of them.

internal import Glibc
internal import MailSyntax
internal import Manifest
internal import NIOCore
internal import NIOPosix
internal import SMTP
internal import SMTPServer
internal import Telemetry

/// What could not be opened, and why.
struct ListenerFailure: Error, CustomStringConvertible {
    let service: Telemetry.Service
    let address: String
    let reason: String
    var description: String { "cannot listen at \(address): \(reason)" }
}

/// What is listened for.
enum MailService: String, CaseIterable, Sendable {
    case smtp, submission, submissions, lmtp

    var log: Telemetry.Service {
        switch self {
        case .smtp, .lmtp: .smtpd
        case .submission: .submission
        case .submissions: .submissions
        }
    }
}

/// What the connections of each service are told. Nil: the manifest has no such service.
struct MailConfigurations: Sendable {
    var smtp: SMTPService.Configuration
    var submission: SMTPService.Configuration?
    var submissions: SMTPService.Configuration?

    subscript(service: MailService) -> SMTPService.Configuration? {
        switch service {
        case .smtp, .lmtp: smtp
        case .submission: submission
        case .submissions: submissions
        }
    }
}

/// Used by one at a time: the start, then one reload after another, then the stop.
actor Listeners {
    /// Where mail is taken, and how.
    struct MailSocket: Hashable, Sendable, CustomStringConvertible {
        enum Place: Hashable, Sendable {
            case inet(Endpoint)
            case unix(path: String)
        }

        /// Which configuration its connections go by, and how the log names it.
        let kind: MailService
        /// `smtp`, `lmtp`: the key of `listen`.
        var service: String { kind.rawValue }
        let place: Place
        let purpose: Listener.Purpose

        var description: String {
            switch place {
            case .inet(let endpoint): "\(endpoint)"
            case .unix(let path): path
            }
        }

        var endpoint: Endpoint? { if case .inet(let endpoint) = place { endpoint } else { nil } }
    }

    struct Addresses: Sendable {
        var mail: [MailSocket]
        var health: [Endpoint]

        init(_ listen: MailSystem.Listen) {
            health = listen.health.value
            func purpose(_ endpoint: Endpoint, _ dialect: ServerSession.Dialect) -> Listener.Purpose {
                var purpose = Listener.Purpose()
                purpose.dialect = dialect
                if listen.proxyProtocol.value.contains(endpoint) {
                    purpose.isProxied = true
                    purpose.proxies = listen.proxies.value
                }
                return purpose
            }
            let services: [(MailService, [Endpoint])] = [
                (.smtp, listen.smtp.value), (.submission, listen.submission.value), (.submissions, listen.submissions.value),
            ]
            mail = services.flatMap { kind, endpoints in endpoints.map { MailSocket(kind: kind, place: .inet($0), purpose: purpose($0, .smtp)) } }
            for socket in listen.lmtp.value {
                switch socket {
                case .inet(let endpoint): mail.append(MailSocket(kind: .lmtp, place: .inet(endpoint), purpose: purpose(endpoint, .lmtp)))
                case .unix(let path, let mode):
                    var purpose = Listener.Purpose()
                    purpose.dialect = .lmtp
                    purpose.mode = UInt32(mode)
                    // Mail for the mailboxes is what LMTP is for, whoever may connect.
                    purpose.trustsSocket = false
                    mail.append(MailSocket(kind: .lmtp, place: .unix(path: path), purpose: purpose))
                }
            }
        }
    }

    /// What `open` bound and `takeOver` has not put to use yet.
    struct Opened: Sendable {
        fileprivate var mail: [MailSocket: Listener] = [:]
        fileprivate var health: [Endpoint: HTTPServer] = [:]
    }

    /// What a take-over opened and closed: `smtp 127.0.0.1:25`.
    struct Change: Sendable {
        var opened: [String] = []
        var closed: [String] = []
    }

    private let service: SMTPService
    private let healthRoutes: HTTPRoutes
    private let group: MultiThreadedEventLoopGroup
    private let log: EventLog
    private var mail: [MailSocket: Listener] = [:]
    private var health: [Endpoint: HTTPServer] = [:]
    /// For processes of this host; they stay as long as the appliance does.
    private var localSMTP: Listener?
    private var control: HTTPServer?
    /// Closed for new connections, with sessions that go on.
    private var retired: [(kind: MailService, listener: Listener)] = []

    init(service: SMTPService, healthRoutes: @escaping HTTPRoutes, group: MultiThreadedEventLoopGroup, log: EventLog) {
        self.service = service
        self.healthRoutes = healthRoutes
        self.group = group
        self.log = log
    }

    // MARK: Opening

    /// The sockets in the spool's directory.
    func openLocal(in directory: String, _ configurations: MailConfigurations, control routes: @escaping HTTPRoutes) async throws(ListenerFailure) {
        let submission = ApplianceSockets.smtp(directory)
        localSMTP = try await bound(.smtpd, submission) {
            try await Listener.bind(unixSocket: submission, service: service, configuration: configurations.smtp, group: group)
        }
        let socket = ApplianceSockets.control(directory)
        control = try await bound(.control, socket) { try await HTTPServer.bind(unixSocket: socket, group: group, routes: routes) }
        try? await localSMTP?.takeConnections()
        log.record(.listenerOpened, by: .smtpd) { $0.address = submission }
        log.record(.listenerOpened, by: .control) { $0.address = socket }
    }

    /// Binds those of the addresses that are not open: all, or none.
    func open(_ wanted: Addresses, _ configurations: MailConfigurations) async throws(ListenerFailure) -> Opened {
        var opened = Opened()
        do {
            // Health first: a probe then sees why the rest is not up.
            for endpoint in wanted.health where health[endpoint] == nil {
                opened.health[endpoint] = try await bound(.health, endpoint) {
                    try await HTTPServer.bind(endpoint, group: group, routes: healthRoutes)
                }
            }
            for socket in wanted.mail where mail[socket] == nil {
                // Without one there was a fault, and this manifest does not come into force.
                guard let configuration = configurations[socket.kind] else { continue }
                opened.mail[socket] = try await bind(socket, wanted, configuration)
            }
            return opened
        } catch {
            await abandon(opened)
            throw error
        }
    }

    private func bind(_ socket: MailSocket, _ wanted: Addresses, _ configuration: SMTPService.Configuration) async throws(ListenerFailure) -> Listener {
        switch socket.place {
        case .unix(let path):
            try await bound(socket.kind.log, path) {
                try await Listener.bind(unixSocket: path, service: service, configuration: configuration, group: group, for: socket.purpose)
            }
        case .inet(let endpoint):
            try await bound(socket.kind.log, endpoint) {
                let sharing = mail.keys.contains { other in
                    !wanted.mail.contains(other) && other.endpoint.map { $0 == endpoint || $0.overlaps(endpoint) } ?? false
                }
                return try await Listener.bind(endpoint, service: service, configuration: configuration, group: group, sharing: sharing, for: socket.purpose)
            }
        }
    }

    func abandon(_ opened: Opened) async {
        for listener in opened.mail.values { await listener.close(grace: .zero) }
        for server in opened.health.values { await server.close() }
    }

    private func bound<Value>(_ service: Telemetry.Service, _ endpoint: Endpoint, _ bind: () async throws -> Value) async throws(ListenerFailure) -> Value {
        try await bound(service, "\(endpoint)", port: endpoint.port, isOwn: isOwn(endpoint), bind)
    }

    private func bound<Value>(
        _ service: Telemetry.Service, _ address: String, port: UInt16? = nil, isOwn: Bool = false, _ bind: () async throws -> Value
    ) async throws(ListenerFailure) -> Value {
        do {
            return try await bind()
        } catch {
            let failure = ListenerFailure(service: service, address: address, reason: Listeners.reason(error, port: port, isOwn: isOwn))
            log.record(.listenerFailed, by: service) { fields in
                fields.address = address
                fields.reason = failure.reason
            }
            throw failure
        }
    }

    /// This appliance has the port itself, at an address that overlaps.
    private func isOwn(_ endpoint: Endpoint) -> Bool {
        mail.keys.contains { other in other.endpoint.map { $0 == endpoint || $0.overlaps(endpoint) } ?? false } || health.keys.contains { $0 == endpoint || $0.overlaps(endpoint) }
    }

    /// What the system said, and for the faults that everybody meets what to do.
    static func reason(_ error: any Error, port: UInt16?, isOwn: Bool = false) -> String {
        guard let error = error as? IOError else { return "\(error)" }
        let advice: String? =
            switch error.errnoCode {
            case EACCES where (port ?? 1024) < 1024: "ports below 1024 need the capability CAP_NET_BIND_SERVICE or the sysctl net.ipv4.ip_unprivileged_port_start=0"
            case EADDRINUSE where isOwn: "this server has that port already; a restart moves it from one service or address to the other"
            case EADDRINUSE where port != nil: "another program listens there"
            case EADDRNOTAVAIL: "no interface of this host has this address"
            case EAFNOSUPPORT: "this host has no IPv6; leave the address out of listen"
            default: nil
            }
        return String(cString: strerror(error.errnoCode)) + (advice.map { "; \($0)" } ?? "")
    }

    // MARK: Taking over

    /// Puts the configuration in force for all connections, those of `opened` to use, and those that are not wanted out of it.
    func takeOver(_ opened: Opened, _ wanted: Addresses, _ configurations: MailConfigurations) async -> Change {
        await localSMTP?.apply(configurations.smtp)
        // Sessions of a service that is gone from the manifest end by what they began with.
        for (kind, listener) in mail.map({ ($0.key.kind, $0.value) }) + retired.map({ ($0.kind, $0.listener) }) {
            if let configuration = configurations[kind] { await listener.apply(configuration) }
        }
        var change = Change()
        for endpoint in wanted.health {
            guard let server = opened.health[endpoint] else { continue }
            health[endpoint] = server
            noteOpened(.health, "health", "\(endpoint)", &change)
        }
        for socket in wanted.mail {
            guard let listener = opened.mail[socket] else { continue }
            try? await listener.takeConnections()
            mail[socket] = listener
            noteOpened(socket.kind.log, socket.service, "\(socket)", &change)
        }
        for (socket, listener) in mail where !wanted.mail.contains(socket) {
            await listener.stopListening()
            mail[socket] = nil
            retired.append((socket.kind, listener))
            noteClosed(socket.kind.log, socket.service, "\(socket)", &change)
        }
        for (endpoint, server) in health where !wanted.health.contains(endpoint) {
            await server.close()
            health[endpoint] = nil
            noteClosed(.health, "health", "\(endpoint)", &change)
        }
        var inUse: [(kind: MailService, listener: Listener)] = []
        for open in retired where await open.listener.hasConnections { inUse.append(open) }
        retired = inUse
        return change
    }

    private var all: [Listener] { mail.values + (localSMTP.map { [$0] } ?? []) + retired.map(\.listener) }

    private func noteOpened(_ service: Telemetry.Service, _ name: String, _ address: String, _ change: inout Change) {
        change.opened.append("\(name) \(address)")
        log.record(.listenerOpened, by: service) { $0.address = address }
    }

    private func noteClosed(_ service: Telemetry.Service, _ name: String, _ address: String, _ change: inout Change) {
        change.closed.append("\(name) \(address)")
        log.record(.listenerClosed, by: service) { $0.address = address }
    }

    // MARK: The end

    func close(grace: TimeAmount) async {
        let listeners = all
        await withTaskGroup { group in
            for listener in listeners { group.addTask { await listener.close(grace: grace) } }
        }
        for server in health.values { await server.close() }
        await control?.close()
    }
}

extension Endpoint {
    /// Of two different addresses with one port: one is the address that means every one of its family.
    func overlaps(_ other: Endpoint) -> Bool {
        guard self != other, port == other.port, address.isV6 == other.address.isV6 else { return false }
        let isAny = { (address: IPAddress) in address.bytes.allSatisfy { $0 == 0 } }
        return isAny(address) || isAny(other.address)
    }
}
