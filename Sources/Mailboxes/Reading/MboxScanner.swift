// Finds the messages of an mbox (RFC 4155) in octets that come in pieces, cut anywhere.
//
// A message begins with a line `From ADDRESS DATE` at the start or after an empty line. Other lines that begin so are text:
// writers do quote them, but not all and not always. What stands before the first message belongs to none.

struct MboxEntry: Hashable, Sendable {
    /// Where the `From ` line begins.
    var offset: Int
    var length = 0
    /// Up to the empty line that ends the header, that one not counted.
    var headerLength = 0
    /// Of all octets, to notice a change (FNV-1a).
    var mark: UInt64
    var sender: String
    var date: String
    var from: String?
    var subject: String?
    /// The value of `Status`: R read, O seen in a list.
    var status = ""
    var lines = 0
}

struct MboxScanner {
    private(set) var entries: [MboxEntry] = []
    private var position = 0
    /// The beginning of the line that is being read.
    private var line: [UInt8] = []
    private var lineStart = 0
    private var isAfterEmptyLine = true
    private var isInHeader = false
    private var mark = MboxScanner.emptyMark
    private var markBeforeLine = MboxScanner.emptyMark

    /// No `From ` line, and no field that a list of messages shows, needs more.
    private static let longestKept = 1000
    static let emptyMark: UInt64 = 0xCBF2_9CE4_8422_2325

    static func mark(_ mark: UInt64, _ bytes: some Sequence<UInt8>) -> UInt64 {
        bytes.reduce(mark) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let end = rest.firstIndex(of: lineFeed).map { $0 + 1 } ?? rest.endIndex
            let piece = rest[rest.startIndex..<end]
            rest = rest[end...]
            line += piece.prefix(max(0, MboxScanner.longestKept - line.count))
            mark = MboxScanner.mark(mark, piece)
            position += piece.count
            if piece.last == lineFeed { endLine() }
        }
    }

    mutating func finish() -> [MboxEntry] {
        if position > lineStart { endLine() }
        endMessage(at: position, mark)
        return entries
    }

    private mutating func endLine() {
        if line.last == lineFeed { line.removeLast() }
        if isAfterEmptyLine, let envelope = MboxScanner.envelope(line) {
            endMessage(at: lineStart, markBeforeLine)
            mark = MboxScanner.mark(MboxScanner.emptyMark, line + [lineFeed])
            entries.append(MboxEntry(offset: lineStart, mark: 0, sender: envelope.sender, date: envelope.date))
            isInHeader = true
        } else if isInHeader {
            if line.isEmpty {
                entries[entries.count - 1].headerLength = lineStart - entries[entries.count - 1].offset
                isInHeader = false
            } else {
                takeField()
            }
        }
        if !entries.isEmpty { entries[entries.count - 1].lines += 1 }
        isAfterEmptyLine = line.isEmpty
        line.removeAll(keepingCapacity: true)
        lineStart = position
        markBeforeLine = mark
    }

    private mutating func endMessage(at end: Int, _ mark: UInt64) {
        guard !entries.isEmpty else { return }
        let last = entries.count - 1
        entries[last].length = end - entries[last].offset
        if isInHeader { entries[last].headerLength = entries[last].length }
        isInHeader = false
        entries[last].mark = mark
    }

    private mutating func takeField() {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { return }
        let last = entries.count - 1
        func value() -> String {
            String(decoding: line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }.filter { $0 != 0x0D }, as: UTF8.self)
        }
        switch String(decoding: line[..<colon], as: UTF8.self).lowercased() {
        case "from": entries[last].from = entries[last].from ?? value()
        case "subject": entries[last].subject = entries[last].subject ?? value()
        case "status": entries[last].status = value()
        default: break
        }
    }

    ///     From ADDRESS Tue Nov 24 13:05:09 [ZONE] 2026
    static func envelope(_ line: [UInt8]) -> (sender: String, date: String)? {
        guard line.starts(with: "From ".utf8), line.count < longestKept else { return nil }
        let words = String(decoding: line.dropFirst(5), as: UTF8.self).split { $0 == " " || $0 == "\r" }
        let start = words.indices.first { index in
            index + 4 < words.count && days.contains(String(words[index])) && months.contains(String(words[index + 1]))
                && (1...31).contains(Int(words[index + 2]) ?? 0) && words[index + 3].split(separator: ":").count >= 2
        }
        guard let start else { return nil }
        let day = words[start + 2].count == 1 ? " \(words[start + 2])" : String(words[start + 2])
        let year = words[(start + 4)...].first { $0.count == 4 && Int($0) != nil } ?? ""
        return (words[..<start].joined(separator: " "), "\(words[start]) \(words[start + 1]) \(day) \(words[start + 3]) \(year)")
    }

    private static let days: Set = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    private static let months: Set = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
}

private let lineFeed = UInt8(ascii: "\n")
