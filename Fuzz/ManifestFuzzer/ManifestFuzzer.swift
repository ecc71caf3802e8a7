// Any bytes as a manifest: reading them and showing what is wrong must neither crash nor hang, a result is either valid or
// has an error, and places lie within the text.
//
// The seeds in corpus/ are manifests; those of Tests/ManifestTests/broken/ serve too.

import FuzzDriver
import Manifest

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let result = ManifestReader.read(text: text, file: "mail.yaml")
    let hasError = result.diagnostics.contains { $0.severity == .error }
    precondition((result.system == nil) == hasError, "neither valid nor an error")

    let renderer = DiagnosticRenderer(source: text)
    let lines = text.count { $0 == 0x0A || $0 == 0x0D } + 1
    for diagnostic in result.diagnostics {
        precondition(!renderer.render(diagnostic).isEmpty)
        guard let position = diagnostic.position else { continue }
        precondition(position.line >= 1 && position.line <= lines + 1 && position.column >= 1 && position.column <= count + 2)
    }
    precondition(!DiagnosticReport.json(result.diagnostics).isEmpty)
    return 0
}
