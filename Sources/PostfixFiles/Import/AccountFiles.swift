// Who has a mailbox: passwd(5) with shadow(5), and Dovecot's passwd-file, with the hashes that a login is checked against.

internal import MailSyntax

struct Account: Sendable {
    let name: String
    /// Of a Dovecot name `user@domain`.
    var domain: Domain?
    var userID: Int?
    var fullName: String?
    var home: String?
    var shell: String?
    /// As the file has it: `x`, a hash, `{SCHEME}hash`, locked.
    var password: String
    var quota: Int?
    let place: Place

    /// passwd(5): people have ids from 1000 on (adduser.conf(5), login.defs(5)), nobody has 65534, and a shell to log in with.
    var isPerson: Bool {
        guard let userID, userID >= 1000, userID != 65534 else { return false }
        return !(shell.map { $0.hasSuffix("/nologin") || $0.hasSuffix("/false") || $0.hasSuffix("/sync") } ?? false)
    }
}

enum AccountFiles {
    ///     name:password:UID:GID:GECOS:home:shell
    static func passwd(_ bytes: [UInt8], file: String) -> [Account] {
        lines(bytes).compactMap { number, fields in
            guard fields.count >= 7, !fields[0].isEmpty else { return nil }
            let fullName = String(fields[4].prefix { $0 != "," })
            return Account(
                name: String(fields[0]), userID: Int(fields[2]), fullName: fullName.isEmpty ? nil : fullName, home: String(fields[5]),
                shell: String(fields[6]), password: String(fields[1]), place: Place(file: file, line: number))
        }
    }

    ///     name:hash:…
    static func shadow(_ bytes: [UInt8], file: String) -> [String: (hash: String, place: Place)] {
        var hashes: [String: (hash: String, place: Place)] = [:]
        for (number, fields) in lines(bytes) where fields.count >= 2 { hashes[String(fields[0])] = (String(fields[1]), Place(file: file, line: number)) }
        return hashes
    }

    ///     user[@domain]:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
    static func dovecot(_ bytes: [UInt8], file: String) -> (accounts: [Account], flaws: [TextFlaw]) {
        var accounts: [Account] = []
        var flaws: [TextFlaw] = []
        for (number, fields) in lines(bytes) {
            guard let address = BareAddress(String(fields[0])) else {
                flaws.append(TextFlaw(line: number, text: "no user: \(fields[0].prefix(60))"))
                continue
            }
            var account = Account(
                name: address.localPart, domain: address.domain, userID: fields.count > 2 ? Int(fields[2]) : nil,
                password: fields.count > 1 ? String(fields[1]) : "", place: Place(file: file, line: number))
            if fields.count > 4, !fields[4].isEmpty { account.fullName = String(fields[4].prefix { $0 != "," }) }
            // The extra fields hold colons of their own.
            if fields.count > 7 { account.quota = quota(fields[7...].joined(separator: ":")) }
            accounts.append(account)
        }
        return (accounts, flaws)
    }

    /// `userdb_quota_rule=*:storage=2G`, `userdb_quota_storage_size=2G`
    private static func quota(_ extra: String) -> Int? {
        for field in extra.split(separator: " ") {
            for start in ["userdb_quota_rule=*:storage=", "userdb_quota_storage_size="] where field.hasPrefix(start) {
                let text = field.dropFirst(start.count)
                let digits = text.prefix { $0.isASCII && $0.isNumber }
                let units = ["": start.hasSuffix("storage=") ? 1024 : 1, "B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
                guard let number = Int(digits), let unit = units[text.dropFirst(digits.count).uppercased()] else { return nil }
                let (octets, isTooMuch) = number.multipliedReportingOverflow(by: unit)
                return isTooMuch || octets == 0 ? nil : octets
            }
        }
        return nil
    }

    private static func lines(_ bytes: [UInt8]) -> [(number: Int, fields: [Substring])] {
        var result: [(number: Int, fields: [Substring])] = []
        for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() where !line.isEmpty && line.first != UInt8(ascii: "#") {
            result.append((index + 1, String(decoding: line, as: UTF8.self).split(separator: ":", omittingEmptySubsequences: false)))
        }
        return result
    }

    enum Hash: Hashable {
        case crypt(String)
        /// Why there is none.
        case none(String)
    }

    /// A crypt(3) hash, without Dovecot's name of the scheme before it.
    static func hash(_ text: String) -> Hash {
        var text = text
        if text.hasPrefix("{"), let end = text.firstIndex(of: "}") {
            let scheme = text[text.index(after: text.startIndex)..<end].uppercased()
            guard ["CRYPT", "SHA512-CRYPT", "SHA256-CRYPT", "BLF-CRYPT", "MD5-CRYPT", "DES-CRYPT"].contains(scheme) else {
                return .none("its password is kept as {\(scheme)}, which is no crypt(3) hash: set a new one")
            }
            text = String(text[text.index(after: end)...])
        }
        switch text {
        case "": return .none("it has no password")
        case "x": return .none("its hash stands in a shadow file that was not read")
        case _ where text.hasPrefix("!") || text.hasPrefix("*"): return .none("its password is locked")
        default: break
        }
        // crypt(5): `$id$…`; the traditional hash is 13 characters of its own alphabet.
        let isTraditional = text.utf8.count == 13 && text.utf8.allSatisfy { isWordOctet($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "/") }
        let isModern = text.hasPrefix("$") && text.dropFirst().contains("$") && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        return isModern || isTraditional ? .crypt(text) : .none("its password is no crypt(3) hash: set a new one")
    }

    private static func isWordOctet(_ octet: UInt8) -> Bool {
        octet >= 0x30 && octet <= 0x39 || octet | 0x20 >= UInt8(ascii: "a") && octet | 0x20 <= UInt8(ascii: "z")
    }
}
