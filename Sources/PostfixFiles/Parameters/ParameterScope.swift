// What a parameter is: its value in main.cf or its default, and the evaluation of what that says (postconf(5)):
// `$name`, `${name}`, `$(name)`, `${name?value}`, `${name?{value}}`, `${name:value}`, `${name?{x}:{y}}`,
// `${{a} == {b} ? {x} : {y}}` with == != < <= >= > and their forms for compatibility levels (`<=level`), `$$`.
//
// A name that nothing defines is empty, as to Postfix. Errors say what Postfix's own warning says. Nesting, steps and
// the length of the result are bounded: a value of a few lines could otherwise expand for ever.

package struct ParameterScope: Sendable {
    /// Values as written; those of main.cf, and before them those of `-o` options.
    package private(set) var settings: [String: String]
    package let defaults: ParameterDefaults

    package init(settings: [String: String], defaults: ParameterDefaults) {
        self.settings = settings
        self.defaults = defaults
    }

    /// The same with `-o name=value` before it.
    package func overridden(by options: [String: String]) -> ParameterScope {
        ParameterScope(settings: settings.merging(options) { $1 }, defaults: defaults)
    }

    /// As written, not evaluated; nil: neither Postfix nor main.cf knows the name.
    package func text(of name: String) -> String? {
        if let text = settings[name] { return text }
        // Postfix takes mydomain from the myhostname that counts, not from the machine's.
        if name == "mydomain", let hostname = settings["myhostname"], let evaluated = try? evaluate(hostname) {
            return ParameterDefaults.domain(of: evaluated)
        }
        return defaults[name]
    }

    /// Evaluated; nil: neither Postfix nor main.cf knows the name.
    package func value(of name: String) throws(ParameterFlaw) -> String? {
        guard let text = text(of: name) else { return nil }
        return try evaluate(text)
    }

    /// A text with every `$` in it evaluated.
    package func evaluate(_ text: String) throws(ParameterFlaw) -> String {
        // Most values have none.
        guard text.utf8.contains(UInt8(ascii: "$")) else { return text }
        var evaluation = Evaluation(scope: self)
        try evaluation.expand(Array(text.utf8)[...], depth: 0)
        return String(decoding: evaluation.result, as: UTF8.self)
    }
}

/// Why a value cannot be evaluated.
package struct ParameterFlaw: Error, Hashable, Sendable {
    package let text: String

    init(_ text: String) { self.text = text }

    /// `before` and `rest` show where in the value.
    init(_ text: String, before: some Collection<UInt8>, rest: ArraySlice<UInt8>) {
        let shown = String(decoding: Array(before.suffix(40)), as: UTF8.self)
        self.init("\(text) at: \"...\(shown)>>>\(String(decoding: rest.prefix(20), as: UTF8.self))\"")
    }
}

private struct Evaluation {
    typealias Text = ArraySlice<UInt8>

    /// Postfix's own bound.
    static let deepest = 100
    /// What no sane value needs: a default of Postfix takes a few hundred.
    static let mostSteps = 100_000
    static let longest = 1 << 20

    let scope: ParameterScope
    var result: [UInt8] = []
    private var steps = 0

    init(scope: ParameterScope) { self.scope = scope }

    mutating func expand(_ text: Text, depth: Int) throws(ParameterFlaw) {
        guard depth <= Evaluation.deepest else { throw ParameterFlaw("unreasonable macro call nesting: \"\(shown(text))\"") }
        var rest = text
        while !rest.isEmpty {
            steps += 1
            guard steps <= Evaluation.mostSteps else { throw ParameterFlaw("the value takes too many steps to evaluate") }
            guard let dollar = rest.firstIndex(of: UInt8(ascii: "$")) else { return try append(rest) }
            try append(rest[..<dollar])
            rest = rest[(dollar + 1)...]
            if rest.first == UInt8(ascii: "$") {
                try append(rest.prefix(1))
                rest = rest.dropFirst()
            } else {
                try expandExpression(takeReference(&rest, of: text), depth: depth)
            }
        }
    }

