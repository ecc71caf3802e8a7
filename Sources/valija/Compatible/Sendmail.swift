// `sendmail`: hands a message of a local program to the running appliance, over its own socket and in SMTP, so that
// there is one way in. Reports what happened by the exit codes of sysexits.h.

import Appliance
import Glibc
import MailQueue
import MailSyntax
import Manifest

enum Sendmail {
    /// Runs the command and returns its exit code.
    static func run(_ arguments: [String]) -> ExitStatus {
        do throws(SendmailOptions.UsageError) {
            return run(try SendmailOptions(arguments))
        } catch {
            complain("sendmail: \(error.text)")
            return .usage
        }
    }

    /// - Parameter text: the message; nil: that of standard input.
    static func run(_ options: SendmailOptions, text: [UInt8]? = nil) -> ExitStatus {
        // Needs no valid manifest: one that is not is what it has to tell of.
        if options.mode == .initializeAliases { return Newaliases.run() }
        do {
            let system = try loadManifest(nil)
            let directory = system.queue.directory.value
            switch options.mode {
            case .printQueue: return try printQueue(directory, format: .mailq)
            case .flushQueue:
                _ = try options.flushedID.map { try changeQueue(directory, .flush, ids: [queueID($0)]) } ?? changeQueue(directory, .flush, "")
                return .ok
            case .initializeAliases: return Newaliases.run()
            case .smtp: return try relayStandardStreams(to: ApplianceSockets.smtp(directory))
            case .send: return try send(text, options, origin: system.origin.value, hostname: system.hostname.value, directory)
            }
        } catch {
            return report(error, as: "sendmail")
        }
    }

    private static func send(
        _ text: [UInt8]?, _ options: SendmailOptions, origin: Domain, hostname: Domain, _ directory: String
    ) throws -> ExitStatus {
        var recipients: [Address] = []
        for argument in options.recipients {
            let (addresses, flaws) = AddressList.parse(argument)
            guard flaws.isEmpty else {
                complain("sendmail: \(flaws[0]): not a mail address")
                return .usage
            }
            recipients += addresses.map { $0.qualified(with: origin) }
        }
        guard options.readsRecipients || !recipients.isEmpty else {
            complain("sendmail: recipient addresses must be given on the command line or, with -t, in the header")
            return .usage
        }
        let user = localUser()
        guard let sender = parseSender(options.sender, user: user, origin: origin) else {
            complain("sendmail: \(options.sender ?? ""): not a mail address")
            return .usage
        }
        var submission = Submission(try text ?? readAll(0), dotEnds: !options.ignoresDots)
        if options.readsRecipients {
            let (addresses, flaws) = submission.headerRecipients()
            for flaw in flaws { complain("sendmail: \(flaw): not a mail address") }
            recipients += addresses.map { $0.qualified(with: origin) }
            guard flaws.isEmpty else { return .dataError }
            guard !recipients.isEmpty else {
                complain("sendmail: no recipient addresses found in the message header")
                return .usage
            }
        }
        // Whoever the recipients come from: what the others may not see is not sent, as Postfix (message_drop_headers) has it.
        submission.removeBlindCopies()
        let now = Timestamp.now()
        let from = sender ?? Address(localPart: "MAILER-DAEMON", domain: origin)
        submission.complete(from: from, name: options.fullName ?? user.fullName, messageID: "\(now.microseconds).\(getpid())@\(hostname)", at: now)
        let connection = try LocalConnection(unixSocket: ApplianceSockets.smtp(directory))
        connection.setTimeout(seconds: 300)
        var dialogue = SubmissionDialogue(connection: connection)
        return try dialogue.send(submission, from: sender, to: recipients, options)
    }

    /// Nil: the text is no address. `.some(nil)`: the null sender.
    private static func parseSender(_ text: String?, user: LocalUser, origin: Domain) -> Address?? {
        guard let text else { return .some(Address(localPart: user.name, domain: origin)) }
        if text.isEmpty || text == "<>" { return .some(nil) }
        let (addresses, flaws) = AddressList.parse(text)
        guard flaws.isEmpty, addresses.count == 1 else { return nil }
        return .some(addresses[0].qualified(with: origin))
    }

