// The header rewriter on the buffers that mail moves in: nothing is copied where nothing changes.

package import MailSyntax
package import NIOCore

extension HeaderRewriter {
    /// Rewrites the next part of a message in place, and returns what of it is not complete yet: it has to stand at the beginning
    /// of the next part.
    package mutating func rewrite(_ part: inout ByteBuffer, isLast: Bool) -> ByteBuffer {
        guard !isDone else { return ByteBuffer() }
        let result = part.withUnsafeReadableBytes { scan($0, isLast: isLast) }
        let start = part.readerIndex
        let rest = result.end < part.readableBytes ? part.getSlice(at: start + result.end, length: part.readableBytes - result.end)! : ByteBuffer()
        guard !result.edits.isEmpty else {
            part.moveWriterIndex(to: start + result.end)
            return rest
        }
        let growth = result.edits.reduce(0) { $0 + $1.octets.count - $1.range.count }
        var output = ByteBufferAllocator().buffer(capacity: max(0, result.end + growth))
        var done = 0
        for edit in result.edits {
            output.writeImmutableBuffer(part.getSlice(at: start + done, length: edit.range.lowerBound - done)!)
            output.writeBytes(edit.octets)
            done = edit.range.upperBound
        }
        output.writeImmutableBuffer(part.getSlice(at: start + done, length: result.end - done)!)
        part = output
        return rest
    }
}
