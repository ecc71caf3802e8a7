// Diagnostics for machines: a JSON array, SARIF 2.1.0 (OASIS) for code scanning, and the workflow commands that GitHub shows
// beside the lines of a change.

package enum DiagnosticReport {
    /// An array of objects: `file`, `line`, `column`, `end_column`, `severity`, `strict` (a warning made an error by `--strict`), `code`,
    /// `message`, `hint`; what is unknown is null.
    package static func json(_ diagnostics: [Diagnostic]) -> String { objects(diagnostics).text }

    package static func objects(_ diagnostics: [Diagnostic]) -> JSON {
        JSON.array(
            diagnostics.map { diagnostic in
                .object([
                    ("file", .string(diagnostic.file)),
                    ("line", diagnostic.position.map { .int($0.line) } ?? .null),
                    ("column", diagnostic.position.map { .int($0.column) } ?? .null),
                    ("end_column", diagnostic.endColumn.map(JSON.int) ?? .null),
                    ("severity", .string(diagnostic.severity.rawValue)),
                    ("strict", .bool(diagnostic.isStrict)),
                    ("code", .string(diagnostic.code.rawValue)),
                    ("message", .string(diagnostic.message)),
                    ("hint", diagnostic.hint.map(JSON.string) ?? .null),
                ])
            }
        )
    }

    /// A SARIF log of one run over `files`, with the closed list of codes as its rules.
    package static func sarif(_ diagnostics: [Diagnostic], files: [String]) -> String {
        let rules = Diagnostic.Code.allCases.map { code in
            JSON.object([("id", .string(code.rawValue)), ("shortDescription", message(code.meaning))])
        }
        let run: [(String, JSON)] = [
            ("tool", .object([("driver", .object([("name", .string("valija")), ("rules", .array(rules))]))])),
            ("columnKind", .string("unicodeCodePoints")),
            ("artifacts", .array(files.map { .object([("location", location($0))]) })),
            ("results", .array(diagnostics.map(result))),
        ]
        return JSON.object([
            ("$schema", .string("https://json.schemastore.org/sarif-2.1.0.json")), ("version", .string("2.1.0")), ("runs", .array([.object(run)])),
        ]).text
    }

    private static func result(_ diagnostic: Diagnostic) -> JSON {
        var place: [(String, JSON)] = [("artifactLocation", location(diagnostic.file))]
        if let position = diagnostic.position {
            var region: [(String, JSON)] = [("startLine", .int(position.line)), ("startColumn", .int(position.column))]
            if let end = diagnostic.endColumn { region.append(("endColumn", .int(end))) }
            place.append(("region", .object(region)))
        }
        return .object([
            ("ruleId", .string(diagnostic.code.rawValue)), ("ruleIndex", .int(ruleNumbers[diagnostic.code]!)),
            ("level", .string(diagnostic.severity.rawValue)), ("message", message(withHint(diagnostic))),
            ("locations", .array([.object([("physicalLocation", .object(place))])])),
        ])
    }

    private static let ruleNumbers = Dictionary(uniqueKeysWithValues: Diagnostic.Code.allCases.enumerated().map { ($1, $0) })

    /// A relative path is a relative reference, an absolute one a `file` URI (RFC 8089 §2).
    private static func location(_ file: String) -> JSON {
        .object([("uri", .string((file.hasPrefix("/") ? "file://" : "") + percentEncoded(file)))])
    }

    private static func message(_ text: String) -> JSON { .object([("text", .string(text))]) }

    private static func withHint(_ diagnostic: Diagnostic) -> String {
        diagnostic.message + (diagnostic.isStrict ? " (an error by --strict)" : "") + (diagnostic.hint.map { " (hint: \($0))" } ?? "")
    }

    /// RFC 3986 §2.3 unreserved characters and the slash stay as they are.
    private static func percentEncoded(_ path: String) -> String {
        path.utf8.map { byte in
            let scalar = Unicode.Scalar(byte)
            if scalar.isASCII, scalar.properties.isAlphabetic || scalar.properties.numericType != nil || "-._~/".unicodeScalars.contains(scalar) {
                return String(scalar)
            }
            return "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
        }.joined()
    }

    /// `::error file=mail.yaml,line=12,col=9,title=dangling-target::…`, a line for each.
    package static func github(_ diagnostics: [Diagnostic]) -> String {
        diagnostics.map { diagnostic in
            var properties = ["file=\(escaped(diagnostic.file, property: true))"]
            if let position = diagnostic.position { properties += ["line=\(position.line)", "col=\(position.column)"] }
            if let end = diagnostic.endColumn { properties.append("endColumn=\(end)") }
            properties.append("title=\(diagnostic.code.rawValue)")
            return "::\(diagnostic.severity.rawValue) \(properties.joined(separator: ","))::\(escaped(withHint(diagnostic), property: false))\n"
        }.joined()
    }

    /// The commands' own escapes: what would end a value or the line.
    private static func escaped(_ text: String, property: Bool) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "%": result += "%25"
            case "\r": result += "%0D"
            case "\n": result += "%0A"
            case ":" where property: result += "%3A"
            case "," where property: result += "%2C"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
