// From the manifest to what the queue and its agents are told.

internal import Delivery
internal import MailQueue
internal import MailSyntax
internal import Mailboxes
internal import Manifest
internal import Routing
internal import SMTP
internal import SMTPServer
internal import Telemetry

func queueConfiguration(_ system: MailSystem, _ router: Router) -> DeliveryScheduler.Configuration {
    let origin = system.origin.value
    return DeliveryScheduler.Configuration(
        hostname: system.hostname.value, origin: origin,
        schedule: RetrySchedule(
            minimum: system.queue.retryMinimum.value, maximum: system.queue.retryMaximum.value, lifetime: system.queue.lifetime.value,
            bounceLifetime: system.queue.bounceLifetime.value),
        reports: reportPolicy(system.reports, origin: origin),
        destinations: DestinationLimits(
            initial: system.delivery.initialConcurrency.value, most: system.delivery.concurrency.value,
            rateDelay: system.delivery.rateDelay?.value ?? .zero),
        place: { [via = system.mailboxes.via?.value] target, sender in
            switch target {
            case .mailbox: via.map { .nextHop($0) } ?? .mailboxes
            case .file, .list: .mailboxes
            case .command: .commands
            case .remote(let address): .nextHop(router.nextHop(for: address, from: sender))
            }
        },
        route: { address in router.destinations(of: address).map { RecipientTarget($0, origin: origin, original: address) } })
}

private func reportPolicy(_ reports: MailSystem.Reports, origin: Domain) -> ReportPolicy {
    func address(_ target: Located<MailSystem.Target>?) -> Address? {
        switch target?.value {
        case .name(let name): Address(localPart: name, domain: origin)
        case .address(let address): address
        case .file, .command, .include, nil: nil
        }
    }
    var policy = ReportPolicy()
    policy.returnedSize = reports.returnedSize.value
    policy.delayWarning = reports.delayWarning?.value
    policy.bounceNotice = address(reports.bounceNotice)
    policy.doubleBounceNotice = address(reports.doubleBounceNotice)
    policy.delayNotice = address(reports.delayNotice)
    return policy
}

func mailboxConfiguration(_ system: MailSystem, _ router: Router) -> LocalAgent.Configuration {
    var configuration = LocalAgent.Configuration(
        directory: system.mailboxes.directory.value, format: MailboxFormat(system.mailboxes.format.value), quota: system.limits.mailboxSize.value,
        users: Dictionary(
            uniqueKeysWithValues: system.users.map { user in
                (user.name.value, LocalAgent.Configuration.User(format: user.format.map { MailboxFormat($0.value) }, quota: user.quota?.value))
            }),
        hostname: system.hostname.value.key)
    configuration.fileQuota = system.limits.mailboxSize.value
    let local = system.localDelivery
    func sources(_ sources: Located<[MailSystem.LocalDelivery.Source]>) -> Set<ListDelivery.Source> {
        Set(sources.value.map { source in
            switch source {
            case .alias: .alias
            case .include: .include
            case .forward: .forward
            }
        })
    }
    configuration.lists = ListDelivery(
        ListDelivery.Configuration(
            hostname: system.hostname.value, origin: system.origin.value, commands: sources(local.commands), files: sources(local.files),
            forwardPath: local.forwardPath.value),
        router: router)
    return configuration
}

func commandConfiguration(_ system: MailSystem) -> CommandAgent.Configuration {
    CommandAgent.Configuration(
        timeLimit: system.localDelivery.commandTimeLimit.value, concurrency: system.localDelivery.commandConcurrency.value,
        extensionDelimiter: system.addressExtension.value?.asciiValue)
}

func nextHopConfiguration(_ system: MailSystem, _ router: Router, _ log: EventLog, faults: inout [Diagnostic]) -> SMTPAgent.Configuration {
    var limits = SMTPAgent.Limits()
    limits.grace = Grace.conversations
    limits.recipients = system.delivery.recipientsPerMessage.value
    limits.addresses = limit(system.delivery.addressLimit)
    limits.sessions = limit(system.delivery.sessionLimit)
    let timeouts = system.delivery.timeouts
    limits.connect = timeouts.connect.value
    limits.timeouts.greeting = timeouts.hello.value
    limits.timeouts.hello = timeouts.hello.value
    limits.timeouts.mail = timeouts.mail.value
    limits.timeouts.recipient = timeouts.recipient.value
    limits.timeouts.data = timeouts.data.value
    limits.timeouts.block = timeouts.block.value
    limits.timeouts.endOfData = timeouts.endOfData.value
    var configuration = SMTPAgent.Configuration(
        hostname: system.hostname.value, limits: limits, ownEndpoints: ownEndpoints(system.listen.smtp.value), rewriting: OutgoingRewriting(router),
        logins: relayLogins(system, faults: &faults), fallbacks: system.delivery.fallbackRelays.map(\.value))
    configuration.tls = tlsPolicy(system)
    configuration.contexts = system.tlsContexts(faults: &faults)
    configuration.notice = tlsNotice(log)
    return configuration
}

/// 0: none.
private func limit(_ number: Located<Int>) -> Int { number.value == 0 ? .max : number.value }

extension MailboxFormat {
    fileprivate init(_ format: MailSystem.MailboxFormat) {
        switch format {
        case .maildir: self = .maildir
        case .mbox: self = .mbox
        }
    }
}
