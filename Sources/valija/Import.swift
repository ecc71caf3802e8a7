// `valija import DIR`: a hand-made Postfix configuration as a manifest, and a report of what became of it. Exit 0: all of it
// was translated; 2: something was left out or changed, which the report says; 1: there is no manifest; 64: the command
// line is wrong; 73, 74: the manifest or the report could not be written.

import ArgumentParser
import Glibc
import Manifest
import PostfixFiles

struct Import: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make a manifest of a Postfix configuration.",
        discussion: """
            Reads main.cf, master.cf and the files that they name, the accounts of the system or a list of users, and writes a \
            manifest that 'valija check' finds valid. The report has an entry for each parameter: translated, already the \
            default, harmless to drop, changed, or not supported, with file and line. Nothing that Postfix has is changed.

            Hashes and passwords come into the manifest as they are; then the file is readable by its owner alone.

            Exit 0: translated whole; 2: something was changed or is not supported; 1: failed, nothing was written; 64: the command \
            line is wrong; 73, 74: a file could not be written.
            """)

    @Argument(help: ArgumentHelp("The directory of main.cf, such as /etc/postfix.", valueName: "dir"))
    var directory: String

    @Option(name: .shortAndLong, help: ArgumentHelp("Where the manifest goes. Default: standard output.", valueName: "file"))
    var output: String?

    @Flag(help: "Replace a manifest or a report that exists.")
    var force = false

    @Option(help: ArgumentHelp("Where the report goes. Default: standard error.", valueName: "file"))
    var report: String?

    @Flag(help: "Write the report as JSON.")
    var json = false

    @Option(help: ArgumentHelp("The accounts of the system, passwd(5). Default: those of the same machine as the configuration.", valueName: "file"))
    var passwd: String?

    @Option(help: ArgumentHelp("Their password hashes, shadow(5).", valueName: "file"))
    var shadow: String?

    @Option(help: ArgumentHelp("The users instead of accounts: a passwd-file of Dovecot.", valueName: "file"))
    var users: String?

    @Option(help: ArgumentHelp("Where the file system that the configuration is of begins, if it is a copy.", valueName: "dir"))
    var root: String?

    func run() throws {
        let options = ImportOptions(passwd: passwd, shadow: shadow, users: users, hostName: hostName())
        let source = ImportSource(directory: directory, root: root.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }, reader: Import.read)
        let result: Importation
        do throws(Importation.Failure) {
            result = try Importation(source, options: options)
        } catch {
            complain("valija import: \(error.text)")
            throw ExitCode(ExitStatus.failure.rawValue)
        }
        // Both or none: the report says what the manifest is not.
        for path in [output, report].compactMap({ $0 }) where !force && access(path, F_OK) == 0 {
            complain("valija import: \(path) exists; --force replaces it. Nothing was written")
            throw ExitCode(ExitStatus.failure.rawValue)
        }
        let text = json ? result.report.json : result.report.text
        if let report { try write(text, to: report, mode: 0o644) } else { Self.print(text, STDERR_FILENO) }
        if let output {
            try write(result.manifest, to: output, mode: result.holdsSecrets ? 0o600 : 0o644)
        } else {
            Self.print(result.manifest, STDOUT_FILENO)
        }
        if !result.report.isWhole { throw ExitCode(2) }
    }

    private static func print(_ text: String, _ descriptor: CInt) { valija.write(Array(text.utf8), to: descriptor) }

    private func hostName() -> String {
        var name = [CChar](repeating: 0, count: 256)
        guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
        return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// Octets; a table of a million addresses has less.
    private static let largestFile = 128 << 20

    /// Regular files only: what a configuration names may be a device without end, or a pipe on which nobody writes.
    private static func read(_ path: String) -> Result<[UInt8], ImportSource.Failure> {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)
        guard descriptor >= 0 else {
            return .failure(errno == ENOENT || errno == ENOTDIR ? .missing : .unreadable(String(cString: strerror(errno))))
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { return .failure(.unreadable(String(cString: strerror(errno)))) }
        guard status.st_mode & S_IFMT == S_IFREG else { return .failure(.unreadable("it is no ordinary file")) }
        guard status.st_size <= largestFile else { return .failure(.tooLarge) }
        do { return .success(try readAll(descriptor)) } catch { return .failure(.unreadable("it cannot be read to its end")) }
    }

    /// Under another name first: nobody reads half of it, or reads it before it is the owner's alone.
    private func write(_ text: String, to path: String, mode: mode_t) throws {
        let temporary = "\(path).\(getpid())"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw failed(path, ExitStatus.cannotCreate) }
        var bytes = Array(text.utf8)[...]
        var isWritten = fchmod(descriptor, mode) == 0
        while isWritten, !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress!, $0.count) }
            if count > 0 { bytes = bytes.dropFirst(count) } else if count == 0 || errno != EINTR { isWritten = false }
        }
        if isWritten { isWritten = fsync(descriptor) == 0 }
        if close(descriptor) != 0 { isWritten = false }
        // Without --force no file is replaced that came in the meantime.
        if isWritten { isWritten = force ? rename(temporary, path) == 0 : link(temporary, path) == 0 && unlink(temporary) == 0 }
        guard isWritten else {
            let error = failed(path, ExitStatus.ioError)
            unlink(temporary)
            throw error
        }
    }

    private func failed(_ path: String, _ status: ExitStatus) -> ExitCode {
        complain("valija import: \(path): \(String(cString: strerror(errno)))")
        return ExitCode(status.rawValue)
    }
}
