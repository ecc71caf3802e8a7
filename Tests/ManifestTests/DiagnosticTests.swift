// How findings are shown.

@testable import Manifest
import Testing

@Suite("Diagnostics")
struct DiagnosticTests {
    static let source = "apiVersion: valija/v1\naliases:\n  root: alise\n"
    static let diagnostic = Diagnostic(
        .danglingTarget, .error, "alias target \"alise\" is neither a user nor an alias", file: "mail.yaml", at: SourcePosition(line: 3, column: 9),
        endColumn: 14, hint: "did you mean \"alice\"?")

    @Test("a finding shows its place, the line, a caret and a hint")
    func text() {
        let text = DiagnosticRenderer(source: Array(DiagnosticTests.source.utf8)).render(DiagnosticTests.diagnostic)
        #expect(
            text == """
                mail.yaml:3:9: error: alias target "alise" is neither a user nor an alias [dangling-target]
                  3 |   root: alise
                    |         ^~~~~
                    = hint: did you mean "alice"?

                """)
    }

    @Test("colours appear only if asked for")
    func colours() {
        let source = Array(DiagnosticTests.source.utf8)
        #expect(DiagnosticRenderer(source: source, colours: true).render(DiagnosticTests.diagnostic).contains("\u{1B}[1;31merror:\u{1B}[0m"))
        #expect(!DiagnosticRenderer(source: source, colours: false).render(DiagnosticTests.diagnostic).contains("\u{1B}"))
    }

    @Test(
        "a place beyond the text, or no place, is no reason to crash",
        arguments: [nil, SourcePosition(line: 99, column: 99), SourcePosition(line: 1, column: 9999)])
    func odd(_ position: SourcePosition?) {
        let diagnostic = Diagnostic(.yamlSyntax, .error, "x", file: "f", at: position, endColumn: 2)
        #expect(DiagnosticRenderer(source: Array(DiagnosticTests.source.utf8)).render(diagnostic).hasPrefix("f:"))
        #expect(DiagnosticRenderer(source: []).render(diagnostic).hasPrefix("f:"))
    }

    @Test(
        "a secret is never shown",
        arguments: [
            "users: {alice: {password: hunter2, quota: x}}",
            "users:\n  alice:\n    pasword: hunter2\n",
            "users:\n  alice:\n    password: \"hunter2\n",
            "users:\n  alice:\n    password:\n      \"hunter2\n",
            "users:\n  alice:\n    password: |\n     hunter2\n   - x\n",
            "relayhost: {host: x, \"password\" : 'hunter2', tls: y}",
            "relayhost:\n  passwd: hunter2\n",
            "users:\n  alice:\n    password:hunter2\n",
            "users: {alice: {password:hunter2}}\n",
            "users:\n  alice:\n    password = hunter2\n",
            "users:\n  alice:\n    password:hunter2\n    quota: 1GiB\n",
            "users: {alice: {password: hunter2}}",
            "users: {alice: {password: 'hunter2' x}}",
            "users: {alice: {password: “hunter2”}}",
            "users: {alice: {password: &a hunter2}, bob: *a, carol: {<<: *a, quota: *a}}",
        ])
    func secrets(_ text: String) {
        let source = Array((head + text).utf8)
        let result = ManifestReader.read(text: source, file: "x")
        let renderer = DiagnosticRenderer(source: source)
        #expect(result.system == nil)
        #expect(!result.diagnostics.map(renderer.render).joined().contains("hunter2"))
        #expect(!DiagnosticReport.json(result.diagnostics).contains("hunter2"))
    }

    @Test("JSON has every field, null where there is nothing to say")
    func json() {
        let whole = Diagnostic(.emptyManifest, .warning, "say \"so\"", file: "a\tb")
        #expect(
            DiagnosticReport.json([whole]) == """
                [
                  {
                    "file": "a\\tb",
                    "line": null,
                    "column": null,
                    "end_column": null,
                    "severity": "warning",
                    "strict": false,
                    "code": "empty-manifest",
                    "message": "say \\"so\\"",
                    "hint": null
                  }
                ]

                """)
        #expect(DiagnosticReport.json([]) == "[]\n")
        #expect(DiagnosticReport.json([DiagnosticTests.diagnostic]).contains("\"line\": 3,\n    \"column\": 9,\n    \"end_column\": 14,"))
    }

    @Test("a SARIF log has the codes as rules, and each finding with its region and an encoded path")
    func sarif() throws {
        let odd = Diagnostic(.loop, .error, "x", file: "a b%/é.yaml", at: SourcePosition(line: 1, column: 2))
        let text = DiagnosticReport.sarif([DiagnosticTests.diagnostic, odd], files: ["mail.yaml", "/etc/x.yaml"])
        var findings = Findings(file: "x")
        #expect(Composer.compose(Array(text.utf8), &findings) != nil)
        for code in Diagnostic.Code.allCases { #expect(text.contains("\"id\": \"\(code.rawValue)\"")) }
        #expect(text.contains("\"uri\": \"mail.yaml\"") && text.contains("\"uri\": \"a%20b%25/%C3%A9.yaml\""))
        #expect(text.contains("\"startLine\": 3,") && text.contains("\"startColumn\": 9,") && text.contains("\"endColumn\": 14"))
    }

    @Test("SARIF names an absolute path as a file URI, and each result's rule by its number too")
    func sarifReferences() {
        let text = DiagnosticReport.sarif([DiagnosticTests.diagnostic], files: ["/etc/mail \u{E9}.yaml"])
        #expect(text.contains("\"uri\": \"file:///etc/mail%20%C3%A9.yaml\""))
        let number = Diagnostic.Code.allCases.firstIndex(of: .danglingTarget)!
        #expect(text.contains("\"ruleIndex\": \(number),"))
    }

    @Test("--strict makes an error of each warning, and every format says so")
    func strict() {
        let warning = Diagnostic(.noPostmaster, .warning, "x", file: "f")
        let result = ReadResult(system: nil, diagnostics: [warning, DiagnosticTests.diagnostic]).strict
        #expect(result.diagnostics.map(\.severity) == [.error, .error])
        #expect(result.diagnostics.map(\.isStrict) == [true, false])
        #expect(result.summary(file: "f") == "f: 2 errors (1 by --strict)")
        #expect(DiagnosticRenderer(source: []).render(result.diagnostics[0]) == "f: error: x [no-postmaster, --strict]\n")
        #expect(DiagnosticReport.json(result.diagnostics).contains("\"severity\": \"error\",\n    \"strict\": true,"))
        #expect(DiagnosticReport.github(result.diagnostics).hasPrefix("::error file=f,title=no-postmaster::x (an error by --strict)\n"))
        #expect(DiagnosticReport.sarif(result.diagnostics, files: ["f"]).contains("\"level\": \"error\",\n          \"message\": {\n            \"text\": \"x (an error by --strict)\""))
    }

    @Test("several files get a summary of all")
    func summaryOfSeveral() {
        let warning = Diagnostic(.noPostmaster, .warning, "x", file: "f")
        #expect(ReadResult.summary(of: [(true, []), (true, [warning])]) == "2 files: 2 valid; 1 warning")
        #expect(ReadResult.summary(of: [(false, [DiagnosticTests.diagnostic]), (true, [])]) == "2 files: 1 valid, 1 not valid; 1 error")
        #expect(ReadResult.summary(of: [(true, []), (true, [])]) == "2 files: 2 valid")
    }

    @Test("a GitHub annotation escapes what would end it")
    func github() {
        let diagnostic = Diagnostic(.loop, .error, "a:b,c%\n", file: "x,y:z", at: SourcePosition(line: 1, column: 2))
        #expect(DiagnosticReport.github([diagnostic]) == "::error file=x%2Cy%3Az,line=1,col=2,title=loop::a:b,c%25%0A\n")
    }

    @Test(
        "the edit distance counts insertions, deletions, replacements and swaps",
        arguments: [("", "", 0), ("a", "", 1), ("alice", "alise", 1), ("ailce", "alice", 1), ("kitten", "sitting", 3), ("abc", "abc", 0)])
    func distance(_ a: String, _ b: String, _ distance: Int) {
        #expect(editDistance(Array(a.utf8), Array(b.utf8)) == distance)
        #expect(editDistance(Array(b.utf8), Array(a.utf8)) == distance)
    }

    @Test("the summary counts", arguments: [(1, 0, "f: 1 error"), (2, 1, "f: 2 errors, 1 warning"), (1, 2, "f: 1 error, 2 warnings")])
    func summary(_ errors: Int, _ warnings: Int, _ expected: String) {
        let error = Diagnostic(.loop, .error, "", file: "")
        let warning = Diagnostic(.noEffect, .warning, "", file: "")
        let all = Array(repeating: error, count: errors) + Array(repeating: warning, count: warnings)
        #expect(ReadResult(system: nil, diagnostics: all).summary(file: "f") == expected)
    }
}
