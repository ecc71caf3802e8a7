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
                ["smtpd_tls_security_level": serverLevel.rawValue, "smtp_tls_security_level": tls.level.value.rawValue])
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

    /// For the relay alone where it has a level of its own.
    func tlsPolicy() -> Table? {
        guard let relayhost = system.relayhost?.value, let level = relayhost.tls else { return nil }
        var table = Table(.tlsPolicy)
        table.comment(system.rule(level.position, "relayhost.tls"))
        table.add(relayhost.hop.description, level.value.rawValue)
        return table
    }

    private func isListable(_ path: String) -> Bool { !path.contains { $0 == " " || $0 == "," || $0 == "\t" } }
}
