// What a manifest may not say is taken out again: targets that lead nowhere, loops. The reader's own rules find them, by
// the places that the parts came from; each one is said.

internal import MailSyntax
internal import Manifest

extension Importer {
    /// What one fault uncovers the next round finds; longer chains than this are no person's.
    private static let mostRounds = 100

    mutating func repair() {
        removeDeadNames()
        for _ in 0..<Importer.mostRounds {
            let errors = system.diagnostics().filter { $0.severity == .error }
            if errors.isEmpty { return }
            var faults: [Int: String] = [:]
            for error in errors { if let line = error.position?.line { faults[line] = error.message } }
            guard remove(faults) || separateListeners(errors) else { return }
        }
    }

    /// Chains of aliases that end in a name that nobody has, at once: each round above takes one link.
    private mutating func removeDeadNames() {
        var names = Set(userNumbers.keys)
        for alias in system.aliases { names.insert(lowercasedASCII(alias.name.value)) }
        var sources: [String: [Int]] = [:]
        var dead: [String] = []
        for (number, alias) in system.aliases.enumerated() {
            for target in alias.targets {
                guard case .name(let name) = target.value else { continue }
                let key = lowercasedASCII(name)
                if sources[key] == nil, !names.contains(key), !hasBase(key, in: names) { dead.append(key) }
                sources[key, default: []].append(number)
            }
        }
        var done: Set<String> = []
        while let name = dead.popLast() {
            guard done.insert(name).inserted else { continue }
            for number in sources[name] ?? [] {
                let alias = system.aliases[number]
                guard !alias.targets.isEmpty else { continue }
                system.aliases[number].targets.removeAll { target in
                    guard case .name(let text) = target.value else { return false }
                    return lowercasedASCII(text) == name
                }
                note(
                    places[alias.name.position!.line - 1], alias.name.value, .unsupported,
                    "left out \(name): it is neither a user nor an alias, and mail to it bounced")
                if system.aliases[number].targets.isEmpty, userNumbers[lowercasedASCII(alias.name.value)] == nil { dead.append(lowercasedASCII(alias.name.value)) }
            }
        }
        system.aliases.removeAll { $0.targets.isEmpty }
    }

    private func hasBase(_ name: String, in names: Set<String>) -> Bool {
        guard let delimiter = system.addressExtension.value, let end = name.firstIndex(of: delimiter), end != name.startIndex else { return false }
        return names.contains(String(name[..<end]))
    }

    /// False if none of the places is one of a target.
    private mutating func remove(_ faults: [Int: String]) -> Bool {
        var removed: [(Located<MailSystem.Target>, String, String)] = []
        func without(_ targets: [Located<MailSystem.Target>], _ subject: String) -> [Located<MailSystem.Target>] {
            targets.filter { target in
                guard let line = target.position?.line, let message = faults[line] else { return true }
                removed.append((target, subject, message))
                return false
            }
        }
        for index in system.aliases.indices { system.aliases[index].targets = without(system.aliases[index].targets, system.aliases[index].name.value) }
        system.aliases.removeAll { $0.targets.isEmpty }
        var isSecret = false
        for index in system.users.indices {
            guard let password = system.users[index].password, let line = password.position?.line, let message = faults[line] else { continue }
            // The message never shows the secret.
            system.users[index].password = nil
            isSecret = true
            note(places[line - 1], system.users[index].name.value, .unsupported, "no login: \(message); set a new password")
        }
        for index in system.users.indices where !system.users[index].forward.isEmpty {
            system.users[index].forward = without(system.users[index].forward, system.users[index].name.value)
            if system.users[index].forward.isEmpty { system.users[index].keepCopy = false }
        }
        for index in system.domains.indices {
            guard case .virtual(var addresses, var catchAll) = system.domains[index].kind else { continue }
            let domain = system.domains[index].name.value
            for number in addresses.indices { addresses[number].targets = without(addresses[number].targets, "\(addresses[number].localPart.value)@\(domain)") }
            addresses.removeAll { $0.targets.isEmpty }
            if let all = catchAll {
                catchAll?.targets = without(all.targets, "@\(domain)")
                if catchAll?.targets.isEmpty == true { catchAll = nil }
            }
            system.domains[index].kind = .virtual(addresses: addresses, catchAll: catchAll)
        }
        for (target, subject, message) in removed { note(places[target.position!.line - 1], subject, .unsupported, "left out a target: \(message)") }
        return isSecret || !removed.isEmpty
    }

    /// A port that a service of Postfix has is not one for health.
    private mutating func separateListeners(_ errors: [Diagnostic]) -> Bool {
        let used = Set((system.listen.smtp.value + system.listen.submission.value + system.listen.submissions.value).map(\.port))
        guard system.listen.health.value.contains(where: { used.contains($0.port) }) else { return false }
        system.listen.health = Located([])
        note(masterPath, nil, "listen.health", .changed, "off, because mail is taken at its port: choose another")
        return true
    }
}
