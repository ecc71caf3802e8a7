// The Sender Rewriting Scheme: a forwarded message goes out with a sender of this server's, so that SPF lets it pass where it
// goes, and a bounce finds the way back through here (<https://www.libsrs2.net/srs/srs.pdf>; the format is that of libsrs2 and
// postsrsd).
//
//     alice@example.net        →  SRS0=HASH=DAY=example.net=alice@this.example
//     SRS0=…@first.example     →  SRS1=HASH=first.example==…@this.example
//     SRS1=HASH=first.example==…@other.example  →  SRS1=HASH'=first.example==…@this.example
//
// HASH is the beginning of an HMAC-SHA1, so that nobody can make an address that this server would send on to whomever they
// like; DAY makes it expire.

internal import COpenSSL
package import MailSyntax

package struct SRS: Sendable {
    /// Characters of the hash, of base 64: what libsrs2 and postsrsd write, and the least that they take.
    private static let hashLength = 4
    /// libsrs2's maxage. RFC 5321 §4.5.4.1 has senders give up after 4 to 5 days; answers of people may come later.
    package static let longestAge = 21
    /// DAY has ten bits.
    private static let days = 1024

    package let domain: Domain
    private let secrets: [[UInt8]]
    private let today: @Sendable () -> Int

    /// - Parameter secrets: the first signs; all are accepted.
    /// - Parameter today: days since the epoch.
    package init(domain: Domain, secrets: [[UInt8]], today: @escaping @Sendable () -> Int) {
        self.domain = domain
        self.secrets = secrets
        self.today = today
    }

    /// The sender that a forwarded message goes out with; nil: there is no room for it.
    package func forward(_ sender: Address) -> Address? {
        let name = sender.localPart
        var local: String
        if tag(of: name) == 1, let (_, host, rest) = SRS.guarded(name) {
            local = "SRS1=\(hash([host, rest], secrets[0]))=\(host)=\(rest)"
        } else if tag(of: name) == 0 {
            let rest = String(name.dropFirst(4))
            local = "SRS1=\(hash([sender.domain.text, rest], secrets[0]))=\(sender.domain.text)=\(rest)"
        } else {
            let day = SRS.stamp(today())
            local = "SRS0=\(hash([day, sender.domain.text, name], secrets[0]))=\(day)=\(sender.domain.text)=\(name)"
        }
        return local.utf8.count <= Address.longestLocalPart ? Address(localPart: local, domain: domain) : nil
    }

    package enum Reversal: Hashable, Sendable {
        /// Where a bounce goes on to.
        case sender(Address)
        /// Looks like one of ours, and is not, for this reason.
        case invalid(String)
    }

    /// Nil: that is no address of this scheme.
    package func reverse(_ address: Address) -> Reversal? {
        guard address.domain == domain, let tag = tag(of: address.localPart) else { return nil }
        if tag == 1 {
            guard let (given, host, rest) = SRS.guarded(address.localPart), isDomain(host) else { return .invalid("is not complete") }
            guard isValid(given, for: [host, rest]) else { return .invalid("was not signed here") }
            return .sender(Address(localPart: "SRS0\(rest)", domain: Domain(valid: host)))
        }
        let parts = address.localPart.dropFirst(5).split(separator: "=", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 4, isDomain(parts[2]), !parts[3].isEmpty else { return .invalid("is not complete") }
        guard isValid(parts[0], for: Array(parts[1...])) else { return .invalid("was not signed here") }
        guard let day = SRS.day(parts[1]), age(of: day) <= SRS.longestAge else { return .invalid("has expired") }
        return .sender(Address(localPart: parts[3], domain: Domain(valid: parts[2])))
    }

    /// 0 or 1; the character after it may be `=`, `+` or `-`.
    private func tag(of name: String) -> Int? {
        let octets = Array(name.utf8.prefix(5))
        guard octets.count == 5, lowercasedASCII(String(decoding: octets[..<3], as: UTF8.self)) == "srs", "=+-".utf8.contains(octets[4]) else { return nil }
        return octets[3] == UInt8(ascii: "0") ? 0 : octets[3] == UInt8(ascii: "1") ? 1 : nil
    }

    ///     SRS1=HASH=HOST=REST          ; REST begins with the separator of the SRS0 that it was
    private static func guarded(_ name: String) -> (hash: String, host: String, rest: String)? {
        let parts = name.dropFirst(5).split(separator: "=", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let first = parts[2].utf8.first, "=+-".utf8.contains(first) else { return nil }
        return (parts[0], parts[1], parts[2])
    }

    private func isDomain(_ text: String) -> Bool { Domain(text).map { $0.literal == nil } ?? false }

    // MARK: Hash

    /// Servers on the way may have folded the case.
    private func isValid(_ given: String, for parts: [String]) -> Bool {
        guard given.utf8.count >= SRS.hashLength else { return false }
        let given = lowercasedASCII(String(given.prefix(SRS.hashLength)))
        return secrets.contains { lowercasedASCII(hash(parts, $0)) == given }
    }

    private func hash(_ parts: [String], _ secret: [UInt8]) -> String {
        let data = parts.flatMap { lowercasedASCII($0).utf8 }
        var digest = [UInt8](repeating: 0, count: 20)
        guard HMAC(EVP_sha1(), secret, CInt(secret.count), data, data.count, &digest, nil) != nil else { fatalError("OpenSSL has no HMAC of SHA-1") }
        return String(Base64.encode(digest).prefix(SRS.hashLength))
    }

    // MARK: Day

    private static let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".utf8)

    private static func stamp(_ day: Int) -> String {
        String(decoding: [digits[(day >> 5) & 31], digits[day & 31]], as: UTF8.self)
    }

    private static func day(_ text: String) -> Int? {
        let values = text.utf8.compactMap { octet in digits.firstIndex(of: octet >= UInt8(ascii: "a") ? octet & 0xDF : octet) }
        return text.utf8.count == 2 && values.count == 2 ? values[0] << 5 | values[1] : nil
    }

    /// Between 0 and 1023: what is ahead of today is from long ago.
    private func age(of day: Int) -> Int { ((today() - day) % SRS.days + SRS.days) % SRS.days }
}
