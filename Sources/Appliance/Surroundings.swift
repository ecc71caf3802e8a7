// The network that this process finds itself in, as far as it matters for whom `networks` may trust: addresses that stand for
// many clients.
//
// Where a container's port is published, the engine may hand connections on by a proxy of its own or by masquerading, and they then
// come from the gateway of the container's network, whoever made them: every client of the internet has the address of a trusted
// neighbour. Mail servers have become open relays that way (docker-mailserver#1405, mailcow-dockerized#3598). The same goes for a
// router that masquerades what it forwards. So these addresses are never trusted for the network that they are in.

internal import Glibc
package import MailSyntax

package struct Surroundings: Sendable {
    /// What an address is here, in words.
    package let standIns: [IPAddress: String]

    package init(standIns: [IPAddress: String]) { self.standIns = standIns }

    /// Reads /proc, and asks the system for this host's addresses.
    package static func now() -> Surroundings {
        let isContainer = access("/.dockerenv", F_OK) == 0 || access("/run/.containerenv", F_OK) == 0 || getenv("KUBERNETES_SERVICE_HOST") != nil
        return Surroundings(
            ipv4: readText("/proc/net/route"), ipv6: readText("/proc/net/ipv6_route"), own: isContainer ? interfaceAddresses() : [], isContainer: isContainer)
    }

    /// `ipv4`, `ipv6`: the kernel's routing tables as text. `own`: addresses of this process's interfaces.
    package init(ipv4: String, ipv6: String, own: [IPAddress], isContainer: Bool) {
        var found: [IPAddress: String] = [:]
        for route in RoutingTable.ipv4(ipv4) + RoutingTable.ipv6(ipv6) {
            if let gateway = route.gateway {
                found[gateway] = "the gateway of this \(isContainer ? "container" : "host")'s network"
            } else if isContainer, let first = route.firstAddress {
                // A container in several networks has one route out, and a gateway in each; engines give it the first address.
                found[first] = found[first] ?? "the first address of a network of this container, which is its gateway's as a rule"
            }
        }
        // Engines without privileges of their own (rootless Podman) hand connections on from the container's own address.
        for address in own where !address.isLoopback { found[address] = "this container's own address" }
        standIns = found
    }
}

/// The routes of this network, from /proc/net/route and /proc/net/ipv6_route. What cannot be read is skipped.
private struct RoutingTable {
    struct Route {
        /// Nil: the network is connected itself.
        var gateway: IPAddress?
        /// Of a connected network.
        var firstAddress: IPAddress?
    }

    // <linux/route.h>, <linux/ipv6_route.h>
    private static let up = 0x1
    private static let viaGateway = 0x2
    private static let isLocal = 0x8000_0000

    ///     Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT     ; numbers in hexadecimal
    /// Addresses are 32-bit numbers as the machine keeps them: on a little-endian one their octets come last first.
    static func ipv4(_ text: String) -> [Route] {
        text.split(separator: "\n").dropFirst().compactMap { line in
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count >= 8, let destination = UInt32(fields[1], radix: 16), let gateway = UInt32(fields[2], radix: 16),
                let flags = Int(fields[3], radix: 16), let mask = UInt32(fields[7], radix: 16), flags & up != 0
            else { return nil }
            if flags & viaGateway != 0 { return Route(gateway: address(gateway)) }
            let network = UInt32(bigEndian: destination)
            guard mask != 0, mask != .max, fields[0] != "lo" else { return nil }
            return Route(firstAddress: address((network | 1).bigEndian))
        }
    }

    private static func address(_ number: UInt32) -> IPAddress { IPAddress(bytes: withUnsafeBytes(of: number) { Array($0) }) }

    ///     destination length source length next-hop metric refcount use flags interface      ; hexadecimal, octets in order
    static func ipv6(_ text: String) -> [Route] {
        text.split(separator: "\n").compactMap { line in
            let fields = line.split(whereSeparator: { $0 == "\t" || $0 == " " })
            guard fields.count >= 10, let destination = octets(fields[0]), let length = Int(fields[1], radix: 16), let nextHop = octets(fields[4]),
                let flags = Int(fields[8], radix: 16), flags & up != 0, flags & isLocal == 0, fields[9] != "lo"
            else { return nil }
            if flags & viaGateway != 0 { return Route(gateway: IPAddress(bytes: nextHop)) }
            // Neither multicast nor link-local networks have a gateway, nor has a single address.
            guard length > 0, length < 128, destination[0] != 0xFF, !(destination[0] == 0xFE && destination[1] & 0xC0 == 0x80) else { return nil }
            return Route(firstAddress: IPAddress(bytes: destination[..<15] + [destination[15] | 1]))
        }
    }

    private static func octets(_ hex: Substring) -> [UInt8]? {
        let digits = Array(hex.utf8)
        guard digits.count == 32 else { return nil }
        var result: [UInt8] = []
        for index in stride(from: 0, to: 32, by: 2) {
            guard let octet = UInt8(String(decoding: digits[index..<(index + 2)], as: UTF8.self), radix: 16) else { return nil }
            result.append(octet)
        }
        return result
    }
}

/// All of a small file of the system; nothing where there is none.
private func readText(_ path: String) -> String {
    guard let file = fopen(path, "r") else { return "" }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 4096)
    // Routers of the internet have tables of many megabytes; nobody's container has.
    while bytes.count < 1 << 20, case let count = fread(&chunk, 1, chunk.count, file), count > 0 { bytes += chunk[..<count] }
    return String(decoding: bytes, as: UTF8.self)
}

extension Surroundings {
    /// What is said where a network covers such an address: why it is not trusted, and what to write. Nil: none is covered.
    func advice(on covered: [(address: IPAddress, network: Network)]) -> String? {
        guard !covered.isEmpty else { return nil }
        return covered.map { address, network in
            "networks covers \(address) by \(network): that is \(standIns[address] ?? "an address of many clients"), and whoever connects through it may have"
                + " this address, so it may not relay; name the clients' own networks without it, or \(address) itself to trust all who come through it"
        }.joined(separator: "; ")
    }
}
