// The files of Sources/, read as text: for the tests of the house's rules.

import Glibc

struct SourceFile {
    /// From the repository's root: `Sources/SMTP/Limits.swift`.
    let path: String
    let text: String

    /// `Sources/SMTP/…` is of `SMTP`.
    var target: String { String(path.split(separator: "/")[1]) }
    var name: String { String(path.split(separator: "/").last!.dropLast(".swift".count)) }
    var lines: [Substring] { text.split(separator: "\n", omittingEmptySubsequences: false) }

    /// The modules of its import lines, each with its line number.
    var imports: [(module: String, line: Int)] {
        lines.enumerated().compactMap { number, line in
            let words = line.prefix { $0 != "/" }.split(separator: " ")
            let modifiers: Set<Substring> = ["package", "internal", "private", "fileprivate", "public", "@testable", "@preconcurrency", "@_exported"]
            guard let rest = words.drop(while: { modifiers.contains($0) }).first, rest == "import" else { return nil }
            let kinds: Set<Substring> = ["struct", "enum", "class", "protocol", "func", "typealias", "let", "var"]
            let path = words.drop { $0 != "import" }.dropFirst().drop { kinds.contains($0) }.first
            return path.map { (String($0.prefix { $0 != "." }), number + 1) }
        }
    }

    /// Names of the types that it declares, each with its line number.
    var types: [(name: String, line: Int)] {
        lines.enumerated().flatMap { number, line -> [(String, Int)] in
            let words = line.prefix { $0 != "/" && $0 != "\"" }.split { " {:<(".contains($0) }
            let kinds: Set<Substring> = ["struct", "enum", "class", "actor", "protocol", "typealias"]
            guard let index = words.firstIndex(where: { kinds.contains($0) }), index + 1 < words.count else { return [] }
            return [(String(words[index + 1]), number + 1)]
        }
    }
}

enum SourceTree {
    /// The repository's root, two folders above this one.
    static let root: String = {
        var path = #filePath[...]
        for _ in 0..<3 { path = path[..<path.lastIndex(of: "/")!] }
        return String(path)
    }()

    static let files: [SourceFile] = paths(under: "Sources").filter { $0.hasSuffix(".swift") }.sorted().map { SourceFile(path: $0, text: read($0)) }

    static func read(_ path: String) -> String {
        guard let file = fopen("\(root)/\(path)", "r") else { fatalError("cannot read \(path)") }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        while case let count = fread(&block, 1, block.count, file), count > 0 { bytes += block[..<count] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func paths(under folder: String) -> [String] {
        guard let directory = opendir("\(root)/\(folder)") else { return [folder] }
        defer { closedir(directory) }
        var found: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if !name.hasPrefix(".") { found += paths(under: "\(folder)/\(name)") }
        }
        return found
    }
}
