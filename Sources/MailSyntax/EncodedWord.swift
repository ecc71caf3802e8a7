// Text beyond ASCII in a header field that must stay ASCII (RFC 2047).

package enum EncodedWord {
    /// RFC 2047 §2: an encoded-word has at most 75 characters; `=?UTF-8?B?` and `?=` take 12, and base64 makes 4 of 3 octets.
    private static let octetsPerWord = 45

    /// ASCII stays as it is; else words in base64, each a whole number of characters, separated by folds.
    package static func encode(_ text: String) -> String {
        guard !text.utf8.allSatisfy({ $0 < 0x80 }) else { return text }
        var words: [[UInt8]] = [[]]
        for scalar in text.unicodeScalars {
            let octets = Array(String(scalar).utf8)
            if words[words.count - 1].count + octets.count > octetsPerWord { words.append([]) }
            words[words.count - 1] += octets
        }
        return words.map { "=?UTF-8?B?\(base64($0))?=" }.joined(separator: "\n ")
    }

    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")

    /// RFC 4648 §4.
    static func base64(_ octets: [UInt8]) -> String {
        var text = ""
        for start in stride(from: 0, to: octets.count, by: 3) {
            let group = octets[start..<min(start + 3, octets.count)]
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0..<4 { text.append(index <= group.count ? alphabet[bits >> (18 - 6 * index) & 63] : "=") }
        }
        return text
    }
}
