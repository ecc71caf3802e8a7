// master.cf: where the server listens, and for what; TLS; and who may send as whom.

internal import MailSyntax
internal import Manifest

extension Importer {
    // MARK: TLS

    mutating func importTLS() {
        let incoming = importLevel("smtpd_tls_security_level", old: ("smtpd_use_tls", "smtpd_enforce_tls"))
        importCertificate()
        importServerNames()
        importRelayClients()
        system.tls.level = incoming
        if system.tls.level.value == .none, system.tls.certificate != nil {
            system.tls.certificate = nil
            system.tls.certificates = []
        }
    }

    static func level(_ word: String) -> (level: MailSystem.TLSLevel, isExact: Bool)? {
        switch lowercasedASCII(word) {
        case "none": (.none, true)
        case "may": (.may, true)
        case "encrypt": (.encrypt, true)
        case "dane": (.may, false)
        case "dane-only", "fingerprint", "verify", "secure": (.encrypt, false)
        default: nil
        }
    }

    private mutating func importLevel(_ parameter: String, old: (use: String, enforce: String)) -> Located<MailSystem.TLSLevel> {
        let word = value(parameter)
        if word.isEmpty {
            for (name, level) in [(old.enforce, MailSystem.TLSLevel.encrypt), (old.use, .may)] where isYes(name) {
                note(name, .translated, "tls.level: \(level.rawValue)")
                return located(level, place(of: name))
            }
            return Located(.none)
        }
        guard let (level, isExact) = Importer.level(word) else {
            note(parameter, .unsupported, "\(word) is no level: none, may or encrypt")
            return Located(.none)
        }
        if isExact {
            note(parameter, .translated, "tls.level: \(level.rawValue)")
        } else {
            note(parameter, .changed, "tls.level: \(level.rawValue); \(word) also judges the other's certificate, which a manifest does not ask for")
        }
        return located(level, place(of: parameter))
    }

    /// smtpd_tls_chain_files: a key and the chain that belongs to it, in one file or in two.
    private mutating func importCertificate() {
        let files = list("smtpd_tls_chain_files")
        if let first = files.first {
            if files.count > 1, files.count % 2 == 0 {
                for index in stride(from: 0, to: files.count, by: 2) { addCertificate(certificate(key: files[index], chain: files[index + 1], "smtpd_tls_chain_files")) }
                note("smtpd_tls_chain_files", .translated, "tls.certificate and tls.key")
            } else {
                system.tls.certificate = certificate(key: first, chain: first, "smtpd_tls_chain_files")
                note("smtpd_tls_chain_files", files.count > 1 ? .changed : .translated, "tls.certificate and tls.key\(files.count > 1 ? "; the first file, taken for both" : "")")
            }
            for parameter in ["smtpd_tls_cert_file", "smtpd_tls_key_file"] { note(parameter, .harmless, "smtpd_tls_chain_files comes before it") }
            return
        }
        for (certificate, key) in [("smtpd_tls_cert_file", "smtpd_tls_key_file"), ("smtpd_tls_eccert_file", "smtpd_tls_eckey_file"), ("smtpd_tls_dcert_file", "smtpd_tls_dkey_file")] {
            let chain = value(certificate)
            guard !chain.isEmpty, chain != "none" else { continue }
            addCertificate(self.certificate(key: value(key), chain: chain, certificate))
            note(certificate, .translated, "tls.certificate")
            note(key, .translated, "tls.key")
        }
    }

    /// One of another kind of key goes with the first.
    private mutating func addCertificate(_ certificate: Located<MailSystem.Certificate>?) {
        guard let certificate else { return }
        guard let first = system.tls.certificate else { return system.tls.certificate = certificate }
        let others = first.value.others + [certificate.value]
        system.tls.certificate = Located(MailSystem.Certificate(chain: first.value.chain, key: first.value.key, others: others), at: first.position)
    }

    /// relay_clientcerts: fingerprints by the digest that the manifest knows.
    private mutating func importRelayClients() {
        let table = table(list("relay_clientcerts"), of: "relay_clientcerts").table
        guard !table.entries.isEmpty else { return }
        var clients: [Located<String>] = []
        let isSHA256 = lowercasedASCII(value("smtpd_tls_fingerprint_digest")) == "sha256"
        for entry in table.entries {
            guard isSHA256, let fingerprint = MailSystem.fingerprint(entry.key) else {
                note(entry.place, entry.key, .unsupported, "left out of tls.relay_clientcerts: it is no SHA-256 fingerprint; print it with openssl x509 -fingerprint -sha256")
                continue
            }
            clients.append(located(fingerprint, entry.place))
        }
        system.tls.relayClients = located(clients, place(of: "relay_clientcerts"))
        note("relay_clientcerts", .translated, "tls.relay_clientcerts")
        if !clients.isEmpty, !isYes("smtpd_tls_ask_ccert"), !isYes("smtpd_tls_req_ccert"), !serviceSays("yes", in: "_ccert") {
            dropRelayClients("nobody was asked for a certificate")
        }
        for parameter in ["smtpd_tls_ask_ccert", "smtpd_tls_fingerprint_digest"] { note(parameter, .harmless, "tls.relay_clientcerts asks for certificates") }
    }

