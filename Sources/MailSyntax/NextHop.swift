// Where mail goes next, in Postfix's notation (transport(5)): `[host]:port` is this host, `host:port` is the hosts
// that its MX records name, an address in brackets is that address.

/// The host or domain that a message is handed to by SMTP.
package struct NextHop: Hashable, Sendable, CustomStringConvertible {
    package enum Host: Hashable, Sendable {
        case address(IPAddress)
        /// A host name whose A and AAAA records are looked up, and no MX: it stood in brackets.
        case name(Domain)
        /// A domain whose MX records are looked up.
        case mailExchangers(of: Domain)
    }

    package let host: Host
    package let port: UInt16

    /// RFC 5321 §4.5.4.2: SMTP is at port 25 unless something else is agreed.
    package static let smtpPort: UInt16 = 25

    package init(host: Host, port: UInt16 = NextHop.smtpPort) {
        self.host = host
        self.port = port
    }

    /// Nil unless `text` is `[host]`, `[host]:port`, `domain` or `domain:port` with a port from 1 to 65535.
    package init?(_ text: String) {
        var name = Substring(text)
        var port = NextHop.smtpPort
        let bracketed = name.hasPrefix("[")
        if bracketed {
            guard let close = name.lastIndex(of: "]") else { return nil }
            let after = name[name.index(after: close)...]
            name = name[name.index(after: name.startIndex)..<close]
            if !after.isEmpty {
                guard after.hasPrefix(":"), let parsed = NextHop.port(after.dropFirst()) else { return nil }
                port = parsed
            }
        } else if let colon = name.lastIndex(of: ":") {
            guard let parsed = NextHop.port(name[name.index(after: colon)...]) else { return nil }
            port = parsed
            name = name[..<colon]
        }
        if bracketed {
            let bare = lowercasedASCII(String(name.prefix(5))) == "ipv6:" ? name.dropFirst(5) : name
            if let address = IPAddress(String(bare)) {
                self.init(host: .address(address), port: port)
                return
            }
        }
        guard let domain = Domain(String(name)), domain.literal == nil else { return nil }
        self.init(host: bracketed ? .name(domain) : .mailExchangers(of: domain), port: port)
    }

    private static func port(_ text: Substring) -> UInt16? {
        guard isDigits(text), let port = UInt16(text), port > 0 else { return nil }
        return port
    }

    /// The notation that the initializer reads, always with the port, so that it can serve as a key.
    package var description: String {
        switch host {
        case .address(let address): "[\(address)]:\(port)"
        case .name(let name): "[\(name.key)]:\(port)"
        case .mailExchangers(let domain): "\(domain.key):\(port)"
        }
    }
}
