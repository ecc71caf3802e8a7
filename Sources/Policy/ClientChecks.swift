// What a manifest may ask of strangers before their mail is taken: a name for their address, and a proper HELO. Names and replies
// are Postfix's (postconf(5) `smtpd_client_restrictions`, `smtpd_helo_restrictions`). RFC 5321 §4.1.4 forbids to refuse mail because
// HELO does not match the address, and no check here does.

package import MailSyntax

/// What the reverse zone says of a client.
package enum ReverseName: Hashable, Sendable {
    /// A name that leads back to the client's address.
    case confirmed(Domain)
    /// `hasReverse`: there is a name, and it does not lead back.
    case unknown(hasReverse: Bool)
    /// Nobody could say in time.
    case unavailable

    /// As logs and trace headers have it, in Postfix's words.
    package var text: String { if case .confirmed(let name) = self { name.text } else { "unknown" } }
}

/// A question about a stranger. The raw value is the word of the manifest, and Postfix's.
package enum ClientCheck: String, CaseIterable, Sendable {
    case rejectUnknownClient = "reject_unknown_client_hostname"
    case rejectUnknownReverse = "reject_unknown_reverse_client_hostname"
    case rejectInvalidHelo = "reject_invalid_helo_hostname"
    case rejectBareHelo = "reject_non_fqdn_helo_hostname"
    case rejectUnknownHelo = "reject_unknown_helo_hostname"
}

/// What the DNS has of the name in HELO.
package enum HeloStanding: Hashable, Sendable { case unchecked, found, notFound, unavailable }

extension ClientFacts {
    /// The refusal, if the check speaks against this client. `rejectUnknownHelo` needs `heloStanding`.
    func refusal(by check: ClientCheck) -> Reply? {
        let address = address.map { "[\($0)]" } ?? "[unknown]"
        let helo = helo ?? ""
        switch check {
        case .rejectUnknownClient:
            if case .confirmed = name { return nil }
            return Reply(450, EnhancedCode(4, 7, 25), "Client host rejected: cannot find your hostname, \(address)")
        case .rejectUnknownReverse:
            switch name {
            case .confirmed, .unknown(hasReverse: true): return nil
            case .unknown, .unavailable: return Reply(450, EnhancedCode(4, 7, 25), "Client host rejected: cannot find your reverse hostname, \(address)")
            }
        case .rejectInvalidHelo:
            if isLiteral(helo) || isHostName(helo) { return nil }
            return Reply(501, EnhancedCode(5, 5, 2), "<\(helo)>: Helo command rejected: Invalid name")
        case .rejectBareHelo:
            if isLiteral(helo) || isHostName(helo) && helo.contains(".") && IPAddress(helo) == nil { return nil }
            return Reply(504, EnhancedCode(5, 5, 2), "<\(helo)>: Helo command rejected: need fully-qualified hostname")
        case .rejectUnknownHelo:
            if isLiteral(helo) { return nil }
            switch heloStanding {
            case .found, .unchecked: return nil
            case .notFound, .unavailable: return Reply(450, EnhancedCode(4, 7, 1), "<\(helo)>: Helo command rejected: Host not found")
            }
        }
    }

    private func isLiteral(_ helo: String) -> Bool { Domain(helo)?.literal != nil }

    ///     sub-domain = Let-dig [Ldh-str]                       ; RFC 5321 §4.1.2; Postfix takes an underscore too
    private func isHostName(_ helo: String) -> Bool {
        guard helo.utf8.count <= 255, !helo.isEmpty else { return false }
        return helo.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard (1...63).contains(label.utf8.count), label.first != "-", label.last != "-" else { return false }
            return label.utf8.allSatisfy {
                ($0 | 0x20 >= UInt8(ascii: "a") && $0 | 0x20 <= UInt8(ascii: "z")) || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9"))
                    || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_")
            }
        }
    }
}
