// Names in UTF-8 as the DNS keeps them: A-labels (RFC 5890 §2.3.2.1), made by Punycode (RFC 3492).
//
// Labels are lower-cased and otherwise taken as they are: no normalization and no check of which characters a registry
// allows (RFC 5891 §4). A name that is not in NFC is another name, and will not be found.

package import MailSyntax

package enum Punycode {
    /// The name with every label beyond ASCII as an A-label; nil if one becomes too long. Lower case.
    package static func ascii(_ name: Domain) -> String? {
        if name.isASCII { return name.key }
        var labels: [String] = []
        // By scalars: to Swift's Characters a dot with a combining mark behind it is no dot.
        for label in name.key.lowercased().unicodeScalars.split(separator: ".", omittingEmptySubsequences: false) {
            guard label.contains(where: { !$0.isASCII }) else {
                labels.append(String(label))
                continue
            }
            guard let encoded = encode(label.map(\.value)), encoded.utf8.count + 4 <= Domain.longestLabel else { return nil }
            labels.append("xn--" + encoded)
        }
        let result = labels.joined(separator: ".")
        return result.utf8.count <= Domain.longest ? result : nil
    }

    // RFC 3492 §5: the parameters of Punycode.
    private static let base: UInt32 = 36
    private static let tMin: UInt32 = 1
    private static let tMax: UInt32 = 26
    private static let skew: UInt32 = 38
    private static let damp: UInt32 = 700
    private static let initialBias: UInt32 = 72
    private static let initialN: UInt32 = 128

    /// RFC 3492 §6.3. Nil on overflow, which no label of acceptable length reaches.
    static func encode(_ input: [UInt32]) -> String? {
        guard input.count <= Domain.longestLabel else { return nil }
        var output = input.filter { $0 < initialN }.map { UInt8($0) }
        let basic = UInt32(output.count)
        if basic > 0 { output.append(UInt8(ascii: "-")) }
        var n = initialN
        var delta: UInt32 = 0
        var bias = initialBias
        var handled = basic
        while handled < input.count {
            let next = input.filter { $0 >= n }.min()!
            let (step, overflows) = (next - n).multipliedReportingOverflow(by: handled + 1)
            guard !overflows, step <= UInt32.max - delta else { return nil }
            delta += step
            n = next
            for scalar in input {
                if scalar < n { delta += 1 }
                guard scalar == n else { continue }
                write(delta, bias, to: &output)
                bias = adapt(delta, count: handled + 1, isFirst: handled == basic)
                delta = 0
                handled += 1
            }
            delta += 1
            n += 1
        }
        return String(decoding: output, as: UTF8.self)
    }

    /// A generalized variable-length integer (RFC 3492 §3.3).
    private static func write(_ delta: UInt32, _ bias: UInt32, to output: inout [UInt8]) {
        var q = delta
        var k = base
        while true {
            let t = k <= bias ? tMin : min(k - bias, tMax)
            guard q >= t else { break }
            output.append(digit(t + (q - t) % (base - t)))
            q = (q - t) / (base - t)
            k += base
        }
        output.append(digit(q))
    }

    private static func digit(_ value: UInt32) -> UInt8 {
        value < 26 ? UInt8(ascii: "a") + UInt8(value) : UInt8(ascii: "0") + UInt8(value - 26)
    }

    /// RFC 3492 §6.1.
    private static func adapt(_ delta: UInt32, count: UInt32, isFirst: Bool) -> UInt32 {
        var delta = isFirst ? delta / damp : delta / 2
        delta += delta / count
        var k: UInt32 = 0
        while delta > (base - tMin) * tMax / 2 {
            delta /= base - tMin
            k += base
        }
        return k + (base - tMin + 1) * delta / (delta + skew)
    }
}
