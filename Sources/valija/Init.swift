// `valija init [FILE]`: a manifest to begin with. Exit 0: written; 73: the file exists or cannot be made; 74: it could not be
// written; 64: the command line is wrong.

import ArgumentParser
import Glibc
import Manifest

struct Init: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a manifest to begin with.",
        discussion: """
            It asks nothing. The manifest is valid, has comments, and shows what else there is.

            Exit 0: written; 73: the file exists (--force replaces it) or cannot be made; 74: it could not be written; 64: the command line is \
            wrong.
            """)

    @Argument(help: ArgumentHelp("The file to write. Default: standard output, as is -.", valueName: "file"))
    var file: String?

    @Flag(help: "Replace a file that exists.")
    var force = false

    func run() throws {
        let text = Array(StarterManifest.text.utf8)
        guard let file, file != "-" else { return write(text, to: STDOUT_FILENO) }
        let descriptor = open(file, O_WRONLY | O_CREAT | O_CLOEXEC | (force ? O_TRUNC : O_EXCL), 0o644)
        guard descriptor >= 0 else {
            complain("valija init: \(file): \(errno == EEXIST ? "the file exists; --force replaces it" : String(cString: strerror(errno)))")
            throw ExitCode(ExitStatus.cannotCreate.rawValue)
        }
        let written = text.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        guard close(descriptor) == 0, written == text.count else {
            complain("valija init: \(file): it could not be written")
            throw ExitCode(ExitStatus.ioError.rawValue)
        }
        print("\(file) is written; change its names, then: valija check \(file)")
    }
}
