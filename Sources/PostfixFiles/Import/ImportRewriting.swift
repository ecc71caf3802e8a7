// canonical(5), generic(5), masquerading and copies, as the manifest's `rewriting` has them.

internal import MailSyntax
internal import Manifest

extension Importer {
    private typealias Rewriting = MailSystem.Rewriting

    /// After users and aliases: copies go to those.
    mutating func importRewriting() {
        importTable("canonical_maps", \.rewriting.canonical.entries, "canonical")
        importTable("sender_canonical_maps", \.rewriting.senderCanonical.entries, "sender_canonical")
        importTable("recipient_canonical_maps", \.rewriting.recipientCanonical.entries, "recipient_canonical")
        importTable("smtp_generic_maps", \.rewriting.generic, "generic")
        importTable("sender_bcc_maps", \.rewriting.senderBCC, "sender_bcc")
        importTable("recipient_bcc_maps", \.rewriting.recipientBCC, "recipient_bcc")
        importClasses("canonical_classes", \.rewriting.canonical.classes)
        importClasses("sender_canonical_classes", \.rewriting.senderCanonical.classes)
        importClasses("recipient_canonical_classes", \.rewriting.recipientCanonical.classes)
        importClasses("masquerade_classes", \.rewriting.masqueradeClasses)
        importMasquerade()
        importHeaders()
        if isSet("always_bcc"), let bare = BareAddress(value("always_bcc")) {
            system.rewriting.alwaysBCC = located(pattern(bare), place(of: "always_bcc"))
        }
        removeFaults()
        if let always = system.rewriting.alwaysBCC { note("always_bcc", .translated, "rewriting.always_bcc: \(always.value)") }
    }

    private func pattern(_ bare: BareAddress) -> MailSystem.Rewriting.Pattern {
        bare.domain.map { .address(Address(localPart: bare.localPart, domain: $0)) } ?? .name(bare.localPart)
    }

    private func pattern(_ text: String) -> MailSystem.Rewriting.Pattern? {
        if text.hasPrefix("@") { return Domain(String(text.dropFirst())).flatMap { $0.literal == nil ? .domain($0) : nil } }
        return BareAddress(text).map(pattern)
    }

    private mutating func importTable(_ parameter: String, _ path: WritableKeyPath<MailSystem, [MailSystem.Rewriting.Entry]>, _ key: String) {
        guard isSet(parameter) else { return }
        let (table, isWhole) = table(list(parameter), of: parameter)
        let takesDomain = !key.hasSuffix("_bcc")
        var entries: [MailSystem.Rewriting.Entry] = []
        var seen: Set<String> = []
        for entry in table.entries {
            guard let from = pattern(entry.key), let to = pattern(ConfigurationText.trimmed(entry.value[...]).description) else {
                note(entry.place, entry.key, .unsupported, "left out: \(entry.key) or \(entry.value) is no address")
                continue
            }
            if case .domain = to, !takesDomain { continue }
            guard seen.insert(from.key).inserted else { continue }
            entries.append(MailSystem.Rewriting.Entry(pattern: located(from, entry.place), result: located(to, entry.place)))
        }
        system[keyPath: path] = entries
        note(
            parameter, isWhole ? .translated : entries.isEmpty ? .unsupported : .changed,
            "rewriting.\(key): \(entries.count) entr\(entries.count == 1 ? "y" : "ies")\(isWhole ? "" : "; what could not be read is left out")")
    }

    private mutating func importClasses(_ parameter: String, _ path: WritableKeyPath<MailSystem, Located<[MailSystem.Rewriting.Class]>>) {
        guard isSet(parameter) else { return }
        let words = list(parameter)
        let classes = words.compactMap { MailSystem.Rewriting.Class(rawValue: $0) }
        guard classes.count == words.count else { return note(parameter, .unsupported, "it names a class that there is not") }
        system[keyPath: path] = located(classes, place(of: parameter))
        note(parameter, .translated, "rewriting.\(parameter): \(words.joined(separator: ", "))")
    }

    private mutating func importMasquerade() {
        guard isSet("masquerade_domains") else { return }
        for word in list("masquerade_domains") {
            let isExempt = word.hasPrefix("!")
            guard let domain = Domain(isExempt ? String(word.dropFirst()) : word), domain.literal == nil else {
                note("masquerade_domains", .unsupported, "\(word) is no domain")
                continue
            }
            system.rewriting.masqueradeDomains.append(located(MailSystem.Rewriting.Masquerade(domain: domain, isExempt: isExempt), place(of: "masquerade_domains")))
        }
        note("masquerade_domains", .translated, "rewriting.masquerade_domains")
        guard isSet("masquerade_exceptions") else { return }
        system.rewriting.masqueradeExceptions = list("masquerade_exceptions").compactMap { name in
            BareAddress(name)?.domain == nil && BareAddress(name) != nil ? Located(name) : nil
        }
        note("masquerade_exceptions", .translated, "rewriting.masquerade_exceptions")
    }

