// `valija reload`: has the running appliance load its manifest again, and says what became of it.

import Appliance
import ArgumentParser
import Glibc
import Manifest

struct Reload: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Has the running appliance load its manifest again.",
        discussion: """
            The file is checked as a whole and then put into force at once; sessions, and listeners that stay, notice nothing. If it is \
            refused, what was in force stays so, and what is wrong is printed.

            Exit 0: it is in force; 1: it was refused; 64: the command line is wrong; 69: no appliance runs; 77: this user may not ask it.
            """)
    @OptionGroup var location: ManifestOption
    @Flag(help: "The outcome as a JSON object.") var json = false

    func run() throws {
        let status = reloadAppliance(location.manifest, json: json)
        if status != .ok { throw ExitCode(status.rawValue) }
    }
}

/// Reloads, prints what became of it, and returns the exit code. `manifest`: as `--manifest` says.
func reloadAppliance(_ manifest: String?, json: Bool = false, as command: String = "valija reload") -> ExitStatus {
    do {
        let connection = try LocalConnection(unixSocket: ApplianceSockets.control(try applianceDirectory(manifest)))
        let target = "/reload?\(json ? "format=json" : "format=text")\(wantsColours(STDERR_FILENO) ? "&colours=1" : "")"
        let status = try connection.request("POST", target) { status, bytes in write(bytes, to: status == 200 || json ? STDOUT_FILENO : STDERR_FILENO) }
        return status == 200 ? .ok : .failure
    } catch let error as LocalClientError where error.kind == .notRunning {
        complain("\(command): \(error.description)")
        return .unavailable
    } catch {
        return report(error, as: command)
    }
}

/// The spool directory of the appliance that runs by a manifest.
///
/// It is looked for among the sockets of this host first: the file may have been changed since it was loaded, so that it is not
/// valid, or names another directory; and a long one takes its time to read.
func applianceDirectory(_ manifest: String?) throws -> String {
    let path = manifestPath(manifest)
    for candidate in ApplianceSockets.directories() where isServed(path, from: candidate) { return candidate }
    let directory = readManifest(path, as: path).result.system?.queue.directory.value
    if let directory, try hasAppliance(directory) { return directory }
    throw LocalClientError(
        kind: .notRunning, description: "no appliance runs by \(path)\(directory.map { "; nothing answers in \($0)" } ?? ", which is not valid now")")
}

func hasAppliance(_ directory: String) throws -> Bool {
    do {
        _ = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
        return true
    } catch where error.kind == .notRunning {
        return false
    }
}

private func isServed(_ path: String, from directory: String) -> Bool {
    guard let connection = try? LocalConnection(unixSocket: ApplianceSockets.control(directory)) else { return false }
    connection.setTimeout(seconds: 2)
    var name: [UInt8] = []
    guard (try? connection.request("GET", "/manifest/file", body: { name += $1 })) == 200 else { return false }
    return isSameFile(String(decoding: name.dropLast(), as: UTF8.self), path)
}

private func isSameFile(_ a: String, _ b: String) -> Bool {
    guard let first = realpath(a, nil), let second = realpath(b, nil) else { return a == b }
    defer { free(first); free(second) }
    return strcmp(first, second) == 0
}
