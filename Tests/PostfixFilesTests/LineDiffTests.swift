// The diff of lines: against what is known by hand, against diff(1), and against time.

import PostfixFiles
import Testing

private let cases: [(old: String, new: String, diff: String)] = [
    ("", "", ""), ("a\n", "a\n", ""),
    ("", "a\nb\n", "--- old\n+++ new\n@@ -0,0 +1,2 @@\n+a\n+b\n"),
    ("a\n", "", "--- old\n+++ new\n@@ -1 +0,0 @@\n-a\n"),
    ("a\nb\nc\n", "a\nx\nc\n", "--- old\n+++ new\n@@ -1,3 +1,3 @@\n a\n-b\n+x\n c\n"),
    ("a", "a\n", "--- old\n+++ new\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n"),
    ("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\n6\n7\n8\n9\nx\n", "--- old\n+++ new\n@@ -2,8 +2,8 @@\n 2\n 3\n 4\n-5\n 6\n 7\n 8\n 9\n+x\n"),
]

@Test("A unified diff is as diff -u writes it", arguments: cases)
func diffs(old: String, new: String, diff: String) {
    #expect(LineDiff(old: old, new: new).unified(oldName: "old", newName: "new") == diff)
}

/// Words of a small alphabet, so that lines repeat; the same ones each time.
private func text(_ seed: UInt64, lines: Int, of words: UInt64) -> String {
    var state = seed &* 0x9E37_79B9_7F4A_7C15 | 1
    return (0..<lines).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return "\(state >> 33 % words)\n"
    }.joined()
}

@Test("patch makes the new text of the old one and the diff, whatever they are")
func patches() throws {
    let directory = try TemporaryDirectory()
    for seed in 1...60 as ClosedRange<UInt64> {
        let old = text(seed, lines: Int(seed % 23), of: 2 + seed % 9)
        let new = text(seed &+ 1000, lines: Int(seed % 19), of: 2 + seed % 9)
        try write(old, to: "\(directory.path)/file")
        let diff = LineDiff(old: old, new: new).unified(oldName: "file", newName: "file")
        guard !diff.isEmpty else {
            #expect(old == new)
            continue
        }
        try write(diff, to: "\(directory.path)/diff")
        let outcome = run("patch", "--quiet", "--directory=\(directory.path)", "file", "diff")
        try #require(outcome.status == 0, "patch (Debian package patch): \(outcome.output)\n\(diff)")
        #expect((contents(of: "\(directory.path)/file") ?? "") == new, "\(diff)")
        // As short as diff(1) finds it.
        try write(old, to: "\(directory.path)/old")
        try write(new, to: "\(directory.path)/new")
        func changes(_ diff: String) -> Int { diff.split(separator: "\n").count { ($0.hasPrefix("+") || $0.hasPrefix("-")) && !$0.hasPrefix("+++") && !$0.hasPrefix("---") } }
        let theirs = run("diff", "--minimal", "-u", "\(directory.path)/old", "\(directory.path)/new").output
        #expect(changes(diff) == changes(theirs))
    }
}

@Test("Large texts that are equal, nearly equal or wholly different are compared in no time", .timeLimit(.minutes(1)))
func largeTexts() {
    let old = text(1, lines: 200_000, of: 1 << 30)
    let lines = old.split(separator: "\n", omittingEmptySubsequences: false)
    let near = (lines[..<5000] + ["new"] + lines[5001..<150_000] + lines[150_001...]).joined(separator: "\n")
    #expect(LineDiff(old: old, new: old).isEmpty)
    #expect(LineDiff(old: old, new: near).unified(oldName: "a", newName: "b").split(separator: "\n").count == 2 + 1 + 8 + 1 + 7)
    let other = text(2, lines: 200_000, of: 1 << 30)
    #expect(LineDiff(old: old, new: other).unified(oldName: "a", newName: "b").split(separator: "\n").count == 3 + 400_000)
}
