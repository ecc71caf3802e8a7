// The content of a message in a file of the spool, read in chunks. Its methods block: they are called on threads of the
// pool and never on an event loop.

internal import Glibc
internal import NIOCore
internal import SMTP

final class ContentFile: Sendable {
    /// Large enough that the cost of a chunk is its bytes, small enough that a hundred deliveries cost little memory.
    static let chunkSize = 64 * 1024

    struct Flaw: Error, CustomStringConvertible {
        let description: String
    }

    private let descriptor: Int32
    /// Octets.
    let size: Int
    let traits: ContentTraits

    /// Opens the file and reads it once, to know what it needs of a next hop before a word of it is sent.
    init(path: String, size: Int) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Flaw(description: String(cString: strerror(errno))) }
        self.size = size
        var traits = ContentTraits()
        do {
            var offset = 0
            while offset < size {
                let chunk = try ContentFile.read(descriptor, at: offset, size)
                traits.scan(chunk)
                offset += chunk.readableBytes
            }
        } catch {
            close(descriptor)
            throw error
        }
        self.traits = traits
    }

    deinit { close(descriptor) }

    /// The next chunk; never empty before `size`.
    func read(at offset: Int) throws -> ByteBuffer { try ContentFile.read(descriptor, at: offset, size) }

    private static func read(_ descriptor: Int32, at offset: Int, _ size: Int) throws -> ByteBuffer {
        let wanted = min(chunkSize, size - offset)
        var buffer = ByteBufferAllocator().buffer(capacity: wanted)
        while true {
            let count = buffer.withUnsafeMutableWritableBytes { pread(descriptor, $0.baseAddress!, wanted, off_t(offset)) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw Flaw(description: String(cString: strerror(errno))) }
            guard count > 0 else { throw Flaw(description: "the file is shorter than \(size) octets") }
            buffer.moveWriterIndex(forwardBy: count)
            return buffer
        }
    }
}
