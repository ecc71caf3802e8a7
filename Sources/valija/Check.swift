// `valija check FILE...`: what is wrong with manifests. Exit 0: all are valid, warnings or not. 1: at least one is not, or
// cannot be read. 64: the command line is wrong. Findings are the command's product, so they go to standard output.

import ArgumentParser
import Glibc
import Manifest

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say what is wrong with a manifest.",
        discussion: "Exits 0 if every file is valid, 1 if one is not or cannot be read, 64 if the command line is wrong.")

    enum Format: String, CaseIterable, ExpressibleByArgument { case text, json, github, sarif }

    @Argument(help: ArgumentHelp("The manifests; - is standard input.", valueName: "file"))
    var files: [String]

    @Option(help: "How to show the findings.")
    var format = Format.text

    func run() throws {
        var isValid = true
        var findings: [Diagnostic] = []
        let colours = wantsColours(STDOUT_FILENO)
        for file in files {
            let name = file == "-" ? "<stdin>" : file
            let (source, result) = readManifest(file, as: name)
            isValid = isValid && result.system != nil
            findings += result.diagnostics
            guard format == .text else { continue }
            let renderer = DiagnosticRenderer(source: source, colours: colours)
            for diagnostic in result.diagnostics { print(renderer.render(diagnostic), terminator: "") }
            print(result.summary(file: name))
        }
        switch format {
        case .text: break
        case .json: print(DiagnosticReport.json(findings), terminator: "")
        case .github: print(DiagnosticReport.github(findings), terminator: "")
        case .sarif: print(DiagnosticReport.sarif(findings), terminator: "")
        }
        if !isValid { throw ExitCode(1) }
    }
}
