// `valija render FILE -o DIR`: the manifest as Postfix's configuration. Exit 0: written; 1: the manifest is not valid, or
// somebody else's file is in the way; 73, 74: the directory or a file could not be written; 64: the command line is wrong.

import ArgumentParser
import Glibc
import Manifest
import PostfixFiles

struct Render: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write the equivalent Postfix configuration.",
        discussion: """
            Writes main.cf, master.cf and the tables that the manifest needs. The same manifest gives the same bytes. What \
            Postfix does not do of the manifest is said on standard error and at the end of main.cf.

            Exit 0: written; 1: the manifest is not valid, or a file that valija did not write is in the way; 64: the command line is \
            wrong; 73, 74: the directory or a file could not be written.
            """)

    @Argument(help: ArgumentHelp("The manifest; - is standard input.", valueName: "file"))
    var file: String

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the files go; - prints them.", valueName: "dir"))
    var output: String

    @Flag(help: "Replace files that valija did not write.")
    var force = false

    func run() throws {
        let name = file == "-" ? "<stdin>" : file
        let (source, result) = readManifest(file, as: name)
        let renderer = DiagnosticRenderer(source: source, colours: wantsColours(STDERR_FILENO))
        for diagnostic in result.diagnostics { write(Array(renderer.render(diagnostic).utf8), to: STDERR_FILENO) }
        guard let system = result.system else {
            complain(result.summary(file: name))
            throw ExitCode(ExitStatus.failure.rawValue)
        }
        let rendering = Rendering(system)
        for note in rendering.notes {
            let place = note.position.map { "\($0.line):\($0.column):" } ?? ""
            complain("\(name):\(place) note: \(note.path): \(note.text)")
        }
        if output == "-" {
            for file in rendering.files { write(Array("==> \(file.name) <==\n\(file.content)\n".utf8), to: STDOUT_FILENO) }
            return
        }
        do throws(OutputDirectory.Failure) {
            try OutputDirectory(output).write(rendering.files, replacingForeign: force)
        } catch {
            throw ExitCode(explain(error).rawValue)
        }
        print("\(output): \(rendering.files.map(\.name).joined(separator: ", "))")
        if rendering.files.contains(where: { $0.name == "aliases" }) { print("next: postalias \(output)/aliases") }
    }

    private func explain(_ failure: OutputDirectory.Failure) -> ExitStatus {
        switch failure {
        case .foreign(let path):
            complain("valija render: \(path) was not written by valija; --force replaces it. Nothing was changed")
            return .failure
        case .cannotCreate(let path, let error):
            complain("valija render: \(path): \(String(cString: strerror(error)))")
            return .cannotCreate
        case .failed(let path, let error):
            complain("valija render: \(path): \(String(cString: strerror(error)))")
            return .ioError
        }
    }
}
