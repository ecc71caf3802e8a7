// From the manifest to what the queue and its agents are told.

internal import Delivery
internal import MailQueue
internal import MailSyntax
internal import Mailboxes
internal import Manifest
internal import Routing
internal import SMTPServer

func queueConfiguration(_ system: MailSystem, _ router: Router) -> DeliveryScheduler.Configuration {
    let origin = system.origin.value
    return DeliveryScheduler.Configuration(
        hostname: system.hostname.value, origin: origin,
        schedule: RetrySchedule(
            minimum: system.queue.retryMinimum.value, maximum: system.queue.retryMaximum.value, lifetime: system.queue.lifetime.value,
            bounceLifetime: system.queue.bounceLifetime.value),
        reports: reportPolicy(system.reports, origin: origin),
        place: { target in
            switch target {
            case .mailbox, .file, .list: .mailboxes
            case .command: .commands
            case .remote(let address): .nextHop(router.nextHop(for: address.domain))
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

func nextHopConfiguration(_ system: MailSystem, _ router: Router, faults: inout [Diagnostic]) -> SMTPAgent.Configuration {
    var limits = SMTPAgent.Limits()
    limits.grace = Grace.conversations
    return SMTPAgent.Configuration(
        hostname: system.hostname.value, limits: limits, ownEndpoints: ownEndpoints(system.listen.smtp.value), rewriting: OutgoingRewriting(router),
        logins: relayLogins(system, faults: &faults))
}

extension MailboxFormat {
    fileprivate init(_ format: MailSystem.MailboxFormat) {
        switch format {
        case .maildir: self = .maildir
        case .mbox: self = .mbox
        }
    }
}
