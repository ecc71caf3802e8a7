// What differs between two texts, as a unified diff (diff -u): the shortest edit of lines (Myers 1986, "An O(ND) Difference
// Algorithm and Its Variations"), found in time in proportion to lines times differences. Equal texts and common ends
// cost one pass. Beyond `mostDifferences` the middle is shown as replaced whole, so that time and memory are bounded.

package struct LineDiff: Sendable {
    /// Myers' algorithm keeps a row for each difference: 2000 rows are 16 MB at most.
    private static let mostDifferences = 2000
    private static let context = 3

    private enum Step {
        case keep, remove, insert
    }

    private let old: [Substring]
    private let new: [Substring]
    private let steps: [Step]

    package init(old oldText: String, new newText: String) {
        old = LineDiff.lines(oldText)
        new = LineDiff.lines(newText)
        guard oldText != newText else {
            steps = []
            return
        }
        let shorter = min(old.count, new.count)
        var head = 0
        while head < shorter, old[head] == new[head] { head += 1 }
        var tail = 0
        while tail < shorter - head, old[old.count - 1 - tail] == new[new.count - 1 - tail] { tail += 1 }
        let middle = LineDiff.edit(old[head..<(old.count - tail)], new[head..<(new.count - tail)])
        steps = Array(repeating: .keep, count: head) + middle + Array(repeating: .keep, count: tail)
    }

    package var isEmpty: Bool { steps.isEmpty }

    /// With `---` and `+++` lines of these names; empty for equal texts.
    package func unified(oldName: String, newName: String) -> String {
        guard !isEmpty else { return "" }
        var text = "--- \(oldName)\n+++ \(newName)\n"
        for hunk in hunks() { text += self.text(of: hunk) }
        return text
    }

    /// A last line without its end is not the line with it, as for diff(1): it keeps the mark of that.
    private static func lines(_ text: String) -> [Substring] {
        var lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        if lines.last == "" { lines.removeLast() } else { lines[lines.count - 1] += "\n\\ No newline at end of file" }
        return lines
    }

    // MARK: Hunks

    private struct Hunk {
        var steps: Range<Int>
        var old: Int
        var new: Int
    }

    /// Differences with `context` lines around them; those that come closer than that are one.
    private func hunks() -> [Hunk] {
        var hunks: [Hunk] = []
        var (oldLine, newLine) = (0, 0)
        for (index, step) in steps.enumerated() {
            if step != .keep {
                if let last = hunks.last, index <= last.steps.upperBound + LineDiff.context {
                    hunks[hunks.count - 1].steps = last.steps.lowerBound..<min(index + 1 + LineDiff.context, steps.count)
                } else {
                    let before = min(LineDiff.context, index)
                    hunks.append(
                        Hunk(steps: (index - before)..<min(index + 1 + LineDiff.context, steps.count), old: oldLine - before, new: newLine - before))
                }
            }
            if step != .insert { oldLine += 1 }
            if step != .remove { newLine += 1 }
        }
        return hunks
    }

    private func text(of hunk: Hunk) -> String {
        var (oldLine, newLine) = (hunk.old, hunk.new)
        var body = ""
        for step in steps[hunk.steps] {
            switch step {
            case .keep: body += " \(old[oldLine])\n"
            case .remove: body += "-\(old[oldLine])\n"
            case .insert: body += "+\(new[newLine])\n"
            }
            if step != .insert { oldLine += 1 }
            if step != .remove { newLine += 1 }
        }
        /// An empty range stands after the line before it; one line needs no count.
        func range(_ start: Int, _ end: Int) -> String {
            end - start == 1 ? "\(start + 1)" : "\(end == start ? start : start + 1),\(end - start)"
        }
        return "@@ -\(range(hunk.old, oldLine)) +\(range(hunk.new, newLine)) @@\n\(body)"
    }

    // MARK: The shortest edit

    private static func edit(_ old: ArraySlice<Substring>, _ new: ArraySlice<Substring>) -> [Step] {
        let (a, b) = numbered(old, new)
        let replaced = Array(repeating: Step.remove, count: a.count) + Array(repeating: Step.insert, count: b.count)
        guard !a.isEmpty, !b.isEmpty else { return replaced }
        // furthest[zero + k]: how far into `a` the diagonal k = x - y is reached with as many differences as there were rounds.
        let most = min(a.count + b.count, mostDifferences)
        var furthest = [Int](repeating: 0, count: 2 * most + 3)
        let zero = most + 1
        var rows: [[Int]] = []
        for differences in 0...most {
            var row: [Int] = []
            for k in stride(from: -differences, through: differences, by: 2) {
                let isDown = k == -differences || k != differences && furthest[zero + k - 1] < furthest[zero + k + 1]
                var x = isDown ? furthest[zero + k + 1] : furthest[zero + k - 1] + 1
                var y = x - k
                while x < a.count, y < b.count, a[x] == b[y] { (x, y) = (x + 1, y + 1) }
                furthest[zero + k] = x
                row.append(x)
                if x >= a.count, y >= b.count { return path(to: (a.count, b.count), rows + [row]) }
            }
            rows.append(row)
        }
        return replaced
    }

    /// Equal lines get equal numbers, which compare faster.
    private static func numbered(_ old: ArraySlice<Substring>, _ new: ArraySlice<Substring>) -> ([Int], [Int]) {
        var numbers: [Substring: Int] = [:]
        func number(_ line: Substring) -> Int {
            if let known = numbers[line] { return known }
            numbers[line] = numbers.count
            return numbers.count - 1
        }
        return (old.map(number), new.map(number))
    }

    /// Backwards from the end: row d holds x of the diagonals -d, -d+2, … d.
    private static func path(to end: (x: Int, y: Int), _ rows: [[Int]]) -> [Step] {
        var (x, y) = end
        var steps: [Step] = []
        for differences in stride(from: rows.count - 1, through: 1, by: -1) {
            let previous = rows[differences - 1]
            func reached(_ k: Int) -> Int { previous[(k + differences - 1) / 2] }
            let k = x - y
            let isDown = k == -differences || k != differences && reached(k - 1) < reached(k + 1)
            let from = isDown ? reached(k + 1) : reached(k - 1)
            let start = isDown ? (x: from, y: from - k) : (x: from + 1, y: from + 1 - k)
            steps += Array(repeating: .keep, count: x - start.x)
            steps.append(isDown ? .insert : .remove)
            (x, y) = isDown ? (start.x, start.y - 1) : (start.x - 1, start.y)
        }
        steps += Array(repeating: .keep, count: x)
        return steps.reversed()
    }
}
