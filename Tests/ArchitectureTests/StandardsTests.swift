// docs/rfc-status.tsv says how far each standard is followed; every RFC that the sources cite is in it.

import Testing

@Suite("Standards")
struct StandardsTests {
    private let rows = SourceTree.read("docs/rfc-status.tsv").split(separator: "\n").dropFirst().map {
        $0.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
    }

    @Test("each row has number, title, status and note, in the order of numbers")
    func form() {
        for row in rows {
            #expect(row.count == 4, "\(row)")
            #expect(Int(row[0]) != nil && !row[1].isEmpty, "\(row)")
            #expect(["Yes", "Partial", "No", "planned"].contains(row[2]), "\(row)")
        }
        let numbers = rows.compactMap { Int($0[0]) }
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test("every RFC that the sources cite has a row")
    func citations() {
        let known = Set(rows.map { $0[0] })
        for file in SourceTree.files {
            for (number, line) in file.lines.enumerated() {
                for cited in line.matches(of: /RFC ?([0-9]{3,5})/).map({ String($0.1) }) where !known.contains(cited) {
                    Issue.record("\(file.path):\(number + 1) cites RFC \(cited)")
                }
            }
        }
    }
}
