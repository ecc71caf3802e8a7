// Encryption of what goes out (TLS_README): the level, single destinations, and whom Postfix believes.

internal import MailSyntax
internal import Manifest

extension Importer {
    /// After the relayhost: what is said of it alone goes there.
    mutating func importOutgoingTLS() {
        importOutgoingLevel()
        importTrustStore()
        importPolicies()
        // With port 465 a manifest has it so by itself.
        if let service = implicitService, let relayhost = system.relayhost, relayhost.value.hop.port != 465 {
            var own = relayhost.value
            own.implicitTLS = located(true, Place(file: masterPath, line: service.line))
            system.relayhost = Located(own, at: relayhost.position, endColumn: relayhost.endColumn)
        }
    }

    /// The service of default_transport, where it is in TLS from the first octet.
    var implicitService: MasterService? {
        let transport = settings["default_transport"]?.value.prefix { $0 != ":" }
        return master.services.first { service in
            service.program == "smtp" && transport.map { service.name == $0 } ?? false
                && service.options.contains { $0.name == "smtp_tls_wrappermode" && lowercasedASCII($0.value) == "yes" }
        }
    }

    private static func outgoingLevel(_ word: String) -> (level: MailSystem.OutgoingLevel, difference: String?)? {
        switch lowercasedASCII(word) {
        case "none": (.none, nil)
        case "may": (.may, nil)
        case "encrypt": (.encrypt, nil)
        case "dane": (.dane, nil)
        case "dane-only": (.dane, "dane-only sends nothing to servers without TLSA records")
        case "secure": (.verify, nil)
        case "verify": (.verify, "Postfix took the certificate for the name of the MX host, which whoever forges DNS chooses; here it is for the destination")
        case "fingerprint": (.encrypt, "a manifest knows no fingerprints of servers: their TLSA records, with dane, say the same")
        default: nil
        }
    }

    private mutating func importOutgoingLevel() {
        let name = "smtp_tls_security_level"
        let word = value(name)
        guard !word.isEmpty else {
            // Unset, Postfix sends in clear. TLS where the server has it loses no mail, and is the manifest's default.
            for (old, level) in [("smtp_enforce_tls", MailSystem.OutgoingLevel.encrypt), ("smtp_use_tls", .may)] where isYes(old) {
                note(old, .translated, "tls.outgoing.level: \(level.rawValue)")
                system.tls.outgoing.level = located(level, place(of: old))
                return
            }
            return
        }
        guard let (level, difference) = Importer.outgoingLevel(word) else {
            return note(name, .unsupported, "\(word) is no level: none, may, encrypt, secure or dane")
        }
        note(name, difference == nil ? .translated : .changed, "tls.outgoing.level: \(level.rawValue)\(difference.map { "; \($0)" } ?? "")")
        system.tls.outgoing.level = located(level, place(of: name))
    }

    private mutating func importTrustStore() {
        for name in ["smtp_tls_CAfile", "smtp_tls_CApath"] where !value(name).isEmpty {
            let path = value(name)
            guard system.tls.outgoing.trustStore == nil else {
                note(name, .changed, "left out: a manifest has one place of authorities, and smtp_tls_CAfile is it")
                continue
            }
            guard MailSystem.flaw(in: path, as: .path) == nil else {
                note(name, .unsupported, "\(path) is no path that a manifest can name")
                continue
            }
            system.tls.outgoing.trustStore = located(path, place(of: name))
            note(name, .translated, "tls.outgoing.trust_store")
        }
    }

    /// smtp_tls_policy_maps has the keys of `destinations`.
    private mutating func importPolicies() {
        let table = table(list("smtp_tls_policy_maps"), of: "smtp_tls_policy_maps").table
        guard !table.entries.isEmpty else { return }
        var seen: Set<MailSystem.TLSPattern> = []
        for entry in table.entries {
            let words = ConfigurationText.list(entry.value)
            guard let pattern = pattern(entry.key), let word = words.first, let (level, difference) = Importer.outgoingLevel(word) else {
                note(entry.place, entry.key, .unsupported, "left out of tls.outgoing.destinations: \(entry.value)")
                continue
            }
            guard seen.insert(pattern).inserted else { continue }
            if let difference { note(entry.place, entry.key, .changed, "\(level.rawValue); \(difference)") }
            let names = names(words.dropFirst(), entry, level)
            if names.isEmpty, let relayhost = system.relayhost, pattern == .hop(relayhost.value.hop) {
                var own = relayhost.value
                own.tls = located(level, entry.place)
                system.relayhost = Located(own, at: relayhost.position, endColumn: relayhost.endColumn)
            } else {
                system.tls.outgoing.destinations.append(
                    MailSystem.TLSDestination(pattern: located(pattern, entry.place), level: located(level, entry.place), names: names))
            }
        }
        note("smtp_tls_policy_maps", .translated, "tls.outgoing.destinations, and relayhost.tls")
    }

    private func pattern(_ key: String) -> MailSystem.TLSPattern? {
        if key.hasPrefix(".") { return Domain(String(key.dropFirst())).flatMap { $0.literal == nil ? .subdomains(of: $0) : nil } }
        guard let hop = nextHop(key), hop.dialect == .smtp else { return nil }
        if case .mailExchangers(let domain) = hop.host, IPAddress(domain.text) != nil { return nil }
        return .hop(hop)
    }

    /// `match=a:.b`, and no other attribute.
    private mutating func names(_ attributes: ArraySlice<String>, _ entry: LookupTable.Entry, _ level: MailSystem.OutgoingLevel) -> [Located<String>] {
        var names: [Located<String>] = []
        for attribute in attributes {
            guard attribute.hasPrefix("match=") else {
                note(entry.place, entry.key, .changed, "without \(attribute): protocols and ciphers are those that OpenSSL and the standards hold for safe")
                continue
            }
            for name in attribute.dropFirst(6).split(separator: ":").map({ lowercasedASCII(String($0)) }) {
                switch name {
                // The manifest's default.
                case "nexthop", "dot-nexthop": break
                case "hostname": note(entry.place, entry.key, .changed, "the name of the MX host, which whoever forges DNS chooses, is not taken for one of the certificate")
                default:
                    guard level == .verify, let domain = Domain(name.hasPrefix(".") ? String(name.dropFirst()) : name), domain.literal == nil else { continue }
                    names.append(located(name, entry.place))
                }
            }
        }
        return names
    }
}
