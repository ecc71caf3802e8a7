// From the manifest to who may log in here, and to how this server logs in at its relay. Reads the secrets and the files of
// accounts that the manifest names; what is wrong with one goes to `faults`, and never with it.

internal import Accounts
internal import Delivery
internal import Glibc
internal import MailSyntax
internal import Manifest
internal import NIOPosix
internal import Policy
internal import Routing
internal import SMTP
internal import SMTPServer
internal import Telemetry

/// Hashing takes long by purpose. Few threads that step back for those that serve: however many log in at once, no session
/// and no delivery notices.
private let loginThreads: NIOThreadPool = {
    let count = 2
    let threads = NIOThreadPool(numberOfThreads: count)
    threads.start()
    for _ in 0..<count { threads.submit { _ in stepBack() } }
    return threads
}()

func mailConfigurations(
    _ system: MailSystem, _ router: Router, standIns: Set<IPAddress>, _ log: EventLog, certificates: inout [LoadedCertificate], faults: inout [Diagnostic]
) -> MailConfigurations {
    let tls = system.serverTLS(makesOwn: true, now: time(nil), faults: &faults)
    certificates = tls?.certificates ?? []
    let offer = system.tls.level.value == .none ? nil : tls.map { SMTPService.TLSOffer($0.context) }
    var configurations = MailConfigurations(smtp: smtpConfiguration(system, router, standIns: standIns, tls: offer))
    let listen = system.listen
    // Elsewhere nobody logs in, and no secret need be read.
    guard !listen.submission.value.isEmpty || !listen.submissions.value.isEmpty else { return configurations }
    guard let directory = directory(system, router, log, faults: &faults) else { return configurations }
    let authenticator = Authenticator(directory, threads: loginThreads)
    var rates: [RateTable.Activity: SMTPService.Limit] = [:]
    for (activity, key, rate) in [
        (RateTable.Activity.messages, "message_rate", system.submission.messageRate), (.recipients, "recipient_rate", system.submission.recipientRate),
    ] {
        if let rate { rates[activity] = SMTPService.Limit(rate.value, rule: system.rule(rate.position, "submission.\(key)")) }
    }
    func submission(_ service: Telemetry.Service) -> SMTPService.Configuration {
        let rules = SMTPService.Submission(service: service, authenticator: authenticator, hidesClient: system.submission.hideClient.value, rates: rates)
        let offer = tls.map { SMTPService.TLSOffer($0.context, isImplicit: service == .submissions) }
        return smtpConfiguration(system, router, standIns: standIns, submission: rules, tls: offer)
    }
    if !listen.submission.value.isEmpty { configurations.submission = submission(.submission) }
    if !listen.submissions.value.isEmpty { configurations.submissions = submission(.submissions) }
    return configurations
}

/// Nil after a fault.
private func directory(_ system: MailSystem, _ router: Router, _ log: EventLog, faults: inout [Diagnostic]) -> (any Directory)? {
    var directories: [any Directory] = []
    for directory in system.directories.value {
        do throws(DirectoryError) {
            switch directory.value {
            case .manifest: directories.append(FixedDirectory(accounts(system, faults: &faults)))
            case .passwdFile(let path): directories.append(try FileDirectory(.dovecot(path)) { record($0, log) })
            case .system(let passwd, let shadow, let userIDs):
                directories.append(try FileDirectory(.system(passwd: passwd, shadow: shadow, userIDs: userIDs)) { record($0, log) })
            }
        } catch {
            faults.append(Diagnostic(.unreadableFile, .error, "directories: \(error)", file: system.file, at: directory.position, endColumn: directory.endColumn))
        }
    }
    guard faults.isEmpty else { return nil }
    return AddressedDirectory(DirectoryChain(directories)) { router.owner(of: $0) }
}

private func accounts(_ system: MailSystem, faults: inout [Diagnostic]) -> [Account] {
    system.users.compactMap { user in
        guard let password = user.password else { return nil }
        let key = "users.\(user.name.value).password"
        func fault(_ code: Diagnostic.Code, _ reason: String) -> Account? {
            faults.append(Diagnostic(code, .error, "\(key): \(reason)", file: system.file, at: password.position, endColumn: password.endColumn))
            return nil
        }
        let text: String
        do throws(SecretFailure) { text = try secretText(password.value) } catch { return fault(.unreadableFile, "the \(password.value) \(error.reason)") }
        do throws(StoredPassword.Flaw) {
            return Account(name: user.name.value, password: try StoredPassword(text))
        } catch .locked {
            return Account(name: user.name.value, password: nil)
        } catch {
            return fault(.invalidValue, "the hash will never match: \(error)")
        }
    }
}

private func record(_ news: FileDirectory.News, _ log: EventLog) {
    let shown = 5
    switch news {
    case .read(let path, let accounts, let omissions):
        log.record(.directoryRead, by: .appliance) { fields in
            fields.address = path
            fields.count = accounts
            guard !omissions.isEmpty else { return }
            fields.reason = omissions.prefix(shown).map { "line \($0.line): \($0.reason)" }.joined(separator: "; ") + (omissions.count > shown ? "; …" : "")
        }
    case .unreadable(let path, let reason):
        log.record(.directoryFailed, by: .appliance) { fields in
            fields.address = path
            fields.reason = reason
        }
    }
}

/// By the next hop that they are for.
func relayLogins(_ system: MailSystem, faults: inout [Diagnostic]) -> [NextHop: SMTPAgent.Login] {
    guard let relayhost = system.relayhost?.value, let username = relayhost.username, let password = relayhost.password else { return [:] }
    do throws(SecretFailure) {
        let text = try secretText(password.value)
        guard !text.isEmpty, !text.utf8.contains(0) else { throw SecretFailure(reason: "holds no password") }
        // Only where the manifest says that there is no TLS may the password be seen on the way; LMTP servers are this server's own.
        let isInClear = relayhost.tls?.value == MailSystem.OutgoingLevel.none || relayhost.hop.dialect == .lmtp
        return [relayhost.hop: SMTPAgent.Login(user: username.value, password: text, allowsPlaintext: isInClear)]
    } catch {
        faults.append(
            Diagnostic(
                .unreadableFile, .error, "relayhost.password: the \(password.value) \(error.reason)", file: system.file, at: password.position,
                endColumn: password.endColumn))
        return [:]
    }
}
