// What a manifest's bytes must be before YAML is looked for in them: UTF-8 of bounded size, without characters that
// would hide something or that would make YAML count lines otherwise than editors do.
//
// libyaml would refuse most of it too, but without a place in the file.

enum SourceText {
    /// 100,000 users with aliases take about 16 MiB.
    static let largest = 64 << 20

    private static let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]

    /// The text without a byte order mark; nil after an error.
    static func checked(_ bytes: [UInt8], _ findings: inout Findings) -> ArraySlice<UInt8>? {
        guard bytes.count <= largest else {
            findings.error(.tooLarge, "the file is larger than a manifest may be: \(largest) octets", at: nil)
            return nil
        }
        if let encoding = wideEncoding(bytes.prefix(4)) {
            findings.error(.notUTF8, "the file is \(encoding)", at: nil, hint: "save it as UTF-8: iconv -f \(encoding) -t UTF-8 FILE")
            return nil
        }
        let text = bytes[textStart(bytes)...]
        if let flaw = firstForbiddenCharacter(in: text) {
            report(flaw, in: bytes, &findings)
            return nil
        }
        guard String(validating: text, as: UTF8.self) != nil else {
            reportInvalidOctet(firstInvalidOctet(in: text), in: bytes, &findings)
            return nil
        }
        return text
    }

    /// The encodings that have whole octets of zero in ordinary text, told by a byte order mark or by where those stand.
    private static func wideEncoding(_ start: ArraySlice<UInt8>) -> String? {
        let start = Array(start)
        if start.starts(with: [0xFF, 0xFE, 0, 0]) || start.starts(with: [0, 0, 0xFE, 0xFF]) { return "UTF-32" }
        if start.starts(with: [0xFF, 0xFE]) || start.starts(with: [0xFE, 0xFF]) { return "UTF-16" }
        guard start.count == 4 else { return nil }
        return switch (start[0] == 0, start[1] == 0, start[2] == 0, start[3] == 0) {
        case (true, true, true, false): "UTF-32BE"
        case (false, true, true, true): "UTF-32LE"
        case (true, false, true, false): "UTF-16BE"
        case (false, true, false, true): "UTF-16LE"
        default: nil
        }
    }

    /// Names the octet, and what it would be in the encoding that such files most often have.
    private static func reportInvalidOctet(_ index: Int, in bytes: [UInt8], _ findings: inout Findings) {
        let octet = bytes[index]
        let digits = String(octet, radix: 16, uppercase: true)
        // Windows-1252 has typographic characters where Latin-1 has controls that nobody writes.
        let windows: [UInt8: String] = [
            0x80: "€", 0x85: "…", 0x91: "‘", 0x92: "’", 0x93: "“", 0x94: "”", 0x96: "–", 0x97: "—", 0x8A: "Š", 0x8E: "Ž", 0x9A: "š", 0x9E: "ž",
        ]
        let meant = octet >= 0xA0 ? "Latin-1 it is \(Unicode.Scalar(octet))" : windows[octet].map { "Windows-1252 it is \($0)" }
        findings.error(
            .notUTF8, "the octet 0x\(digits) is not UTF-8 here", at: Span(start: position(of: index, in: bytes), endColumn: nil),
            hint: "save the file as UTF-8" + (meant.map { "; in \($0)" } ?? ""))
    }

    /// Where each line starts; the same line ends as YAML counts (LF, CR, CR LF), after a byte order mark.
    static func lineStarts(in bytes: [UInt8]) -> [Int] {
        var starts = [textStart(bytes)]
        bytes.withUnsafeBufferPointer { bytes in
            for index in bytes.indices {
                let isEnd = bytes[index] == 0x0A || bytes[index] == 0x0D && (index + 1 == bytes.count || bytes[index + 1] != 0x0A)
                if isEnd { starts.append(index + 1) }
            }
        }
        return starts
    }

    private static func textStart(_ bytes: [UInt8]) -> Int { bytes.starts(with: byteOrderMark) ? byteOrderMark.count : 0 }

    /// The index of the first octet of a control character (C0 without tab and line ends, DEL, C1), of a line separator that
    /// editors do not count (NEL, U+2028, U+2029), of a byte order mark within the text, or of U+FFFE and U+FFFF.
    private static func firstForbiddenCharacter(in text: ArraySlice<UInt8>) -> Int? {
        text.withUnsafeBufferPointer { bytes in
            func octet(_ index: Int) -> UInt8 { index < bytes.count ? bytes[index] : 0 }
            for index in bytes.indices {
                let isForbidden =
                    switch bytes[index] {
                    case 0x09, 0x0A, 0x0D: false
                    case 0..<0x20, 0x7F: true
                    case 0xC2: (0x80..<0xA0).contains(octet(index + 1))
                    case 0xE2: octet(index + 1) == 0x80 && (octet(index + 2) == 0xA8 || octet(index + 2) == 0xA9)
                    case 0xEF: octet(index + 1) == 0xBB && octet(index + 2) == 0xBF || octet(index + 1) == 0xBF && octet(index + 2) >= 0xBE
                    default: false
                    }
                if isForbidden { return text.startIndex + index }
            }
            return nil
        }
    }

    private static func report(_ index: Int, in bytes: [UInt8], _ findings: inout Findings) {
        let scalar = String(decoding: bytes[index..<min(index + 3, bytes.count)], as: UTF8.self).unicodeScalars.first!
        let name = Slips.name(of: scalar)
        let span = Span(start: position(of: index, in: bytes), endColumn: nil)
        let message =
            switch scalar.value {
            case 0: "a NUL octet in the text"
            case 0x85, 0x2028, 0x2029: "\(name) ends a line for YAML but not for editors"
            default: "the control character \(name) in the text"
            }
        findings.error(.forbiddenCharacter, message, at: span, hint: "remove it, or write it as an escape within double quotes")
    }

    private static func position(of index: Int, in bytes: [UInt8]) -> SourcePosition {
        let before = Array(bytes[..<index])
        let starts = lineStarts(in: before)
        // After the CR of a CR LF that `before` cuts in two a line would seem to start; no finding points at an LF.
        return SourcePosition(line: starts.count, column: String(decoding: before[starts.last!...], as: UTF8.self).unicodeScalars.count + 1)
    }

    private static func firstInvalidOctet(in text: ArraySlice<UInt8>) -> Int {
        var decoder = UTF8()
        var iterator = text.makeIterator()
        var index = text.startIndex
        while case .scalarValue(let scalar) = decoder.decode(&iterator) { index += UTF8.width(scalar) }
        return index
    }
}
