// /etc/hosts and /etc/resolv.conf, which a static binary must read for itself: getaddrinfo is not to be had in it.
// Both parsers skip what they do not understand, as the C library does. See hosts(5) and resolv.conf(5).

package import MailSyntax
internal import Glibc

/// The names that the system knows without asking anybody.
package struct HostsTable: Hashable, Sendable {
    private var byName: [Domain: [IPAddress]] = [:]
    private var byAddress: [IPAddress: [Domain]] = [:]

    /// Nothing but what every table holds: RFC 6761 §6.3 gives `localhost` to the loopback addresses.
    package init() {}

    /// `address name [alias…]` a line, `#` begins a comment.
    package init(parsing text: String) {
        for line in text.utf8.split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            let words = words(of: line, comment: [UInt8(ascii: "#")])
            guard let first = words.first, let address = IPAddress(first) else { continue }
            for name in words.dropFirst().compactMap({ Domain($0) }) where name.literal == nil {
                if !byName[name, default: []].contains(address) { byName[name, default: []].append(address) }
                if !byAddress[address, default: []].contains(name) { byAddress[address, default: []].append(name) }
            }
        }
    }

    package func addresses(of name: Domain) -> [IPAddress]? {
        if let known = byName[name] { return known }
        guard name.key == "localhost" || name.key.hasSuffix(".localhost") else { return nil }
        return [IPAddress(bytes: [127, 0, 0, 1]), IPAddress(bytes: [UInt8](repeating: 0, count: 15) + [1])]
    }

    package func names(of address: IPAddress) -> [Domain]? {
        byAddress[address] ?? (address.isLoopback ? [Domain(valid: "localhost")] : nil)
    }
}

/// What resolv.conf(5) says of the resolvers to ask.
package struct ResolverFile: Hashable, Sendable {
    /// resolv.conf(5): MAXNS.
    package static let mostServers = 3
    /// resolv.conf(5) once had six; more make one look-up of a mistyped name into many.
    package static let mostSearchDomains = 6

    package private(set) var servers: [IPAddress] = []
    /// Appended to names without a dot. The last of the `search` and `domain` lines counts.
    package private(set) var search: [Domain] = []

    package init() {}

    package init(parsing text: String) {
        for line in text.utf8.split(whereSeparator: { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") }) {
            let words = words(of: line, comment: [UInt8(ascii: "#"), UInt8(ascii: ";")])
            switch words.first {
            case "nameserver":
                // A link-local address with its zone (`fe80::1%eth0`) is not supported.
                if words.count > 1, let address = IPAddress(words[1]), servers.count < ResolverFile.mostServers { servers.append(address) }
            case "search", "domain":
                search = Array(words.dropFirst().compactMap { Domain($0.hasSuffix(".") ? String($0.dropLast()) : $0) }.prefix(ResolverFile.mostSearchDomains))
            default: break
            }
        }
    }
}

/// The words of a line up to a comment.
private func words(of line: Substring.UTF8View, comment: [UInt8]) -> [String] {
    line.prefix { !comment.contains($0) }
        .split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        .map { String(decoding: $0, as: UTF8.self) }
}

/// Far beyond what anybody keeps in these files, and a bound on what a wrong path can cost.
private let largestSystemFile = 1 << 20

/// The text of a small file; nil if it cannot be read.
func readSystemFile(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var block = [UInt8](repeating: 0, count: 16 * 1024)
    while bytes.count < largestSystemFile {
        let count = read(descriptor, &block, block.count)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { return nil }
        guard count > 0 else { break }
        bytes += block[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}