    private mutating func importHeaders() {
        if isSet("local_header_rewrite_clients") {
            var clients: [MailSystem.Rewriting.Client] = [.submission]
            var strangers: [String] = []
            for word in list("local_header_rewrite_clients") {
                switch word {
                case "permit_inet_interfaces": clients.append(.own)
                case "permit_mynetworks": clients.append(.networks)
                case "permit_sasl_authenticated": clients.append(.logins)
                default: strangers.append(word)
                }
            }
            system.rewriting.clients = located(clients, place(of: "local_header_rewrite_clients"))
            note(
                "local_header_rewrite_clients", strangers.isEmpty ? .translated : .changed,
                "rewriting.local_header_clients: \(clients.map(\.rawValue).joined(separator: ", "))\(strangers.isEmpty ? "" : "; left out: \(strangers.joined(separator: ", "))")")
        }
        if isSet("remote_header_rewrite_domain"), let domain = Domain(value("remote_header_rewrite_domain")) {
            system.rewriting.remoteHeaderDomain = located(domain, place(of: "remote_header_rewrite_domain"))
            note("remote_header_rewrite_domain", .translated, "rewriting.remote_header_domain: \(domain)")
        }
        if isSet("always_add_missing_headers"), isYes("always_add_missing_headers") {
            system.rewriting.alwaysAddsMissingHeaders = located(true, place(of: "always_add_missing_headers"))
            note("always_add_missing_headers", .translated, "rewriting.always_add_missing_headers: true")
        }
        if isSet("propagate_unmatched_extensions") {
            let words = list("propagate_unmatched_extensions")
            system.rewriting.extended = located(
                MailSystem.Rewriting.Extended.allCases.filter { words.contains($0.rawValue) }, place(of: "propagate_unmatched_extensions"))
        }
        importForwardPath()
        if isSet("command_time_limit"), let seconds = Importer.seconds(value("command_time_limit"), unit: "s"), (1...52 * 7 * 86_400).contains(seconds) {
            system.localDelivery.commandTimeLimit = located(.seconds(seconds), place(of: "command_time_limit"))
            note("command_time_limit", .translated, "local_delivery.command_time_limit: \(seconds)s")
        }
    }

    /// Only paths that say nothing of home directories, of which a manifest knows none.
    private mutating func importForwardPath() {
        guard let setting = settings["forward_path"] else { return }
        let paths = ConfigurationText.list(setting.value)
        let isPlain = paths.allSatisfy { path in
            let names = path.split(separator: "$", omittingEmptySubsequences: false).dropFirst()
            return path.hasPrefix("/") && names.allSatisfy { name in ["user", "extension", "{user}", "{extension}"].contains { name.hasPrefix($0) } }
        }
        guard isPlain, !paths.isEmpty else { return }
        system.localDelivery.forwardPath = located(paths, place(of: "forward_path"))
        note("forward_path", .translated, "local_delivery.forward_path: \(paths.joined(separator: ", "))")
    }

    /// What the manifest's own rules find wrong with it goes: copies to nobody, tables without an end.
    private mutating func removeFaults() {
        for _ in 0..<10 {
            let faults = Dictionary(
                system.diagnostics().filter { $0.severity == .error }.compactMap { error in error.position.map { ($0.line, error.message) } },
                uniquingKeysWith: { first, _ in first })
            guard !faults.isEmpty else { return }
            for path in [
                \MailSystem.rewriting.canonical.entries, \.rewriting.senderCanonical.entries, \.rewriting.recipientCanonical.entries, \.rewriting.senderBCC,
                \.rewriting.recipientBCC,
            ] as [WritableKeyPath<MailSystem, [MailSystem.Rewriting.Entry]>] {
                let bad = system[keyPath: path].filter { faults[$0.pattern.position!.line] != nil || faults[$0.result.position!.line] != nil }
                for entry in bad {
                    let line = faults[entry.pattern.position!.line] ?? faults[entry.result.position!.line]!
                    note(places[entry.pattern.position!.line - 1], entry.pattern.value.description, .unsupported, "left out: \(line)")
                }
                let lines = Set(bad.map { $0.pattern.position! })
                system[keyPath: path].removeAll { lines.contains($0.pattern.position!) }
            }
            if let always = system.rewriting.alwaysBCC, let fault = faults[always.position!.line] {
                system.rewriting.alwaysBCC = nil
                note("always_bcc", .unsupported, "left out: \(fault)")
            }
        }
    }
}
