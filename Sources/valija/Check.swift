// `valija check FILE...`: what is wrong with manifests. Exit 0: all are valid, warnings or not. 1: at least one is not, or
// cannot be read, or has a warning and --strict is given. 64: the command line is wrong. Findings are the command's product,
// so they go to standard output.

import Appliance
import ArgumentParser
import Glibc
import Manifest

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is wrong with a manifest.",
        discussion: """
            Every error and every warning is shown with its code, its place, its line and, where there is one, a hint. docs/manifest.md \
            lists the codes. What the manifest's tests say of it is tried too.

            Exits 0 if every file is valid, 1 if one is not or cannot be read, 64 if the command line is wrong.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument { case text, json, github, sarif }

    @Argument(help: ArgumentHelp("The manifests; - is standard input.", valueName: "file"))
    var files: [String]

    @Option(help: "How to show the findings: for people, as a JSON array, as annotations of GitHub's, as a SARIF 2.1.0 log.")
    var format = Format.text

    @Flag(name: .customLong("files"), help: "Look at the files that the manifests name, too: certificates and their keys. For the machine that serves them.")
    var looksAtFiles = false

    @Flag(help: "Take warnings for errors.")
    var strict = false

    @Option(help: ArgumentHelp("The name that findings in standard input are shown with.", valueName: "name"))
    var stdinName = "<stdin>"

    func validate() throws {
        guard files.count(where: { $0 == "-" }) <= 1 else { throw ValidationError("standard input can be read once: - stands twice.") }
    }

    func run() throws {
        var results: [(isValid: Bool, diagnostics: [Diagnostic])] = []
        let colours = wantsColours(STDOUT_FILENO)
        let names = files.map { $0 == "-" ? stdinName : $0 }
        for (file, name) in zip(files, names) {
            let (source, read) = readManifest(file, as: name)
            let whole = looksAtFiles ? read.system.map { read.adding(checkFiles($0)) } ?? read : read
            let result = strict ? whole.strict : whole
            results.append((result.system != nil, result.diagnostics))
            guard format == .text else { continue }
            let renderer = DiagnosticRenderer(source: source, colours: colours)
            for diagnostic in result.diagnostics { print(renderer.render(diagnostic), terminator: "") }
            print(result.summary(file: name))
        }
        let findings = results.flatMap(\.diagnostics)
        switch format {
        case .text: if files.count > 1 { print(ReadResult.summary(of: results)) }
        case .json: print(DiagnosticReport.json(findings), terminator: "")
        case .github: print(DiagnosticReport.github(findings), terminator: "")
        case .sarif: print(DiagnosticReport.sarif(findings, files: names), terminator: "")
        }
        if !results.allSatisfy(\.isValid) { throw ExitCode(1) }
    }
}
