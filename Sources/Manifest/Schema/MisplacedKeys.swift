// The declared keys by their paths, and hints for unknown keys that exist elsewhere or that Postfix knows by another name.

extension ManifestSchema {
    /// Every declared key with its path, `users.NAME.quota`, in the order of the declarations.
    static let declarations: [(path: String, declaration: Declaration)] = {
        var result: [(path: String, declaration: Declaration)] = []
        func walk(_ form: Form, _ path: String) {
            switch form {
            case .section(let declarations):
                for declaration in declarations {
                    let path = path.isEmpty ? declaration.name : "\(path).\(declaration.name)"
                    result.append((path, declaration))
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
        return result
    }()

    /// `message_size` at the top level belongs under `limits`; Postfix's `myhostname` is `hostname` here. Nil for a stranger.
    static func hint(forMisplaced name: String) -> String? {
        if let place = declarations.first(where: { $0.declaration.name == name }) { return "it belongs at \(place.path)" }
        let isHere = { (declaration: Declaration) in
            (declaration.postfix ?? "").split { $0 == "," || $0 == " " }.contains(Substring(name))
        }
        return declarations.first { isHere($0.declaration) }.map { "Postfix's \(name) is \($0.path) here" }
    }
}
