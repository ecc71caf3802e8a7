// Do the tables of `rewriting` come to an end, and do copies go to somebody? In time linear to their entries.

internal import MailSyntax

enum RewriteCheck {
    static func run(_ system: MailSystem, _ book: AddressBook, _ findings: inout Findings) {
        let rewriting = system.rewriting
        for table in [rewriting.canonical, rewriting.senderCanonical, rewriting.recipientCanonical] { checkEnds(table.entries, system, &findings) }
        checkMasquerade(rewriting, &findings)
        guard findings.knowsAllNames else { return }
        for entry in rewriting.senderBCC + rewriting.recipientBCC { checkCopy(entry.result, book, &findings) }
        if let always = rewriting.alwaysBCC { checkCopy(always, book, &findings) }
    }

    /// A table is asked again with what it answered, until that is what it was asked or nothing.
    private static func checkEnds(_ entries: [MailSystem.Rewriting.Entry], _ system: MailSystem, _ findings: inout Findings) {
        guard entries.count > 1 else { return }
        let results = Dictionary(entries.map { ($0.pattern.value.key, $0) }, uniquingKeysWith: { first, _ in first })
        let homes = Set(
            system.domains.compactMap { domain -> String? in if case .local = domain.kind { domain.name.value.key } else { nil } } + [system.origin.value.key])
        func next(_ pattern: MailSystem.Rewriting.Pattern) -> MailSystem.Rewriting.Entry? {
            switch pattern {
            case .domain(let domain): return results["@\(domain.key)"]
            case .name(let name): return results["\(lowercasedASCII(name))@\(system.origin.value.key)"] ?? results[pattern.key] ?? results["@\(system.origin.value.key)"]
            case .address(let address):
                let bare = homes.contains(address.domain.key) ? results[MailSystem.Rewriting.Pattern.name(address.localPart).key] : nil
                return results[pattern.key] ?? bare ?? results["@\(address.domain.key)"]
            }
        }
        var done: Set<String> = []
        for entry in entries where !done.contains(entry.pattern.value.key) {
            var path: [String] = []
            var onPath: Set<String> = []
            var present: MailSystem.Rewriting.Entry? = entry
            while let step = present, onPath.insert(step.pattern.value.key).inserted, !done.contains(step.pattern.value.key) {
                path.append(step.pattern.value.key)
                present = next(step.result.value)
                // What becomes itself is done.
                if let following = present, following.pattern.value.key == step.pattern.value.key, path.count == 1 || following.result.value == step.result.value {
                    present = nil
                }
            }
            if let again = present, let start = path.firstIndex(of: again.pattern.value.key), path.count - start > 1 {
                findings.error(
                    .loop, "these become each other without an end: \((path[start...] + [path[start]]).joined(separator: " → "))", at: again.pattern.span)
            }
            done.formUnion(path)
        }
    }

    private static func checkMasquerade(_ rewriting: MailSystem.Rewriting, _ findings: inout Findings) {
        guard rewriting.masqueradeDomains.isEmpty else { return }
        if let exception = rewriting.masqueradeExceptions.first {
            findings.warning(.noEffect, "\"masquerade_exceptions\" has no effect without \"masquerade_domains\"", at: exception.span)
        }
    }

    private static func checkCopy(_ target: Located<MailSystem.Rewriting.Pattern>, _ book: AddressBook, _ findings: inout Findings) {
        let step: AddressBook.Step =
            switch target.value {
            case .address(let address): book.step(.address(address), from: nil)
            case .name(let name): book.step(.name(name), from: nil)
            case .domain: .outside
            }
        guard case .nowhere = step else { return }
        let text = target.value.description
        findings.error(
            .danglingTarget, "\(quoted(text)), which is to get a copy, is nobody here", at: target.span,
            hint: findings.suggestions.hint(for: text, among: book.allNames))
    }
}
