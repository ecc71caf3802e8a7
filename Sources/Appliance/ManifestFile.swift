// Reads a manifest's file, or standard input for `-`. Judges nothing: `checkManifest` does.

package import Manifest
import Glibc

/// The bytes of the file at `path`, or what keeps it from being read as a diagnostic to show.
package func readManifestFile(_ path: String) -> Result<[UInt8], UnreadableManifest> {
    let isStandardInput = path == "-"
    let descriptor = isStandardInput ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return .failure(UnreadableManifest(path: path, error: errno)) }
    defer { if !isStandardInput { close(descriptor) } }
    var bytes: [UInt8] = []
    let chunk = 1 << 16
    // One octet beyond what a manifest may have is enough for the reader to refuse it; the rest may be endless (/dev/zero).
    while bytes.count <= ManifestReader.largestText {
        let count = withUnsafeTemporaryAllocation(byteCount: chunk, alignment: 1) { buffer in
            let count = read(descriptor, buffer.baseAddress!, chunk)
            if count > 0 { bytes.append(contentsOf: buffer[..<count]) }
            return count
        }
        if count == 0 { break }
        if count < 0, errno != EINTR { return .failure(UnreadableManifest(path: path, error: errno)) }
    }
    return .success(bytes)
}

package struct UnreadableManifest: Error {
    package let diagnostic: Diagnostic

    init(path: String, error: CInt) {
        diagnostic = Diagnostic(.unreadableFile, .error, "the file cannot be read: \(String(cString: strerror(error)))", file: path)
    }
}
