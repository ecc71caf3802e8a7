// `postfix`: starts nothing, but says how the appliance is, stops it, has it try the queue, checks its manifest: with the words
// and exit codes of Postfix's postfix(1). Messages go to standard error, for there is no system log to write to.

import Appliance
import Glibc
import MailQueue
import Manifest

enum PostfixControl {
    private static let commands = ["start", "start-fg", "stop", "reload", "abort", "flush", "check", "status"]

    static func run(_ arguments: [String]) -> ExitStatus {
        if arguments == ["--help"] {
            print(help)
            return .ok
        }
        do {
            let options = try CommandOptions(arguments, "c:Dv")
            guard options.operands.count == 1, let command = options.operands.first else {
                complain("postfix: fatal: usage: postfix [-c config_dir] [-Dv] command")
                return .failure
            }
            return try perform(command, manifest: options.value("c").map(manifestBehind))
        } catch let error as CommandOptions.UsageError {
            complain("postfix: \(error.text)\npostfix: fatal: usage: postfix [-c config_dir] [-Dv] command")
        } catch let error as CommandError {
            complain("postfix: fatal: \(error.text)")
        } catch {
            complain("postfix: fatal: \(error)")
        }
        return .failure
    }

    private static let help = """
        usage: postfix [-c MANIFEST] command

          status    exit 0 and the process id if the appliance runs, else 1
          stop      stops it as SIGTERM does: what is under way may end, mail that was accepted stays in the queue
          abort     stops it at once
          reload    has it load its manifest again
          flush     tries deferred mail now
          check     checks the manifest; silent if it is valid
          start     says how it is started; start-fg runs it here
        """

    private static func perform(_ command: String, manifest: String?) throws -> ExitStatus {
        switch command {
        case "check": return check(manifest)
        case "start-fg": try serve(manifest)
        case let unknown where !commands.contains(unknown):
            fatal("unknown command: '\(unknown)'. Usage: postfix start (or \(commands.dropFirst().joined(separator: ", ")))")
            return .failure
        default: break
        }
        let directory: String?
        do {
            directory = try applianceDirectory(manifest)
        } catch let error as LocalClientError where error.kind == .notRunning {
            directory = nil
        }
        let process = try directory.flatMap(running)
        switch (command, process) {
        case ("status", let process?): say("the Postfix mail system is running: PID: \(process)")
        case ("status", nil):
            say("the Postfix mail system is not running")
            return .failure
        case ("start", nil):
            fatal("nothing starts it in the background: start the container, or run 'valija serve \(manifestPath(manifest))'")
            return .failure
        case ("start", _):
            fatal("the Postfix mail system is already running")
            return .failure
        case ("flush", nil):
            complain("postqueue: fatal: Cannot flush mail queue - mail system is down")
            return .unavailable
        case ("flush", _): _ = try changeQueue(directory!, .flush, "")
        case ("reload", _?):
            say("refreshing the Postfix mail system")
            return reloadAppliance(manifest, as: "postfix")
        case ("stop", let process?): return stop(process, atOnce: false)
        case ("abort", let process?): return stop(process, atOnce: true)
        default:
            fatal("the Postfix mail system is not running")
            return .failure
        }
        return .ok
    }

    /// As Postfix's script for it signs its messages.
    private static func say(_ text: String) { complain("postfix/postfix-script: \(text)") }
    private static func fatal(_ text: String) { say("fatal: \(text)") }

    /// The process that answers at the control socket; nil: none does.
    private static func running(_ directory: String) throws -> pid_t? {
        do throws(LocalClientError) {
            return try LocalConnection(unixSocket: ApplianceSockets.control(directory)).peer
        } catch {
            if error.kind == .notRunning { return nil }
            throw CommandError(status: .failure, text: error.description)
        }
    }

    private static func check(_ manifest: String?) -> ExitStatus {
        do {
            _ = try validManifest(manifestPath(manifest))
            return .ok
        } catch {
            _ = report(error, as: "postfix")
            return .failure
        }
    }

    private static func serve(_ manifest: String?) throws -> Never {
        let words = ["valija", "serve", manifestPath(manifest)]
        let arguments = words.map { strdup($0) } + [nil]
        execv("/proc/self/exe", arguments)
        throw CommandError(status: .failure, text: "cannot run valija serve: \(String(cString: strerror(errno)))")
    }

    /// How long an appliance takes to stop at most, and a little more.
    private static let patience = 15_000
    /// What `abort` leaves it before it is killed. In a container whose first process it is, the kernel does not let it be killed
    /// from inside: then it ends in its own time.
    private static let graceOfAbort = 500

    private static func stop(_ process: pid_t, atOnce: Bool) -> ExitStatus {
        say(atOnce ? "aborting the Postfix mail system" : "stopping the Postfix mail system")
        guard kill(process, SIGTERM) == 0 else {
            fatal("cannot stop process \(process): \(String(cString: strerror(errno)))")
            return .failure
        }
        for waited in stride(from: 0, to: patience, by: 50) {
            if kill(process, 0) != 0, errno == ESRCH { return .ok }
            if isZombie(process) { return .ok }
            if atOnce, waited == graceOfAbort { kill(process, SIGKILL) }
            usleep(50_000)
        }
        fatal("process \(process) is still there after \(patience / 1000) s")
        return .failure
    }

    /// Ended, and not yet collected by its parent (proc(5), the third field of stat).
    private static func isZombie(_ process: pid_t) -> Bool {
        guard let text = try? readFile("/proc/\(process)/stat") else { return false }
        return String(decoding: text, as: UTF8.self).split(separator: ")").last?.hasPrefix(" Z") ?? false
    }
}
