// The keys of encryption: levels, certificates, and whose certificate lets a client relay.

internal import MailSyntax

enum TLSKeys {
    /// Where a path could stand: the certificate that nobody vouches for is meant, not forgotten.
    static let selfSigned = "self-signed"

    static let level = Key(
        "level", .choice(MailSystem.TLSLevel.self), default: "none", example: "may",
        postfix: "smtpd_tls_security_level", "Whether connections that come in are encrypted: never, where the client can, or always.")
    static let certificate = Key(
        "certificate", .oneOrMany(of: .path), example: "/etc/valija/tls/fullchain.pem", postfix: "smtpd_tls_chain_files",
        "The server's certificate with its chain, in PEM; goes with `key`. Or a list: one with an ECDSA key and one with an RSA key. Or `self-signed`, without `key`: the server makes one, which others cannot verify.")
    static let key = Key(
        "key", .oneOrMany(of: .path), example: "/etc/valija/tls/privkey.pem", postfix: "smtpd_tls_chain_files",
        "The certificate's private key, in PEM, which nobody else may read; a list where `certificate` is one, in the same order.")
    static let certificates = Key(
        "certificates", table, example: "{example.net: {certificate: /etc/valija/tls/net.pem, key: /etc/valija/tls/net-key.pem}}",
        postfix: "tls_server_sni_maps", "Certificates for single names that a client may ask for (SNI).")
    static let relayClients = Key(
        "relay_clientcerts", .list(of: .fingerprint), default: "[]",
        example: "[\"c4:11:c0:4d:7e:0b:8c:1f:66:c8:4a:84:4d:83:6e:92:4e:77:d5:c9:8a:fb:6f:28:1c:ab:6a:09:f9:a4:4d:1b\"]",
        postfix: "relay_clientcerts", "SHA-256 fingerprints of certificates whose clients may send to anywhere, as `networks` may.")
    static let outgoing = Key(
        "outgoing", OutgoingTLSKeys.syntax, default: "{}", example: "{level: dane, destinations: {bank.example: verify}}", "Encryption of mail that goes out.")
    static let requireTLS = Key(
        "requiretls", .truth, default: "true", example: "false",
        "Whether a message may ask that it goes over TLS all the way (REQUIRETLS, RFC 8689), where this server can send it on so.")

    private static let unreadable = MailSystem.Certificate(chain: Located(""), key: Located(""))
    private static let pair = Syntax<MailSystem.Certificate?>.section([certificate, key]) { section, findings in
        if section.position(of: certificate) == nil, section.position(of: key) == nil {
            findings.error(.missingKey, "a certificate and its key are needed here", at: section.span, hint: "{certificate: PATH, key: PATH}")
        }
        return certificate(of: section, &findings)?.value
    }.then { pair, _, _ in pair }
    private static let table = Syntax<[(name: Located<Domain>, entry: MailSystem.Certificate)]>
        .table(of: .domain, key: \.key, orElse: unreadable, pair)
        .then { table, _, _ in table.map { (domain: $0.name, certificate: $0.entry) } }

    static let syntax = Syntax<MailSystem.TLS>.section([level, certificate, key, certificates, relayClients, outgoing, requireTLS]) { section, findings in
        let level = section.value(level, &findings)
        let isSelfSigned = isSelfSigned(section)
        let own = isSelfSigned.value ? nil : certificate(of: section, &findings)
        let others = section.optional(certificates, &findings)?.value ?? []
        let clients = section.value(relayClients, &findings)
        if level.value != .none, own == nil, !isSelfSigned.value, !findings.hasErrors {
            findings.warning(
                .noCertificate, "the server makes a certificate of its own, which others cannot verify", at: level.span,
                hint: "add certificate and key; or certificate: self-signed, if that is meant")
        }
        return MailSystem.TLS(
            level: level, certificate: own, isSelfSigned: isSelfSigned, certificates: others, relayClients: clients,
            outgoing: section.value(outgoing, &findings).value, requireTLS: section.value(requireTLS, &findings))
    }

    /// In place of a path, and only where no key stands beside it: a file of that name is `./self-signed`.
    private static func isSelfSigned(_ section: Section) -> Located<Bool> {
        var unheeded = Findings(file: "")
        guard section.position(of: key) == nil, let chains = section.optional(certificate, &unheeded) else { return Located(false) }
        return Located(chains.value.map(\.value) == [selfSigned], at: chains.position, endColumn: chains.endColumn)
    }

    private static func certificate(of section: Section, _ findings: inout Findings) -> Located<MailSystem.Certificate>? {
        let chains = section.optional(certificate, &findings)
        let keys = section.optional(key, &findings)
        switch (section.position(of: certificate), section.position(of: Self.key)) {
        case (let span?, nil): findings.error(.missingKey, "a certificate needs its key", at: span, hint: "add: key: PATH")
        case (nil, let span?): findings.error(.missingKey, "a key needs its certificate", at: span, hint: "add: certificate: PATH")
        default: break
        }
        guard let chains, let keys, !chains.value.isEmpty, !keys.value.isEmpty else { return nil }
        guard chains.value.count == keys.value.count else {
            findings.error(
                .conflictingValues, "there are \(chains.value.count) certificates and \(keys.value.count) keys", at: keys.span,
                hint: "name the key of each certificate, in the same order")
            return nil
        }
        let pairs = zip(chains.value, keys.value).map { MailSystem.Certificate(chain: $0, key: $1) }
        return Located(MailSystem.Certificate(chain: pairs[0].chain, key: pairs[0].key, others: Array(pairs.dropFirst())), at: chains.position)
    }
}

extension Syntax where Value == String {
    /// 32 octets in hexadecimal, with colons or without, as `openssl x509 -fingerprint -sha256` and Postfix print them.
    static var fingerprint: Syntax { .word(
        Word(
            name: "SHA-256 fingerprint", noun: "a SHA-256 fingerprint", forms: "64 hexadecimal digits: openssl x509 -noout -fingerprint -sha256 -in FILE",
            json: [("type", .string("string")), ("pattern", .string("^([0-9A-Fa-f]{2}:?){32}$"))])
    ) { text throws(Flaw) in
        let digits = lowercasedASCII(text).utf8.filter { $0 != UInt8(ascii: ":") }
        guard digits.count == 64, digits.allSatisfy({ isDigit($0) || $0 >= UInt8(ascii: "a") && $0 <= UInt8(ascii: "f") }) else {
            throw Flaw("\(quoted(text)) is not a SHA-256 fingerprint")
        }
        let text = Array(digits)
        return stride(from: 0, to: 64, by: 2).map { String(decoding: text[$0..<$0 + 2], as: UTF8.self) }.joined(separator: ":")
    } }
}
