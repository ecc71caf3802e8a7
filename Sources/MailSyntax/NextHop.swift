// Where mail goes next, in Postfix's notation (transport(5)): `[host]:port` is this host, `host:port` is the hosts
// that its MX records name, an address in brackets is that address. `lmtp:` before it means LMTP (RFC 2033), whose hosts are
// always meant themselves, and which may be at a socket of this machine: `lmtp:unix:/path`.

/// The host or domain that a message is handed to by SMTP or LMTP.
package struct NextHop: Hashable, Sendable, CustomStringConvertible {
    package enum Host: Hashable, Sendable {
        case address(IPAddress)
        /// A host name whose A and AAAA records are looked up, and no MX: it stood in brackets.
        case name(Domain)
        /// A domain whose MX records are looked up.
        case mailExchangers(of: Domain)
        /// A Unix socket of this machine.
        case socket(path: String)
    }

    package enum Dialect: Hashable, Sendable { case smtp, lmtp }

    package let dialect: Dialect
    package let host: Host
    /// 0 for a Unix socket.
    package let port: UInt16

    /// RFC 5321 §4.5.4.2: SMTP is at port 25 unless something else is agreed.
    package static let smtpPort: UInt16 = 25
    /// Postfix's `lmtp_tcp_port`. RFC 2033 §5 forbids 25, and names no other.
    package static let lmtpPort: UInt16 = 24

    package init(host: Host, port: UInt16 = NextHop.smtpPort, dialect: Dialect = .smtp) {
        self.host = host
        self.port = port
        self.dialect = dialect
    }

    /// Nil unless `text` is `[host]`, `[host]:port`, `domain` or `domain:port` with a port from 1 to 65535, after `smtp:`,
    /// `lmtp:` or `lmtp:inet:`; or `lmtp:unix:` and an absolute path.
    package init?(_ text: String) {
        var name = Substring(text)
        var dialect = Dialect.smtp
        if let rest = NextHop.rest(of: name, after: "lmtp:") {
            dialect = .lmtp
            name = rest
            if let path = NextHop.rest(of: name, after: "unix:") {
                guard path.hasPrefix("/"), path.utf8.count <= NextHop.longestPath, path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else { return nil }
                self.init(host: .socket(path: String(path)), port: 0, dialect: .lmtp)
                return
            }
            name = NextHop.rest(of: name, after: "inet:") ?? name
        } else if let rest = NextHop.rest(of: name, after: "smtp:"), !rest.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) {
            name = rest
        }
        var port = dialect == .lmtp ? NextHop.lmtpPort : NextHop.smtpPort
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
        if bracketed || dialect == .lmtp {
            let bare = lowercasedASCII(String(name.prefix(5))) == "ipv6:" ? name.dropFirst(5) : name
            if let address = IPAddress(String(bare)) {
                self.init(host: .address(address), port: port, dialect: dialect)
                return
            }
        }
        guard let domain = Domain(String(name)), domain.literal == nil else { return nil }
        // lmtp(8): "no MX lookup".
        self.init(host: bracketed || dialect == .lmtp ? .name(domain) : .mailExchangers(of: domain), port: port, dialect: dialect)
    }

    /// sun_path of unix(7), less its end.
    private static let longestPath = 107

    private static func rest(of text: Substring, after prefix: String) -> Substring? {
        lowercasedASCII(String(text.prefix(prefix.count))) == prefix ? text.dropFirst(prefix.count) : nil
    }

    private static func port(_ text: Substring) -> UInt16? {
        guard isDigits(text), let port = UInt16(text), port > 0 else { return nil }
        return port
    }

    /// The notation that the initializer reads, always with the port, so that it can serve as a key.
    package var description: String { dialect == .lmtp ? "lmtp:\(place)" : place }

    private var place: String {
        switch host {
        case .address(let address): "[\(address)]:\(port)"
        case .name(let name): "[\(name.key)]:\(port)"
        case .mailExchangers(let domain): "\(domain.key):\(port)"
        case .socket(let path): "unix:\(path)"
        }
    }

    /// `transport:nexthop` of transport(5), with the name of a service that speaks SMTP.
    package func transport(smtp service: String) -> String {
        switch (dialect, host) {
        case (.smtp, _): "\(service):\(place)"
        case (.lmtp, .socket): "lmtp:\(place)"
        case (.lmtp, _): "lmtp:inet:\(place)"
        }
    }
}
