// From the text of a manifest to a `MailSystem`, or to what is wrong with it: all of it in one run. Pure: no files, no
// clock. Reading the file is the caller's.
//
// Three phases: YAML to nodes (`YAML/`), nodes to values by the declared keys (`Schema/`), values against each other
// (`Checks/`). A text that is no YAML ends after the first; wrong values do not keep the others from being checked.

package struct ReadResult: Sendable {
    /// Nil if there is any error; warnings do not matter.
    package let system: MailSystem?
    /// In the order of the file.
    package let diagnostics: [Diagnostic]
}

extension ReadResult {
    /// For a file that could not be read at all.
    package init(failure: Diagnostic) { self.init(system: nil, diagnostics: [failure]) }

    /// As `--strict` has it: with warnings as errors, and valid only without any.
    package var strict: ReadResult { ReadResult(system: diagnostics.isEmpty ? system : nil, diagnostics: diagnostics.map(\.strict)) }

    /// With what others than the reader found wrong.
    package func adding(_ found: [Diagnostic]) -> ReadResult {
        guard !found.isEmpty else { return self }
        var findings = Findings(file: found[0].file)
        for diagnostic in diagnostics + found { findings.add(diagnostic) }
        return ReadResult(system: findings.hasErrors ? nil : system, diagnostics: findings.inOrder())
    }
}

package enum ManifestReader {
    /// Octets; a longer text is refused unread.
    package static let largestText = SourceText.largest

    /// `file` names the source in diagnostics and in rules, as the user gave it.
    package static func read(text: [UInt8], file: String) -> ReadResult {
        var findings = Findings(file: file)
        let composition = Composer.composition(of: text, &findings)
        // Of a text that stops being YAML each value before that is judged for itself; what it refers to may have come after.
        guard let root = composition.root, let system = ManifestSchema.root.read(root, &findings), composition.isWhole else {
            return ReadResult(system: nil, diagnostics: findings.inOrder())
        }
        judge(system, &findings)
        return ReadResult(system: findings.hasErrors ? nil : system, diagnostics: findings.inOrder())
    }

    /// The third phase: values against each other.
    static func judge(_ system: MailSystem, _ findings: inout Findings) {
        let book = AddressBook(system)
        let links = findings.knowsAllNames ? LinkCheck.run(book, &findings) : nil
        if links != nil { TestCheck.run(system, book, &findings) }
        SystemCheck.run(system, book, &findings)
        RewriteCheck.run(system, book, &findings)
        DeliveryCheck.run(system, &findings)
        SecretCheck.run(system, &findings)
        if let links, !findings.hasErrors { ReachCheck.run(book, links, &findings) }
    }
}

extension ReadResult {
    /// One line without its end: `mail.yaml: 2 errors, 1 warning`, `mail.yaml: valid (3 domains, 2 users, 4 aliases)`.
    package func summary(file: String) -> String {
        let parts = ReadResult.counted(diagnostics)
        guard let system else { return "\(file): \(parts.joined(separator: ", "))" }
        let what = [
            count(system.domains.count, "domain", "domains"), count(system.users.count, "user", "users"), count(system.aliases.count, "alias", "aliases"),
        ]
        return "\(file): \((["valid"] + parts).joined(separator: ", ")) (\(what.joined(separator: ", ")))"
    }

    /// Of several files, one line without its end: `3 files: 2 valid, 1 not valid; 2 errors, 1 warning`.
    package static func summary(of results: [(isValid: Bool, diagnostics: [Diagnostic])]) -> String {
        let valid = results.count { $0.isValid }
        let what = [valid > 0 ? "\(valid) valid" : nil, valid < results.count ? "\(results.count - valid) not valid" : nil].compactMap(\.self)
        let parts = counted(results.flatMap(\.diagnostics))
        return (["\(results.count) files: \(what.joined(separator: ", "))"] + (parts.isEmpty ? [] : [parts.joined(separator: ", ")])).joined(separator: "; ")
    }

    /// `2 errors (1 by --strict)`, `1 warning`.
    private static func counted(_ diagnostics: [Diagnostic]) -> [String] {
        let errors = diagnostics.count { $0.severity == .error }
        let warnings = diagnostics.count - errors
        let strict = diagnostics.count { $0.isStrict }
        var parts: [String] = []
        if errors > 0 { parts.append(count(errors, "error", "errors") + (strict > 0 ? " (\(strict) by --strict)" : "")) }
        if warnings > 0 { parts.append(count(warnings, "warning", "warnings")) }
        return parts
    }
}

private func count(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
