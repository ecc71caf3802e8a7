// Events as Postfix writes them to syslog, for the tools that read its log: pflogsumm, fail2ban, and people's own.
//
//     Nov 24 16:00:00 mx postfix/smtpd[17]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 …
//
// One event may be several lines, which Postfix's processes would write each for themselves. In brackets stands the process, but
// of smtpd the session: readers pair `connect` and `disconnect` by it. Clients are `unknown`, as their names are not looked up.
// Knows no state: a line says what its event says. Control characters become `?`, so no peer can begin a line.

struct PostfixLines {
    let host: String
    let process: Int32
    /// Who runs this, and so who alone may hand it mail by its own socket.
    let user: UInt32

    /// Postfix tells of connections and of messages that are done at its ordinary level.
    static func level(of event: Event) -> Level {
        switch event {
        case .sessionOpened, .sessionEncrypted, .messageRemoved: .info
        default: event.level
        }
    }

    /// `isVerbose`: with what Postfix passes over.
    func render(_ event: Event, _ service: Service, _ level: Level, _ fields: Fields, time: String, isVerbose: Bool) -> [UInt8] {
        var page = Page(head: "\(time) \(host) postfix/", process: process, server: PostfixLines.server(service))
        switch event {
        case .sessionOpened: connect(fields, &page)
        case .sessionClosed: disconnect(fields, &page)
        case .sessionEncrypted where service != .smtp: encrypted(fields, &page)
        case .sessionEncrypted: encryptedRelay(fields, &page)
        case .tlsFailed where service == .smtp: failedRelay(fields, &page)
        case .tlsFailed:
            page.line(page.server, session: fields.session, "SSL_accept error from \(client(fields)): \(fields.reason ?? "")")
        // Postfix names the user with the message.
        case .loginSucceeded: if isVerbose { other(event, service, level, fields, &page) }
        case .loginFailed: failedLogin(fields, &page)
        case .messageAccepted: accepted(fields, &page)
        case .messageRejected: rejected(fields, isVerbose: isVerbose, &page)
        case .messageRemoved: page.line("qmgr", "\(fields.queueID ?? ""): removed")
        case .deliverySent: delivery("sent", service, fields, &page)
        case .deliveryDeferred: delivery("deferred", service, fields, &page)
        case .deliveryBounced: delivery("bounced", service, fields, &page)
        case .deliveryExpired:
            delivery("deferred", service, fields, &page)
            page.line("qmgr", "\(fields.queueID ?? ""): from=<\(fields.from ?? "")>, status=expired, returned to sender")
        case .bounceQueued: bounce(fields, &page)
        case .queueChanged: queueChanged(fields, &page)
        case .serviceReady: page.line("master", "daemon started -- Valija")
        case .serviceStopping: page.line("master", "terminating")
        case .listenerOpened: page.line("master", "listening at \(fields.address ?? "")")
        default: other(event, service, level, fields, &page)
        }
        return page.bytes
    }

    /// As master.cf names it (`syslog_name`) where it is not port 25.
    private static func server(_ service: Service) -> String {
        switch service {
        case .submission: "submission/smtpd"
        case .submissions: "submissions/smtpd"
        default: "smtpd"
        }
    }

    /// The lines of one event.
    private struct Page {
        let head: String
        let process: Int32
        /// Of the service that the event is of.
        let server: String
        var bytes: [UInt8] = []

        mutating func line(_ program: String, session: String? = nil, _ text: String) {
            bytes.append(contentsOf: head.utf8)
            bytes.append(contentsOf: "\(program)[\(session ?? "\(process)")]: ".utf8)
            bytes.append(contentsOf: text.utf8.lazy.map { $0 < 0x20 || $0 == 0x7F ? UInt8(ascii: "?") : $0 })
            bytes.append(UInt8(ascii: "\n"))
        }
    }

    // MARK: smtpd, cleanup, qmgr

    private func client(_ fields: Fields) -> String { "\(fields.client?.name ?? "unknown")[\(fields.client?.address ?? "unknown")]" }

    /// A program of this host gave its mail to Postfix's pickup, not to smtpd.
    private func isLocal(_ fields: Fields) -> Bool { fields.client?.address == "local" }

    private func connect(_ fields: Fields, _ page: inout Page) {
        if !isLocal(fields) { page.line(page.server, session: fields.session, "connect from \(client(fields))") }
    }

