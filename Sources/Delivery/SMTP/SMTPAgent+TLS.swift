// What an agent asks of a server's TLS: the manifest's policy, what the DNS says, and OpenSSL's context for it.

internal import DNS
internal import MailSyntax
internal import SMTP
internal import TLS

extension SMTPAgent.Configuration {
    /// `option`: of the messages. A login whose password may not be seen has a minimum of its own.
    func demand(of hop: NextHop, _ option: TLSOption?) -> TLSDemand {
        let ofLogin = logins[hop].map { $0.allowsPlaintext ? TLSMinimum.any : .encrypted } ?? .any
        let minimum = option == .required ? TLSMinimum.authenticated : .any
        return TLSDemand(tls.rule(for: hop, option), minimum: max(minimum, ofLogin), isImplicit: tls.isImplicit(hop))
    }
}

extension SMTPAgent {
    /// Nil: no TLS. Fails where the server gets no mail.
    func plan(for target: Target, _ key: ConnectionPool.Key, _ configuration: Configuration) async -> Result<TLSPlan?, Reply> {
        var associations: Lookup<CertificateAssociations>?
        if TLSDecision.needsAssociations(key.demand, target), let host = Domain(target.host) {
            associations = await names.certificateAssociations(of: host, port: target.port)
        }
        switch TLSDecision.decide(key.demand, key.hop, target, associations: associations) {
        case .clear: return .success(nil)
        case .skip(let reply): return .failure(reply)
        case .encrypt(let requirement, let mayGoClear):
            do throws(TLSFailure) {
                guard let contexts = configuration.contexts else { throw TLSFailure(.setUp, "this server has no TLS") }
                let context = try contexts.context(for: requirement, mayGoClear: mayGoClear)
                let limits = configuration.limits
                return .success(
                    TLSPlan(
                        context: context, requirement: requirement, mayGoClear: mayGoClear, isImplicit: key.demand.isImplicit,
                        timeout: mayGoClear ? min(limits.timeouts.hello, limits.dispensableHandshake) : limits.timeouts.hello))
            } catch {
                if mayGoClear { return .success(nil) }
                return .failure(Reply(451, EnhancedCode(4, 7, 5), "cannot start TLS with host \(target.peer): \(error.reason)"))
            }
        }
    }
}
