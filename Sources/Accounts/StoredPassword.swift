// A password as it is kept: a crypt(3) hash, one of Dovecot's {SCHEME} forms, or SCRAM's keys. Verification costs what the
// scheme was made to cost, a good part of a second for some: never on an event loop.

internal import CCrypt
internal import Glibc
internal import MailSyntax

package struct StoredPassword: Sendable, CustomStringConvertible {
    enum Form: Sendable {
        /// `$id$salt$hash` and its like; the C library knows the schemes.
        case crypt(String)
        /// `{SSHA256}` and its like: the digest of password and salt.
        case digest(Digest, hash: [UInt8], salt: [UInt8])
        case scram(SCRAMKeys)
        case clear([UInt8])
    }

    /// Why a text is no stored password. Never quotes it.
    package enum Flaw: Error, Hashable, Sendable, CustomStringConvertible {
        case empty
        /// What `/etc/shadow` calls locked: `!`, `*`.
        case locked
        case unknownScheme(String)
        case malformed

        package var description: String {
            switch self {
            case .empty: "it is empty"
            case .locked: "the account is locked: its hash begins with ! or *"
            case .unknownScheme(let name): "the scheme \(name) is not known"
            case .malformed: "it is not a hash of a password"
            }
        }
    }

    let form: Form

    /// Longer texts are no passwords, and hashing them costs an attacker nothing and us much.
    package static let longestPassword = 1024

    /// Reads `$6$…`, `{SCHEME}…`, or `SCRAM-SHA-256$…` (PostgreSQL's form).
    package init(_ text: String) throws(Flaw) {
        guard let first = text.utf8.first else { throw .empty }
        if first == UInt8(ascii: "!") || first == UInt8(ascii: "*") { throw .locked }
        let isVisible = text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        if first == UInt8(ascii: "{") {
            guard let end = text.firstIndex(of: "}") else { throw .malformed }
            let scheme = text[text.index(after: text.startIndex)..<end].uppercased()
            // A password itself may have spaces and letters beyond ASCII; a hash has not.
            guard isVisible || ["PLAIN", "CLEAR", "CLEARTEXT"].contains(scheme) else { throw .malformed }
            form = try StoredPassword.form(scheme: scheme, String(text[text.index(after: end)...]))
        } else if !isVisible {
            throw .malformed
        } else if text.hasPrefix("SCRAM-") {
            guard let keys = SCRAMKeys(postgres: text) else { throw .malformed }
            form = .scram(keys)
        } else {
            form = try StoredPassword.crypt(text)
        }
    }

    init(scram keys: SCRAMKeys) { form = .scram(keys) }

    /// Never the hash.
    package var description: String { "(hash)" }

    /// For logins by SCRAM; nil: only a login that shows the password can be checked.
    package var scramKeys: SCRAMKeys? { if case .scram(let keys) = form { keys } else { nil } }

    /// The same for passwords that take the same time to verify, but for the luck of the processor.
    var kind: String {
        switch form {
        case .crypt(let text):
            // `$id$parameters$salt$hash`: `$2b$12$…` has no separator before its hash. Parameters are what is no salt: short.
            let parts = text.split(separator: "$", maxSplits: 3, omittingEmptySubsequences: false)
            guard parts.count > 2, parts[0].isEmpty else { return "des" }
            return "\(parts[1]) \(parts[2].utf8.count <= 5 || parts[2].contains("=") ? parts[2] : "")"
        case .digest(let digest, _, _): return "\(digest)"
        case .scram(let keys): return "scram \(keys.digest) \(keys.iterations)"
        case .clear: return "clear"
        }
    }

    // doc.dovecot.org, "Password Schemes"; a suffix says how what follows is encoded, base64 unless it is .HEX.
    private static func form(scheme: String, _ rest: String) throws(Flaw) -> Form {
        let parts = scheme.split(separator: ".", omittingEmptySubsequences: false)
        let encoding = parts.count == 2 ? String(parts[1]) : nil
        let name = String(parts[0])
        switch name {
        case "CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT", "YESCRYPT": return try crypt(rest)
        case "PLAIN", "CLEAR", "CLEARTEXT": return .clear(Array(rest.utf8))
        case "SCRAM-SHA-1", "SCRAM-SHA-256":
            guard let keys = SCRAMKeys(dovecot: rest, name == "SCRAM-SHA-1" ? .sha1 : .sha256) else { throw .malformed }
            return .scram(keys)
        case "SHA", "SHA1", "SHA256", "SHA512", "SSHA", "SSHA256", "SSHA512":
            let isSalted = name.hasPrefix("SS")
            let digest: Digest = name.hasSuffix("512") ? .sha512 : name.hasSuffix("256") ? .sha256 : .sha1
            let decoded = encoding == "HEX" ? hexadecimal(rest) : Base64.decode(rest.utf8)
            guard let octets = decoded, isSalted ? octets.count > digest.length : octets.count == digest.length else { throw .malformed }
            return .digest(digest, hash: Array(octets.prefix(digest.length)), salt: Array(octets.dropFirst(digest.length)))
        default: throw .unknownScheme("{\(name)}")
        }
    }

    private static func crypt(_ text: String) throws(Flaw) -> Form {
        switch crypt_checksalt(text) {
        case CRYPT_SALT_OK, CRYPT_SALT_METHOD_LEGACY, CRYPT_SALT_TOO_CHEAP: break
        case CRYPT_SALT_METHOD_DISABLED: throw .unknownScheme("of that hash, which this system's libcrypt refuses,")
        default: throw .malformed
        }
        // A salt alone is a valid argument of crypt(3), and would let no password in.
        guard text.hasPrefix("$") ? text.split(separator: "$").count >= 3 : text.utf8.count >= 13 else { throw .malformed }
        return .crypt(text)
    }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        let digits = Array(text.utf8)
        guard digits.count % 2 == 0 else { return nil }
        var octets: [UInt8] = []
        for index in stride(from: 0, to: digits.count, by: 2) {
            guard let octet = UInt8(String(decoding: digits[index...index + 1], as: UTF8.self), radix: 16), digits[index] != UInt8(ascii: "+") else { return nil }
            octets.append(octet)
        }
        return octets
    }

    /// True if `password` is the one. Blocks.
    package func verify(_ password: [UInt8]) -> Bool {
        // A NUL would end the password for crypt(3), so that its beginning alone let in.
        guard !password.isEmpty, password.count <= StoredPassword.longestPassword, !password.contains(0) else { return false }
        switch form {
        case .crypt(let stored):
            guard let computed = StoredPassword.hashed(password, like: stored) else { return false }
            return isEqualInConstantTime(Array(computed.utf8), Array(stored.utf8))
        case .digest(let digest, let hash, let salt): return isEqualInConstantTime(digest.hash(password + salt), hash)
        case .scram(let keys): return keys.verify(password)
        case .clear(let stored):
            // Digests, so that not even the length shows.
            return isEqualInConstantTime(Digest.sha256.hash(password), Digest.sha256.hash(stored))
        }
    }

    /// As expensive as `verify`, and never true: for users that do not exist, so that the time says nothing of them.
    package func verifyInVain(_ password: [UInt8]) { _ = verify(password.isEmpty ? [0x78] : password) }

    /// Nil where crypt(3) fails.
    private static func hashed(_ password: [UInt8], like setting: String) -> String? {
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        data.initialize(to: crypt_data())
        defer {
            explicit_bzero(data, MemoryLayout<crypt_data>.size)
            data.deallocate()
        }
        let result = (password + [0]).withUnsafeBytes { crypt_r($0.bindMemory(to: CChar.self).baseAddress, setting, data) }
        guard let result, result[0] != CChar(bitPattern: UInt8(ascii: "*")) else { return nil }
        return String(cString: result)
    }
}