    /// With `smtpd_tls_loglevel = 1`.
    private func encrypted(_ fields: Fields, _ page: inout Page) {
        let terms = fields.tls.map { ": \($0.version) with cipher \($0.cipher) (\($0.bits)/\($0.bits) bits)" } ?? ""
        page.line(page.server, session: fields.session, "Anonymous TLS connection established from \(client(fields))\(terms)")
    }

    /// With `smtp_tls_loglevel = 1`: Postfix tells of a certificate that nobody asked about as `Untrusted`.
    private func encryptedRelay(_ fields: Fields, _ page: inout Page) {
        let trust = fields.tls?.verification == "none" ? "Untrusted" : "Verified"
        let terms = fields.tls.map { ": \($0.version) with cipher \($0.cipher) (\($0.bits)/\($0.bits) bits)" } ?? ""
        page.line("smtp", "\(trust) TLS connection established to \(fields.relay ?? "")\(terms)")
    }

    private func failedRelay(_ fields: Fields, _ page: inout Page) {
        if let reply = fields.reply { return page.line("smtp", "host \(fields.relay ?? "") refused to start TLS: \(reply)") }
        page.line("smtp", "SSL_connect error to \(fields.relay ?? ""): \(fields.reason ?? "")")
    }

    private func disconnect(_ fields: Fields, _ page: inout Page) {
        guard !isLocal(fields) else { return }
        if let after = fields.after {
            // What the reply that ended the session was for, by its enhanced code.
            let end: String? =
                switch fields.dsn {
                case nil: after == "END-OF-MESSAGE" ? nil : "lost connection"
                case "4.4.2": "timeout"
                case "4.7.0": "too many errors"
                default: nil
                }
            if let end { page.line(page.server, session: fields.session, "\(end) after \(after) from \(client(fields))") }
        }
        page.line(page.server, session: fields.session, "disconnect from \(client(fields)) \(fields.explanation?() ?? "")")
    }

    private func accepted(_ fields: Fields, _ page: inout Page) {
        let id = fields.queueID ?? ""
        if isLocal(fields) {
            page.line("pickup", "\(id): uid=\(user) from=<\(fields.from ?? "")>")
        } else {
            var text = "\(id): client=\(client(fields))\(sasl(fields))"
            // smtpd(8): what XFORWARD said of the server before the proxy.
            if let originID = fields.originID { text += ", orig_queue_id=\(originID)" }
            if let origin = fields.origin { text += ", orig_client=\(origin.name ?? "unknown")[\(origin.address ?? "unknown")]" }
            page.line(page.server, session: fields.session, text)
        }
        queued(id, from: fields.from, size: fields.size, recipients: fields.recipients, messageID: fields.messageID, &page)
    }

    private func sasl(_ fields: Fields) -> String {
        fields.user.map { ", sasl_method=\(fields.mechanism ?? ""), sasl_username=\($0)" } ?? ""
    }

    private func failedLogin(_ fields: Fields, _ page: inout Page) {
        let text = "warning: \(client(fields)): SASL \(fields.mechanism ?? "") authentication failed: \(fields.reason ?? "")"
        page.line(page.server, session: fields.session, text + (fields.user.map { ", sasl_username=\($0)" } ?? ""))
    }

    private func queued(_ id: String, from: String?, size: Int?, recipients: Int?, messageID: String?, _ page: inout Page) {
        page.line("cleanup", "\(id): message-id=\(messageID ?? "<>")")
        page.line("qmgr", "\(id): from=<\(from ?? "")>, size=\(size ?? 0), nrcpt=\(recipients ?? 1) (queue active)")
    }

    private func rejected(_ fields: Fields, isVerbose: Bool, _ page: inout Page) {
        let reply = fields.reply ?? ""
        let command = fields.message ?? ""
        guard !PostfixLines.isProtocolError(reply) else {
            if reply.hasPrefix("554 5.7.0") {
                page.line(page.server, session: fields.session, "warning: non-SMTP command from \(client(fields)): \(command)")
            } else if isVerbose {
                // Postfix counts these in its disconnect line only.
                page.line(page.server, session: fields.session, "warning: \(reply) was the reply to \(client(fields)) for: \(command)")
            }
            return
        }
        var text = "\(fields.queueID ?? "NOQUEUE"): reject: \(PostfixLines.stage(command)) from \(client(fields)): \(reply)"
        if let reason = fields.reason { text += " (\(reason))" }
        text += ";"
        if let from = fields.from { text += " from=<\(from)>" }
        if let to = fields.to { text += " to=<\(to)>" }
        text += " proto=\(fields.client?.protocolName ?? "SMTP")"
        if let helo = fields.client?.helo { text += " helo=<\(helo)>" }
        page.line(page.server, session: fields.session, text)
    }

