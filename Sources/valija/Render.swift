// `valija render FILE -o DIR`: the manifest as Postfix's configuration. Exit 0: written; 1: the manifest is not valid, or
// somebody else's file is in the way; 66: written, but a secret could not be read; 73, 74: the directory or a file could not be
// written; 64: the command line is wrong. `--check DIR` writes nothing. Exit 0: DIR holds what would be written; 1: it does not.

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

            With --check nothing is written: what is in the directory is compared with what would be written, and what differs is shown \
            as a unified diff. Files with secrets are compared, not shown, and where a secret cannot be read here, not compared.

            Exit 0: written, or with --check up to date; 1: the manifest is not valid, a file that valija did not write is in the way, or \
            with --check something differs; 64: the command line is wrong; 66: written, but a secret could not be read and its line \
            is a comment; 73, 74: the directory or a file could not be written or read.
            """)

    @Argument(help: ArgumentHelp("The manifest; - is standard input.", valueName: "file"))
    var file: String

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the files go; - prints them.", valueName: "dir"))
    var output: String?

    @Option(name: .customLong("check"), help: ArgumentHelp("Say whether the files in this directory are up to date, and what differs.", valueName: "dir"))
    var checked: String?

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

    func validate() throws {
        guard (output == nil) != (checked == nil) else { throw ValidationError("Say where the files go (-o DIR) or are (--check DIR).") }
    }

    func run() throws {
        let name = file == "-" ? "<stdin>" : file
        let (source, result) = readManifest(file, as: name)
        let renderer = DiagnosticRenderer(source: source, colours: wantsColours(STDERR_FILENO))
        for diagnostic in result.diagnostics { write(Array(renderer.render(diagnostic).utf8), to: STDERR_FILENO) }
        guard let system = result.system else {
            complain(result.summary(file: name))
            throw ExitCode(ExitStatus.failure.rawValue)
        }
        let rendering = Rendering(system, options: RenderOptions(accounts: accounts, maps: maps, owner: owner), secrets: readSecret)
        for note in rendering.notes { complain("\(name):\(place(of: note)) note: \(note.path): \(note.text)") }
        // What is printed holds no secret, and what is compared can do without.
        if let checked { return try check(rendering, in: checked) }
        if output == "-" { return printFiles(of: rendering) }
        for note in rendering.unreadable { complain("\(name):\(place(of: note)) warning: \(note.path): \(note.text)") }
        let output = output!
        do throws(OutputDirectory.Failure) {
            try OutputDirectory(output).write(rendering.files, replacingForeign: force)
        } catch {
            throw ExitCode(explain(error).rawValue)
        }
        print("\(output): \(rendering.files.map(\.name).joined(separator: ", "))")
        if !rendering.steps.isEmpty { print("next: \(output)/NOTES says what is to be done before Postfix starts") }
        if !rendering.unreadable.isEmpty { throw ExitCode(ExitStatus.noInput.rawValue) }
    }

    private func place(of note: RenderNote) -> String { note.position.map { "\($0.line):\($0.column):" } ?? "" }

    private func printFiles(of rendering: Rendering) {
        for file in rendering.files {
            let content = file.isSecret ? "(secret; mode \(String(file.mode, radix: 8)))\n" : file.content
            write(Array("==> \(file.name) <==\n\(content)\n".utf8), to: STDOUT_FILENO)
        }
    }

    private func check(_ rendering: Rendering, in directory: String) throws {
        let differences: [OutputDirectory.Difference]
        do throws(OutputDirectory.Failure) {
            differences = try OutputDirectory(directory).differences(from: rendering.files)
        } catch {
            throw ExitCode(explain(error).rawValue)
        }
        for file in rendering.files where !file.isComplete { complain("\(directory)/\(file.name): not compared: it holds a secret that cannot be read here") }
        guard !differences.isEmpty else { return print("\(directory): up to date") }
        for difference in differences { write(Array(difference.text.utf8), to: STDOUT_FILENO) }
        complain("\(directory) is not what \(file) renders to: \(differences.map(\.name).joined(separator: ", "))")
        throw ExitCode(ExitStatus.failure.rawValue)
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
