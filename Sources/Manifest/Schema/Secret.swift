// A secret is never required to stand in the file. So far only keys to come hold one, so that there is a form and no value.

enum Secret {
    private static let advice = "it comes with the keys that hold secrets"
    private static let file = PlannedKey(
        "file", Syntax<String>.path.form, example: "/run/secrets/alice", advice: advice, "The file that holds the secret in its first line.")
    private static let env = PlannedKey(
        "env", Syntax<String>.text.form, example: "ALICE_PASSWORD", advice: advice, "The environment variable that holds the secret.")

    private static let word = Word(
        name: "secret", noun: "a secret", forms: "the secret itself, or where it is: {file: PATH} or {env: NAME}", json: [("type", .string("string"))])

    static let form = Form.either(.word(word), .section([file.declaration, env.declaration]))

    /// Words that a line of the source is searched for before it is shown: a key that may hold a secret, misspelt or not.
    static func mayBeHeld(by key: String) -> Bool {
        let key = Array(key.lowercased().utf8)
        return ["password", "passwd", "pass", "pwd", "secret", "passphrase"].contains { word in
            let word = Array(word.utf8)
            return key == word || word.count > 6 && editDistance(key, word) <= 2
        }
    }
}
