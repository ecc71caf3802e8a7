// How a value is read from a node, together with its form. Combinators for lists, mappings with declared keys and
// mappings whose keys the user names. Whatever is wrong goes to the findings; reading goes on, to find all of it.

struct Syntax<Value: Sendable>: Sendable {
    let form: Form
    /// Nil after an error.
    let read: @Sendable (Node, inout Findings) -> Value?

    func located(_ node: Node, _ findings: inout Findings) -> Located<Value>? {
        read(node, &findings).map { Located($0, at: node.span.start, endColumn: node.span.endColumn) }
    }

    /// Of a default or an example; nil if it is not valid.
    func read(text: String) -> Value? {
        var findings = Findings(file: "")
        guard let node = Composer.compose(Array(text.utf8), &findings), let value = read(node, &findings), !findings.hasErrors else { return nil }
        return value
    }

    /// Converts what was read, or judges it further.
    func then<Other>(_ convert: @escaping @Sendable (Value, Node, inout Findings) -> Other?) -> Syntax<Other> {
        Syntax<Other>(form: form) { [read] node, findings in
            guard let value = read(node, &findings) else { return nil }
            return convert(value, node, &findings)
        }
    }
}

extension Syntax {
    /// A scalar. `isText`: truth words such as `no` must be quoted, since YAML 1.1 and other tools take them for values.
    static func word(_ word: Word, isText: Bool = false, _ parse: @escaping @Sendable (String) throws(Flaw) -> Value) -> Syntax {
        Syntax(form: .word(word)) { node, findings in
            guard case .scalar(let text, let isPlain) = node.content, !node.isNull else {
                if node.isUnknown { return nil }
                findings.error(
                    .wrongType, "expected \(word.noun), found \(node.kindName)", at: node.span, hint: node.isTemplateMark ? Node.templateHint : word.forms)
                return nil
            }
            if isText, isPlain, let meaning = otherMeaning(ofUnquoted: text) {
                findings.error(
                    .ambiguousWord, "unquoted, \(text) is \(meaning) in YAML, and \(word.noun) is needed here", at: node.span,
                    hint: "write it in quotes: \"\(text)\"")
                return nil
            }
            do throws(Flaw) {
                return try parse(text)
            } catch {
                findings.error(error.code, error.message, at: node.span, hint: (word.isSecret ? nil : Slips.hint(forValue: text)) ?? error.hint ?? word.forms)
                return nil
            }
        }
    }

    /// One or the other, by what stands there: a mapping is read by `mapping`, anything else by `scalar`.
    static func either(_ scalar: Syntax, orMapping mapping: Syntax) -> Syntax {
        Syntax(form: .either(scalar.form, mapping.form)) { node, findings in
            if case .mapping = node.content { mapping.read(node, &findings) } else { scalar.read(node, &findings) }
        }
    }

    /// A mapping with declared keys.
    static func section(_ keys: [any Declared], _ build: @escaping @Sendable (Section, inout Findings) -> Value) -> Syntax {
        let declarations = keys.map(\.declaration)
        return Syntax(form: .section(declarations)) { node, findings in
            Section(node, declarations, &findings).map { build($0, &findings) }
        }
    }

    /// A list, also an empty one.
    static func list<Element>(of element: Syntax<Element>) -> Syntax where Value == [Located<Element>] {
        Syntax(form: .list(element.form)) { node, findings in
            guard case .sequence(let items) = node.content else {
                if node.isUnknown { return nil }
                findings.error(.wrongType, "expected a list, found \(node.kindName)", at: node.span, hint: listHint(for: node, of: element.form))
                return nil
            }
            return items.compactMap { element.located($0, &findings) }
        }
    }

    private static func listHint(for node: Node, of element: Form) -> String {
        if node.isTemplateMark { return Node.templateHint }
        if node.isMapping, case .section = element { return "write a list: a dash before each mapping" }
        guard case .scalar(let text, _) = node.content, !node.isNull else { return "write a list: [first, second]" }
        if text.hasPrefix("-") { return "a list item needs a space after its dash: - \(text.dropFirst().prefix { $0 != " " })" }
        return Slips.hint(for: text) ?? "write a list: [\(text)]"
    }

    /// One value alone, or a list of at least one.
    static func oneOrMany<Element>(of element: Syntax<Element>) -> Syntax where Value == [Located<Element>] {
        Syntax(form: .oneOrMany(element.form)) { node, findings in
            guard case .sequence(let items) = node.content else { return element.located(node, &findings).map { [$0] } }
            if items.isEmpty {
                findings.error(.wrongType, "an empty list leads nowhere", at: node.span, hint: "name at least one, or remove the key")
            }
            return items.compactMap { element.located($0, &findings) }
        }
    }

