// Any octets as a message for a server that takes 7 bits only: the conversion gives the same whole and in pieces, what comes of
// it can go by DATA (7-bit, no NUL, no bare CR or LF), says the same where nothing had to be encoded, and is left alone
// when it is converted again.
//
// The first octet is the size of the pieces.

import FuzzDriver
import NIOCore
import SMTP

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let (size, message) = (max(1, Int(input.first ?? 1)), Array(input.dropFirst()))
    let whole = converted(message, size: max(1, message.count))
    precondition(converted(message, size: size) == whole, "pieces make a difference")
    precondition(SevenBitConversion.convert(ByteBuffer(bytes: message)).map { Array($0.readableBytesView) } == whole)
    guard let whole else { return 0 }
    precondition(isLines(whole), "cannot go by DATA")
    // What holds 7-bit parts only and says otherwise is told so.
    let text = String(decoding: message.map { $0 | 0x20 }, as: UTF8.self)
    if isLines(message), !hasLongLine(message), !text.contains("8bit"), !text.contains("binary") { precondition(whole == message, "something changed that had no need to") }
    // A line of the header section may be longer than a part's: it stays as it is.
    precondition(converted(whole, size: whole.count + 1) == whole, "converted twice")
    return 0
}

private func converted(_ message: [UInt8], size: Int) -> [UInt8]? {
    func feed(_ conversion: inout SevenBitConversion) -> [UInt8] {
        var output: [UInt8] = []
        for index in stride(from: 0, to: message.count, by: size) {
            output += conversion.feed(ByteBuffer(bytes: message[index..<min(index + size, message.count)])).readableBytesView
        }
        return output
    }
    var survey = SevenBitConversion()
    precondition(feed(&survey).isEmpty, "a survey that writes")
    guard let plan = survey.finishSurvey() else { return nil }
    var conversion = SevenBitConversion(plan)
    return feed(&conversion) + Array(conversion.finish().readableBytesView)
}

private func isLines(_ message: [UInt8]) -> Bool {
    for (index, byte) in message.enumerated() {
        if byte >= 0x80 || byte == 0 { return false }
        if byte == 10, index == 0 || message[index - 1] != 13 { return false }
        if byte == 13, index + 1 == message.count || message[index + 1] != 10 { return false }
    }
    return true
}

private func hasLongLine(_ message: [UInt8]) -> Bool { message.split(separator: 10).contains { $0.count > 999 } }
