// `valija reference`: docs/manifest.md, written from the declared keys. A test compares the file with this.

internal import MailSyntax

package enum ManifestReference {
    /// The page in Markdown.
    package static func markdown() -> String {
        var writer = Writer()
        writer.page += """
            <!-- Written by `valija reference` from the declarations in Sources/Manifest/Schema. Do not edit. -->

            # The manifest

            One YAML file describes the whole mail server. `valija check FILE` says what is wrong with it, all at once, each with
            its line and column; `valija schema` prints a JSON Schema for editors.

            ```yaml
            apiVersion: valija/v1
            hostname: mx.example.org
            domains:
              example.org:
            users:
              alice:
            aliases:
              postmaster: alice
            ```

            Names and domains compare without case. A key that this version does not know is an error, and so is one whose feature
            is still to come: nothing is silently ignored. `valija init` writes a manifest with comments to begin with.

            ## In an editor

            Editors with yaml-language-server complete the keys, show what each means, and mark what is wrong while you write, if the
            file says where its schema is. `valija schema > valija.schema.json` writes it; the first line of the manifest is then:

            ```yaml
            # yaml-language-server: $schema=./valija.schema.json
            ```

            What takes more than one value to see (targets, loops, tests) only `valija check` sees.

            ## YAML

            The text is UTF-8, at most 64 MiB, one document. A value that many entries share can be written once: `&name` marks it,
            `*name` stands for it, and `<<: *name` takes in the keys of a mapping, or `<<: [*one, *two]` those of several. A key that
            stands in the entry itself wins, then the mapping that is named first.

            ```yaml
            users:
              alice: &standard { quota: 2GiB, mailbox: { format: mbox } }
              bob:
                <<: *standard
                quota: 5GiB
            ```

            Words that YAML takes for something else need quotes where a name is meant: `no`, `yes`, `on`, `off`, `012`, `1e3`; so do values
            that begin with `@`, `*`, `&`, `!`, `|`, `[` or `{`. `check` says so where it meets one.


            """
        writer.section("The top level", path: "", ManifestSchema.root.form)
        writer.words()
        writer.targets()
        writer.codes()
        return writer.page
    }
}

private struct Writer {
    var page = ""
    private var seenWords: [String: String] = [:]

    private struct Part {
        let path: String
        let meaning: String
        let form: Form
    }

    mutating func section(_ title: String, path: String, _ form: Form) {
        var parts: [Part] = [Part(path: path, meaning: "", form: form)]
        var index = 0
        while index < parts.count {
            let part = parts[index]
            index += 1
            guard case .section(let declarations) = part.form else { continue }
            page += "## \(part.path.isEmpty ? title : "`\(part.path)`")\n\n"
            if !part.meaning.isEmpty { page += "\(part.meaning)\n\n" }
            page += "| key | type | default | example | meaning | Postfix |\n| --- | --- | --- | --- | --- | --- |\n"
            var inner: [Part] = []
            for declaration in declarations {
                row(declaration)
                let path = part.path.isEmpty ? declaration.name : "\(part.path).\(declaration.name)"
                inner += subsections(of: declaration.form, path, declaration.meaning)
            }
            page += "\n"
            // What lies within a section follows it at once.
            parts.insert(contentsOf: inner, at: index)
        }
    }

    private func subsections(of form: Form, _ path: String, _ meaning: String) -> [Part] {
        switch form {
        case .section: [Part(path: path, meaning: meaning, form: form)]
        case .table(_, let entry): subsections(of: entry, "\(path).NAME", meaning)
        case .list(let element), .oneOrMany(let element): subsections(of: element, path, meaning)
        case .either(let a, let b): subsections(of: a, path, meaning) + subsections(of: b, path, meaning)
        default: []
        }
    }

    private mutating func row(_ declaration: Declaration) {
        func code(_ text: String?) -> String { text.map { "`\($0)`" } ?? "" }
        let fallback = declaration.isRequired ? "required" : declaration.fallback.map { $0 == "{}" ? "" : code($0) } ?? declaration.fallbackNote ?? ""
        let note = switch declaration.status {
        case .supported: ""
        case .planned: "**Not supported yet.** "
        }
        let cells = [
            code(declaration.name), type(declaration.form), fallback, code(declaration.example), note + declaration.meaning,
            (declaration.postfix?.parts(between: ", ") ?? []).map { code($0) }.joined(separator: ", "),
        ]
        page += "| " + cells.map { $0.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|") }.joined(separator: " | ") + " |\n"
    }

    private mutating func type(_ form: Form) -> String {
        switch form {
        case .word(let word):
            seenWords[word.name] = word.forms
            return word.name
        case .list(let element): return "list of: \(type(element))"
        case .oneOrMany(let element): return "one or a list of: \(type(element))"
        case .either(let a, let b): return "\(type(a)), or \(type(b))"
        case .section: return "mapping"
        case .table(let name, let entry):
            seenWords[name.name] = name.forms
            let inner = type(entry)
            return "mapping from \(name.name) to \(inner)"
        case .anything(let name): return name
        }
    }

    mutating func words() {
        page += "## Types\n\n| type | forms |\n| --- | --- |\n"
        for (name, forms) in seenWords.sorted(by: { $0.key < $1.key }) where !namesItsForms(name, forms) { page += "| \(name) | \(forms) |\n" }
        page += "\n"
    }

    /// A choice's type is its values, an integer's its range.
    private func namesItsForms(_ name: String, _ forms: String) -> Bool {
        forms.hasPrefix("one of: ") || forms.hasPrefix("the only ") || name.hasPrefix("integer ")
    }

    mutating func targets() {
        page += """
            ## Where an address leads

            For `LOCAL@DOMAIN`, in this order:

            1. `DOMAIN` is virtual: its `addresses` by `LOCAL`, then without the extension, then `"*"`.
            2. `DOMAIN` is local: the alias `LOCAL`, else the user `LOCAL`, then both without the extension.
            3. `DOMAIN` is a relay domain: accepted if `recipients` names it or is left out, and passed on to `via`.
            4. Anything else is outside.

            A bare name as a target means what it would mean in a local domain. An alias that lists its own name means the user of
            that name, a copy to the mailbox; a user who forwards to their own name keeps a copy. Every other way that leads back to
            where it began is an error, unless it passes a user whose mailbox keeps a copy.

            Where nobody is named `postmaster`, `check` warns, and the first user gets that mail. A virtual domain that names no
            postmaster and has no `"*"` shares the server's, with a warning too.


            """
    }

    mutating func codes() {
        page += """
            ## What `check` says

            `valija check FILE...` ends with 0 if every file is valid, with 1 if one is not or cannot be read, with 64 if the command line is
            wrong. `-` is standard input, which `--stdin-name NAME` gives a name. `--strict` takes warnings for errors, for CI. `--format json`
            gives an array, `github` annotations for a workflow, `sarif` a SARIF 2.1.0 log for code scanning. The codes do not change:

            | code | meaning |
            | --- | --- |

            """
        for code in Diagnostic.Code.allCases { page += "| `\(code.rawValue)` | \(code.meaning) |\n" }
    }
}
