// From the manifest to what is asked of other servers' TLS, and to the authorities that vouch for them.

internal import Delivery
internal import Glibc
internal import MailSyntax
internal import Manifest
internal import TLS
internal import Telemetry

func tlsPolicy(_ system: MailSystem) -> TLSPolicy {
    let outgoing = system.tls.outgoing
    var policy = TLSPolicy(level: TLSPolicy.Level(outgoing.level.value))
    for destination in outgoing.destinations {
        let rule = TLSPolicy.Rule(TLSPolicy.Level(destination.level.value), names: destination.names.map(\.value))
        switch destination.pattern.value {
        case .hop(let hop): policy.hops[hop] = rule
        case .subdomains(let domain): policy.subdomains[domain.key] = rule
        }
    }
    guard let relayhost = system.relayhost?.value else { return policy }
    policy.implicit[relayhost.hop] = relayhost.usesImplicitTLS
    // The level stands with the relay; names for it, if any, among the destinations.
    if let level = relayhost.tls {
        policy.hops[relayhost.hop] = TLSPolicy.Rule(TLSPolicy.Level(level.value), names: policy.rule(for: relayhost.hop).names)
    }
    return policy
}

extension TLSPolicy.Level {
    fileprivate init(_ level: MailSystem.OutgoingLevel) {
        switch level {
        case .none: self = .none
        case .may: self = .may
        case .encrypt: self = .encrypt
        case .verify: self = .verify
        case .dane: self = .dane
        }
    }
}

/// As the agent asks it of the hop, for mail that asks for nothing itself.
func tlsDemand(_ system: MailSystem, _ hop: NextHop) -> TLSDemand {
    let policy = tlsPolicy(system)
    let relayhost = system.relayhost?.value
    let logsIn = relayhost?.hop == hop && relayhost?.username != nil && relayhost?.tls?.value != MailSystem.OutgoingLevel.none && hop.dialect == .smtp
    var demand = TLSDemand(policy.rule(for: hop), minimum: logsIn ? .encrypted : .any, isImplicit: policy.isImplicit(hop))
    if demand.rule.level == .verify, demand.rule.names.isEmpty { demand.rule.names = TLSPolicy.names(of: hop) }
    return demand
}

/// For people; nil for what goes without saying: TLS where the server has it.
func described(_ demand: TLSDemand) -> String? {
    switch demand.level {
    case .none: "without TLS"
    case .may: nil
    case .encrypt: "in TLS"
    case .verify: "in TLS with a certificate for \(demand.rule.names.joined(separator: " or "))"
    case .dane: "in TLS as its DNS says (DANE)"
    }
}

extension MailSystem {
    /// The first value that asks for a certificate of a known authority; nil: none does.
    fileprivate var verifyingLevel: Located<OutgoingLevel>? {
        ([tls.outgoing.level] + tls.outgoing.destinations.map(\.level) + [relayhost?.value.tls].compactMap { $0 }).first { $0.value == .verify }
    }

    /// Nil: something is wrong.
    func tlsContexts(faults: inout [Diagnostic]) -> TLSContexts? {
        let place = tls.outgoing.trustStore?.position ?? verifyingLevel?.position
        let endColumn = tls.outgoing.trustStore?.endColumn ?? verifyingLevel?.endColumn
        do throws(TLSFailure) {
            let contexts = try TLSContexts(trustStore: trustStore)
            // Whoever names a store wants it read, and whoever verifies needs one; for others that is left until a message asks for it.
            if verifyingLevel != nil || tls.outgoing.trustStore != nil { try contexts.loadAuthorities() }
            return contexts
        } catch {
            faults.append(
                Diagnostic(
                    .unreadableFile, .error, "tls.outgoing.trust_store: \(error.reason)", file: file, at: place, endColumn: endColumn,
                    hint: tls.outgoing.trustStore == nil ? "install ca-certificates, or name a file: tls: {outgoing: {trust_store: PATH}}" : nil))
            return nil
        }
    }

    /// Where distributions have it: Debian, Alpine and Arch; Red Hat; SUSE; Alpine of old; and what c_rehash(1) made.
    private static let usualStores = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem", "/etc/ssl/certs",
    ]

    /// Servers can prove to this one who they are, by an authority or by DNSSEC: mail may ask for that.
    var canVerifyServers: Bool { trustStore != nil || dns.validation.value == .always }

    private var trustStore: TLSContexts.TrustStore? {
        let paths = tls.outgoing.trustStore.map { [$0.value] } ?? MailSystem.usualStores
        for path in paths {
            var status = stat()
            guard stat(path, &status) == 0 else { continue }
            return TLSContexts.TrustStore(path: path, isDirectory: status.st_mode & S_IFMT == S_IFDIR)
        }
        // OpenSSL says what is wrong with it.
        return tls.outgoing.trustStore.map { TLSContexts.TrustStore(path: $0.value, isDirectory: false) }
    }
}

func tlsNotice(_ log: EventLog) -> @Sendable (TLSNotice) -> Void {
    { notice in
        switch notice {
        case .established(let relay, let tls):
            log.countEncryptedConnection(version: tls.version, verification: tls.verification ?? "none")
            log.record(.sessionEncrypted, by: .smtp) { fields in
                fields.relay = relay
                fields.tls = tls
            }
        case .failed(let relay, let reason, let mayGoClear):
            log.record(.tlsFailed, by: .smtp) { fields in
                fields.relay = relay
                fields.reason = reason
                fields.message = mayGoClear ? "the mail goes without" : nil
            }
        case .refused(let relay, let reply):
            log.record(.tlsFailed, by: .smtp) { fields in
                fields.relay = relay
                fields.command = "STARTTLS"
                fields.reply = reply.summary
                fields.message = "the mail goes without"
            }
        }
    }
}
