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
            guard let password = user.password, case .literal(let text) = password.value else { continue }
            if let scheme = scheme(of: text), clearSchemes.contains(scheme) {
                findings.warning(
                    .plainSecret, "the password of \(quoted(user.name.value)) stands in the manifest for everyone who reads it", at: password.span,
                    hint: "make a hash: valija password; or keep it apart: {file: PATH}")
            } else if !isHash(text) {
                findings.error(
                    .plainSecret, "the password of \(quoted(user.name.value)) is not a hash: no login would ever match it", at: password.span,
                    hint: scheme(of: text).map { "the scheme {\($0)} is not known; make a hash: valija password" }
                        ?? "make a hash: valija password; or keep it apart: {file: PATH}")
            }
        }
    }

    /// Dovecot's, without what says how the hash is written (`.HEX`).
    private static let cryptSchemes: Set<String> = ["CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT", "YESCRYPT"]
    private static let clearSchemes: Set<String> = ["PLAIN", "CLEAR", "CLEARTEXT"]
    private static let digestSchemes: Set<String> = ["SHA", "SHA1", "SHA256", "SHA512", "SSHA", "SSHA256", "SSHA512"]

    /// The form alone; whether a hash is whole is seen when it is loaded.
    private static func isHash(_ text: String) -> Bool {
        let isVisible = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        if let scheme = scheme(of: text), let end = text.firstIndex(of: "}") {
            let rest = text[text.index(after: end)...]
            if cryptSchemes.contains(scheme) { return isCryptHash(String(rest)) }
            if scheme == "SCRAM-SHA-256" || scheme == "SCRAM-SHA-1" { return isVisible && rest.split(separator: ",").count == 4 }
            return isVisible && !rest.isEmpty && digestSchemes.contains(scheme)
        }
        // PostgreSQL's: SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY
        if text.hasPrefix("SCRAM-SHA-") {
            let parts = text.split(separator: "$", omittingEmptySubsequences: false)
            return isVisible && parts.count == 3 && parts.dropFirst().allSatisfy { $0.split(separator: ":").count == 2 }
        }
        return isCryptHash(text)
    }

    /// The forms of crypt(5): `$id$…`, BSDi's `_…`, thirteen characters of DES; and what `/etc/shadow` has for nobody's password.
    private static func isCryptHash(_ text: String) -> Bool {
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

    /// Of `{SHA512-CRYPT}$6$…`, as Dovecot's passwd-files have it.
    private static func scheme(of text: String) -> String? {
        guard text.hasPrefix("{"), let end = text.firstIndex(of: "}") else { return nil }
        return text[text.index(after: text.startIndex)..<end].prefix { $0 != "." }.uppercased()
    }
}
