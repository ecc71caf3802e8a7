// `valija schema`: the manifest's keys as a JSON Schema (draft 2020-12), for editors that complete and check YAML.
//
// A file that `valija check` accepts is valid by it; what needs more than one value at once (targets, loops, limits
// against each other) only `check` sees. Planned keys are in it with their meaning, and match nothing.

package enum JSONSchema {
    /// The schema as JSON text, the same for every call.
    package static func text() -> String {
        let head: [(String, JSON)] = [
            ("$schema", .string("https://json-schema.org/draft/2020-12/schema")),
            ("title", .string("Valija manifest")),
        ]
        return JSON.object(head + members(of: ManifestSchema.root.form)).text
    }

    private static func members(of form: Form) -> [(String, JSON)] {
        switch form {
        case .word(let word): return word.json
        case .list(let element): return [("type", .string("array")), ("items", .object(members(of: element)))]
        case .oneOrMany(let element):
            let many: JSON = .object([("type", .string("array")), ("items", .object(members(of: element))), ("minItems", .int(1))])
            return [("anyOf", .array([.object(members(of: element)), many]))]
        case .either(let a, let b): return [("anyOf", .array([.object(members(of: a)), .object(members(of: b))]))]
        case .section(let declarations):
            let required = declarations.filter(\.isRequired).map(\.name)
            return [
                ("type", required.isEmpty ? .array([.string("object"), .string("null")]) : .string("object")),
                ("properties", .object(declarations.map { ($0.name, property($0)) })),
                ("required", .array(required.map(JSON.string))),
                ("additionalProperties", .bool(false)),
            ]
        case .table(_, let entry):
            return [("type", .array([.string("object"), .string("null")])), ("additionalProperties", .object(members(of: entry)))]
        case .anything: return []
        }
    }

    private static func property(_ declaration: Declaration) -> JSON {
        if case .planned(let advice) = declaration.status {
            return .object([
                ("description", .string("Not supported yet: \(advice). \(declaration.meaning)")), ("x-status", .string("planned")), ("not", .object([])),
            ])
        }
        var result: [(String, JSON)] = [("description", .string(declaration.meaning))]
        if let postfix = declaration.postfix { result.append(("x-postfix", .string(postfix))) }
        if let fallback = declaration.fallback { result.append(("default", value(fallback))) }
        if let example = declaration.example { result.append(("examples", .array([value(example)]))) }
        return .object(result + members(of: declaration.form))
    }

    /// Manifest text as a JSON value.
    private static func value(_ text: String) -> JSON {
        var findings = Findings(file: "")
        guard let node = Composer.compose(Array(text.utf8), &findings) else { preconditionFailure("not YAML: \(text)") }
        return value(node)
    }

    private static func value(_ node: Node) -> JSON {
        switch node.content {
        case .unknown: preconditionFailure("a tag in a declaration")
        case .sequence(let items): return .array(items.map(value))
        case .mapping(let entries):
            return .object(
                entries.map { entry in
                    guard case .scalar(let key, _) = entry.key.content else { preconditionFailure("a key is a scalar") }
                    return (key, value(entry.value))
                })
        case .scalar(let text, let isPlain):
            guard isPlain else { return .string(text) }
            if node.isNull { return .null }
            return truthValue(text).map(JSON.bool) ?? Int(text).map(JSON.int) ?? .string(text)
        }
    }
}
