// The keys of `smtpd`, and of `listen` what is not an address: parameters of smtpd(8).

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    func addServerRules(to groups: inout ParameterGroups) {
        let smtpd = system.smtpd
        if let position = smtpd.lookUpNames.position {
            groups.add(system.rule(position, "smtpd.lookup_names"), ["smtpd_peername_lookup": smtpd.lookUpNames.value ? "yes" : "no"])
        }
        if let position = smtpd.restrictions.position {
            // Clients that may relay are not asked.
            let trusted = ["permit_mynetworks"] + (hasSubmission ? ["permit_sasl_authenticated"] : [])
            func list(_ restrictions: [MailSystem.SMTPD.Restriction]) -> String {
                restrictions.isEmpty ? "" : (trusted + restrictions.map(\.rawValue)).joined(separator: ", ")
            }
            groups.add(
                system.rule(position, "smtpd.restrictions"),
                [
                    "smtpd_client_restrictions": list(smtpd.restrictions.value.filter { !$0.isAboutHelo }),
                    "smtpd_helo_restrictions": list(smtpd.restrictions.value.filter(\.isAboutHelo)),
                ])
        }
        if let domains = smtpd.etrnDomains {
            groups.add(system.rule(domains.position, "smtpd.etrn_domains"), ["fast_flush_domains": domains.value.map(\.text).joined(separator: ", ")])
        }
        for (path, parameter, hosts) in [
            ("xclient", "smtpd_authorized_xclient_hosts", smtpd.xclient), ("xforward", "smtpd_authorized_xforward_hosts", smtpd.xforward),
        ] where hosts.position != nil {
            groups.add(system.rule(hosts.position, "smtpd.\(path)"), [parameter: hosts.value.map(network).joined(separator: ", ")])
        }
    }

    /// Of a service: that a load balancer says first for whom it speaks.
    func proxyOptions(_ endpoint: Endpoint) -> [Parameter] {
        system.listen.proxyProtocol.value.contains(endpoint) ? [Parameter("smtpd_upstream_proxy_protocol", "haproxy")] : []
    }

    mutating func addNotesOnServer() {
        if system.smtpd.expn.value { note("smtpd.expn", at: system.smtpd.expn.position, "Postfix has no EXPN") }
        if !system.listen.lmtp.value.isEmpty {
            note("listen.lmtp", at: system.listen.lmtp.position, "left out: Postfix does not take mail by LMTP; let the program send by SMTP, or by sendmail(1)")
        }
        if !system.listen.proxies.value.isEmpty {
            note("listen.proxies", at: system.listen.proxies.position, "Postfix believes whoever connects to a port with smtpd_upstream_proxy_protocol: keep others away")
        }
        if let limit = system.limits.messagesPerConnection {
            note("limits.messages_per_connection", at: limit.position, "left out: Postfix does not count the messages of a connection")
        }
    }
}