    private mutating func certificate(key: String, chain: String, _ parameter: String) -> Located<MailSystem.Certificate>? {
        guard MailSystem.flaw(in: key, as: .path) == nil, MailSystem.flaw(in: chain, as: .path) == nil else { return nil }
        let place = place(of: parameter)
        return located(MailSystem.Certificate(chain: located(chain, place), key: located(key, place)), place)
    }

    /// tls_server_sni_maps: `domain key chain`.
    private mutating func importServerNames() {
        let table = table(list("tls_server_sni_maps"), of: "tls_server_sni_maps").table
        var seen: Set<String> = []
        for entry in table.entries {
            let files = ConfigurationText.list(entry.value)
            guard let first = files.first, MailSystem.flaw(in: entry.key, as: .domain) == nil, seen.insert(lowercasedASCII(entry.key)).inserted,
                let pair = certificate(key: first, chain: files.count > 1 ? files[1] : first, "tls_server_sni_maps")
            else {
                note(entry.place, entry.key, .unsupported, "left out of tls.certificates: it is no single domain with its files")
                continue
            }
            system.tls.certificates.append((domain: located(Domain(valid: entry.key), entry.place), certificate: pair.value))
        }
        note("tls_server_sni_maps", .translated, "tls.certificates")
    }

    // MARK: Listening

    mutating func importServices() {
        var endpoints: [ListenService: [Endpoint]] = [:]
        guard !master.services.isEmpty else { return }
        for service in master.services {
            if service.type == "inet" { listen(service, &endpoints) }
            importOptions(of: service)
        }
        let smtp = unique(endpoints[.smtp] ?? [])
        let usual = MailSystem.defaults.listen.smtp.value
        if Set(smtp) != Set(usual) { system.listen.smtp = Located(smtp) }
        system.listen.submission = Located(unique(endpoints[.submission] ?? []))
        system.listen.submissions = Located(unique(endpoints[.submissions] ?? []))
        if lowercasedASCII(value("smtpd_upstream_proxy_protocol")) == "haproxy" { note("smtpd_upstream_proxy_protocol", .translated, "listen.proxy_protocol; name the proxies: listen.proxies") }
        if isSet("inet_interfaces") { note("inet_interfaces", .translated, "listen") }
        if isSet("inet_protocols") { note("inet_protocols", .translated, "listen, for the addresses that this server takes mail at") }
        importDeliveryServices()
    }

    enum ListenService: Hashable { case smtp, submission, submissions }

    private func unique(_ endpoints: [Endpoint]) -> [Endpoint] {
        var seen: Set<Endpoint> = []
        return endpoints.filter { seen.insert($0).inserted }
    }

