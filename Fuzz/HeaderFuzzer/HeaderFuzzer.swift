// Any bytes as the header of a message whose addresses are rewritten: never a crash, the same result whole and in pieces, and
// nothing changed but what an edit names.
//
// The first octet is the size of the pieces. All of it is read as a list of targets and as an address of SRS too.

import FuzzDriver
import MailSyntax
import Routing

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

private let completion = HeaderRewriter.Completion(from: Address("a@b.example")!, date: Timestamp(microseconds: 0), messageID: "1@b.example")

private func rewritten(_ octets: ArraySlice<UInt8>, size: Int, changes: Bool) -> [UInt8] {
    var rewriter = HeaderRewriter(completion: changes ? completion : nil) { _, address in
        changes ? Address(localPart: address.localPart + "x", domain: Domain(valid: "rewritten.example")) : nil
    }
    var (rest, output): ([UInt8], [UInt8]) = ([], [])
    var index = octets.startIndex
    repeat {
        let next = min(index + size, octets.endIndex)
        let piece = rest + octets[index..<next]
        index = next
        let result = piece.withUnsafeBytes { rewriter.scan($0, isLast: index == octets.endIndex) }
        var done = 0
        for edit in result.edits {
            precondition(edit.range.lowerBound >= done && edit.range.upperBound <= result.end, "edits overlap or lie outside")
            output += piece[done..<edit.range.lowerBound] + edit.octets
            done = edit.range.upperBound
        }
        output += piece[done..<result.end]
        rest = Array(piece[result.end...])
    } while index < octets.endIndex
    precondition(rest.isEmpty, "something was kept back")
    return output
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let (size, message) = (max(1, Int(input.first ?? 1)), input.dropFirst())
    let whole = rewritten(message, size: max(1, message.count), changes: true)
    precondition(rewritten(message, size: size, changes: true) == whole, "pieces make a difference")
    precondition(rewritten(message, size: size, changes: false).elementsEqual(message), "something changed that nothing asked for")
    let text = String(decoding: message, as: UTF8.self)
    _ = TargetList(text)
    if let address = BareAddress(text)?.qualified(with: srs.domain), case .sender? = srs.reverse(address) { fatalError("an address that nobody signed") }
    return 0
}

private let srs = SRS(domain: Domain(valid: "rewritten.example"), secrets: [Array("a secret that is in no corpus".utf8)]) { 20_000 }
