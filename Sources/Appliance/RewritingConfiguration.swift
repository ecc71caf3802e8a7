// From the manifest's `rewriting` to what the router and the SMTP server are told of it.

internal import MailSyntax
internal import Manifest
internal import NIOCore
internal import Policy
internal import Routing
internal import SMTPServer

/// Nil: the manifest rewrites no address and makes no copies.
func addressRewriting(_ system: MailSystem) -> AddressRewriting? {
    let rewriting = system.rewriting
    let tables = [rewriting.canonical.entries, rewriting.senderCanonical.entries, rewriting.recipientCanonical.entries, rewriting.generic]
    guard !tables.allSatisfy(\.isEmpty) || !rewriting.masqueradeDomains.isEmpty || !rewriting.senderBCC.isEmpty || !rewriting.recipientBCC.isEmpty
        || rewriting.alwaysBCC != nil
    else { return nil }
    return AddressRewriting(
        AddressRewriting.Configuration(
            manifest: system.fileName, origin: system.origin.value, localDomains: system.localDomainNames,
            extensionDelimiter: system.addressExtension.value?.asciiValue, canonical: table(rewriting.canonical),
            senderCanonical: table(rewriting.senderCanonical), recipientCanonical: table(rewriting.recipientCanonical), generic: entries(rewriting.generic),
            propagatesCanonical: rewriting.extended.value.contains(.canonical), propagatesGeneric: rewriting.extended.value.contains(.generic),
            masquerade: AddressRewriting.Masquerade(
                domains: rewriting.masqueradeDomains.map { ($0.value.domain, $0.value.isExempt) },
                exceptions: Set(rewriting.masqueradeExceptions.map { lowercasedASCII($0.value) }), classes: classes(rewriting.masqueradeClasses.value),
                line: rewriting.masqueradeDomains.first?.position?.line),
            senderBCC: copies(rewriting.senderBCC, system), recipientBCC: copies(rewriting.recipientBCC, system),
            alwaysBCC: rewriting.alwaysBCC.map { RewriteTable.Entry(key: "", result: copied($0.value, system), line: $0.position?.line) }))
}

private func copies(_ entries: [MailSystem.Rewriting.Entry], _ system: MailSystem) -> [RewriteTable.Entry] {
    entries.map { RewriteTable.Entry(key: key($0.pattern.value), result: copied($0.result.value, system), line: $0.pattern.position?.line) }
}

/// A bare name is a user or an alias, as anywhere in the manifest: where the origin is none of the domains, those live in another.
private func copied(_ pattern: MailSystem.Rewriting.Pattern, _ system: MailSystem) -> RewriteTable.Result {
    guard case .name(let name) = pattern, !system.localDomainNames.contains(system.origin.value), let home = system.localDomainNames.first else { return result(pattern) }
    return .address(Address(localPart: name, domain: home))
}

/// Nil: forwarded mail keeps its sender. `faults` says which secrets cannot be read: without one nothing can be signed.
func srsConfiguration(_ system: MailSystem, faults: inout [Diagnostic]) -> SRS? {
    guard let srs = system.rewriting.srs else { return nil }
    var secrets: [[UInt8]] = []
    for secret in srs.secrets {
        do throws(SecretFailure) {
            secrets.append(Array(try secretText(secret.value).utf8))
        } catch {
            faults.append(
                Diagnostic(
                    .unreadableFile, .error, "rewriting.srs.secret: the \(secret.value) \(error.reason)", file: system.file, at: secret.position,
                    endColumn: secret.endColumn))
        }
    }
    guard secrets.count == srs.secrets.count else { return nil }
    return SRS(domain: srs.domain.value, secrets: secrets) { Int(Timestamp.now().seconds / 86_400) }
}

/// Nil: envelope and header of what comes in stay as they are, whoever sends it.
func messageRewriting(_ system: MailSystem, _ router: Router, _ policy: AccessPolicy) -> MessageRewriting? {
    let rewriting = system.rewriting
    var clients: MessageRewriting.Clients = []
    for client in rewriting.clients.value {
        switch client {
        case .submission: clients.insert(.submission)
        case .logins: clients.insert(.logins)
        case .own: clients.insert(.own)
        case .networks: clients.insert(.networks)
        }
    }
    let alwaysAdds = rewriting.alwaysAddsMissingHeaders.value
    guard router.rewriting != nil || !clients.isEmpty || rewriting.remoteHeaderDomain != nil || alwaysAdds else { return nil }
    return MessageRewriting(
        MessageRewriting.Configuration(
            hostname: system.hostname.value, origin: system.origin.value, clients: clients, ownAddresses: clients.contains(.own) ? ownAddresses() : [],
            remoteHeaderDomain: rewriting.remoteHeaderDomain?.value, alwaysAddsMissingFields: alwaysAdds),
        router: router, policy: policy)
}

/// What this host answers to, as Postfix's permit_inet_interfaces has it.
private func ownAddresses() -> Set<IPAddress> {
    let devices = (try? System.enumerateDevices()) ?? []
    return Set(devices.compactMap { $0.address?.ipAddress.flatMap { IPAddress($0) } })
}

private func table(_ table: MailSystem.Rewriting.Table) -> AddressRewriting.Table {
    AddressRewriting.Table(entries(table.entries), classes: classes(table.classes.value))
}

private func entries(_ entries: [MailSystem.Rewriting.Entry]) -> [RewriteTable.Entry] {
    entries.map { RewriteTable.Entry(key: key($0.pattern.value), result: result($0.result.value), line: $0.pattern.position?.line) }
}

/// Unquoted, as `RewriteTable` looks it up.
private func key(_ pattern: MailSystem.Rewriting.Pattern) -> String {
    switch pattern {
    case .address(let address): "\(address.localKey)@\(address.domain.key)"
    case .name(let name): lowercasedASCII(name)
    case .domain(let domain): "@\(domain.key)"
    }
}

private func result(_ pattern: MailSystem.Rewriting.Pattern) -> RewriteTable.Result {
    switch pattern {
    case .address(let address): .address(address)
    case .name(let name): .name(name)
    case .domain(let domain): .domain(domain)
    }
}

private func classes(_ classes: [MailSystem.Rewriting.Class]) -> AddressRewriting.Classes {
    classes.reduce(into: []) { set, one in
        switch one {
        case .envelopeSender: set.insert(.envelopeSender)
        case .envelopeRecipient: set.insert(.envelopeRecipient)
        case .headerSender: set.insert(.headerSender)
        case .headerRecipient: set.insert(.headerRecipient)
        }
    }
}

extension MailSystem {
    fileprivate var localDomainNames: [Domain] {
        domains.compactMap { if case .local = $0.kind { $0.name.value } else { nil } }
    }
}
