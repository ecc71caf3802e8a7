// Any octets at all as a manifest: reading ends, in a system or in at least one error, and each error has a place in the text.

import Manifest

@main
struct Fuzzer {
    static func main() {
        var count = CommandLine.argc
        var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
        _ = runFuzzer(&count, &arguments, fuzz)
    }
}

/// libFuzzer's entry: SwiftPM gives executables a `main` of its own, so the library's is not reached.
@_silgen_name("LLVMFuzzerRunDriver")
private func runFuzzer(
    _ count: UnsafeMutablePointer<CInt>, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let text = Array(UnsafeBufferPointer(start: start, count: count))
    let result = ManifestReader.read(text: text, file: "mail.yaml")
    precondition((result.system != nil) == result.diagnostics.allSatisfy { $0.severity != .error }, "a system with errors, or neither")
    return 0
}
