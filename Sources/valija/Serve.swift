// `valija serve`: runs the appliance. The image's entry point.

import Appliance
import ArgumentParser
import Glibc
import MailSyntax
import Manifest
import Telemetry

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs the appliance that a manifest describes, until SIGTERM or SIGINT.",
        discussion: """
            Logs are JSON objects, one a line, on standard output, or Postfix's lines with logging.format: text. A second signal changes nothing: it ends within ten seconds.

            SIGHUP and 'valija reload' load the manifest again, while it runs.

            Exit 0: stopped as asked; 1: it could not start; 64: the command line is wrong; 78: the manifest is not valid, or one of its tests fails.
            """)
    @Argument(help: ArgumentHelp("The manifest. Default: $VALIJA_MANIFEST, else /etc/valija/mail.yaml.", valueName: "file"))
    var manifest: String?

    @Flag(help: "Load the manifest again whenever its file changes or another takes its place.")
    var watch = false

    func run() async throws {
        let file = manifestPath(manifest)
        // A reader of the log or a peer that goes away is an error where it is written to, no end of the process.
        signal(SIGPIPE, SIG_IGN)
        signal(SIGHUP, SIG_IGN)  // until it means a reload: it must not end a server that is about to start
        // Mail is private, and so is the way in for processes of this host: whatever is made is its owner's from the first moment.
        umask(0o077)
        raiseDescriptorLimit()
        let (text, result) = readManifest(file, as: file)
        let system: MailSystem
        do {
            system = try valid(result, text, file)
        } catch {
            let log = EventLog(level: .info, time: { Timestamp.now().rfc3339 })
            recordRefusal(of: file, result.diagnostics, log)
            log.close()
            throw ExitCode(report(error, as: "valija serve").rawValue)
        }
        let log = EventLog(level: system.logging.level.value.threshold, format: logFormat(system))
        defer { log.close() }
        do {
            try await Assembly(system, text: text, watches: watch, log: log).run()
        } catch {
            log.record(.serviceFailed, by: .appliance) { $0.reason = "\(error)" }
            complain("valija serve: \(error)")
            throw ExitCode.failure
        }
    }
}

/// A session, a delivery and a log need descriptors each: take as many as the system lets us have.
private func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
