// Secrets that stand in the manifest itself, which people keep in git, send to each other and mount into containers.

internal import MailSyntax

enum SecretCheck {
    static func run(_ system: MailSystem, _ findings: inout Findings) {
        if case .literal? = system.relayhost?.value.password?.value {
            findings.warning(
                .plainSecret, "the relay's password stands in the manifest for everyone who reads it", at: system.relayhost?.value.password?.span,
                hint: "keep it apart: password: {file: /run/secrets/relay}, or {env: RELAY_PASSWORD}")
        }
        for user in system.users {
            guard let password = user.password, case .literal(let text) = password.value, !isHash(text) else { continue }
            findings.error(
                .plainSecret, "the password of \(quoted(user.name.value)) is not a crypt(3) hash: no login would ever match it", at: password.span,
                hint: hasScheme(text) ? "write the hash alone, without {…} before it" : "make a hash: valija password; or keep it apart: {file: PATH}")
        }
    }

    /// The forms of crypt(5): `$id$…`, BSDi's `_…`, thirteen characters of DES; and what `/etc/shadow` has for nobody's password.
    private static func isHash(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        func isSalted(_ bytes: some Sequence<UInt8>) -> Bool {
            bytes.allSatisfy { isDigit($0) || ($0 | 0x20) >= UInt8(ascii: "a") && ($0 | 0x20) <= UInt8(ascii: "z") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "/") }
        }
        switch bytes.first {
        case UInt8(ascii: "$"):
            let parts = text.split(separator: "$", omittingEmptySubsequences: false)
            return parts.count >= 4 && !parts[1].isEmpty && !parts[parts.count - 1].isEmpty && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        case UInt8(ascii: "!"), UInt8(ascii: "*"): return true
        case UInt8(ascii: "_"): return bytes.count == 20 && isSalted(bytes.dropFirst())
        default: return bytes.count == 13 && isSalted(bytes)
        }
    }

    /// `{SHA512-CRYPT}$6$…`, as Dovecot's passwd-files have it.
    private static func hasScheme(_ text: String) -> Bool { text.hasPrefix("{") && text.contains("}") }
}
