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
    private let fileSize: Int
    private let head: Head?
    /// Octets.
    let size: Int
    let traits: ContentTraits

    /// Opens the file and reads it once, to know what it needs of a next hop before a word of it is sent.
    init(path: String, size fileSize: Int, head: Head? = nil) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw Flaw(description: String(cString: strerror(errno))) }
        self.fileSize = fileSize
        self.head = head
        size = fileSize + (head.map { $0.octets.readableBytes - $0.length } ?? 0)
        var traits = ContentTraits()
        do {
            var offset = 0
            while offset < size {
                let chunk = try ContentFile.read(descriptor, at: offset, fileSize, head)
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
    func read(at offset: Int) throws -> ByteBuffer { try ContentFile.read(descriptor, at: offset, fileSize, head) }

    private static func read(_ descriptor: Int32, at offset: Int, _ size: Int, _ head: Head?) throws -> ByteBuffer {
        guard let head else { return try read(descriptor, at: offset, size) }
        guard offset < head.octets.readableBytes else { return try read(descriptor, at: offset - head.octets.readableBytes + head.length, size) }
        return head.octets.getSlice(at: head.octets.readerIndex + offset, length: min(chunkSize, head.octets.readableBytes - offset))!
    }

    /// How it can be made 7-bit; nil: it cannot.
    func survey() throws -> SevenBitPlan? {
        var survey = SevenBitConversion()
        var offset = 0
        while offset < size {
            let portion = try read(at: offset)
            _ = survey.feed(portion)
            offset += portion.readableBytes
        }
        return survey.finishSurvey()
    }

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