extension StoredPassword {
    /// The schemes that a new hash can be made by.
    package enum Scheme: String, CaseIterable, Sendable {
        case yescrypt, bcrypt, sha512crypt, sha256crypt
        case scramSHA256 = "scram-sha-256"
        case scramSHA1 = "scram-sha-1"

        fileprivate var prefix: String? {
            switch self {
            case .yescrypt: "$y$"
            case .bcrypt: "$2b$"
            case .sha512crypt: "$6$"
            case .sha256crypt: "$5$"
            case .scramSHA256, .scramSHA1: nil
            }
        }
    }

    /// The text that a manifest keeps for `password`, with a new salt. Blocks. Nil where the system's libcrypt cannot.
    package static func hash(_ password: [UInt8], scheme: Scheme) -> String? {
        guard !password.isEmpty, password.count <= longestPassword, !password.contains(0) else { return nil }
        guard let prefix = scheme.prefix else {
            let digest: Digest = scheme == .scramSHA1 ? .sha1 : .sha256
            return SCRAMKeys(password: password, salt: randomOctets(16), iterations: SCRAMKeys.iterations, digest).dovecotText
        }
        let random = randomOctets(16)
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        // bcrypt: 2^12 rounds; 0 is the library's default elsewhere.
        let made = random.withUnsafeBytes { bytes in
            setting.withUnsafeMutableBufferPointer { buffer in
                crypt_gensalt_rn(
                    prefix, scheme == .bcrypt ? 12 : 0, bytes.bindMemory(to: CChar.self).baseAddress, CInt(bytes.count), buffer.baseAddress, CInt(buffer.count)
                ).map { String(cString: $0) }
            }
        }
        return made.flatMap { hashed(password, like: $0) }
    }
}
