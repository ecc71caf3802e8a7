// Any bytes as what a client answers to a login, and as what a file keeps of passwords: never a crash, never a login without
// the right password.
//
// The first octet chooses the mechanism; lines are the client's responses. All of it is read as account files too.

import Accounts
import FuzzDriver

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

private let keys: [SCRAMKeys] = ["{SCRAM-SHA-1}10,AA==,AAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "{SCRAM-SHA-256}10,AA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="]
    .map { (try! StoredPassword($0)).scramKeys! }

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = [UInt8](UnsafeBufferPointer(start: start, count: count))
    let mechanisms = SASLMechanism.allCases
    let mechanism = mechanisms[Int(input.first ?? 0) % mechanisms.count]
    var exchange = SASLExchange(mechanism, bindings: [ChannelBinding(name: "tls-exporter", octets: [1])], nonce: "nonce")
    var step = exchange.start(initial: nil)
    for response in input.dropFirst().split(separator: 0x0A, omittingEmptySubsequences: false) {
        switch step {
        case .challenge: step = exchange.receive(Array(response))
        case .verify: step = exchange.passwordIs(right: false)
        case .lookUp(_, let digest): step = exchange.keysAre(keys[digest == .sha1 ? 0 : 1])
        case .success: fatalError("a login without the right password")
        case .failure: break
        }
    }
    let text = String(decoding: input, as: UTF8.self)
    // Longer ones may ask for as many rounds as they like, which is time and no fault.
    _ = AccountFile(passwd: text, shadow: AccountFile(shadow: text), userIDs: 0...Int.max)
    _ = AccountFile(dovecot: text)
    return 0
}
