// Rewriting of addresses (ADDRESS_REWRITING_README): canonical(5), generic(5), masquerading, copies; and what local(8) may do besides
// delivering into mailboxes.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    private typealias Entry = MailSystem.Rewriting.Entry

    mutating func rewritingTables() -> [Table] {
        let rewriting = system.rewriting
        return [
            table(.canonical, rewriting.canonical.entries), table(.senderCanonical, rewriting.senderCanonical.entries),
            table(.recipientCanonical, rewriting.recipientCanonical.entries), table(.generic, rewriting.generic),
            table(.senderBCC, rewriting.senderBCC, namesUsers: true), table(.recipientBCC, rewriting.recipientBCC, namesUsers: true),
        ].compactMap { $0 }
    }

    /// `namesUsers`: a bare result is a user or an alias, and not a name in the origin.
    private mutating func table(_ name: Table.Name, _ entries: [MailSystem.Rewriting.Entry], namesUsers: Bool = false) -> Table? {
        guard let first = entries.first else { return nil }
        var table = Table(name)
        table.comment(system.rule(first.pattern.position, "rewriting.\(name.rawValue)"))
        for entry in entries {
            var result = entry.result.value.description
            if namesUsers, case .name(let user) = entry.result.value { result = self.name(user) }
            for key in keys(entry.pattern.value) {
                if isComment(key, in: name) {
                    note("rewriting.\(name.rawValue)", at: entry.pattern.position, "left out \(key): a line that begins with # is a comment to Postfix")
                } else {
                    table.add(key, result)
                }
            }
        }
        return table.isEmpty ? nil : table
    }

    /// To Postfix a bare name is one in myorigin and mydestination; domains of virtual(8) are in neither.
    private func keys(_ pattern: MailSystem.Rewriting.Pattern) -> [String] {
        guard case .name(let name) = pattern, options.accounts == .virtual else { return [pattern.description] }
        let others = homeDomains.filter { $0 != system.origin.value }
        return [pattern.description] + others.map { Address(localPart: name, domain: $0).description }
    }

    func addRewriting(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        let rewriting = system.rewriting
        func add(_ name: Table.Name, _ parameter: String, _ others: [Parameter] = []) {
            guard tables.contains(name) else { return }
            let entries = [
                Table.Name.canonical: rewriting.canonical.entries, .senderCanonical: rewriting.senderCanonical.entries,
                .recipientCanonical: rewriting.recipientCanonical.entries, .generic: rewriting.generic, .senderBCC: rewriting.senderBCC,
                .recipientBCC: rewriting.recipientBCC,
            ][name]
            groups.add(system.rule(entries?.first?.pattern.position, "rewriting.\(name.rawValue)"), [Parameter(parameter, reference(name))] + others)
        }
        add(.canonical, "canonical_maps", classes("canonical_classes", rewriting.canonical.classes))
        add(.senderCanonical, "sender_canonical_maps", classes("sender_canonical_classes", rewriting.senderCanonical.classes))
        add(.recipientCanonical, "recipient_canonical_maps", classes("recipient_canonical_classes", rewriting.recipientCanonical.classes))
        add(.generic, "smtp_generic_maps")
        if let first = rewriting.masqueradeDomains.first {
            let domains = rewriting.masqueradeDomains.map { ($0.value.isExempt ? "!" : "") + $0.value.domain.text }.joined(separator: ", ")
            let exceptions = rewriting.masqueradeExceptions.map(\.value)
            groups.add(
                system.rule(first.position, "rewriting.masquerade_domains"),
                [Parameter("masquerade_domains", domains)] + (exceptions.isEmpty ? [] : [Parameter("masquerade_exceptions", exceptions.joined(separator: ", "))])
                    + classes("masquerade_classes", rewriting.masqueradeClasses))
        }
        addHeaders(to: &groups)
        add(.senderBCC, "sender_bcc_maps")
        add(.recipientBCC, "recipient_bcc_maps")
        if let always = rewriting.alwaysBCC {
            var address = always.value.description
            if case .name(let name) = always.value { address = self.name(name) }
            groups.add(system.rule(always.position, "rewriting.always_bcc"), ["always_bcc": literal(address)])
        }
        addLocalDelivery(to: &groups)
    }

    private func classes(_ parameter: String, _ classes: Located<[MailSystem.Rewriting.Class]>) -> [Parameter] {
        classes.position == nil ? [] : [Parameter(parameter, classes.value.map(\.rawValue).joined(separator: ", "))]
    }

    private func addHeaders(to groups: inout ParameterGroups) {
        let rewriting = system.rewriting
        if let domain = rewriting.remoteHeaderDomain {
            groups.add(system.rule(domain.position, "rewriting.remote_header_domain"), ["remote_header_rewrite_domain": domain.value.text])
        }
        if rewriting.alwaysAddsMissingHeaders.value {
            groups.add(
                system.rule(rewriting.alwaysAddsMissingHeaders.position, "rewriting.always_add_missing_headers"), ["always_add_missing_headers": "yes"])
        }
    }

    /// Whose header may be rewritten, on port 25: what comes by submission says so itself, and what sendmail hands in always may.
    var headerClients: String {
        system.rewriting.clients.value.compactMap { client in
            switch client {
            case .submission: nil
            case .logins: "permit_sasl_authenticated"
            case .own: "permit_inet_interfaces"
            case .networks: "permit_mynetworks"
            }
        }.joined(separator: ", ")
    }

    /// Of a service for users.
    var submissionHeaders: [Parameter] {
        system.rewriting.clients.value.contains(.submission) ? [Parameter("local_header_rewrite_clients", "permit_sasl_authenticated")] : []
    }

    private func addLocalDelivery(to groups: inout ParameterGroups) {
        let local = system.localDelivery
        var parameters: [Parameter] = []
        if local.commandTimeLimit.position != nil { parameters.append(Parameter("command_time_limit", local.commandTimeLimit.value.postfixTime)) }
        if local.commandConcurrency.position != nil { parameters.append(Parameter("local_destination_concurrency_limit", String(local.commandConcurrency.value))) }
        let position = [local.commandTimeLimit.position, local.commandConcurrency.position].compactMap { $0 }.min()
        groups.add(system.rule(position, "local_delivery"), parameters)
    }

    /// Which extensions results get; nothing where no table is for them.
    var propagatedExtensions: String {
        let rewriting = system.rewriting
        let hasCanonical = ![rewriting.canonical.entries, rewriting.senderCanonical.entries, rewriting.recipientCanonical.entries].allSatisfy(\.isEmpty)
        return rewriting.extended.value.filter { $0 == .canonical ? hasCanonical : !rewriting.generic.isEmpty }.map(\.rawValue).joined(separator: ", ")
    }

    /// Aliases with an owner, who is the sender of what they send on.
    var hasOwners: Bool {
        system.aliases.contains { names.contains("owner-\(lowercasedASCII($0.name.value))") && !lowercasedASCII($0.name.value).hasPrefix("owner-") }
    }

    /// Who may name a command or a file; nothing where no alias does and nobody was named besides.
    func sources(_ sources: Located<[MailSystem.LocalDelivery.Source]>, isUsed: Bool) -> String {
        isUsed || sources.position != nil ? sources.value.map(\.rawValue).joined(separator: ", ") : ""
    }

    mutating func addNotesOnRewriting() {
        if let srs = system.rewriting.srs {
            note("rewriting.srs", at: srs.domain.position, "Postfix has no SRS: postsrsd does it, named in sender_canonical_maps and recipient_canonical_maps")
        }
        guard options.accounts == .virtual else { return }
        if !system.localDelivery.forwardPath.value.isEmpty {
            note("local_delivery.forward_path", at: system.localDelivery.forwardPath.position, "virtual(8) reads no forward files")
        }
        for alias in system.aliases where names.contains("owner-\(lowercasedASCII(alias.name.value))") && alias.targets.allSatisfy({ !$0.value.isDelivery }) {
            note("aliases.\(alias.name.value)", at: alias.name.position, "it has an owner, and in a virtual alias table Postfix keeps the sender as it is")
        }
    }
}

extension MailSystem.Target {
    fileprivate var isDelivery: Bool {
        switch self {
        case .name, .address: false
        case .file, .command, .include: true
        }
    }
}
