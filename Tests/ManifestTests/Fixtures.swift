// Finds the manifests beside the tests and reads them.

import Glibc

enum Fixtures {
    /// The repository's root, seen from this file.
    static let root = String(#filePath.split(separator: "/").dropLast(3).reduce(into: "") { $0 += "/" + $1 })

    /// Paths of the files of a directory of the repository that end in `.yaml`, in order.
    static func manifests(in directory: String) -> [Fixture] {
        guard let stream = opendir("\(root)/\(directory)") else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasSuffix(".yaml") { names.append(name) }
        }
        return names.sorted().map { Fixture(directory: directory, name: $0) }
    }

    /// Nil if there is no such file.
    static func bytes(_ path: String) -> [UInt8]? {
        guard let file = fopen("\(root)/\(path)", "r") else { return nil }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&chunk, 1, chunk.count, file)
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}

struct Fixture: CustomStringConvertible, Sendable {
    let directory: String
    let name: String

    var description: String { name }
    var bytes: [UInt8] { Fixtures.bytes("\(directory)/\(name)")! }
    /// The file of the same name with another ending, as text.
    func companion(_ ending: String) -> String? {
        Fixtures.bytes("\(directory)/\(name.dropLast(5)).\(ending)").map { String(decoding: $0, as: UTF8.self) }
    }
}