    /// A mapping whose keys the user names, in the order of the text. Keys that differ in case only are the same key.
    /// `substitute` takes the place of an entry that is wrong: its name exists all the same, and what refers to it does not dangle.
    static func table<Name, Entry>(
        of name: Syntax<Name>, key: @escaping @Sendable (Name) -> String, duplicate: Diagnostic.Code = .duplicateKey,
        orElse substitute: Entry, _ entry: Syntax<Entry>
    ) -> Syntax where Value == [(name: Located<Name>, entry: Entry)] {
        guard case .word(let word) = name.form else { preconditionFailure("a key is a scalar") }
        return Syntax(form: .table(name: word, entry: entry.form)) { node, findings in
            guard case .mapping(let entries) = node.content else {
                if node.isNull { return [] }
                if node.isUnknown { return nil }
                findings.error(
                    .wrongType, "expected a mapping, found \(node.kindName)", at: node.span, hint: "write each one as a key of its own: NAME: …")
                return nil
            }
            var firstLines = [String: Int](minimumCapacity: entries.count)
            var result: Value = []
            result.reserveCapacity(entries.count)
            for item in entries {
                guard let name = name.located(item.key, &findings) else {
                    if !item.value.isNull { _ = entry.read(item.value, &findings) }
                    continue
                }
                let line = item.key.span.start.line
                if let first = firstLines.updateValue(line, forKey: key(name.value)) {
                    firstLines[key(name.value)] = first
                    findings.error(duplicate, "\(quoted("\(name.value)")) stands twice; the first is at line \(first)", at: name.span)
                    continue
                }
                result.append((name, entry.read(item.value, &findings) ?? substitute))
            }
            return result
        }
    }
}

/// YAML 1.1's truth words (<https://yaml.org/type/bool.html>), but for `y` and `n`, which no parser in wide use takes for one.
func isTruthWord(_ text: String) -> Bool { truthValue(text) != nil }

/// What another reader of YAML would see in a word without quotes that is meant as text. A plain decimal number is clear: it
/// prints as it is written.
private func otherMeaning(ofUnquoted text: String) -> String? {
    guard let first = text.utf8.first else { return nil }
    if truthValue(text) != nil { return "a truth value" }
    guard isDigit(first) || first == UInt8(ascii: "+") && text.utf8.dropFirst().first.map(isDigit) == true else { return nil }
    let digits = Substring(first == UInt8(ascii: "+") ? text.dropFirst() : Substring(text))
    let isDecimal = digits.utf8.allSatisfy { isDigit($0) || $0 == UInt8(ascii: "_") }
    if isDecimal {
        let isCanonical = digits.utf8.count == text.utf8.count && !digits.contains("_") && (first != UInt8(ascii: "0") || digits.utf8.count == 1)
        return isCanonical ? nil : "another number"
    }
    let rest = digits.utf8.dropFirst(2)
    switch digits.prefix(2) {
    case "0x" where !rest.isEmpty && rest.allSatisfy({ Unicode.Scalar($0).properties.isASCIIHexDigit }): return "another number"
    case "0b" where !rest.isEmpty && rest.allSatisfy({ $0 == UInt8(ascii: "0") || $0 == UInt8(ascii: "1") }): return "another number"
    case "0o" where !rest.isEmpty && rest.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "7")).contains($0) }): return "another number"
    default: break
    }
    // 1e3, 1.5e3, 1.50
    let parts = digits.split(separator: "e", omittingEmptySubsequences: false)
    let hasExponent = parts.count == 2 && !parts[1].isEmpty && parts[1].utf8.allSatisfy(isDigit)
    let mantissa = parts[0].split(separator: ".", omittingEmptySubsequences: false)
    let isFraction = mantissa.count == 2 && mantissa.allSatisfy { !$0.isEmpty && $0.utf8.allSatisfy(isDigit) }
    if hasExponent, isFraction || mantissa.count == 1 && mantissa[0].utf8.allSatisfy(isDigit) { return "another number" }
    return parts.count == 1 && isFraction && mantissa[1].utf8.last == UInt8(ascii: "0") ? "another number" : nil
}

func truthValue(_ text: String) -> Bool? {
    guard text.utf8.count <= 5, let first = text.utf8.first, "tTyYoOfFnN".utf8.contains(first) else { return nil }
    return switch text {
    case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": true
    case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": false
    default: nil
    }
}