    private mutating func append(_ text: Text) throws(ParameterFlaw) {
        guard result.count + text.count <= Evaluation.longest else {
            throw ParameterFlaw("the value expands to more than \(Evaluation.longest) octets")
        }
        result += text
    }

    /// What stands in `${…}`, `$(…)`, or after a bare `$`.
    private func takeReference(_ rest: inout Text, of text: Text) throws(ParameterFlaw) -> Text {
        let reference: Text
        switch rest.first {
        case UInt8(ascii: "{"), UInt8(ascii: "("):
            let open = rest.first!
            guard let end = matching(open, open == UInt8(ascii: "{") ? UInt8(ascii: "}") : UInt8(ascii: ")"), in: rest) else {
                throw ParameterFlaw("truncated macro reference: \"\(shown(text))\"")
            }
            reference = rest[(rest.startIndex + 1)..<end]
            rest = rest[(end + 1)...]
        default:
            reference = rest.prefix(while: isNameOctet)
            rest = rest[reference.endIndex...]
        }
        guard !reference.isEmpty else { throw ParameterFlaw("empty macro name: \"\(shown(text))\"") }
        return reference
    }

    private mutating func expandExpression(_ expression: Text, depth: Int) throws(ParameterFlaw) {
        var rest = expression
        let value: Text?
        if startsOperand(rest) {
            value = try compare(&rest, depth: depth) ? Array("true".utf8)[...] : []
            skipBlanks(&rest)
            guard rest.isEmpty || rest.first == UInt8(ascii: "?") || rest.first == UInt8(ascii: ":") else {
                throw ParameterFlaw("\"?\" or \":\" expected", before: expression[..<rest.startIndex], rest: rest)
            }
        } else {
            skipBlanks(&rest)
            let name = rest.prefix(while: isNameOctet)
            rest = rest[name.endIndex...]
            skipBlanks(&rest)
            guard !name.isEmpty, rest.isEmpty || rest.first == UInt8(ascii: "?") || rest.first == UInt8(ascii: ":") else {
                throw ParameterFlaw("attribute name syntax error", before: expression[..<rest.startIndex], rest: rest)
            }
            value = scope.text(of: String(decoding: name, as: UTF8.self)).map { Array($0.utf8)[...] }
        }
        guard let sign = rest.popFirst() else {
            if let value { try expand(value, depth: depth + 1) }
            return
        }
        try expandConditional(isTrue: value?.isEmpty == false, sign, &rest, depth: depth)
    }

    /// After the `?` or the `:` of a conditional.
    private mutating func expandConditional(isTrue: Bool, _ sign: UInt8, _ rest: inout Text, depth: Int) throws(ParameterFlaw) {
        if sign == UInt8(ascii: "?") {
            let text = try takeResult(&rest)
            if isTrue { try expand(text, depth: depth + 1) }
            guard let colon = rest.first else { return }
            guard colon == UInt8(ascii: ":") else { throw ParameterFlaw("\":\" expected", before: text + "}".utf8, rest: rest) }
            rest = rest.dropFirst()
        }
        let text = try takeResult(&rest)
        guard rest.isEmpty else { throw ParameterFlaw("unexpected input", before: text + "}".utf8, rest: rest) }
        if !isTrue { try expand(text, depth: depth + 1) }
    }

    /// `{text}` and the blanks after it, or all that is left.
    private func takeResult(_ rest: inout Text) throws(ParameterFlaw) -> Text {
        guard startsOperand(rest) else {
            defer { rest = rest.suffix(0) }
            return rest
        }
        return try takeOperand(&rest)
    }

