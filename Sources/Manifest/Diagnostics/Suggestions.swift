// "Did you mean …": the known word that is nearest to a mistaken one.

struct Suggestions {
    /// Comparisons in one run. A file with thousands of mistaken names among thousands of users must not cost their product.
    static let mostComparisons = 2_000_000
    private var comparisons = 0

    /// The candidate that needs the fewest changes, if they are few for the length of the word.
    mutating func nearest(to word: String, among candidates: some Sequence<String>) -> String? {
        let wanted = Array(lowercasedLetters(word))
        let longest = 64
        guard !wanted.isEmpty, wanted.count <= longest else { return nil }
        var best: (word: String, distance: Int)?
        var allowed = max(1, wanted.count / 3)
        for candidate in candidates {
            guard comparisons < Suggestions.mostComparisons else { break }
            comparisons += 1
            guard abs(candidate.utf8.count - wanted.count) <= allowed else { continue }
            let distance = editDistance(wanted, Array(lowercasedLetters(candidate)))
            guard distance <= allowed, distance < best?.distance ?? .max else { continue }
            best = (candidate, distance)
            if distance == 0 { break }
            allowed = distance
        }
        // `alias` for `aliases`: a word that goes on where this one ends.
        return best?.word ?? (wanted.count >= 4 ? longer(wanted, among: candidates) : nil)
    }

    private mutating func longer(_ beginning: [UInt8], among candidates: some Sequence<String>) -> String? {
        for candidate in candidates {
            guard comparisons < Suggestions.mostComparisons else { break }
            comparisons += 1
            if candidate.utf8.count > beginning.count, lowercasedLetters(candidate).starts(with: beginning) { return candidate }
        }
        return nil
    }

    /// `did you mean "alice"?`, nil where nothing is near.
    mutating func hint(for word: String, among candidates: some Sequence<String>) -> String? {
        nearest(to: word, among: candidates).map { "did you mean \(quoted($0))?" }
    }

    private func lowercasedLetters(_ text: String) -> some Sequence<UInt8> {
        text.utf8.lazy.map { $0 >= UInt8(ascii: "A") && $0 <= UInt8(ascii: "Z") ? $0 | 0x20 : $0 }
    }
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one word into the other (optimal string alignment).
func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast = [Int](repeating: 0, count: b.count + 1)
    var last = Array(0...b.count)
    var current = last
    for i in a.indices {
        current[0] = i + 1
        for j in b.indices {
            current[j + 1] = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, current[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                current[j + 1] = min(current[j + 1], beforeLast[j - 1] + 1)
            }
        }
        (beforeLast, last, current) = (last, current, beforeLast)
    }
    return last[b.count]
}