    /// Commands that are wrong as such or come out of order: no mail was refused.
    private static func isProtocolError(_ reply: String) -> Bool {
        switch reply.prefix(3) {
        case "500", "501", "502", "503", "555": true
        default: reply.hasPrefix("554 5.5.") || reply.hasPrefix("554 5.7.0")
        }
    }

    /// The command, as Postfix names it, of the line or the stage that was refused.
    private static func stage(_ command: String) -> String {
        if command == "end of DATA" { return "END-OF-MESSAGE" }
        let verb = command.prefix { $0.isASCII && $0.isLetter }.uppercased()
        return ["CONNECT", "HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "VRFY"].contains(verb) ? verb : "UNKNOWN"
    }

    // MARK: Deliveries, bounces, administrators

    private func delivery(_ status: String, _ service: Service, _ fields: Fields, _ page: inout Page) {
        var text = "\(fields.queueID ?? ""): to=<\(fields.to ?? "")>"
        if let original = fields.originalTo { text += ", orig_to=<\(original)>" }
        // Postfix names the agent where there is no host.
        let relay = service == .local ? "local" : fields.relay ?? "none"
        let whole = max(.zero, fields.delay ?? .zero)
        let attempt = min(whole, max(.zero, fields.attempt ?? .zero))
        // Before the queue manager, in it, setting up the connection, transmission: known are the time before the attempt, and its own.
        let delays = "\(PostfixLines.seconds(whole - attempt))/0/0/\(PostfixLines.seconds(attempt))"
        text += ", relay=\(relay), delay=\(PostfixLines.seconds(whole)), delays=\(delays), dsn=\(fields.dsn ?? "")"
        page.line(service == .local ? "local" : "smtp", "\(text), status=\(status) (\(fields.explanation?() ?? fields.reply ?? ""))")
    }

    /// Two significant digits, down to a hundredth: `0.04`, `1.2`, `130` (Postfix: delay_logging_resolution_limit).
    static func seconds(_ duration: Duration) -> String {
        let milliseconds = duration.components.seconds * 1000 + duration.components.attoseconds / 1_000_000_000_000_000
        let hundredths = (milliseconds + 5) / 10
        switch hundredths {
        case ..<1: return "0"
        case ..<100: return decimal(hundredths, digits: 2)
        case ..<1000: return decimal((milliseconds + 50) / 100, digits: 1)
        default: return "\((milliseconds + 500) / 1000)"
        }
    }

    private static func decimal(_ number: Int64, digits: Int) -> String {
        var text = String(number)
        while text.utf8.count <= digits { text = "0" + text }
        text.insert(".", at: text.index(text.endIndex, offsetBy: -digits))
        while text.hasSuffix("0") { text.removeLast() }
        return text.hasSuffix(".") ? String(text.dropLast()) : text
    }

    private func bounce(_ fields: Fields, _ page: inout Page) {
        let report = fields.reportID ?? ""
        page.line("bounce", "\(fields.queueID ?? ""): \(fields.message ?? ""): \(report)")
        queued(report, from: "", size: fields.size, recipients: fields.recipients, messageID: fields.messageID, &page)
    }

    private func queueChanged(_ fields: Fields, _ page: inout Page) {
        let deed = fields.message ?? ""
        if let id = fields.queueID { return page.line("postsuper", "\(id): \(deed)") }
        let sum = deed == "removed" ? "Deleted" : deed == "expired" ? "Force-expired" : deed.prefix(1).uppercased() + deed.dropFirst()
        page.line("postsuper", "\(sum): \(fields.count ?? 0) message\(fields.count == 1 ? "" : "s")")
    }

    // MARK: What Postfix has no words for

    private func other(_ event: Event, _ service: Service, _ level: Level, _ fields: Fields, _ page: inout Page) {
        let mark =
            switch level {
            case .debug, .info: ""
            case .warning: "warning: "
            case .error: "error: "
            }
        let words = fields.message ?? (fields.reason == nil ? event.meaning : nil)
        var parts = [fields.queueID, words, fields.address, fields.reason, fields.rule].compactMap { $0 }
        if let count = fields.count { parts.append("\(count)") }
        let program =
            switch service {
            case .appliance, .health: "master"
            case .smtpd, .submission, .submissions: page.server
            case .queue, .control: "qmgr"
            case .local: "local"
            case .smtp: "smtp"
            }
        page.line(program, session: [.smtpd, .submission, .submissions].contains(service) ? fields.session : nil, mark + parts.joined(separator: ": "))
    }
}