    /// `{a} == {b}`, with the blanks around it.
    private mutating func compare(_ rest: inout Text, depth: Int) throws(ParameterFlaw) -> Bool {
        let left = try takeOperand(&rest)
        let sign = rest.prefix { "<>!=?+-*/~&|%".utf8.contains($0) }
        guard let relation = Relation(rawValue: String(decoding: sign, as: UTF8.self)) else {
            throw ParameterFlaw("\"==\" or \"!=\" or \"<\" or \"<=\" or \">=\" or \">\" expected", before: left + "}".utf8, rest: rest)
        }
        rest = rest[sign.endIndex...]
        let suffix = rest.prefix(while: isNameOctet)
        guard suffix.isEmpty || suffix.elementsEqual("level".utf8) else { throw ParameterFlaw("bad operator suffix", before: sign, rest: suffix) }
        rest = rest[suffix.endIndex...]
        guard startsOperand(rest) else { throw ParameterFlaw("\"{expression}\" expected", before: left + "}".utf8, rest: rest) }
        let right = try takeOperand(&rest)
        let (a, b) = (try evaluated(left, depth: depth), try evaluated(right, depth: depth))
        if !suffix.isEmpty { return relation.holds(try level(a), try level(b)) { $0.lexicographicallyPrecedes($1) } }
        if isNumber(a), isNumber(b), let a = Int(String(decoding: a, as: UTF8.self)), let b = Int(String(decoding: b, as: UTF8.self)) {
            return relation.holds(a, b, <)
        }
        return relation.holds(a, b) { $0.lexicographicallyPrecedes($1) }
    }

    private mutating func evaluated(_ text: Text, depth: Int) throws(ParameterFlaw) -> [UInt8] {
        var inner = Evaluation(scope: scope)
        inner.steps = steps
        defer { steps = inner.steps }
        try inner.expand(text, depth: depth + 1)
        return inner.result
    }

    /// The text between braces that balance; takes the blanks before and after, too.
    private func takeOperand(_ rest: inout Text) throws(ParameterFlaw) -> Text {
        skipBlanks(&rest)
        guard let end = matching(UInt8(ascii: "{"), UInt8(ascii: "}"), in: rest) else {
            throw ParameterFlaw("unbalanced {} in attribute expression: \"\(shown(rest))\"")
        }
        defer {
            rest = rest[(end + 1)...]
            skipBlanks(&rest)
        }
        return rest[(rest.startIndex + 1)..<end]
    }

    /// Where the bracket closes that `text` begins with.
    private func matching(_ open: UInt8, _ close: UInt8, in text: Text) -> Int? {
        var level = 0
        for index in text.indices {
            if text[index] == open { level += 1 }
            if text[index] == close { level -= 1 }
            if level == 0 { return index }
        }
        return nil
    }

    /// `major`, `major.minor` or `major.minor.patch`.
    private func level(_ text: [UInt8]) throws(ParameterFlaw) -> [Int] {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).map { Int(String(decoding: $0, as: UTF8.self)) }
        guard parts.count <= 3, parts.allSatisfy({ $0 != nil && $0! >= 0 }) else {
            throw ParameterFlaw("malformed compatibility level syntax: \"\(shown(text[...]))\"")
        }
        return parts.map { $0! } + Array(repeating: 0, count: 3 - parts.count)
    }

    private enum Relation: String {
        case equal = "==", unequal = "!=", less = "<", atMost = "<=", atLeast = ">=", greater = ">"

        func holds<Value: Equatable>(_ a: Value, _ b: Value, _ precedes: (Value, Value) -> Bool) -> Bool {
            switch self {
            case .equal: a == b
            case .unequal: a != b
            case .less: precedes(a, b)
            case .atMost: !precedes(b, a)
            case .atLeast: !precedes(a, b)
            case .greater: precedes(b, a)
            }
        }
    }

    private func startsOperand(_ text: Text) -> Bool { text.first { !isBlank($0) } == UInt8(ascii: "{") }
    private func skipBlanks(_ text: inout Text) { text = text.drop(while: isBlank) }
    private func shown(_ text: Text) -> String { String(decoding: text.prefix(60), as: UTF8.self) + (text.count > 60 ? "..." : "") }
    private func isNumber(_ text: [UInt8]) -> Bool { !text.isEmpty && text.allSatisfy { (0x30...0x39).contains($0) } }

    private func isNameOctet(_ octet: UInt8) -> Bool {
        switch octet {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

/// isspace(3).
func isBlank(_ octet: UInt8) -> Bool { octet == 0x20 || (0x09...0x0D).contains(octet) }
