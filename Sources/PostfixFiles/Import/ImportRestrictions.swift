// smtpd_*_restrictions (SMTPD_ACCESS_README): who may relay is what a manifest has; every other rule is said.

internal import MailSyntax
internal import Manifest

extension Importer {
    private static let lists = [
        "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions", "smtpd_recipient_restrictions",
        "smtpd_data_restrictions", "smtpd_end_of_data_restrictions", "smtpd_etrn_restrictions",
    ]

    mutating func importRestrictions() {
        for parameter in Importer.lists where isSet(parameter) { importRestrictions(parameter) }
        importTrust()
        if isSet("smtpd_sasl_auth_enable"), isYes("smtpd_sasl_auth_enable"), !handled.contains("smtpd_sasl_auth_enable") {
            let hasLogins = !system.listen.submission.value.isEmpty || !system.listen.submissions.value.isEmpty
            note(
                "smtpd_sasl_auth_enable", hasLogins ? .translated : .changed,
                hasLogins ? "users log in at listen.submission" : "logins were taken at port 25: add listen.submission and let users log in there")
        }
    }

    private mutating func importRestrictions(_ parameter: String) {
        var words = list(parameter)[...]
        var isWhole = true
        var hasTaken = false
        while let word = words.popFirst() {
            // Some take the next word as theirs.
            var subject = word
            if Importer.takesArgument(word), let argument = words.popFirst() { subject += " \(argument)" }
            if takeRestriction(word, of: parameter) {
                hasTaken = true
                continue
            }
            // That of tls.relay_clientcerts; without a list of them the rule lets nobody in.
            if lowercasedASCII(word) == "permit_tls_clientcerts" { continue }
            switch Importer.judge(word) {
            case nil: break
            case let text?:
                isWhole = false
                note(mainPath, settings[parameter]?.line, "\(parameter), \(subject)", .unsupported, text)
            }
        }
        if isWhole, hasTaken {
            note(parameter, .translated, "smtpd.restrictions, for clients that may not relay")
        } else if isWhole {
            note(parameter, .translated, "relaying is for networks and for logins, in a manifest too")
        } else {
            note(parameter, .unsupported, "only relaying by networks and logins is left of it; the other rules are named by themselves")
        }
    }

    /// Rules about names of clients, which a manifest has by the same words. They are asked of clients that may not relay, wherever
    /// they stand; Postfix's old names lack `hostname`.
    private mutating func takeRestriction(_ word: String, of parameter: String) -> Bool {
        var name = lowercasedASCII(word)
        let old = ["reject_unknown_client": "reject_unknown_client_hostname", "reject_invalid_hostname": "reject_invalid_helo_hostname",
                   "reject_non_fqdn_hostname": "reject_non_fqdn_helo_hostname", "reject_unknown_hostname": "reject_unknown_helo_hostname"]
        name = old[name] ?? name
        guard let restriction = MailSystem.SMTPD.Restriction(rawValue: name) else { return false }
        let known = system.smtpd.restrictions.value
        if !known.contains(restriction) { system.smtpd.restrictions = located(known + [restriction], place(of: parameter)) }
        return true
    }

    /// Nil where a manifest's server does that anyway.
    private static func judge(_ word: String) -> String? {
        // `check_… type:table` may stand in braces, with settings of its own.
        let name = String(lowercasedASCII(word).prefix { $0 != "{" && $0 != "=" })
        if always.contains(name) { return nil }
        if name.hasPrefix("check_") {
            if name == "check_policy_service" { return "a policy service was asked (greylisting, quota, SPF): there is none here; run it at a server before this one" }
            return "a table allowed or refused clients, senders or recipients by name: block unwanted clients in the firewall; leave unwanted recipients out of the manifest"
        }
        if name.hasPrefix("reject_rbl") || name.hasPrefix("reject_rhsbl") || name.hasPrefix("permit_dnswl") || name.hasPrefix("permit_rhswl") {
            return "a list in the DNS said whom to refuse: let a spam filter before this server ask it"
        }
        if name.hasPrefix("reject_unknown") || name.hasPrefix("reject_non_fqdn") || name.hasPrefix("reject_invalid") || name.hasPrefix("reject_unlisted_sender") {
            return "names of clients or senders had to exist or to be whole: they are not looked at here"
        }
        if name.hasPrefix("reject_unverified") { return "addresses were asked for at their own server: they are not here" }
        if name.includes("sender_login_mismatch") { return nil }
        if name.includes("tls_clientcerts") || name == "permit_tls_all_clientcerts" { return "clients with certain certificates could relay: let them log in" }
        if name == "permit_mx_backup" { return "mail was taken for every domain whose MX records name this server: make each one a domain of kind relay" }
        if name == "permit" || name == "warn_if_reject" || name == "defer_if_permit" || name == "defer_if_reject" || name == "defer" || name == "sleep" || name == "discard" {
            return "a rule for all that the rules before did not decide: relaying is decided by networks and logins alone"
        }
        return "a rule that a manifest has not: relaying is decided by networks and logins alone"
    }

    private static let always: Set<String> = [
        "permit_mynetworks", "permit_sasl_authenticated", "reject_unauth_destination", "defer_unauth_destination", "reject_unlisted_recipient",
        "reject_unauth_pipelining", "permit_auth_destination", "permit_inet_interfaces", "reject", "reject_multi_recipient_bounce", "reject_plaintext_session",
    ]

    private static func takesArgument(_ word: String) -> Bool {
        let name = lowercasedASCII(word)
        return name.hasPrefix("check_") || name.hasPrefix("reject_rbl") || name.hasPrefix("reject_rhsbl") || name.hasPrefix("permit_dnswl")
            || name.hasPrefix("permit_rhswl") || name == "sleep"
    }

    /// Where no rule lets mynetworks relay, no network may.
    private mutating func importTrust() {
        var rules: [String] = []
        for parameter in ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"] { rules += list(parameter).map(lowercasedASCII) }
        let decides = rules.contains { ["reject", "reject_unauth_destination", "defer_unauth_destination", "defer"].contains($0) }
        guard decides, !rules.contains("permit") else { return }
        if !rules.contains("permit_mynetworks"), !system.networks.value.isEmpty {
            system.networks = located([], place(of: "smtpd_relay_restrictions"))
            note(place(of: "smtpd_relay_restrictions"), "mynetworks", .changed, "networks: none, because no rule lets mynetworks relay")
        }
        if !system.tls.relayClients.value.isEmpty, !(rules.contains("permit_tls_clientcerts") || serviceSays("permit_tls_clientcerts", in: "restrictions")) {
            dropRelayClients("no rule has permit_tls_clientcerts")
        }
    }

    /// Whoever could not relay is not to be able to now.
    mutating func dropRelayClients(_ reason: String) {
        system.tls.relayClients = Located([])
        note(place(of: "relay_clientcerts"), "relay_clientcerts", .changed, "tls.relay_clientcerts: none, because \(reason)")
    }

    /// Some service of master.cf has the word in an option whose name ends so.
    func serviceSays(_ word: String, in ending: String) -> Bool {
        master.services.contains { service in
            service.options.contains { $0.name.hasSuffix(ending) && ConfigurationText.list($0.value).map(lowercasedASCII).contains(word) }
        }
    }
}
