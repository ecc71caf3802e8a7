// Any octets as the data of resource records, as names, and as the system's files about names and networks: never a crash, and
// what is taken for a name or an address can be written and read again.

import Appliance
import DNS
import FuzzDriver
import MailSyntax

@main
struct Fuzzer {
    static func main() { runFuzzer(fuzz) }
}

@_cdecl("LLVMFuzzerTestOneInput")
func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = [UInt8](UnsafeBufferPointer(start: start, count: count))
    checkRecords(input)
    let text = String(decoding: input, as: UTF8.self)
    checkPunycode(text)
    checkFiles(text)
    return 0
}

private func check(_ name: Domain) {
    precondition(Domain(name.text) == name && name.text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x7F }, "a name that is none")
}

private func checkRecords(_ rdata: [UInt8]) {
    if case .host(let exchanger)? = ResourceData.mailExchanger(rdata) {
        check(exchanger.host)
        precondition(exchanger.host.literal == nil, "an exchanger in brackets")
        // The name fills the data: that is its length on the wire.
        precondition(exchanger.host.text.utf8.count + 4 == rdata.count, "not all of the data was read")
    }
    if let name = ResourceData.pointer(rdata) {
        check(name)
        precondition(name.literal == nil)
    }
    if let text = ResourceData.text(rdata) { precondition(text.count < rdata.count) }
    if let service = ResourceData.service(rdata) {
        check(service.host)
        precondition(service.host.text.utf8.count + 8 == rdata.count && service.host.literal == nil)
    }
    if let record = ResourceData.certificateAssociation(rdata) { precondition(record.data.count == rdata.count - 3 && !record.data.isEmpty) }
    for (type, octets) in [(ResourceData.RecordType.a, 4), (.aaaa, 16)] {
        guard let address = ResourceData.address(rdata, type) else { continue }
        precondition(rdata.count == octets)
        precondition(IPAddress("\(address)") == address, "an address that cannot be written")
        precondition(Domain(String(address.reverseName.dropLast())) != nil)
    }
}

private func checkPunycode(_ text: String) {
    guard let name = Domain(text), name.literal == nil, let ascii = Punycode.ascii(name) else { return }
    precondition(ascii.utf8.allSatisfy { $0 < 0x80 } && ascii.utf8.count <= Domain.longest)
    let labels = ascii.split(separator: ".", omittingEmptySubsequences: false)
    let given = name.key.lowercased().unicodeScalars.split(separator: ".", omittingEmptySubsequences: false)
    precondition(labels.count == given.count && labels.allSatisfy { $0.utf8.count <= Domain.longestLabel })
    for (label, original) in zip(labels, given) where !original.allSatisfy(\.isASCII) {
        precondition(label.hasPrefix("xn--") && decoded(Array(label.utf8.dropFirst(4))) == original.map(\.value), "\(label) is not \(original)")
    }
}

/// RFC 3492 §6.2, for comparison.
private func decoded(_ label: [UInt8]) -> [UInt32]? {
    var output: [UInt32] = []
    var rest = label[...]
    if let delimiter = label.lastIndex(of: UInt8(ascii: "-")) {
        output = label[..<delimiter].map(UInt32.init)
        rest = label[(delimiter + 1)...]
    }
    var (n, i, bias) = (128, 0, 72)
    while !rest.isEmpty {
        let old = i
        var (weight, k) = (1, 36)
        while true {
            guard let byte = rest.popFirst() else { return nil }
            let digit = byte >= UInt8(ascii: "a") ? Int(byte) - 97 : Int(byte) - 22
            i += digit * weight
            let t = k <= bias ? 1 : min(k - bias, 26)
            if digit < t { break }
            weight *= 36 - t
            k += 36
        }
        var delta = old == 0 ? (i - old) / 700 : (i - old) / 2
        delta += delta / (output.count + 1)
        var step = 0
        while delta > 455 {
            delta /= 35
            step += 36
        }
        bias = step + 36 * delta / (delta + 38)
        n += i / (output.count + 1)
        i %= output.count + 1
        output.insert(UInt32(n), at: i)
        i += 1
    }
    return output
}

private func checkFiles(_ text: String) {
    let hosts = HostsTable(parsing: text)
    let resolvers = ResolverFile(parsing: text)
    precondition(resolvers.servers.count <= ResolverFile.mostServers && resolvers.search.count <= ResolverFile.mostSearchDomains)
    resolvers.search.forEach(check)
    for word in text.split(whereSeparator: \.isWhitespace).prefix(50) {
        if let address = IPAddress(String(word)), let names = hosts.names(of: address) {
            names.forEach(check)
            if !address.isLoopback { for name in names { precondition(hosts.addresses(of: name)?.contains(address) == true, "there and not back") } }
        }
        if let name = Domain(String(word)), name.literal == nil { _ = hosts.addresses(of: name) }
    }
    let around = Surroundings(ipv4: text, ipv6: text, own: resolvers.servers, isContainer: true)
    for address in around.standIns.keys { precondition(IPAddress("\(address)") == address) }
}
