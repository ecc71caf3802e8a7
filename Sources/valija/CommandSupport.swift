// What the commands share: exit codes, standard streams, and finding the manifest and the appliance that runs by it.

import Appliance
import ArgumentParser
import Glibc
import MailSyntax
import Manifest

/// sysexits.h, which programs that call sendmail know.
enum ExitStatus: Int32 {
    case ok = 0
    case failure = 1
    case usage = 64
    case dataError = 65
    case noInput = 66
    case noUser = 67
    case unavailable = 69
    case osError = 71
    case cannotCreate = 73
    case ioError = 74
    case temporaryFailure = 75
    case noPermission = 77
    case configuration = 78
}

func complain(_ text: String) { write(Array("\(text)\n".utf8), to: 2) }

func write(_ bytes: [UInt8], to descriptor: CInt) {
    bytes.withUnsafeBytes { buffer in
        var offset = 0
        while offset < buffer.count {
            let count = Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
            if count < 0 {
                if errno == EINTR { continue }
                return
            }
            offset += count
        }
    }
}

func readAll(_ descriptor: CInt) throws -> [UInt8] {
    var all: [UInt8] = []
    while true {
        let count = withUnsafeTemporaryAllocation(byteCount: 64 << 10, alignment: 1) { buffer in
            let count = read(descriptor, buffer.baseAddress, buffer.count)
            if count > 0 { all.append(contentsOf: buffer[..<count]) }
            return count
        }
        if count == 0 { return all }
        guard count > 0 || errno == EINTR else { throw CommandError(status: .ioError, text: "cannot read: \(String(cString: strerror(errno)))") }
    }
}

func readFile(_ path: String) throws -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw CommandError(status: .noInput, text: "\(path): \(String(cString: strerror(errno)))") }
    defer { close(descriptor) }
    return try readAll(descriptor)
}

/// A command's end with a word of why.
struct CommandError: Error {
    let status: ExitStatus
    let text: String
}

/// Says what went wrong and returns the exit code that fits.
func report(_ error: any Error, as command: String) -> ExitStatus {
    switch error {
    case let error as CommandError:
        complain("\(command): \(error.text)")
        return error.status
    case let error as LocalClientError:
        complain("\(command): \(error.description)")
        return error.kind == .notPermitted ? .noPermission : .temporaryFailure
    default:
        complain("\(command): \(error)")
        return .failure
    }
}

/// `--manifest`, which every command that speaks to a running appliance takes.
struct ManifestOption: ParsableArguments {
    @Option(help: ArgumentHelp("The manifest of the appliance. Default: $VALIJA_MANIFEST, else /etc/valija/mail.yaml.", valueName: "file"))
    var manifest: String?
}

/// Reads and judges a manifest; one that cannot be read gets a diagnostic as well.
func readManifest(_ path: String, as name: String) -> (source: [UInt8], result: ReadResult) {
    switch readManifestFile(path) {
    case .success(let bytes): (bytes, checkManifest(text: bytes, file: name))
    case .failure(let failure):
        ([], ReadResult(failure: Diagnostic(failure.diagnostic.code, .error, failure.diagnostic.message, file: name)))
    }
}

/// A manifest for a command that needs a valid one: what there is to say of it goes to standard error.
func validManifest(_ path: String) throws -> MailSystem {
    let (source, result) = readManifest(path, as: path)
    return try valid(result, source, path)
}

/// What was read, if it can be used; what there is to say of it goes to standard error.
func valid(_ result: ReadResult, _ source: [UInt8], _ path: String) throws -> MailSystem {
    let renderer = DiagnosticRenderer(source: source, colours: wantsColours(STDERR_FILENO))
    for diagnostic in result.diagnostics { write(Array(renderer.render(diagnostic).utf8), to: STDERR_FILENO) }
    guard let system = result.system else { throw CommandError(status: .configuration, text: result.summary(file: path)) }
    return system
}

/// Colours are for a terminal whose user did not turn them off (no-color.org).
func wantsColours(_ descriptor: CInt) -> Bool { isatty(descriptor) == 1 && (getenv("NO_COLOR").map { $0.pointee == 0 } ?? true) }

/// Where the manifest of the appliance on this host is, if the command line does not say.
func manifestPath(_ given: String?) -> String { given ?? getenv("VALIJA_MANIFEST").map { String(cString: $0) } ?? "/etc/valija/mail.yaml" }

/// The manifest of the appliance on this host, which `check` has a word for if it is not valid.
func loadManifest(_ option: String?) throws -> MailSystem {
    let path = manifestPath(option)
    let bytes: [UInt8]
    switch readManifestFile(path) {
    case .success(let read): bytes = read
    case .failure(let failure):
        throw CommandError(status: .configuration, text: "\(path): \(failure.diagnostic.message); --manifest or VALIJA_MANIFEST names another")
    }
    guard let system = ManifestReader.read(text: bytes, file: path).system else {
        throw CommandError(status: .configuration, text: "\(path) is not valid; 'valija check \(path)' says why")
    }
    return system
}
