// The addresses of this process's network interfaces (getifaddrs(3)).
//
// Octets are taken at the places that netinet(7) gives them, since in the static build the members `sin_addr` and `sin6_addr`
// belong to a module of SwiftNIO's that is not to be imported.

internal import Glibc
internal import MailSyntax

/// Empty where the system does not tell.
func interfaceAddresses() -> [IPAddress] {
    var first: UnsafeMutablePointer<ifaddrs>?
    guard getifaddrs(&first) == 0 else { return [] }
    defer { freeifaddrs(first) }
    var addresses: [IPAddress] = []
    var next = first
    while let entry = next {
        next = entry.pointee.ifa_next
        guard let socket = entry.pointee.ifa_addr else { continue }
        // Family, port, address; with IPv6 the flow stands before the address.
        let (offset, count): (Int, Int)
        switch CInt(socket.pointee.sa_family) {
        case AF_INET: (offset, count) = (4, 4)
        case AF_INET6: (offset, count) = (8, 16)
        default: continue
        }
        addresses.append(IPAddress(bytes: Array(UnsafeRawBufferPointer(start: UnsafeRawPointer(socket) + offset, count: count))))
    }
    return addresses
}
