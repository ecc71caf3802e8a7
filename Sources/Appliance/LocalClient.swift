// How a command speaks to a running appliance on the same host: blocking, with plain sockets. HTTP/1.0 for health and control,
// or the raw socket for SMTP.

package import Glibc
package import MailSyntax

/// Why the appliance could not be asked.
package struct LocalClientError: Error, CustomStringConvertible {
    package enum Kind: Sendable { case notRunning, notPermitted, broken }
    package let kind: Kind
    package let description: String

    package init(kind: Kind, description: String) {
        self.kind = kind
        self.description = description
    }
}

/// A connected socket; closed with the value's end.
package struct LocalConnection: ~Copyable {
    package let descriptor: CInt

    package init(unixSocket path: String) throws(LocalClientError) {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity else { throw LocalClientError(kind: .broken, description: "\(path): longer than a socket's name may be") }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        descriptor = try LocalConnection.connected(AF_UNIX, withUnsafeBytes(of: &address) { Array($0) }, path)
    }

    package init(_ endpoint: Endpoint) throws(LocalClientError) {
        // struct sockaddr_in: family, port, address, 8 octets of nothing; sockaddr_in6: family, port, flow, address, scope.
        // The family is in the host's byte order, all else in the network's.
        let family = endpoint.address.isV6 ? AF_INET6 : AF_INET
        var address = withUnsafeBytes(of: sa_family_t(family)) { Array($0) } + [UInt8(endpoint.port >> 8), UInt8(endpoint.port & 0xFF)]
        if endpoint.address.isV6 { address += [0, 0, 0, 0] }
        address += endpoint.address.bytes
        address += [UInt8](repeating: 0, count: endpoint.address.isV6 ? 4 : 8)
        descriptor = try LocalConnection.connected(family, address, "\(endpoint)")
    }

    deinit { close(descriptor) }

    private static func connected(_ family: CInt, _ address: [UInt8], _ name: String) throws(LocalClientError) -> CInt {
        let descriptor = socket(family, CInt(SOCK_STREAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        let failed = address.withUnsafeBytes { connect(descriptor, $0.assumingMemoryBound(to: sockaddr.self).baseAddress, socklen_t($0.count)) != 0 }
        guard failed else { return descriptor }
        let code = errno
        close(descriptor)
        let advice = code == EACCES || code == EPERM ? "; only the user that runs it may ask" : "; is 'valija serve' running?"
        let kind: LocalClientError.Kind = code == EACCES || code == EPERM ? .notPermitted : .notRunning
        throw LocalClientError(kind: kind, description: "no appliance answers at \(name): \(String(cString: strerror(code)))\(advice)")
    }

    /// The process that listens at a Unix socket (unix(7), SO_PEERCRED), as this one knows it; nil: it cannot be seen from here.
    package var peer: pid_t? {
        var credentials: [Int32] = [0, 0, 0]  // struct ucred: process, user, group
        var length = socklen_t(12)
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &length) == 0, credentials[0] > 0 else { return nil }
        return credentials[0]
    }

    /// Gives up when the peer is silent for that long.
    package func setTimeout(seconds: Int) {
        var time = timeval(tv_sec: seconds, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &time, socklen_t(MemoryLayout<timeval>.size))
    }

    package func send(_ bytes: some Collection<UInt8>) throws(LocalClientError) {
        let array = Array(bytes)
        let whole = array.withUnsafeBytes { buffer in
            var offset = 0
            while offset < buffer.count {
                let count = Glibc.send(descriptor, buffer.baseAddress! + offset, buffer.count - offset, CInt(MSG_NOSIGNAL))
                if count < 0 {
                    if errno == EINTR { continue }
                    return false
                }
                offset += count
            }
            return true
        }
        guard whole else { throw LocalClientError(kind: .broken, description: "the appliance closed the connection") }
    }

    /// Empty at the end.
    package func receive() throws(LocalClientError) -> [UInt8] {
        while true {
            var count = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: 16 << 10) { buffer, used in
                count = recv(descriptor, buffer.baseAddress, buffer.count, 0)
                used = max(0, count)
            }
            if count >= 0 { return bytes }
            guard errno == EINTR else { throw LocalClientError(kind: .broken, description: "the appliance did not answer: \(String(cString: strerror(errno)))") }
        }
    }
}

extension LocalConnection {
    /// One HTTP request. `body` gets the status and the answer, piece by piece; the status is returned too.
    package func request(_ method: String, _ target: String, body: (Int, [UInt8]) -> Void) throws(LocalClientError) -> Int {
        try send("\(method) \(target) HTTP/1.0\r\nHost: localhost\r\n\r\n".utf8)
        var head: [UInt8] = []
        var end: Int?
        while end == nil {
            let bytes = try receive()
            guard !bytes.isEmpty, head.count < 64 << 10 else { throw LocalClientError(kind: .broken, description: "the appliance gave no answer") }
            head += bytes
            end = headEnd(head)
        }
        // status-line = HTTP-version SP status-code SP [ reason-phrase ]      (RFC 9112 §4)
        let statusLine = String(decoding: head.prefix { $0 != UInt8(ascii: "\r") }, as: UTF8.self).split(separator: " ")
        guard statusLine.count > 1, let status = Int(statusLine[1]) else { throw LocalClientError(kind: .broken, description: "that is no HTTP answer") }
        body(status, Array(head[end!...]))
        while true {
            let bytes = try receive()
            guard !bytes.isEmpty else { return status }
            body(status, bytes)
        }
    }
}

private func headEnd(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    for index in 0...(bytes.count - 4) where bytes[index...].starts(with: "\r\n\r\n".utf8) { return index + 4 }
    return nil
}
