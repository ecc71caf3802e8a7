// Any octets as tables of rewriting and the addresses that they are asked for: every chain comes to an end, and what comes out is
// an address that can be written and read. With it the schemes that put one address into another: SRS comes back to
// where it started, and of VERP the sender's part stays.
//
// Lines `KEY=RESULT` are the tables' entries; lines without "=" are addresses.

import FuzzDriver
import MailSyntax
import Routing

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

private let here = Domain("here.example")!
private let secrets = [Array("a secret that is in no corpus".utf8), Array("an older one".utf8)]

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = UnsafeBufferPointer(start: start, count: count)
    let flags = input.first ?? 0
    var entries: [RewriteTable.Entry] = []
    var addresses: [Address] = []
    for line in input.dropFirst().split(separator: 0x0A) {
        let parts = line.split(separator: UInt8(ascii: "="), maxSplits: 1).map { String(decoding: $0, as: UTF8.self) }
        if parts.count == 2, let result = result(parts[1]) {
            entries.append(RewriteTable.Entry(key: lowercasedASCII(parts[0]), result: result, line: entries.count + 1))
        }
        if let address = Address(String(decoding: line, as: UTF8.self)) { addresses.append(address) }
    }
    checkTables(entries, addresses, flags)
    addresses.forEach(checkSchemes)
    return 0
}

private func result(_ text: String) -> RewriteTable.Result? {
    if text.hasPrefix("@") { return Domain(String(text.dropFirst())).map { .domain($0) } }
    guard let bare = BareAddress(text) else { return nil }
    return bare.domain == nil ? .name(bare.localPart) : .address(bare.qualified(with: here))
}

private func check(_ address: Address) { precondition(Address(address.description) == address || address.localPart.utf8.count > Address.longestLocalPart, "an address that cannot be written: \(address)") }

private func checkTables(_ entries: [RewriteTable.Entry], _ addresses: [Address], _ flags: UInt8) {
    let all = AddressRewriting.Classes(rawValue: 15)
    let table = AddressRewriting.Table(entries, classes: all)
    let masquerade = AddressRewriting.Masquerade(domains: [(here, flags & 1 != 0), (Domain("example")!, false)], exceptions: ["root"], classes: all)
    let rewriting = AddressRewriting(
        AddressRewriting.Configuration(
            manifest: "mail.yaml", origin: here, localDomains: [Domain("local.example")!], extensionDelimiter: flags & 2 != 0 ? UInt8(ascii: "+") : nil,
            canonical: table, senderCanonical: table, recipientCanonical: table, generic: entries, propagatesCanonical: flags & 4 != 0,
            propagatesGeneric: flags & 8 != 0, masquerade: masquerade, senderBCC: entries, recipientBCC: entries, alwaysBCC: entries.first))
    for address in addresses {
        let trace = Trace()
        check(rewriting.incoming(address, .envelopeSender, trace: trace))
        check(rewriting.incoming(address, .headerRecipient))
        if let out = rewriting.generic(address) { check(out) }
        for copy in rewriting.copies(sender: address, recipients: [address]) { check(copy.address) }
    }
}

private func checkSchemes(_ address: Address) {
    let srs = SRS(domain: here, secrets: secrets) { 20_000 }
    let elsewhere = SRS(domain: Domain("else.example")!, secrets: [Array("another".utf8)]) { 20_010 }
    let later = SRS(domain: here, secrets: Array(secrets.reversed())) { 20_000 + SRS.longestAge }
    let tooLate = SRS(domain: here, secrets: secrets) { 20_001 + SRS.longestAge }
    guard address.domain != here, address.domain != elsewhere.domain, address.domain.literal == nil, let once = srs.forward(address) else { return }
    check(once)
    let isTagged = lowercasedASCII(address.localPart).hasPrefix("srs0") || lowercasedASCII(address.localPart).hasPrefix("srs1")
    if !isTagged, !address.localPart.isEmpty {
        precondition(srs.reverse(once) == .sender(address), "\(address) → \(once) → \(String(describing: srs.reverse(once)))")
        precondition(later.reverse(once) == .sender(address), "lost too early, or with its secret")
        precondition(tooLate.reverse(once) == .invalid("has expired"))
        if let twice = elsewhere.forward(once) {
            check(twice)
            precondition(elsewhere.reverse(twice) == .sender(once), "\(once) → \(twice) → \(String(describing: elsewhere.reverse(twice)))")
        }
    }
    let verp = VERP.usual.sender(address, for: once)
    precondition(verp.localPart.hasPrefix(address.localPart) && verp.domain == address.domain)
}
