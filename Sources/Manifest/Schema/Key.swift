// The declaration of a key: name, type, default, meaning, Postfix parameter, status, each said here and nowhere else.
// Decoding, validation, the JSON Schema and docs/manifest.md all read it.

/// A key of this version, whose value is a `Value`.
struct Key<Value: Sendable>: Declared {
    let declaration: Declaration
    let syntax: Syntax<Value>
    /// The default, read from the declaration's text.
    let fallback: Value?

    init(
        _ name: String, _ syntax: Syntax<Value>, default text: String? = nil, defaultNote: String? = nil, isRequired: Bool = false,
        example: String? = nil, postfix: String? = nil, _ meaning: String
    ) {
        declaration = Declaration(
            name: name, form: syntax.form, fallback: text, fallbackNote: defaultNote, isRequired: isRequired, example: example, postfix: postfix,
            meaning: meaning, status: .supported)
        self.syntax = syntax
        fallback = text.map { text in
            guard let value = syntax.read(text: text) else { preconditionFailure("the default of \(name) is not valid: \(text)") }
            return value
        }
    }
}

/// A key to come: refused with advice, whatever its value.
struct PlannedKey: Declared {
    let declaration: Declaration

    init(_ name: String, _ form: Form, example: String? = nil, postfix: String? = nil, advice: String, _ meaning: String) {
        declaration = Declaration(
            name: name, form: form, fallback: nil, fallbackNote: nil, isRequired: false, example: example, postfix: postfix,
            meaning: meaning, status: .planned(advice: advice))
    }
}

/// A mapping whose keys have been checked against their declarations, to take values from.
struct Section {
    let span: Span
    private let found: [(name: String, key: Node, value: Node)]

    /// Reports unknown, duplicate, missing and planned keys. Nil where there is no mapping; nothing at all counts as an empty one.
    init?(_ node: Node, _ declarations: [Declaration], _ findings: inout Findings) {
        span = node.span
        var found: [(name: String, key: Node, value: Node)] = []
        switch node.content {
        case .mapping(let entries):
            for entry in entries {
                guard let declaration = Section.declaration(of: entry.key, among: declarations, &findings) else { continue }
                if let first = found.first(where: { $0.name == declaration.name }) {
                    findings.error(
                        .duplicateKey, "\(quoted(declaration.name)) stands twice; the first is at line \(first.key.span.start.line)", at: entry.key.span)
                    continue
                }
                found.append((declaration.name, entry.key, entry.value))
                switch declaration.status {
                case .supported: break
                case .planned(let advice):
                    findings.error(.notSupportedYet, "\(quoted(declaration.name)) is not supported yet", at: entry.key.span, hint: advice)
                }
            }
        case _ where node.isNull: break
        case .unknown: return nil
        default:
            let names = declarations.map(\.name).joined(separator: ", ")
            var hint: String?
            if case .scalar(let text, _) = node.content { hint = Slips.hint(for: text) }
            findings.error(.wrongType, "expected a mapping, found \(node.kindName)", at: node.span, hint: hint ?? "its keys are: \(names)")
            return nil
        }
        for declaration in declarations where declaration.isRequired && !node.isCut && !found.contains(where: { $0.name == declaration.name }) {
            let example = declaration.example.map { "add: \(declaration.name): \($0)" }
            findings.error(.missingKey, "\(quoted(declaration.name)) is missing", at: Span(start: node.span.start, endColumn: nil), hint: example)
        }
        self.found = found
    }

    private static func declaration(of key: Node, among declarations: [Declaration], _ findings: inout Findings) -> Declaration? {
        guard case .scalar(let name, _) = key.content else {
            if key.isUnknown { return nil }
            findings.error(
                .wrongType, "a key must be a word, not \(key.kindName)", at: key.span, hint: key.isMapping ? Node.templateHint : nil)
            return nil
        }
        if let declaration = declarations.first(where: { $0.name == name }) { return declaration }
        guard !findings.isFull else {
            findings.error(.unknownKey, "", at: key.span)
            return nil
        }
        // A letter too many or too few is a slip, whatever key of that very name stands elsewhere.
        let isSlip = declarations.contains { editDistance(Array($0.name.utf8), Array(name.utf8)) == 1 }
        let hint =
            Slips.hint(for: name) ?? (isSlip ? findings.suggestions.hint(for: name, among: declarations.map(\.name)) : nil) ?? ManifestSchema.hint(forMisplaced: name) ?? findings.suggestions.hint(for: name, among: declarations.map(\.name))
            ?? "the keys here are: \(declarations.map(\.name).joined(separator: ", "))"
        findings.error(.unknownKey, "unknown key \(quoted(name))", at: key.span, hint: hint)
        return nil
    }

    /// The value of a key, or its default where it is absent or wrong (which has been reported then).
    func value<Value>(_ key: Key<Value>, _ findings: inout Findings) -> Located<Value> {
        guard let fallback = key.fallback else { preconditionFailure("\(key.declaration.name) has no default") }
        return optional(key, &findings) ?? Located(fallback)
    }

    /// The value of a key, nil where it is absent or wrong.
    func optional<Value>(_ key: Key<Value>, _ findings: inout Findings) -> Located<Value>? {
        guard let entry = found.first(where: { $0.name == key.declaration.name }) else { return nil }
        return key.syntax.located(entry.value, &findings)
    }

    /// Where the key itself stands, whatever its value.
    func position(of key: any Declared) -> Span? {
        found.first { $0.name == key.declaration.name }?.key.span
    }
}
