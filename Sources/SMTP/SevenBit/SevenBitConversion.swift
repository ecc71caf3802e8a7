// A message with 8-bit or binary parts as one of 7 bits, for a server that takes no other (RFC 6152 §3, RFC 3030 §3; Postfix
// does the same for 8-bit parts). Each part that needs it becomes quoted-printable, or base64 where it is not text or has
// no lines; what is 7-bit already stays as it is to the octet.
//
// Runs over the content twice: a survey finds which parts need what, then the conversion, with the plan that came of it. Both
// are fed in portions of any size, hold a line and a header section at most, and follow the same structure (RFC 2046 §5.1).
// There is no plan where 8-bit octets stand in a header section, which no encoding of the content changes, or in a
// part that must not be encoded; nor where a bare CR or LF or a NUL of binary content stands in a line of the structure: sent as lines, a
// server that takes one for a line end would read another message out of it. A signature over a part that has to be encoded no longer fits, as with Postfix: who signs
// 8-bit parts was told to encode them first (RFC 1847 §2.1).

package import NIOCore

/// What becomes of each part, in their order.
package struct SevenBitPlan: Equatable, Sendable {
    enum Encoding: Equatable, Sendable { case asIs, quotedPrintable, base64 }
    let parts: [Encoding]
}

package struct SevenBitConversion: Sendable {
    private enum Place: Sendable {
        case header
        /// Of a part that holds no others.
        case leaf(SevenBitPlan.Encoding)
        /// Before the first and behind the last part of a multipart: nobody is shown that.
        case margin
    }

    private struct Leaf: Sendable {
        var hasEightBit = false
        /// NUL, a bare CR or LF, or lines beyond what SMTP takes.
        var isBinary = false
        var label: EntityHeader.Label
        var isText: Bool
        var isFixed: Bool
    }

    /// RFC 5321 §4.5.3.1.6, without CRLF.
    private static let longestLine = 998
    /// Deeper than any honest message: Postfix's `mime_nesting_limit`.
    private static let deepest = 100
    private static let mostParts = 10_000

    private let plan: SevenBitPlan?
    private var place = Place.header
    private var header = EntityHeader()
    /// The header section is the message's own, not that of a part in it.
    private var isTop = true
    private var isMessageByDefault = false
    private var boundaries: [(text: [UInt8], isDigest: Bool)] = []
    private var leaves: [Leaf] = []
    private var number = -1
    /// The line so far, if it has not ended.
    private var line: [UInt8] = []
    /// What is in `line` is the rest of a line whose beginning was dealt with.
    private var isRest = false
    private var lineLength = 0
    private var isPossible = true
    private var quoted = QuotedPrintableEncoder()
    private var base64 = Base64Encoder()
    /// A CRLF that belongs to the part unless a boundary follows (RFC 2046 §5.1.1).
    private var heldLineEnd = false
    private var output = ByteBuffer()

    /// The survey.
    package init() { plan = nil }
    /// The conversion.
    package init(_ plan: SevenBitPlan) { self.plan = plan }

    /// The whole of a message; nil: it cannot be done.
    package static func convert(_ content: ByteBuffer) -> ByteBuffer? {
        var survey = SevenBitConversion()
        _ = survey.feed(content)
        guard let plan = survey.finishSurvey() else { return nil }
        var conversion = SevenBitConversion(plan)
        var result = conversion.feed(content)
        result.writeImmutableBuffer(conversion.finish())
        return result
    }

    /// What has become of the content so far; nothing in a survey.
    package mutating func feed(_ chunk: ByteBuffer) -> ByteBuffer {
        chunk.withUnsafeReadableBytes { bytes in
            var start = 0
            for index in bytes.indices where bytes[index] == UInt8(ascii: "\n") {
                line += bytes[start...index]
                start = index + 1
                endLine()
            }
            line += bytes[start...]
            // A line without end must not fill the memory. A CR may be half of its end.
            if line.count > SevenBitConversion.longestLine * 4, line.last != UInt8(ascii: "\r"), !isHeader {
                take(fragment: line)
                line = []
                isRest = true
            } else if line.count > EntityHeader.mostOctets {
                isPossible = false
                line = []
            }
        }
        defer { output = ByteBuffer() }
        return output
    }

    package mutating func finishSurvey() -> SevenBitPlan? {
        _ = finish()
        guard isPossible else { return nil }
        var parts: [SevenBitPlan.Encoding] = []
        for leaf in leaves {
            guard leaf.hasEightBit || leaf.isBinary else {
                parts.append(.asIs)
                continue
            }
            // What calls itself encoded and is not cannot be encoded again and be understood.
            guard !leaf.isFixed, leaf.label != .encoded else { return nil }
            parts.append(leaf.isText && !leaf.isBinary ? .quotedPrintable : .base64)
        }
        return SevenBitPlan(parts: parts)
    }

    package mutating func finish() -> ByteBuffer {
        if !line.isEmpty {
            if isHeader { addToHeader(line) } else { take(fragment: line) }
            line = []
        }
        if isHeader { endHeader(blank: []) }
        endLeaf(beforeBoundary: false)
        defer { output = ByteBuffer() }
        return output
    }

    private var isHeader: Bool {
        if case .header = place { true } else { false }
    }

    // MARK: Lines

    /// `line` ends with LF.
    private mutating func endLine() {
        let whole = line
        line = []
        let isBeginning = !isRest
        isRest = false
        if isBeginning, let level = boundary(whole) { return enter(boundary: whole, level: level) }
        guard isHeader else { return take(line: whole) }
        if whole == [0x0D, 0x0A] || whole == [0x0A] {
            if whole.count < 2 { isPossible = false }
            endHeader(blank: whole)
        } else {
            addToHeader(whole)
            if header.octets > EntityHeader.mostOctets {
                isPossible = false
                endHeader(blank: [])
            }
        }
    }

    /// The boundary that this line is, by the depth of its multipart, counted from 1.
    private func boundary(_ line: [UInt8]) -> Int? {
        guard !boundaries.isEmpty, line.starts(with: [0x2D, 0x2D]) else { return nil }
        let rest = line.dropFirst(2)
        for level in boundaries.indices.reversed() where rest.starts(with: boundaries[level].text) {
            var tail = rest.dropFirst(boundaries[level].text.count)
            if tail.starts(with: [0x2D, 0x2D]) { tail = tail.dropFirst(2) }
            if tail.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D || $0 == 0x0A }) { return level + 1 }
        }
        return nil
    }

    private mutating func enter(boundary line: [UInt8], level: Int) {
        if !SevenBitConversion.isLine(line) { isPossible = false }
        if isHeader { endHeader(blank: []) }  // a part without body, and without the line that ends its header section
        endLeaf(beforeBoundary: true)
        boundaries.removeLast(boundaries.count - level)
        emit(line)
        let text = boundaries[level - 1].text
        if line.dropFirst(2 + text.count).starts(with: [0x2D, 0x2D]) {
            boundaries.removeLast()
            place = .margin
        } else {
            isMessageByDefault = boundaries[level - 1].isDigest
            place = .header
        }
    }

    // MARK: Header sections

    private mutating func addToHeader(_ line: [UInt8]) {
        // The last one of a message may lack its end.
        if !SevenBitConversion.isLine(line), !SevenBitConversion.isLine(line + [0x0D, 0x0A]) { isPossible = false }
        header.add(line: line)
    }

    /// CRLF at its end, and no CR, LF or NUL before.
    private static func isLine(_ octets: [UInt8]) -> Bool {
        octets.count >= 2 && octets.suffix(2) == [0x0D, 0x0A] && !octets.dropLast(2).contains { $0 == 0x0D || $0 == 0x0A || $0 == 0 }
    }

    private mutating func endHeader(blank: [UInt8]) {
        let ended = header
        header = EntityHeader()
        let wasTop = isTop
        isTop = false
        if ended.hasEightBit { isPossible = false }
        let kind = ended.kind(isMessageByDefault: isMessageByDefault)
        isMessageByDefault = false
        switch kind {
        case .multipart(let boundary, let isDigest) where boundaries.count < SevenBitConversion.deepest && ended.label != .encoded:
            emitContainer(ended, blank)
            boundaries.append((boundary, isDigest))
            place = .margin
        case .message where ended.label != .encoded && !blank.isEmpty:
            emitContainer(ended, blank)
            // Of a message in the message, too, the structure is followed; its header section begins at once.
            place = .header
        default:
            beginLeaf(ended, kind, wasTop, blank)
        }
    }

    private mutating func emitContainer(_ ended: EntityHeader, _ blank: [UInt8]) {
        switch ended.label {
        case .eightBit, .binary:
            emit(ended.without("content-transfer-encoding"))
            emit("Content-Transfer-Encoding: 7bit\r\n")
        default: emit(ended.all)
        }
        emit(blank)
    }

    private mutating func beginLeaf(_ ended: EntityHeader, _ kind: EntityHeader.Kind, _ isTop: Bool, _ blank: [UInt8]) {
        number += 1
        lineLength = 0
        if plan == nil {
            guard leaves.count < SevenBitConversion.mostParts else {
                isPossible = false
                return place = .margin
            }
            leaves.append(Leaf(label: ended.label, isText: kind == .text, isFixed: kind == .fixed))
            return place = .leaf(.asIs)
        }
        let encoding = plan!.parts.indices.contains(number) ? plan!.parts[number] : .asIs
        place = .leaf(encoding)
        guard encoding != .asIs else {
            emit(ended.all)
            return emit(blank)
        }
        emit(ended.without("content-transfer-encoding"))
        if isTop {
            // RFC 1428 §2: what is in no declared character set stays so, but is declared.
            if !ended.has("mime-version") { emit("MIME-Version: 1.0\r\n") }
            if !ended.has("content-type") { emit("Content-Type: text/plain; charset=unknown-8bit\r\n") }
        }
        emit("Content-Transfer-Encoding: \(encoding == .base64 ? "base64" : "quoted-printable")\r\n")
        emit(blank.isEmpty ? [0x0D, 0x0A] : blank)
    }

    // MARK: Bodies

    private mutating func take(line whole: [UInt8]) {
        let hasEnd = whole.count >= 2 && whole[whole.count - 2] == 0x0D
        guard hasEnd else { return take(fragment: whole) }  // a bare LF is an octet like others
        let text = whole.dropLast(2)
        if !text.isEmpty { take(fragment: text) } else { releaseLineEnd() }
        lineLength = 0
        heldLineEnd = true
    }

    private mutating func take(fragment: some Collection<UInt8>) {
        releaseLineEnd()
        switch place {
        case .header: break
        case .margin: emit(fragment.map { $0 >= 0x80 || $0 == 0x0D || $0 == 0x0A || $0 == 0 ? UInt8(ascii: "?") : $0 })
        case .leaf where plan == nil: survey(fragment)
        case .leaf(.asIs): emit(fragment)
        case .leaf(.quotedPrintable): quoted.encode(fragment, to: &output)
        case .leaf(.base64): base64.encode(fragment, to: &output)
        }
    }

    private mutating func releaseLineEnd() {
        guard heldLineEnd else { return }
        heldLineEnd = false
        switch place {
        case .leaf(.quotedPrintable) where plan != nil: quoted.endLine(to: &output)
        case .leaf(.base64) where plan != nil: base64.encode([0x0D, 0x0A], to: &output)
        default: emit([0x0D, 0x0A])
        }
    }

    private mutating func survey(_ fragment: some Collection<UInt8>) {
        guard !leaves.isEmpty else { return }
        lineLength += fragment.count
        var leaf = leaves[leaves.count - 1]
        if lineLength > SevenBitConversion.longestLine { leaf.isBinary = true }
        for byte in fragment {
            if byte >= 0x80 { leaf.hasEightBit = true }
            if byte == 0 || byte == 0x0D || byte == 0x0A { leaf.isBinary = true }
        }
        leaves[leaves.count - 1] = leaf
    }

    private mutating func endLeaf(beforeBoundary: Bool) {
        if case .leaf(let encoding) = place, plan != nil, encoding != .asIs {
            if encoding == .quotedPrintable {
                if heldLineEnd { quoted.endLine(to: &output) } else { quoted.end(to: &output) }
            } else {
                // The line end before a boundary is the boundary's; base64 has one of its own.
                if heldLineEnd, !beforeBoundary { base64.encode([0x0D, 0x0A], to: &output) }
                base64.end(to: &output)
            }
            heldLineEnd = false
        } else {
            releaseLineEnd()
        }
        place = .margin
    }

    private mutating func emit(_ bytes: some Sequence<UInt8>) {
        if plan != nil { output.writeBytes(bytes) }
    }

    private mutating func emit(_ text: String) {
        if plan != nil { output.writeString(text) }
    }
}