    private mutating func listen(_ service: MasterService, _ endpoints: inout [ListenService: [Endpoint]]) {
        let place = Place(file: masterPath, line: service.line)
        let subject = "\(service.name) inet"
        guard service.program == "smtpd" || service.program == "postscreen" else {
            let advice = service.program == "qmqpd" ? "mail by QMQP: send it by SMTP" : "a server of its own: there is none in a manifest"
            return note(place, subject, .unsupported, "\(service.program): \(advice)")
        }
        let (host, portName) = Importer.hostAndPort(service.name)
        guard let port = UInt16(portName) ?? Importer.ports[lowercasedASCII(portName)], port > 0 else {
            return note(place, subject, .unsupported, "\(portName) is no port that is known here: write its number")
        }
        let scope = scope.overridden(by: Dictionary(service.options.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }))
        func value(_ name: String) -> String { lowercasedASCII(((try? scope.value(of: name)) ?? nil) ?? "") }
        let isWrapped = value("smtpd_tls_wrappermode") == "yes"
        let logsIn = value("smtpd_sasl_auth_enable") == "yes"
        let kind: ListenService = isWrapped ? .submissions : port == 587 || logsIn && port != 25 ? .submission : .smtp
        let addresses = host.isEmpty ? interfaces(subject, place) : addresses(of: host, subject, place)
        let found = addresses.map { Endpoint(address: $0, port: port) }
        endpoints[kind, default: []] += found
        if value("smtpd_upstream_proxy_protocol") == "haproxy" {
            system.listen.proxyProtocol = located(unique(system.listen.proxyProtocol.value + found), place)
        }
        if service.program == "postscreen" {
            note(place, subject, .changed, "listen.smtp, without postscreen(8)'s tests before the greeting: there are none in a manifest")
        } else {
            note(place, subject, .translated, "listen.\(kind)")
        }
        if kind == .smtp, logsIn {
            note(place, subject, .changed, "logins on port \(port): clients log in at listen.submission, with TLS")
        }
        if kind != .smtp, !logsIn { note(place, subject, .changed, "listen.\(kind) asks for a login, and this service did not") }
    }

    /// `host:port`, `[v6]:port`, `port`.
    static func hostAndPort(_ name: String) -> (host: String, port: String) {
        if name.hasPrefix("["), let end = name.lastIndex(of: "]") {
            let host = String(name[name.index(after: name.startIndex)..<end])
            return (host, String(name[name.index(after: end)...].drop { $0 == ":" }))
        }
        guard let colon = name.lastIndex(of: ":") else { return ("", name) }
        return (String(name[..<colon]), String(name[name.index(after: colon)...]))
    }

    /// inet_interfaces, with inet_protocols.
    private mutating func interfaces(_ subject: String, _ place: Place) -> [IPAddress] {
        var found: [IPAddress] = []
        for word in list("inet_interfaces") { found += addresses(of: word, subject, place) }
        return found.isEmpty ? addresses(of: "all", subject, place) : found
    }

    private mutating func addresses(of host: String, _ subject: String, _ place: Place) -> [IPAddress] {
        let protocols = list("inet_protocols").map(lowercasedASCII)
        func allowed(_ addresses: [String]) -> [IPAddress] {
            addresses.compactMap { IPAddress($0) }.filter { protocols.contains("all") || protocols.contains($0.isV6 ? "ipv6" : "ipv4") }
        }
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        switch lowercasedASCII(bare) {
        case "all": return allowed(["0.0.0.0", "::"])
        case "loopback-only", "localhost": return allowed(["127.0.0.1", "::1"])
        default: break
        }
        if let address = IPAddress(bare) { return allowed(["\(address)"]) }
        note(place, subject, .changed, "\(bare) is a name, whose address only the machine knows: the service listens at every address now; write the one that is meant")
        return allowed(["0.0.0.0", "::"])
    }

    /// `-o name=value`: what a service has of its own.
    private mutating func importOptions(of service: MasterService) {
        let place = Place(file: masterPath, line: service.line)
        let isMail = service.type == "inet" && (service.program == "smtpd")
        for (name, value) in service.options {
            let subject = "\(service.name) -o \(name)"
            if usedServices.contains(service.name) { continue }
            if isMail, let key = importSubmission(name, value, of: service) {
                note(place, subject, .translated, key)
            } else if isMail, let outcome = Importer.optionOutcome(name, value) {
                note(place, subject, outcome.0, outcome.1)
            } else if name == "smtp_tls_wrappermode", service.name == implicitService?.name {
                note(place, subject, .translated, "relayhost.implicit_tls")
            } else if name == "syslog_name" || ParameterVerdict.of(name)?.outcome == .harmless {
                note(place, subject, .harmless, ParameterVerdict.of(name)?.text ?? "log lines name the service by themselves")
            } else {
                let text = ParameterVerdict.of(name)?.text ?? "Postfix knows no such parameter"
                note(place, subject, .unsupported, "\(value): \(text)")
            }
        }
    }

    /// What a service where users log in has of its own and a manifest has too. Nil: nothing.
    private mutating func importSubmission(_ name: String, _ value: String, of service: MasterService) -> String? {
        func has(_ name: String, _ value: String) -> Bool { service.options.contains { $0.name == name && lowercasedASCII($0.value) == value } }
        guard has("smtpd_sasl_auth_enable", "yes") else { return nil }
        switch name {
        case "smtpd_tls_auth_only" where lowercasedASCII(value) == "no" && !has("smtpd_tls_security_level", "encrypt"):
            system.submission.tlsAuthOnly = Located(false)
            return "submission.tls_auth_only: false"
        case "smtpd_recipient_limit":
            guard let limit = Int(value), limit > 0 else { return nil }
            system.submission.recipientsPerMessage = Located(limit)
            return "submission.recipients_per_message"
        default: return nil
        }
    }

    /// What every server of a manifest does, as Debian's master.cf writes it for submission.
    private static func optionOutcome(_ name: String, _ value: String) -> (ImportReport.Outcome, String)? {
        switch name {
        case "smtpd_tls_wrappermode": return (.translated, "listen.submissions")
        case "smtpd_upstream_proxy_protocol":
            return lowercasedASCII(value) == "haproxy" ? (.translated, "listen.proxy_protocol; name the proxies: listen.proxies") : nil
        case "smtpd_sasl_auth_enable", "smtpd_tls_auth_only": return (.translated, "submission asks for a login, and takes none in clear")
        case "smtpd_tls_security_level": return level(value) == nil ? nil : (.translated, "submission is encrypted, unless tls.level is none")
        case "smtpd_sender_restrictions":
            return value.includes("sender_login_mismatch") ? (.translated, "after a login the sender must be the user's own") : nil
        case "smtpd_relay_restrictions", "smtpd_recipient_restrictions", "smtpd_client_restrictions":
            let words = ConfigurationText.list(value)
            let known = ["permit_sasl_authenticated", "permit_mynetworks", "reject", "reject_unauth_destination", "defer_unauth_destination"]
            return words.allSatisfy(known.contains) ? (.translated, "submission takes mail of those who log in, and of no others") : nil
        case "smtpd_reject_unlisted_recipient": return (.harmless, "whether an unknown recipient is refused or bounced")
        default: return nil
        }
    }

    /// Services that deliver: those that something names are said where it does, the others are never asked.
    private mutating func importDeliveryServices() {
        let own: Set<String> = [
            "pickup", "cleanup", "qmgr", "oqmgr", "tlsmgr", "trivial-rewrite", "bounce", "verify", "flush", "proxymap", "smtp", "lmtp", "showq", "error", "discard", "local",
            "virtual", "anvil", "scache", "postlogd", "smtpd", "postscreen", "dnsblog", "tlsproxy",
        ]
        for service in master.services where service.type != "inet" && !own.contains(service.program) {
            let isUsed = main.settings.contains { settings[$0.name]?.line == $0.line && names($0, service.name) }
            note(
                Place(file: masterPath, line: service.line), "\(service.name) \(service.type)", isUsed ? .unsupported : .harmless,
                isUsed ? "a program of its own that main.cf hands mail to: there is no such thing in a manifest" : "nothing in main.cf hands mail to it")
        }
    }

    private func names(_ setting: MainFile.Setting, _ service: String) -> Bool {
        guard setting.name.hasSuffix("_transport") || setting.name.includes("content_filter") || setting.value.includes(service + ":") || setting.value.includes("/" + service) else { return false }
        return ConfigurationText.list(setting.value, separators: ", :/\t\n").contains(service)
    }

    // MARK: Sender logins

    /// What `send_as` has to add to the addresses that are a user's own.
    mutating func importSenderLogins() {
        let table = table(list("smtpd_sender_login_maps"), of: "smtpd_sender_login_maps").table
        guard !table.entries.isEmpty else { return }
        var own: [String: Set<Address>] = [:]
        var domains: [String: Set<Domain>] = [:]
        for login in system.senderLogins {
            for user in login.users {
                switch login.pattern {
                case .address(let address): own[lowercasedASCII(user), default: []].insert(address)
                case .domain(let domain): domains[lowercasedASCII(user), default: []].insert(domain)
                }
            }
        }
        for entry in table.entries {
            for word in ConfigurationText.list(entry.value) {
                // Logins may be written with their domain.
                let user = lowercasedASCII(BareAddress(word)?.localPart ?? word)
                guard let number = userNumbers[user] else {
                    note(entry.place, entry.key, .unsupported, "\(word) may send by it, and is no user here")
                    continue
                }
                if entry.key.hasPrefix("@") {
                    let domain = Domain(valid: String(entry.key.dropFirst()))
                    if domains[user]?.contains(domain) != true {
                        note(entry.place, entry.key, .unsupported, "\(word) may send as every address of the domain: name the addresses under users.\(word).send_as")
                    }
                } else if let address = BareAddress(entry.key)?.qualified(with: system.origin.value) {
                    if own[user, default: []].insert(address).inserted { system.users[number].sendAs.append(located(address, entry.place)) }
                } else {
                    note(entry.place, entry.key, .unsupported, "left out: it is no address")
                }
            }
        }
        note("smtpd_sender_login_maps", .translated, "users.NAME.send_as, for what is not the user's own address")
    }
}
