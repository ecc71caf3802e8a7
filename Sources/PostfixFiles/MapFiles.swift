// The tables: aliases(5), virtual(5), transport(5), and the lists of recipients that Postfix knows.
//
// A key or a target that a table's syntax would take for something else is left out, with a note: a mail address
// must never become a command.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    mutating func mapFiles() -> [RenderedFile] {
        [aliases(), virtual(), transport(), relayRecipients()].compactMap { $0 } + [localRecipients()]
    }

    // MARK: aliases

    private mutating func aliases() -> RenderedFile? {
        var text = header
        text += "# Postfix reads the database beside this file; after each change: postalias aliases\n"
        let heading = text
        let forwarding = Dictionary(
            system.users.filter { !$0.forward.isEmpty }.map { (lowercasedASCII($0.name.value), $0) }, uniquingKeysWith: { first, _ in first })
        let loops = ForwardLoops(self)
        for alias in system.aliases {
            let name = alias.name.value
            var targets: [String] = []
            for target in alias.targets {
                // Its own name in an alias is the user's mailbox to Postfix too; a forward has to be spelled out here.
                if localKey(of: target.value) == lowercasedASCII(name), let user = forwarding[lowercasedASCII(name)] {
                    targets += forwardTargets(of: user, loops)
                } else {
                    targets += aliasTarget(target, of: "aliases.\(name)")
                }
            }
            text += aliasEntry(name, targets, from: "aliases.\(name)", at: alias.name.position)
        }
        let aliasNames = Set(system.aliases.map { lowercasedASCII($0.name.value) })
        for user in system.users where !user.forward.isEmpty && !aliasNames.contains(lowercasedASCII(user.name.value)) {
            let position = user.forward.first?.position ?? user.name.position
            text += aliasEntry(user.name.value, forwardTargets(of: user, loops), from: "users.\(user.name.value).forward", at: position)
        }
        if let user = standInPostmaster {
            text += "\n# No postmaster is named: the first user\npostmaster: \(name(user.name.value))\n"
        }
        return text == heading ? nil : RenderedFile(name: "aliases", content: text)
    }

    private mutating func forwardTargets(of user: MailSystem.User, _ loops: ForwardLoops) -> [String] {
        let name = user.name.value
        let path = "users.\(name).forward"
        var targets = user.keepCopy ? [self.name(name)] : []
        for target in user.forward {
            if let key = localKey(of: target.value), loops.isClosed(by: key, of: user) {
                note(path, at: target.position, "left out \(self.target(target.value)): it leads back to \(name), a loop to Postfix")
            } else {
                targets += aliasTarget(target, of: path)
            }
        }
        return targets
    }

    private func aliasEntry(_ name: String, _ targets: [String], from path: String, at position: SourcePosition?) -> String {
        // Without a target the entry would be a syntax error, and the name has nobody behind it.
        guard !targets.isEmpty else { return "" }
        var seen: Set<String> = []
        let unique = targets.filter { seen.insert($0).inserted }
        return "\n# \(system.rule(position, path))\n\(aliasName(name)): \(unique.joined(separator: ", "))\n"
    }

    /// aliases(5): double quotes around a name that holds anything special.
    private func aliasName(_ name: String) -> String {
        // A name of a manifest is a Dot-string, and of what that may hold only `#` means something here.
        name.contains("#") ? "\"\(name)\"" : name
    }

    /// Empty where aliases(5) would take the address for a file, a command or an include, quoted or not.
    private mutating func aliasTarget(_ target: Located<MailSystem.Target>, of path: String) -> [String] {
        let localPart = switch target.value {
        case .name(let name): name
        case .address(let address): address.localPart
        case .file, .command, .include: ""
        }
        let isDangerous = ["/", "|", "~", "\\", ":include:"].contains { lowercasedASCII(localPart).hasPrefix($0) }
        guard !isDangerous else {
            note(path, at: target.position, "left out \(self.target(target.value)): in an alias Postfix takes it for a file or a command, not for an address")
            return []
        }
        return [self.target(target.value)]
    }

    // MARK: virtual

    private mutating func virtual() -> RenderedFile? {
        var text = ""
        for domain in system.virtualDomains {
            guard case .virtual(let addresses, let catchAll) = domain.kind else { continue }
            let path = "domains.\(domain.name.value)"
            text += "\n# \(system.rule(domain.name.position, path))\n"
            for address in addresses {
                guard let key = key(address.localPart, in: domain, path: "\(path).addresses") else { continue }
                text += "\(key)\t\(targets(address.targets))\n"
            }
            if let catchAll { text += "@\(domain.name.value)\t\(targets(catchAll.targets))\n" }
            if catchAll == nil, !addresses.contains(where: { lowercasedASCII($0.localPart.value) == "postmaster" }) {
                text += postmaster(of: domain.name.value)
            }
        }
        for domain in system.relayDomains {
            guard case .relay(_, let recipients?) = domain.kind else { continue }
            if !recipients.contains(where: { lowercasedASCII($0.value) == "postmaster" }), !postmaster(of: domain.name.value).isEmpty {
                text += "\n# \(system.rule(domain.name.position, "domains.\(domain.name.value)")): its recipients name no postmaster\n"
                text += postmaster(of: domain.name.value)
            }
        }
        // The bare postmaster that SMTP demands (RFC 5321 §4.5.1) gets myorigin from Postfix.
        if !system.domains.contains(where: { $0.name.value == system.origin.value }), !postmaster(of: system.origin.value).isEmpty {
            text += "\n# \(system.rule(system.origin.position, "origin")): none of the domains, and bare names get it\n"
            text += postmaster(of: system.origin.value)
        }
        return text.isEmpty ? nil : RenderedFile(name: "virtual", content: header + text)
    }

    /// The local postmaster stands in for that of `domain`; empty where nobody could.
    private func postmaster(of domain: Domain) -> String {
        let exists = !system.users.isEmpty || system.aliases.contains { lowercasedASCII($0.name.value) == "postmaster" }
        return exists ? "postmaster@\(domain)\t\(name("postmaster"))\n" : ""
    }

    private func targets(_ targets: [Located<MailSystem.Target>]) -> String {
        targets.map { target($0.value) }.joined(separator: ", ")
    }

    /// An address as a table's key: Postfix looks for the quoted form where quotes are needed. Nil where the line
    /// would be a comment to it.
    private mutating func key(_ localPart: Located<String>, in domain: MailSystem.MailDomain, path: String) -> String? {
        let address = Address(localPart: localPart.value, domain: domain.name.value).description
        guard !address.hasPrefix("#") else {
            note(path, at: localPart.position, "left out \(address): a line that begins with # is a comment to Postfix")
            return nil
        }
        return address
    }

    // MARK: relay domains and local recipients

    private func transport() -> RenderedFile? {
        var text = ""
        for domain in system.relayDomains {
            guard case .relay(let via?, _) = domain.kind else { continue }
            text += "\n# \(system.rule(via.position, "domains.\(domain.name.value).via"))\n\(domain.name.value)\trelay:\(via.value)\n"
        }
        return text.isEmpty ? nil : RenderedFile(name: "transport", content: header + text)
    }

    private mutating func relayRecipients() -> RenderedFile? {
        var text = ""
        var isNeeded = false
        for domain in system.relayDomains {
            guard case .relay(_, let recipients) = domain.kind else { continue }
            text += "\n# \(system.rule(domain.name.position, "domains.\(domain.name.value)"))\n"
            guard let recipients else {
                text += "@\(domain.name.value)\tOK\n"
                continue
            }
            isNeeded = true
            for recipient in recipients {
                guard let key = key(recipient, in: domain, path: "domains.\(domain.name.value).recipients") else { continue }
                text += "\(key)\tOK\n"
            }
        }
        return isNeeded ? RenderedFile(name: "relay_recipients", content: header + text) : nil
    }

    /// Without this list Postfix takes mail for every UNIX account, or, told of none, for everybody; and it has a local
    /// domain in any case, its own addresses in brackets.
    private mutating func localRecipients() -> RenderedFile {
        var text = header
        if let first = system.users.first { text += "\n# \(system.rule(first.name.position, "users")); aliases are in their own file\n" }
        for user in system.users {
            let key = Address(localPart: user.name.value, domain: system.origin.value).quotedLocalPart
            if key.hasPrefix("#") {
                note("users.\(key)", at: user.name.position, "left out: a line that begins with # is a comment to Postfix")
            } else {
                text += "\(key)\tOK\n"
            }
        }
        return RenderedFile(name: "local_recipients", content: text)
    }
}
