// Hints for unknown keys that exist elsewhere, or that Postfix knows by another name.

extension ManifestSchema {
    /// `message_size` at the top level belongs under `limits`; Postfix's `myhostname` is `hostname` here. Nil for a stranger.
    static func hint(forMisplaced name: String) -> String? {
        if let path = paths.byName[name] { return "it belongs at \(path)" }
        if let path = paths.byPostfixName[name] { return "Postfix's \(name) is \(path) here" }
        return nil
    }

    private static let paths: (byName: [String: String], byPostfixName: [String: String]) = {
        var byName: [String: String] = [:]
        var byPostfixName: [String: String] = [:]
        func walk(_ form: Form, _ path: String) {
            switch form {
            case .section(let declarations):
                for declaration in declarations {
                    let path = path.isEmpty ? declaration.name : "\(path).\(declaration.name)"
                    byName[declaration.name] = byName[declaration.name] ?? path
                    for name in (declaration.postfix ?? "").split(whereSeparator: { $0 == "," || $0 == " " }).map(String.init) where byPostfixName[name] == nil {
                        byPostfixName[name] = path
                    }
                    walk(declaration.form, path)
                }
            case .table(_, let entry): walk(entry, "\(path).NAME")
            case .either(let a, let b):
                walk(a, path)
                walk(b, path)
            case .list(let element), .oneOrMany(let element): walk(element, path)
            case .word, .anything: break
            }
        }
        walk(root.form, "")
        return (byName, byPostfixName)
    }()
}
