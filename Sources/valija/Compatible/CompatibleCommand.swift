// What the commands for the queue that stand in for Postfix's have in common: how they end, and where they look.

import Glibc
import Manifest

/// Runs such a command: a wrong option brings its usage and `usageStatus`, what it cannot do is `fatal`.
func runCompatible(
    _ name: String, _ arguments: [String], letters: String, usage: String, usageStatus: ExitStatus, _ body: (CommandOptions) throws -> ExitStatus
) -> ExitStatus {
    do {
        return try body(try CommandOptions(arguments, letters))
    } catch let error as CommandOptions.UsageError {
        complain("\(name): \(error.text)")
        complain("\(name): fatal: usage: \(usage)")
        return usageStatus
    } catch let error as CommandError {
        complain("\(name): fatal: \(error.text)")
        return error.status
    } catch {
        return report(error, as: name)
    }
}

extension CommandOptions {
    /// Where the spool is of the appliance on this host. Postfix's `-c` names a directory of configuration: here the manifest, or
    /// the directory that has it as mail.yaml.
    func queueDirectory() throws -> String { try loadManifest(value("c").map(manifestBehind)).queue.directory.value }
}

func manifestBehind(_ path: String) -> String {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR ? "\(path)/mail.yaml" : path
}
