// A certificate that nobody vouches for, so that a first run has TLS: enough against who only listens, not against who stands in
// between. ECDSA with P-256, for one name.

internal import COpenSSL
internal import Glibc

package enum SelfSignedCertificate {
    /// Ten years: the key never leaves its directory, and nobody checks it against a name.
    private static let lifetime = 3650 * 86_400

    /// PEM: the certificate, then its key. `now` in seconds since 1970.
    package static func make(name: String, now: Int) throws(TLSFailure) -> [UInt8] {
        ERR_clear_error()
        guard let key = valija_new_P256_key(), let certificate = X509_new(), let output = BIO_new(BIO_s_mem()) else { throw failure() }
        defer {
            EVP_PKEY_free(key)
            X509_free(certificate)
            BIO_free(output)
        }
        // RFC 5280 §4.1.2.2: a positive number of at most 20 octets.
        var serial = [UInt8](repeating: 0, count: 16)
        guard RAND_bytes(&serial, 16) == 1 else { throw failure() }
        serial[0] &= 0x7F
        let number = BN_bin2bn(serial, 16, nil)
        defer { BN_free(number) }
        let subject = X509_get_subject_name(certificate)
        // RFC 5280 appendix A: a common name has at most 64 characters. The name that counts is the extension's.
        let isDone =
            BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil
            && X509_set_version(certificate, 2) == 1
            // A day back, for clients whose clock is late.
            && ASN1_TIME_set(X509_getm_notBefore(certificate), now - 86_400) != nil
            && ASN1_TIME_set(X509_getm_notAfter(certificate), now + lifetime) != nil
            && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, String(name.prefix(64)), -1, -1, 0) == 1
            && X509_set_issuer_name(certificate, subject) == 1
            && X509_set_pubkey(certificate, key) == 1
            && add(NID_subject_alt_name, "DNS:\(name)", to: certificate)
            && add(NID_basic_constraints, "critical,CA:FALSE", to: certificate)
            && add(NID_ext_key_usage, "serverAuth,clientAuth", to: certificate)
            && X509_sign(certificate, key, EVP_sha256()) > 0
            && PEM_write_bio_X509(output, certificate) == 1
            && PEM_write_bio_PrivateKey(output, key, nil, nil, 0, nil, nil) == 1
        guard isDone else { throw failure() }
        var text = [UInt8](repeating: 0, count: 8192)
        let length = BIO_read(output, &text, 8192)
        guard length > 0 else { throw failure() }
        return Array(text[..<Int(length)])
    }

    private static func add(_ kind: CInt, _ value: String, to certificate: OpaquePointer) -> Bool {
        guard let field = X509V3_EXT_conf_nid(nil, nil, kind, value) else { return false }
        defer { X509_EXTENSION_free(field) }
        return X509_add_ext(certificate, field, -1) == 1
    }

    private static func failure() -> TLSFailure { TLSFailure(.setUp, "cannot make a certificate: \(takeOpenSSLReasons() ?? "no reason given")") }
}
