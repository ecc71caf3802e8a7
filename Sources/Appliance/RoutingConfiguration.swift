// From the manifest to what the router, the policy and the SMTP server are told.

internal import MailSyntax
internal import Manifest
internal import NIOCore
internal import Policy
internal import Routing
internal import SMTP
internal import SMTPServer

func routerConfiguration(_ system: MailSystem, srs: SRS? = nil) -> Router.Configuration {
    Router.Configuration(
        manifest: system.fileName, origin: system.origin.value,
        // The manifest admits only characters of ASCII here.
        extensionDelimiter: system.addressExtension.value?.asciiValue,
        domains: system.domains.map { domain in
            Router.MailDomain(
                domain.name.value, line: domain.name.position?.line, viaLine: viaPosition(domain.kind)?.line, kind: kind(domain.kind))
        },
        users: system.users.map { user in
            Router.User(
                user.name.value, line: user.name.position?.line, forward: user.forward.map { target($0.value) }, keepsCopy: user.keepCopy)
        },
        aliases: system.aliases.map { Router.Entry($0.name.value, line: $0.name.position?.line, targets: $0.targets.map { target($0.value) }) },
        relayhost: system.relayhost?.value.hop, relayhostLine: system.relayhost?.position?.line, routes: system.routes.map(route),
        senderRoutes: system.senderRoutes.map(route), rewriting: addressRewriting(system), srs: srs, srsLine: system.rewriting.srs?.domain.position?.line)
}

private func route(_ route: MailSystem.MailRoute) -> Router.OutsideRoute {
    Router.OutsideRoute(route.pattern.value.description, line: route.pattern.position?.line, hop: route.hop.value)
}

/// `standIns`: addresses of the network that this process is in which stand for many clients (`Surroundings`).
func policyConfiguration(_ system: MailSystem, standIns: Set<IPAddress> = []) -> AccessPolicy.Configuration {
    var configuration = AccessPolicy.Configuration(
        manifest: system.fileName, networks: system.networks.value, networksLine: system.networks.position?.line,
        sendAs: system.users.flatMap { user in
            user.sendAs.map { AccessPolicy.SendAs(user: user.name.value, address: $0.value, line: $0.position?.line) }
        }, clientCertificates: system.tls.relayClients.value.map { AccessPolicy.ClientCertificate(fingerprint: $0.value, line: $0.position?.line) })
    configuration.standIns = standIns
    configuration.checks = system.smtpd.restrictions.value.compactMap { restriction in
        ClientCheck(rawValue: restriction.rawValue).map { ($0, system.smtpd.restrictions.position?.line) }
    }
    return configuration
}

func smtpConfiguration(
    _ system: MailSystem, _ router: Router, standIns: Set<IPAddress> = [], submission: SMTPService.Submission? = nil, tls: SMTPService.TLSOffer? = nil
) -> SMTPService.Configuration {
    let recipients = submission == nil ? nil : system.submission.recipientsPerMessage
    var session = ServerSession.Configuration(
        hostname: system.hostname.value, origin: system.origin.value, messageSizeLimit: system.limits.messageSize.value,
        recipientLimit: (recipients ?? system.limits.recipientsPerMessage).value)
    // RFC 8314 §3.3, RFC 6409: who hands in mail does it encrypted, unless the manifest lets passwords cross in clear.
    if submission != nil { session.encryption = system.submission.tlsAuthOnly.value ? .encrypt : .may } else { session.encryption = encryption(system.tls.level.value) }
    if submission != nil { session.logins = ServerSession.Logins(mechanisms: [], needsTLS: system.submission.tlsAuthOnly.value, isRequired: true) }
    session.verp = system.reports.verpDelimiters.value
    session.messageLimit = system.limits.messagesPerConnection?.value
    session.offersRequireTLS = system.tls.requireTLS.value && system.canVerifyServers
    session.offersEXPN = system.smtpd.expn.value
    let flushable = system.flushableDomains
    session.offersETRN = !flushable.isEmpty
    var rules = limitRules(system)
    if let recipients { rules.recipients = system.rule(recipients.position, "submission.recipients_per_message") }
    let policy = AccessPolicy(policyConfiguration(system, standIns: standIns), router: router)
    return SMTPService.Configuration(
        session: session, policy: policy, connectionsPerClient: system.limits.connectionsPerClient.value, rules: rules,
        limits: clientLimits(system), rewriting: messageRewriting(system, router, policy), submission: submission, tls: tls)
}

private func encryption(_ level: MailSystem.TLSLevel) -> ServerSession.Encryption {
    switch level {
    case .none: .none
    case .may: .may
    case .encrypt: .encrypt
    }
}

private func limitRules(_ system: MailSystem) -> SMTPService.Rules {
    var rules = SMTPService.Rules(
        messageSize: system.rule(system.limits.messageSize.position, "limits.message_size"),
        recipients: system.rule(system.limits.recipientsPerMessage.position, "limits.recipients_per_message"),
        connections: system.rule(system.limits.connectionsPerClient.position, "limits.connections_per_client"))
    rules.flushable = system.flushableDomains
    rules.flushableRule = system.rule(system.smtpd.etrnDomains?.position, "smtpd.etrn_domains")
    rules.override = system.smtpd.xclient.value
    rules.forward = system.smtpd.xforward.value
    rules.looksUpNames = system.smtpd.lookUpNames.value
    return rules
}

private func clientLimits(_ system: MailSystem) -> SMTPService.ClientLimits {
    var limits = SMTPService.ClientLimits()
    let rates: [(RateTable.Activity, String, Located<Int>?)] = [
        (.connections, "connection_rate", system.limits.connectionRate), (.messages, "message_rate", system.limits.messageRate),
        (.recipients, "recipient_rate", system.limits.recipientRate), (.errors, "error_rate", system.limits.errorRate),
    ]
    for (activity, name, rate) in rates {
        if let rate { limits.rates[activity] = SMTPService.Limit(rate.value, rule: system.rule(rate.position, "limits.\(name)")) }
    }
    limits.exempt = system.limits.exempt.value
    let connections = system.limits.connections
    limits.connections = SMTPService.Limit(connections.value, rule: system.rule(connections.position, "limits.connections"))
    limits.timeout = TimeAmount(system.limits.timeout.value)
    return limits
}

private func kind(_ kind: MailSystem.MailDomain.Kind) -> Router.MailDomain.Kind {
    switch kind {
    case .local: .local
    case .virtual(let addresses, let catchAll): .virtual(addresses.map(entry), catchAll: catchAll.map(entry))
    case .relay(let via, let recipients):
        .relay(via: via?.value, recipients: recipients?.map { Router.Recipient($0.value, line: $0.position?.line) })
    }
}

private func viaPosition(_ kind: MailSystem.MailDomain.Kind) -> SourcePosition? {
    if case .relay(let via?, _) = kind { via.position } else { nil }
}

private func entry(_ address: MailSystem.VirtualAddress) -> Router.Entry {
    Router.Entry(address.localPart.value, line: address.localPart.position?.line, targets: address.targets.map { target($0.value) })
}

private func target(_ target: MailSystem.Target) -> Router.Target {
    switch target {
    case .name(let name): .name(name)
    case .address(let address): .address(address)
    case .file(let path): .file(path)
    case .command(let command): .command(command)
    case .include(let path): .include(path)
    }
}
