// TLS (TLS_README): levels, certificates by the name that a client asks for, and the policy for the relay.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    /// The level of what comes in. Postfix turns TLS off without a certificate, or with `encrypt` does not answer at all.
    private var serverLevel: MailSystem.TLSLevel { system.tls.certificate == nil ? .none : system.tls.level.value }

    mutating func addEncryption(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        let tls = system.tls
        if tls.level.value != .none || tls.level.position != nil {
            groups.add(
                system.rule(tls.level.position, "tls.level"),
                ["smtpd_tls_security_level": serverLevel.rawValue])
            if serverLevel != tls.level.value {
                note("tls.level", at: tls.level.position, "without a certificate Postfix takes mail unencrypted")
            }
        }
        if let certificate = tls.certificate {
            let files = certificate.value.all.flatMap { [$0.key, $0.chain] }
            for file in files where !isListable(file.value) {
                note("tls", at: file.position, "Postfix takes \(file.value) for several files: give it a path without spaces and commas")
            }
            // The key comes first: that is how Postfix knows which certificate it is of.
            groups.add(
                system.rule(certificate.position, "tls.certificate"), ["smtpd_tls_chain_files": files.map { literal($0.value) }.joined(separator: ", ")])
        }
        if tables.contains(.certificates), let first = tls.certificates.first {
            groups.add(system.rule(first.domain.position, "tls.certificates"), ["tls_server_sni_maps": reference(.certificates)])
        }
        addOutgoingEncryption(to: &groups, tables)
        if tables.contains(.relayClients) {
            groups.add(
                system.rule(tls.relayClients.position, "tls.relay_clientcerts"),
                ["relay_clientcerts": reference(.relayClients), "smtpd_tls_ask_ccert": "yes", "smtpd_tls_fingerprint_digest": "sha256"])
        }
    }

    /// postconf(5) tls_server_sni_maps: files that postmap(1) -F or texthash reads into the table.
    mutating func certificates() -> Table? {
        var table = Table(.certificates)
        for entry in system.tls.certificates {
            let path = "tls.certificates.\(entry.domain.value)"
            let files = entry.certificate.all.flatMap { [$0.key.value, $0.chain.value] }
            guard files.allSatisfy(isListable) else {
                note(path, at: entry.domain.position, "left out: Postfix takes a path with spaces or commas for several files")
                continue
            }
            table.comment(system.rule(entry.domain.position, path))
            table.add(entry.domain.value.key, files.joined(separator: " "))
        }
        return table.isEmpty ? nil : table
    }

    /// postconf(5) relay_clientcerts: by fingerprint, in capitals as Postfix looks them up; the value means nothing.
    func relayClients() -> Table? {
        guard !system.tls.relayClients.value.isEmpty else { return nil }
        var table = Table(.relayClients)
        for fingerprint in system.tls.relayClients.value {
            table.comment(system.rule(fingerprint.position, "tls.relay_clientcerts"))
            table.add(fingerprint.value.uppercased(), "may relay")
        }
        return table
    }

    /// What goes out. Always said: by itself Postfix sends in clear, and a manifest that says nothing means TLS where it can be had.
    private mutating func addOutgoingEncryption(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        let outgoing = system.tls.outgoing
        groups.add(system.rule(outgoing.level.position, "tls.outgoing.level"), ["smtp_tls_security_level": outgoing.level.value.postfixLevel])
        if tables.contains(.tlsPolicy) {
            let path = outgoing.destinations.isEmpty ? "relayhost" : "tls.outgoing.destinations"
            let position = outgoing.destinations.first?.pattern.position ?? system.relayhost?.value.tls?.position ?? system.relayhost?.position
            groups.add(system.rule(position, path), ["smtp_tls_policy_maps": reference(.tlsPolicy)])
        }
        if let store = outgoing.trustStore {
            // A manifest takes a file or a directory under one key; files of certificates have names that end so.
            let isFile = [".pem", ".crt", ".cer"].contains { store.value.hasSuffix($0) }
            groups.add(system.rule(store.position, "tls.outgoing.trust_store"), [isFile ? "smtp_tls_CAfile" : "smtp_tls_CApath": literal(store.value)])
        } else if let verifying = outgoingLevels.first(where: { $0.value == .verify }) {
            // Debian's place. Postfix believes nobody unless told.
            groups.add(system.rule(verifying.position, "verify"), ["smtp_tls_CApath": "/etc/ssl/certs"])
        }
        if let dane = outgoingLevels.first(where: { $0.value == .dane }) {
            if system.dns.validation.position == nil {
                groups.add(system.rule(dane.position, "dane"), ["smtp_dns_support_level": "dnssec"])
            }
            note("tls.outgoing", at: dane.position, "dane: Postfix believes the resolvers of /etc/resolv.conf that they validate: let one on this machine do it")
        }
        if let relayhost = system.relayhost, relayhost.value.usesImplicitTLS {
            groups.add(
                system.rule(relayhost.value.implicitTLS?.position ?? relayhost.position, "relayhost.implicit_tls"), ["default_transport": implicitTransport])
            if let route = system.senderRoutes.first {
                note("sender_routes", at: route.pattern.position, "Postfix goes there in TLS from the first octet too, as to the relayhost")
            }
        }
    }

    private var outgoingLevels: [Located<MailSystem.OutgoingLevel>] {
        [system.tls.outgoing.level] + system.tls.outgoing.destinations.map(\.level) + [system.relayhost?.value.tls].compactMap { $0 }
    }

    /// The service for a relay whose port is in TLS from the first octet.
    var implicitTransport: String { "smtp-implicit-tls" }

    /// Levels by where mail goes next. The relay's own comes before what `destinations` has for it, which then gives the names alone.
    func tlsPolicy() -> Table? {
        var table = Table(.tlsPolicy)
        var relay: MailSystem.TLSPattern?
        if let relayhost = system.relayhost?.value, let level = relayLevelOfItsOwn {
            let pattern = MailSystem.TLSPattern.hop(relayhost.hop)
            relay = pattern
            table.comment(system.rule(relayhost.tls?.position ?? system.relayhost?.position, "relayhost.tls"))
            let names = system.tls.outgoing.destinations.first { $0.pattern.value == pattern }?.names ?? []
            table.add(relayhost.hop.description, level.policy(names))
        }
        for destination in system.tls.outgoing.destinations where destination.pattern.value != relay {
            table.comment(system.rule(destination.pattern.position, "tls.outgoing.destinations.\(destination.pattern.value)"))
            table.add(destination.pattern.value.description, destination.level.value.policy(destination.names))
        }
        return table.isEmpty ? nil : table
    }

    /// Nil: as `tls.outgoing` has it. A login, and TLS from the first octet, want it encrypted at least.
    private var relayLevelOfItsOwn: MailSystem.OutgoingLevel? {
        guard let relayhost = system.relayhost?.value else { return nil }
        let outgoing = system.tls.outgoing
        let entry = outgoing.destinations.first { $0.pattern.value == .hop(relayhost.hop) }
        let asked: MailSystem.OutgoingLevel = relayhost.tls?.value ?? entry?.level.value ?? outgoing.level.value
        let isWeak = asked == .may || asked == .none && relayhost.tls == nil
        if isWeak, relayhost.usesImplicitTLS || relayhost.username != nil { return .encrypt }
        return relayhost.tls?.value
    }

    private func isListable(_ path: String) -> Bool { !path.contains { $0 == " " || $0 == "," || $0 == "\t" } }
}

extension MailSystem.OutgoingLevel {
    /// TLS_README: `secure` is `verify` with names that do not come from the DNS.
    fileprivate var postfixLevel: String { self == .verify ? "secure" : rawValue }

    /// The value of an entry of smtp_tls_policy_maps.
    fileprivate func policy(_ names: [Located<String>]) -> String {
        self == .verify && !names.isEmpty ? "secure match=\(names.map(\.value).joined(separator: ":"))" : postfixLevel
    }
}
