// Reads the secrets that a manifest names. Never prints one.

internal import Glibc
package import Manifest

/// Why a secret is not known: the end of a sentence that begins with where it should be.
package struct SecretFailure: Error {
    package let reason: String
}

/// A secret is a line; a file with no end, or a binary one, is a mistake that is to be said at once.
private let longestSecret = 4096

/// The secret itself: what the manifest holds, the first line of a file, or the value of a variable. Blocks.
package func secretText(_ secret: Secret) throws(SecretFailure) -> String {
    switch secret {
    case .literal(let text): return text
    case .environment(let name):
        guard let value = getenv(name) else { throw SecretFailure(reason: "is not set") }
        return String(cString: value)
    case .file(let path):
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw SecretFailure(reason: "cannot be read: \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: longestSecret + 2)
        while bytes.count < chunk.count, !bytes.contains(UInt8(ascii: "\n")) {
            let count = read(descriptor, &chunk, chunk.count)
            if count == 0 { break }
            guard count > 0 || errno == EINTR else { throw SecretFailure(reason: "cannot be read: \(String(cString: strerror(errno)))") }
            if count > 0 { bytes += chunk[..<count] }
        }
        var line = bytes.prefix { $0 != UInt8(ascii: "\n") }
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        guard line.count <= longestSecret else { throw SecretFailure(reason: "has a first line of more than \(longestSecret) octets") }
        guard let text = String(validating: line, as: UTF8.self) else { throw SecretFailure(reason: "is not UTF-8") }
        return text
    }
}
