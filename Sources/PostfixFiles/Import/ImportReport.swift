// What became of a Postfix configuration: an entry for each parameter that main.cf and master.cf set, for what tables
// said that a manifest cannot say, and for each user, with file and line. As text and as JSON.

internal import Manifest

package struct ImportReport: Sendable {
    package enum Outcome: String, CaseIterable, Sendable {
        /// The manifest says it, by the key that the text names.
        case translated = "translated"
        /// Postfix's default, and nothing of a manifest's says otherwise.
        case standard = "already the default"
        /// Without effect on the mail that comes and goes.
        case harmless = "harmless to drop"
        /// The manifest says almost that; the text names the difference.
        case changed = "changed"
        case unsupported = "not supported"
        /// Not of a parameter: where something was read, why someone is a user.
        case note = "note"

        /// True if the manifest is not all that the configuration was.
        package var isLoss: Bool { self == .changed || self == .unsupported }

        /// In JSON: `already-the-default`.
        package var code: String { String(rawValue.map { $0 == " " ? "-" : $0 }) }
    }

    package struct Entry: Hashable, Sendable {
        /// As it was read: `DIR/main.cf`.
        package let file: String
        package let line: Int?
        /// A parameter, a key of a table, a service of master.cf, a user.
        package let subject: String
        package let outcome: Outcome
        package let text: String

        init(file: String, line: Int?, subject: String, outcome: Outcome, text: String) {
            self.file = file
            self.line = line
            // A table may have a line for the name of nobody.
            self.subject = subject.isEmpty ? "\"\"" : subject
            self.outcome = outcome
            self.text = text
        }
    }

    package private(set) var entries: [Entry] = []
    private var suppressed = 0

    /// What a person reads. A table of a million wrong lines has one cause.
    static let most = 10_000

    mutating func add(_ entry: Entry) {
        if entries.count < ImportReport.most { entries.append(entry) } else { suppressed += 1 }
    }

    /// Files in the order in which they were read, lines in theirs.
    mutating func sort() {
        var order: [String: Int] = [:]
        for entry in entries where order[entry.file] == nil { order[entry.file] = order.count }
        entries = entries.enumerated().sorted { a, b in
            (order[a.element.file]!, a.element.line ?? 0, a.offset) < (order[b.element.file]!, b.element.line ?? 0, b.offset)
        }.map(\.element)
        if suppressed > 0 {
            entries.append(Entry(file: "", line: nil, subject: "…", outcome: .unsupported, text: "and \(suppressed) more, which are not listed"))
            suppressed = 0
        }
    }

    /// True if the manifest is all that the configuration was.
    package var isWhole: Bool { !entries.contains { $0.outcome.isLoss } }

    package func count(_ outcome: Outcome) -> Int { entries.count { $0.outcome == outcome } }

    /// A line an entry and a last one that counts them. No line of a file can forge another: what is not printable is escaped.
    package var text: String {
        var text = ""
        for entry in entries {
            let place = entry.line.map { "\(entry.file):\($0)" } ?? entry.file
            text += ImportReport.shown("\(place): \(entry.subject): \(entry.outcome.rawValue): \(entry.text)") + "\n"
        }
        return text + summary + "\n"
    }

    package var summary: String {
        Outcome.allCases.filter { $0 != .note }.map { "\(count($0)) \($0.rawValue)" }.joined(separator: ", ")
    }

    package var json: String {
        let list = entries.map { entry -> JSON in
            .object([
                ("file", .string(entry.file)), ("line", entry.line.map(JSON.int) ?? .null), ("subject", .string(entry.subject)),
                ("outcome", .string(entry.outcome.code)), ("text", .string(entry.text)),
            ])
        }
        let counts = Outcome.allCases.map { ($0.code, JSON.int(count($0))) }
        return JSON.object([("whole", .bool(isWhole)), ("counts", .object(counts)), ("entries", .array(list))]).text
    }

    private static func shown(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) }) else { return text }
        var result = ""
        for scalar in text.unicodeScalars {
            if scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) {
                result += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
            } else {
                result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
