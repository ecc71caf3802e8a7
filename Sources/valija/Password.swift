// `valija password`: makes the text that a manifest keeps of a password. The password is read from the terminal without
// being shown, or from the first line of standard input; never from an argument, which every process of the host can read.

import Accounts
import ArgumentParser
import Glibc

struct Password: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Make the hash of a password for the manifest.",
        discussion: """
            Asks twice on a terminal, without showing what is typed; else takes the first line of standard input. Prints one line, for
            'password:' of a user or for a file that it names.

                valija password
                pwgen 20 1 | valija password --scheme bcrypt

            Exit 0: printed; 64: the command line is wrong; 65: no password, a bad one, or two that differ.
            """)

    @Option(help: "yescrypt, bcrypt, sha512crypt, sha256crypt, scram-sha-256 or scram-sha-1. SCRAM keys serve every login; other hashes only those that show the password.")
    var scheme = StoredPassword.Scheme.yescrypt

    func run() throws {
        do {
            let password = isatty(STDIN_FILENO) == 1 ? try askTwice() : try firstLine()
            guard let hash = StoredPassword.hash(password, scheme: scheme) else {
                let most = StoredPassword.longestPassword
                throw CommandError(status: .dataError, text: "a password has 1 to \(most) octets, none of them NUL")
            }
            print(hash)
        } catch {
            throw ExitCode(report(error, as: "valija password").rawValue)
        }
    }

    private func firstLine() throws -> [UInt8] {
        var line: [UInt8] = []
        var octet: UInt8 = 0
        // One more than is allowed, so that a longer one is refused and not cut.
        while line.count <= StoredPassword.longestPassword, read(STDIN_FILENO, &octet, 1) == 1, octet != 0x0A { line.append(octet) }
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    private func askTwice() throws -> [UInt8] {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else {
            throw CommandError(status: .osError, text: "cannot keep the terminal from showing the password: \(String(cString: strerror(errno)))")
        }
        let original = settings
        settings.c_lflag &= ~tcflag_t(ECHO)
        // An interrupt in between would leave the shell without an echo: it waits until the password is read.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGINT, SIGTERM, SIGQUIT, SIGTSTP] { sigaddset(&signals, signal) }
        sigprocmask(SIG_BLOCK, &signals, nil)
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &settings)
        defer {
            var original = original
            tcsetattr(STDIN_FILENO, TCSAFLUSH, &original)
            sigprocmask(SIG_UNBLOCK, &signals, nil)
        }
        let first = try ask("Password: ")
        let second = try ask("Again: ")
        guard first == second else { throw CommandError(status: .dataError, text: "the two differ; nothing was made") }
        return first
    }

    private func ask(_ prompt: String) throws -> [UInt8] {
        write(Array(prompt.utf8), to: STDERR_FILENO)
        defer { write([0x0A], to: STDERR_FILENO) }
        return try firstLine()
    }
}

extension StoredPassword.Scheme: ExpressibleByArgument {}
