// Which key of the manifest says what a parameter of Postfix says, by the declarations of the keys.

internal import MailSyntax

extension ManifestReference {
    /// Paths of keys, `limits.message_size`; empty: no key sets the parameter.
    package static func keys(forPostfix parameter: String) -> [String] {
        var paths: [String] = []
        visit(ManifestSchema.root.form, "") { path, declaration in
            let parameters = declaration.postfix?.parts(between: ", ") ?? []
            if parameters.contains(where: { $0 == parameter }), !paths.contains(path) { paths.append(path) }
        }
        return paths
    }

    private static func visit(_ form: Form, _ path: String, _ body: (String, Declaration) -> Void) {
        switch form {
        case .section(let declarations):
            for declaration in declarations {
                let inner = path.isEmpty ? declaration.name : "\(path).\(declaration.name)"
                body(inner, declaration)
                visit(declaration.form, inner, body)
            }
        case .table(_, let entry): visit(entry, "\(path).NAME", body)
        case .either(let a, let b):
            visit(a, path, body)
            visit(b, path, body)
        case .word, .list, .oneOrMany, .anything: break
        }
    }
}
