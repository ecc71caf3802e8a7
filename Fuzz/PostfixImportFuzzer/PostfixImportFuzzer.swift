// Any bytes as a Postfix configuration: importing it must neither crash nor hang, and what comes out is a valid manifest whose
// report names lines that exist.
//
// An input is several files: a line `%% NAME` begins one, and what stands before the first is main.cf.

import FuzzDriver
import Manifest
import PostfixFiles

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let files = parts(of: UnsafeBufferPointer(start: start, count: count))
    let source = ImportSource(directory: "/etc/postfix") { path in
        let name = path.split(separator: "/").last.map(String.init) ?? ""
        return files[name].map { .success($0) } ?? .failure(.missing)
    }
    guard let done = try? Importation(source) else { return 0 }
    let again = ManifestReader.read(text: Array(done.manifest.utf8), file: "mail.yaml")
    precondition(again.system != nil, "the manifest is not valid")
    precondition(!done.report.text.isEmpty && !done.report.json.isEmpty)
    for entry in done.report.entries {
        precondition(!entry.text.isEmpty && !entry.subject.isEmpty)
        precondition((entry.line ?? 1) >= 1 && (entry.line ?? 1) <= count + 2)
    }
    return 0
}

private func parts(of input: UnsafeBufferPointer<UInt8>) -> [String: [UInt8]] {
    var files: [String: [UInt8]] = [:]
    var name = "main.cf"
    for line in input.split(separator: 0x0A, omittingEmptySubsequences: false) {
        if line.starts(with: Array("%% ".utf8)) {
            name = String(decoding: line.dropFirst(3), as: UTF8.self)
        } else {
            files[name, default: []] += line + [0x0A]
        }
    }
    return files
}
