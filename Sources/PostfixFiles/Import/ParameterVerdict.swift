// What is said of parameters that no key of a manifest stands for: whether they may be dropped, what they did, and what
// to do about it. The rules are one text, the first that fits a name counts; a test sees that every parameter of
// Postfix has one.

struct ParameterVerdict: Sendable {
    /// `harmless` or `unsupported`.
    let outcome: ImportReport.Outcome
    let text: String

    /// Nil: Postfix knows no such parameter, or the manifest has a key for it.
    static func of(_ name: String) -> ParameterVerdict? {
        if let exact = exact[name] { return exact }
        return patterns.first { fits(name, $0.pattern) }?.verdict
    }

    /// `*` stands for anything.
    private static func fits(_ name: String, _ pattern: [Substring]) -> Bool {
        guard let first = pattern.first, let last = pattern.last, name.utf8.count >= first.utf8.count + last.utf8.count,
            name.hasPrefix(first), name.hasSuffix(last)
        else { return false }
        // No rule has more than two stars.
        guard pattern.count == 3 else { return true }
        return contains(name.utf8.dropFirst(first.utf8.count).dropLast(last.utf8.count), Array(pattern[1].utf8))
    }

    private static func contains(_ text: some Collection<UInt8>, _ part: [UInt8]) -> Bool {
        let text = Array(text)
        guard text.count >= part.count else { return false }
        return (0...(text.count - part.count)).contains { text[$0..<($0 + part.count)].elementsEqual(part) }
    }

    private static let rules: (exact: [String: ParameterVerdict], patterns: [(pattern: [Substring], verdict: ParameterVerdict)]) = {
        var exact: [String: ParameterVerdict] = [:]
        var patterns: [(pattern: [Substring], verdict: ParameterVerdict)] = []
        for line in (harmlessRules + "\n" + unsupportedRules).split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { preconditionFailure("no rule: \(line)") }
            let isHarmless = line.hasPrefix("+")
            let text = String(line[line.index(after: colon)...].drop { $0 == " " })
            let verdict = ParameterVerdict(outcome: isHarmless ? .harmless : .unsupported, text: text)
            for name in line[..<colon].dropFirst().split(separator: " ") {
                if name.contains("*") {
                    patterns.append((name.split(separator: "*", omittingEmptySubsequences: false), verdict))
                } else {
                    exact[String(name)] = verdict
                }
            }
        }
        return (exact, patterns)
    }()

    private static var exact: [String: ParameterVerdict] { rules.exact }
    private static var patterns: [(pattern: [Substring], verdict: ParameterVerdict)] { rules.patterns }
}

extension Importer {
    /// Every parameter that main.cf sets and that has no entry yet.
    mutating func importOthers() {
        let used = usedNames()
        for setting in main.settings where settings[setting.name]?.line == setting.line && !handled.contains(setting.name) {
            let name = setting.name
            guard let fallback = scope.defaults[name] else {
                noteUnknown(name, isUsed: used.contains(name))
                continue
            }
            if isDefault(setting, fallback) {
                note(name, .standard, "it says what Postfix does without it")
            } else if (try? scope.evaluate(setting.value)) == "" {
                note(name, .harmless, "it is empty, which turns it off")
            } else if let verdict = ParameterVerdict.of(name) {
                note(name, verdict.outcome, verdict.text)
            } else {
                note(name, .unsupported, "a manifest has no key for it")
            }
        }
    }

    private func isDefault(_ setting: MainFile.Setting, _ fallback: String) -> Bool {
        if setting.value == fallback { return true }
        let theirs = try? scope.evaluate(fallback)
        guard let ours = try? scope.evaluate(setting.value), let theirs else { return false }
        return ConfigurationText.list(ours) == ConfigurationText.list(theirs)
    }

    private mutating func noteUnknown(_ name: String, isUsed: Bool) {
        if isUsed { return note(name, .harmless, "a name of this configuration's own; its value is taken where $\(name) stands") }
        if let verdict = ParameterVerdict.of(name) { return note(name, verdict.outcome, verdict.text) }
        note(name, .harmless, "Postfix knows no such parameter and nothing names it: if it is misspelt, mend it and import again")
    }

    /// What `$name` stands for somewhere.
    private func usedNames() -> Set<String> {
        var names: Set<String> = []
        for text in main.settings.map(\.value) + master.services.flatMap({ $0.options.map(\.value) }) where text.utf8.contains(UInt8(ascii: "$")) {
            for part in text.split(separator: "$", omittingEmptySubsequences: false).dropFirst() {
                let name = part.drop { "{( ".contains($0) }.prefix { $0 == "_" || $0.isASCII && ($0.isLetter || $0.isNumber) }
                names.insert(String(name))
            }
        }
        return names
    }
}
