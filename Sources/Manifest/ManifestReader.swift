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
        guard let root = Composer.compose(text, &findings), let system = ManifestSchema.root.read(root, &findings) else {
            return ReadResult(system: nil, diagnostics: findings.inOrder())
        }
        let book = AddressBook(system)
        if findings.knowsAllNames {
            LinkCheck.run(book, &findings)
            TestCheck.run(system, book, &findings)
        }
        SystemCheck.run(system, book, &findings)
        return ReadResult(system: findings.hasErrors ? nil : system, diagnostics: findings.inOrder())
    }
}

extension ReadResult {
    /// One line without its end: `mail.yaml: 2 errors, 1 warning`, `mail.yaml: valid (3 domains, 2 users, 4 aliases)`.
    package func summary(file: String) -> String {
        func count(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
        let errors = diagnostics.count { $0.severity == .error }
        let warnings = diagnostics.count - errors
        var parts: [String] = []
        if errors > 0 { parts.append(count(errors, "error", "errors")) }
        if warnings > 0 { parts.append(count(warnings, "warning", "warnings")) }
        guard let system else { return "\(file): \(parts.joined(separator: ", "))" }
        let what = [
            count(system.domains.count, "domain", "domains"), count(system.users.count, "user", "users"), count(system.aliases.count, "alias", "aliases"),
        ]
        return "\(file): \((["valid"] + parts).joined(separator: ", ")) (\(what.joined(separator: ", ")))"
    }
}
