// Keys of tables compare without case (postmap(1) folds them when it writes and when it asks, unless `-f`).

package enum TableKey {
    /// What Postfix's case folding makes of a key: that of Unicode for UTF-8, of ASCII else.
    package static func folded(_ key: [UInt8]) -> [UInt8] {
        guard !key.allSatisfy({ $0 < 0x80 }), let text = String(validating: key, as: UTF8.self) else { return key.map(lowercased) }
        var result = ""
        // Full case folding (Unicode §5.18) is, but for a handful of letters, the small letter of the capital: ß, ss.
        for scalar in text.unicodeScalars {
            if scalar == "\u{131}" { result.unicodeScalars.append(scalar) } else { result += scalar.properties.uppercaseMapping.foldedCapital }
        }
        return Array(result.utf8)
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 { (0x41...0x5A).contains(byte) ? byte + 0x20 : byte }
}

extension String {
    fileprivate var foldedCapital: String { unicodeScalars.reduce(into: "") { $0 += $1.properties.lowercaseMapping } }
}
