// Secrets: a manifest names where they are, and may hold them. What holds one is never printed.

/// A password, or the hash of one.
package enum Secret: Hashable, Sendable, CustomStringConvertible {
    case literal(String)
    /// The first line of this file.
    case file(String)
    /// The value of this environment variable.
    case environment(String)

    /// Where it is, never what it is.
    package var description: String {
        switch self {
        case .literal: "(secret)"
        case .file(let path): "file \(path)"
        case .environment(let name): "environment variable \(name)"
        }
    }
}

extension Secret {
    private static let file = Key("file", .path, example: "/run/secrets/alice", "The file that holds the secret in its first line.")
    private static let env = Key("env", .variable, example: "ALICE_PASSWORD", "The environment variable that holds the secret.")

    static let word = Word(
        name: "secret", noun: "a secret", forms: "the secret itself, or where it is: {file: PATH} or {env: NAME}", json: [("type", .string("string"))],
        isSecret: true)

    static let syntax = Syntax<Secret>.either(
        .word(word) { text throws(Flaw) in
            // The text itself is not shown: it is a secret.
            guard !text.isEmpty else { throw Flaw("the secret is empty") }
            guard text.unicodeScalars.allSatisfy(isPrintable) else { throw Flaw("the secret contains a control character") }
            return .literal(text)
        },
        orMapping: Syntax<Secret?>.section([file, env]) { section, findings in
            let file = section.optional(file, &findings)
            let name = section.optional(env, &findings)
            switch (section.position(of: Self.file), section.position(of: env)) {
            case (nil, nil): findings.error(.missingKey, "nothing says where the secret is", at: section.span, hint: word.forms)
            case (_?, let second?): findings.error(.conflictingValues, "a secret is in a file or in a variable, not in both", at: second)
            default: break
            }
            return file.map { .file($0.value) } ?? name.map { .environment($0.value) }
        }.then { secret, _, _ in secret })

    /// Words that a line of the source is searched for before it is shown: a key that may hold a secret, misspelt or not.
    static func mayBeHeld(by key: String) -> Bool {
        let key = Array(key.lowercased().utf8)
        return ["password", "passwd", "pass", "pwd", "secret", "passphrase"].contains { word in
            let word = Array(word.utf8)
            return key == word || word.count > 6 && editDistance(key, word) <= 2
        }
    }
}

extension Syntax where Value == String {
    /// POSIX (XBD §8.1): names of environment variables.
    fileprivate static var variable: Syntax { .word(
        Word(
            name: "variable", noun: "the name of an environment variable", forms: "letters, digits and _, not beginning with a digit",
            json: [("type", .string("string")), ("pattern", .string("^[A-Za-z_][A-Za-z0-9_]*$"))])
    ) { text throws(Flaw) in
        let isName = text.utf8.allSatisfy { isDigit($0) || $0 == UInt8(ascii: "_") || ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z") }
        guard isName, let first = text.utf8.first, !isDigit(first) else { throw Flaw("\(quoted(text)) is not the name of an environment variable") }
        return text
    } }
}
