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
            Postfix does not do of the manifest is said on standard error and in the file NOTES, with what is to be done \
            before Postfix starts.

            Exit 0: written; 1: the manifest is not valid, or a file that valija did not write is in the way; 64: the command line is \
            wrong; 73, 74: the directory or a file could not be written.
            """)

    @Argument(help: ArgumentHelp("The manifest; - is standard input.", valueName: "file"))
    var file: String

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the files go; - prints them.", valueName: "dir"))
    var output: String

    @Option(help: ArgumentHelp(
        "Who the users are to Postfix: accounts of the system (unix), or entries of a table (virtual).", valueName: "unix|virtual"))
    var accounts = RenderOptions.Accounts.unix

    @Option(help: ArgumentHelp(
        "The type of the tables. texthash needs no postmap; for lmdb and hash the rendered Makefile runs it.", valueName: "texthash|lmdb|hash"))
    var maps = RenderOptions.Maps.texthash

    @Option(help: ArgumentHelp("Whose the mailboxes are with --accounts virtual.", valueName: "uid:gid"))
    var owner = RenderOptions().owner

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
        let rendering = Rendering(system, options: RenderOptions(accounts: accounts, maps: maps, owner: owner))
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
        if !rendering.steps.isEmpty { print("next: \(output)/NOTES says what is to be done before Postfix starts") }
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

extension RenderOptions.Accounts: ExpressibleByArgument {}
extension RenderOptions.Maps: ExpressibleByArgument {}

/// `uid:gid`, both numbers. Never root: virtual(8) would write as it.
extension RenderOptions.Owner: ExpressibleByArgument {
    package init?(argument: String) {
        let parts = argument.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) ?? 0 }
        guard parts.count == 2, !parts.contains(0) else { return nil }
        self.init(user: parts[0], group: parts[1])
    }

    package var defaultValueDescription: String { "\(user):\(group)" }
}
