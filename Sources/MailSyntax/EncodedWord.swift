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
        return words.map { "=?UTF-8?B?\(Base64.encode($0))?=" }.joined(separator: "\n ")
    }
}
