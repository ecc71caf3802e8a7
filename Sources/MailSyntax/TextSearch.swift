// Looking for a text in a text, octet by octet. The standard library has it in a part of its own, with regular expressions, of
// which this is all that is needed here: the binary is 1.2 MB smaller without it (docs/decisions/0014-size.md).

extension StringProtocol {
    /// Whether `part` stands somewhere in it.
    package func includes(_ part: String) -> Bool { Array(utf8).firstOffset(of: Array(part.utf8)) != nil }

    /// What stands between one `separator` and the next, empty parts too.
    package func parts(between separator: String) -> [String] {
        let mark = Array(separator.utf8)
        let text = Array(utf8)
        var (start, parts): (Int, [String]) = (0, [])
        while let offset = text.firstOffset(of: mark, from: start) {
            parts.append(String(decoding: text[start..<offset], as: UTF8.self))
            start = offset + mark.count
        }
        return parts + [String(decoding: text[start...], as: UTF8.self)]
    }

    /// With `other` wherever `part` stood.
    package func with(_ other: String, insteadOf part: String) -> String { parts(between: part).joined(separator: other) }
}

extension Array where Element == UInt8 {
    /// `part` is not empty.
    fileprivate func firstOffset(of part: [UInt8], from start: Int = 0) -> Int? {
        guard let first = part.first, count - start >= part.count else { return nil }
        return (start...count - part.count).first { self[$0] == first && self[$0..<$0 + part.count].elementsEqual(part) }
    }
}
