// The closed list of events that are logged and counted, with level and meaning. The fields they carry are `Fields`.

/// Which part of the appliance speaks.
package enum Service: String, CaseIterable, Sendable { case appliance, smtpd, submission, submissions, queue, local, smtp, health, control }

/// The closed list of what is logged and counted. The raw value is the `event` field.
package enum Event: String, CaseIterable, Sendable {
    case sessionOpened = "session.opened"
    case sessionClosed = "session.closed"
    case sessionEncrypted = "session.encrypted"
    case tlsFailed = "tls.failed"
    case loginSucceeded = "login.succeeded"
    case loginFailed = "login.failed"
    case messageAccepted = "message.accepted"
    case messageRejected = "message.rejected"
    case messageRemoved = "message.removed"
    case deliverySent = "delivery.sent"
    case deliveryDeferred = "delivery.deferred"
    case deliveryBounced = "delivery.bounced"
    case deliveryExpired = "delivery.expired"
    case bounceQueued = "bounce.queued"
    case bounceDropped = "bounce.dropped"
    case queueChanged = "queue.changed"
    case queueFailed = "queue.failed"
    case directoryRead = "directory.read"
    case directoryFailed = "directory.failed"
    case clockSetBack = "clock.set_back"
    case certificateLoaded = "certificate.loaded"
    case manifestLoaded = "manifest.loaded"
    case manifestRefused = "manifest.refused"
    case networksDoubted = "networks.doubted"
    case listenerOpened = "listener.opened"
    case listenerClosed = "listener.closed"
    case listenerFailed = "listener.failed"
    case serviceReady = "service.ready"
    case serviceFailed = "service.failed"
    case serviceStopping = "service.stopping"
    case serviceStopped = "service.stopped"
    case linesDropped = "log.dropped"
    case diagnostic = "diagnostic"

    package var level: Level {
        switch self {
        case .sessionOpened, .messageRemoved: .debug
        case .loginFailed, .deliveryDeferred, .deliveryBounced, .deliveryExpired, .bounceDropped, .linesDropped, .networksDoubted, .clockSetBack: .warning
        case .queueFailed, .directoryFailed, .manifestRefused, .listenerFailed, .serviceFailed: .error
        default: .info
        }
    }

    /// One sentence; the table of `docs/operations.md` has it word for word.
    package var meaning: String {
        switch self {
        case .sessionOpened: "A client connected."
        case .sessionClosed: "A client's session ended."
        case .sessionEncrypted: "A TLS handshake with a client, or with the server that `relay` names, was done; `message` is `resumed` where an earlier session went on."
        case .tlsFailed: "TLS with a client, or with the server that `relay` names, did not come about, or broke; `reason` says why."
        case .loginSucceeded: "A user logged in."
        case .loginFailed: "A login came to nothing; `reason` says why."
        case .messageAccepted: "A message is safely in the spool and was answered with 250."
        case .messageRejected: "A sender, recipient or message was refused with a 4xx or 5xx reply."
        case .messageRemoved: "Nothing is left to do for a message, and it left the spool."
        case .deliverySent: "A recipient's copy was delivered or passed on."
        case .deliveryDeferred: "An attempt failed for now; it will be repeated."
        case .deliveryBounced: "A recipient failed for good; the sender gets a report."
        case .deliveryExpired: "A recipient was given up after queue.lifetime, or by an administrator."
        case .bounceQueued: "A delivery report was queued to the sender."
        case .bounceDropped: "A report could not be delivered and was dropped."
        case .queueChanged: "An administrator flushed, held, released, requeued, expired or deleted queued mail."
        case .queueFailed: "The spool could not do what was asked of it."
        case .directoryRead: "The accounts of a file were read; `reason` names lines without a login."
        case .directoryFailed: "The file of a directory cannot be read; its users cannot log in."
        case .clockSetBack: "The system's clock was set back; mail that waits is tried by the new time."
        case .certificateLoaded: "The server's certificate, as it is shown from now on."
        case .manifestLoaded: "A manifest was read and is in force."
        case .manifestRefused: "A manifest was refused; what was in force stays so."
        case .networksDoubted: "`networks` covers an address that stands for many clients; it is not trusted."
        case .listenerOpened: "A service listens at an address."
        case .listenerClosed: "A service listens no more at an address; its sessions go on."
        case .listenerFailed: "A service could not listen at an address."
        case .serviceReady: "The appliance accepts mail."
        case .serviceFailed: "The appliance could not start."
        case .serviceStopping: "The appliance was asked to stop."
        case .serviceStopped: "The appliance has stopped; nothing accepted is lost."
        case .linesDropped: "Standard output did not keep up, and log lines were dropped."
        case .diagnostic: "What a library had to say."
        }
    }
}

