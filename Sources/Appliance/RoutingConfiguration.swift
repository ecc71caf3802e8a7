// From the manifest to what the router, the policy and the SMTP server are told.

internal import MailSyntax
internal import Manifest
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
        relayhost: system.relayhost?.value.hop, relayhostLine: system.relayhost?.position?.line,
        rewriting: addressRewriting(system), srs: srs, srsLine: system.rewriting.srs?.domain.position?.line)
}

func policyConfiguration(_ system: MailSystem) -> AccessPolicy.Configuration {
    AccessPolicy.Configuration(
        manifest: system.fileName, networks: system.networks.value, networksLine: system.networks.position?.line,
        sendAs: system.users.flatMap { user in
            user.sendAs.map { AccessPolicy.SendAs(user: user.name.value, address: $0.value, line: $0.position?.line) }
        })
}

func smtpConfiguration(_ system: MailSystem, _ router: Router) -> SMTPService.Configuration {
    let policy = AccessPolicy(policyConfiguration(system), router: router)
    return SMTPService.Configuration(
        session: ServerSession.Configuration(
            hostname: system.hostname.value, origin: system.origin.value, messageSizeLimit: system.limits.messageSize.value,
            recipientLimit: system.limits.recipientsPerMessage.value),
        policy: policy, connectionsPerClient: system.limits.connectionsPerClient.value,
        rules: SMTPService.Rules(
            messageSize: system.rule(system.limits.messageSize.position, "limits.message_size"),
            recipients: system.rule(system.limits.recipientsPerMessage.position, "limits.recipients_per_message"),
            connections: system.rule(system.limits.connectionsPerClient.position, "limits.connections_per_client")),
        rewriting: messageRewriting(system, router, policy))
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
