import Glibc

/// A file that goes away with its owner.
final class TemporaryFile {
    let path: String

    struct Flaw: Error {}

    init(_ text: String) throws {
        var template = Array("/tmp/valija-smtp-XXXXXX".utf8CString)
        let descriptor = mkstemp(&template)
        guard descriptor >= 0 else { throw Flaw() }
        defer { close(descriptor) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress!, $0.count) }
            guard count > 0 else { throw Flaw() }
            bytes = bytes.dropFirst(count)
        }
    }

    deinit { unlink(path) }
}
