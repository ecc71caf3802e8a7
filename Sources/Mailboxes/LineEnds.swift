// From the wire's form of a message to the one that mailboxes keep: CRLF becomes LF, and for mbox a line that starts with
// `From ` is quoted. Both work on streams: a message may arrive in pieces, cut anywhere.

internal import Glibc

/// CRLF to LF. A CR that stands alone stays.
package struct LineEnds {
    /// The last piece ended with a CR, which waits to see what follows.
    private var carriageReturn = false

    package init() {}

    /// A whole message in one go.
    package static func convert(_ input: UnsafeRawBufferPointer) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: input.count + 1) { output, count in
            let output = UnsafeMutableRawBufferPointer(output)
            var converter = LineEnds()
            count = converter.convert(input, to: output)
            count += converter.finish(to: UnsafeMutableRawBufferPointer(rebasing: output[count...]))
        }
    }

    /// Returns how many octets `output` got. It must have room for one octet more than `input` has.
    package mutating func convert(_ input: UnsafeRawBufferPointer, to output: UnsafeMutableRawBufferPointer) -> Int {
        guard let source = input.baseAddress, !input.isEmpty, let target = output.baseAddress else { return 0 }
        var read = 0
        var written = 0
        if carriageReturn {
            carriageReturn = false
            if input[0] != lineFeed {
                output[0] = carriageReturnOctet
                written = 1
            }
        }
        // A line at a time, found and copied by the C library: an octet at a time costs several times as much.
        while let found = memchr(source + read, Int32(carriageReturnOctet), input.count - read) {
            let position = UnsafeRawPointer(found) - source
            memcpy(target + written, source + read, position - read)
            written += position - read
            read = position + 1
            if read == input.count {
                carriageReturn = true
                return written
            }
            if input[read] != lineFeed {
                output[written] = carriageReturnOctet
                written += 1
            }
        }
        memcpy(target + written, source + read, input.count - read)
        return written + input.count - read
    }

    /// What waited at the end.
    package mutating func finish(to output: UnsafeMutableRawBufferPointer) -> Int {
        guard carriageReturn else { return 0 }
        carriageReturn = false
        output[0] = carriageReturnOctet
        return 1
    }
}

/// `>` before each line that starts with `From `, and no other: what Postfix writes and every reader of mbox knows
/// (RFC 4155 calls it the default format). Works on text with LF line ends.
package struct FromQuoting {
    /// How many octets of `From ` the current line has matched so far; nil: it is another line.
    private var matched: Int? = 0
    private static let pattern = Array("From ".utf8)

    package init() {}

    /// Appends the piece, quoted. Octets that may yet turn out to be `From ` wait for the next piece.
    package mutating func quote(_ input: UnsafeRawBufferPointer, to output: inout [UInt8]) {
        guard let source = input.baseAddress else { return }
        var position = 0
        while position < input.count {
            if let count = matched {
                if input[position] == FromQuoting.pattern[count] {
                    position += 1
                    matched = count + 1
                    if count + 1 == FromQuoting.pattern.count {
                        output.append(UInt8(ascii: ">"))
                        flush(to: &output)
                    }
                } else {
                    flush(to: &output)
                }
            } else {
                let end = memchr(source + position, Int32(lineFeed), input.count - position).map { UnsafeRawPointer($0) - source + 1 }
                output.append(contentsOf: input[position..<(end ?? input.count)])
                position = end ?? input.count
                if end != nil { matched = 0 }
            }
        }
    }

    /// What waited at the end of the message.
    package mutating func finish(to output: inout [UInt8]) { flush(to: &output) }

    private mutating func flush(to output: inout [UInt8]) {
        if let count = matched { output.append(contentsOf: FromQuoting.pattern.prefix(count)) }
        matched = nil
    }
}

private let lineFeed = UInt8(ascii: "\n")
private let carriageReturnOctet = UInt8(ascii: "\r")