    /// -bs: the caller speaks SMTP on standard input and output.
    private static func relayStandardStreams(to socket: String) throws -> ExitStatus {
        let connection = try LocalConnection(unixSocket: socket)
        var watched = [pollfd(fd: 0, events: Int16(POLLIN), revents: 0), pollfd(fd: connection.descriptor, events: Int16(POLLIN), revents: 0)]
        while true {
            guard poll(&watched, 2, -1) > 0 || errno == EINTR else { return .osError }
            if watched[1].revents != 0 {
                let bytes = try connection.receive()
                if bytes.isEmpty { return .ok }
                write(bytes, to: 1)
            }
            if watched[0].revents != 0 {
                let bytes = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, count in count = max(0, read(0, buffer.baseAddress, buffer.count)) }
                if bytes.isEmpty {
                    shutdown(connection.descriptor, CInt(SHUT_WR))
                    watched[0].fd = -1
                } else {
                    try connection.send(bytes)
                }
            }
        }
    }
}

/// The client's side of one transaction, blocking.
private struct SubmissionDialogue: ~Copyable {
    let connection: LocalConnection
    private var input: [UInt8] = []

    init(connection: consuming LocalConnection) { self.connection = connection }

    mutating func send(_ submission: Submission, from sender: Address?, to recipients: [Address], _ options: SendmailOptions) throws -> ExitStatus {
        var status = ExitStatus.ok
        guard try succeeds(nil, &status), try succeeds("EHLO localhost", &status) else { return status }
        var mail = "MAIL FROM:<\(sender.map { "\($0)" } ?? "")>"
        if submission.isEightBit { mail += " BODY=8BITMIME" }
        let areAddressesASCII = recipients.allSatisfy(\.isASCII) && sender?.isASCII ?? true
        if submission.isInternationalized || !areAddressesASCII { mail += " SMTPUTF8" }
        if let content = options.returnContent { mail += " RET=\(content.rawValue)" }
        if let id = options.envelopeID { mail += " ENVID=\(XText.encode(id))" }
        if options.requiresTLS { mail += " REQUIRETLS" }
        if let verp = options.verp { mail += " \(verp)" }
        guard try succeeds(mail, &status) else { return status }
        var accepted = 0
        for recipient in recipients {
            let notify = options.notify == .unspecified ? "" : " NOTIFY=\(options.notify.parameter)"
            if try succeeds("RCPT TO:<\(recipient)>\(notify)", &status) { accepted += 1 }
        }
        guard accepted > 0 else { return status }
        guard try succeeds("DATA", &status, wanted: 354) else { return status }
        try connection.send(dotStuffed(submission.octets))
        var sent = ExitStatus.ok
        if try !succeeds(".", &sent) { status = sent }
        try connection.send("QUIT\r\n".utf8)
        return status
    }

    /// Sends a line and reads the reply. A refusal is shown, and `status` says what kind it was.
    private mutating func succeeds(_ line: String?, _ status: inout ExitStatus, wanted: Int? = nil) throws -> Bool {
        if let line { try connection.send("\(line)\r\n".utf8) }
        let (code, text) = try readReply()
        if wanted.map({ $0 == code }) ?? (200..<300).contains(code) { return true }
        complain("sendmail: \(text)")
        status = code < 500 ? .temporaryFailure : text.includes(" 5.1.") ? .noUser : .unavailable
        return false
    }

    private mutating func readReply() throws -> (Int, String) {
        var lines: [String] = []
        while true {
            while let end = input.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: input[..<end].filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
                input.removeSubrange(...end)
                lines.append(line)
                if line.count < 4 || line.dropFirst(3).first == " " { return (Int(line.prefix(3)) ?? 0, lines.joined(separator: "\n")) }
            }
            let bytes = try connection.receive()
            guard !bytes.isEmpty else { throw LocalClientError(kind: .broken, description: "the appliance closed the connection") }
            input += bytes
        }
    }

    /// RFC 5321 §4.5.2: a line that begins with a dot gets another one in front.
    private func dotStuffed(_ octets: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(octets.count + 16)
        var atLineStart = true
        for byte in octets {
            if atLineStart, byte == UInt8(ascii: ".") { result.append(byte) }
            result.append(byte)
            atLineStart = byte == UInt8(ascii: "\n")
        }
        return result
    }
}
