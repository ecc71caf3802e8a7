// A certificate with its chain and its private key, from PEM files: what can be wrong with them is told apart, since each fault
// has another remedy. Reads files when asked to; time is passed in.

internal import COpenSSL
internal import Glibc

/// What is wrong with a certificate or its key. The text names the file and, where it helps, what to do.
package struct CertificateFault: Error, Hashable, CustomStringConvertible {
    package enum Kind: Hashable, Sendable {
        case unreadable, noCertificate, noKey, encryptedKey, mismatched, expired, notYetValid, keyReadableByOthers, unusable
    }

    package let kind: Kind
    /// The file that it is about.
    package let path: String
    package let description: String
}

package final class Certificate: @unchecked Sendable {
    // Never changed after `init`; OpenSSL counts references to them with atomic operations.
    let leaf: OpaquePointer
    let chain: [OpaquePointer]
    let key: OpaquePointer

    /// Takes over the references.
    init(leaf: OpaquePointer, chain: [OpaquePointer], key: OpaquePointer) {
        self.leaf = leaf
        self.chain = chain
        self.key = key
    }

    deinit {
        X509_free(leaf)
        for certificate in chain { X509_free(certificate) }
        EVP_PKEY_free(key)
    }

    /// `chainPath`: the server's certificate first, then those that lead to the authority's. `keyPath` may be the same file.
    /// `now` in seconds since 1970.
    package static func load(chainPath: String, keyPath: String, now: Int) throws(CertificateFault) -> Certificate {
        let certificates = try certificates(chainPath)
        let key: OpaquePointer
        do throws(CertificateFault) {
            try refuseKeyReadableByOthers(keyPath)
            key = try privateKey(keyPath)
        } catch {
            for certificate in certificates { X509_free(certificate) }
            throw error
        }
        let result = Certificate(leaf: certificates[0], chain: Array(certificates.dropFirst()), key: key)
        guard X509_check_private_key(result.leaf, key) == 1 else {
            _ = takeOpenSSLReasons()
            throw CertificateFault(kind: .mismatched, path: keyPath, description: "\(keyPath): the key is not that of the certificate in \(chainPath)")
        }
        if result.expiry <= now {
            throw CertificateFault(kind: .expired, path: chainPath, description: "\(chainPath): the certificate expired on \(date(result.expiry))")
        }
        if result.beginning > now {
            throw CertificateFault(kind: .notYetValid, path: chainPath, description: "\(chainPath): the certificate is not valid before \(date(result.beginning))")
        }
        return result
    }

    /// Seconds since 1970.
    package var expiry: Int { seconds(X509_get0_notAfter(leaf)) }
    var beginning: Int { seconds(X509_get0_notBefore(leaf)) }

    /// `RSA`, `EC`, `ED25519`: a server has one certificate of each at most for a name.
    package var keyType: String { EVP_PKEY_get0_type_name(key).map { String(cString: $0) } ?? "?" }

    /// RFC 6125: one of its names, or a wildcard of it, is `name`.
    package func isFor(_ name: String) -> Bool { X509_check_host(leaf, name, name.utf8.count, 0, nil) == 1 }

    package var fingerprint: [UInt8] { TLS.fingerprint(of: leaf) ?? [] }

    /// SHA-256 of the public key of the first certificate in this file, which is what a TLSA record of the form 3 1 1 holds
    /// (RFC 6698 §2.1: DANE-EE, SubjectPublicKeyInfo, SHA-256): it stays the same as long as the key does.
    package static func publicKeyDigest(chainPath: String) throws(CertificateFault) -> [UInt8] {
        let certificates = try certificates(chainPath)
        defer { for certificate in certificates { X509_free(certificate) } }
        var digest = [UInt8](repeating: 0, count: 32)
        let key = X509_get_X509_PUBKEY(certificates[0])
        var octets = [UInt8](repeating: 0, count: max(0, Int(i2d_X509_PUBKEY(key, nil))))
        let count = octets.withUnsafeMutableBufferPointer { buffer in
            var place = buffer.baseAddress
            return i2d_X509_PUBKEY(key, &place)
        }
        guard count > 0, EVP_Digest(octets, octets.count, &digest, nil, EVP_sha256(), nil) == 1 else {
            throw CertificateFault(kind: .unusable, path: chainPath, description: "\(chainPath): the public key cannot be read\(detail(takeOpenSSLReasons()))")
        }
        return digest
    }

    // MARK: Files

    private static func certificates(_ path: String) throws(CertificateFault) -> [OpaquePointer] {
        let file = try open(path)
        defer { BIO_free(file) }
        var found: [OpaquePointer] = []
        while let certificate = PEM_read_bio_X509(file, nil, nil, nil) { found.append(certificate) }
        let reason = takeOpenSSLReasons()
        if found.isEmpty { throw CertificateFault(kind: .noCertificate, path: path, description: "\(path) holds no certificate in PEM\(detail(reason))") }
        return found
    }

    private static func privateKey(_ path: String) throws(CertificateFault) -> OpaquePointer {
        let file = try open(path)
        defer { BIO_free(file) }
        // Without a callback OpenSSL asks at the terminal. It says that one was wanted.
        var isEncrypted = false
        let key = withUnsafeMutablePointer(to: &isEncrypted) { flag in
            PEM_read_bio_PrivateKey(file, nil, { _, _, _, flag in
                flag?.assumingMemoryBound(to: Bool.self).pointee = true
                return -1
            }, flag)
        }
        let reason = takeOpenSSLReasons()
        if let key { return key }
        if isEncrypted {
            throw CertificateFault(
                kind: .encryptedKey, path: path, description: "\(path): the key is locked with a passphrase; `openssl pkey` takes it off")
        }
        throw CertificateFault(kind: .noKey, path: path, description: "\(path) holds no private key in PEM\(detail(reason))")
    }

    private static func open(_ path: String) throws(CertificateFault) -> OpaquePointer {
        errno = 0
        let file = BIO_new_file(path, "r")
        let number = errno
        _ = takeOpenSSLReasons()
        guard let file else { throw CertificateFault(kind: .unreadable, path: path, description: "cannot read \(path): \(systemReason(number))") }
        return file
    }

    /// Group may: that is how a key is shared with a server that is not root. Everybody may not.
    private static func refuseKeyReadableByOthers(_ path: String) throws(CertificateFault) {
        var status = stat()
        guard stat(path, &status) == 0 else {
            throw CertificateFault(kind: .unreadable, path: path, description: "cannot read \(path): \(systemReason(errno))")
        }
        guard status.st_mode & 0o006 != 0 else { return }
        throw CertificateFault(
            kind: .keyReadableByOthers, path: path,
            description: "\(path): every user of this host may read the key (mode \(String(status.st_mode & 0o777, radix: 8))); `chmod 600`, or 640 with the server's group")
    }

    private static func detail(_ reason: String?) -> String { reason.map { ": \($0)" } ?? "" }
}

/// SHA-256 of the certificate in DER.
func fingerprint(of certificate: OpaquePointer?) -> [UInt8]? {
    guard let certificate else { return nil }
    var digest = [UInt8](repeating: 0, count: 32)
    var length: CUnsignedInt = 32
    return X509_digest(certificate, EVP_sha256(), &digest, &length) == 1 ? digest : nil
}

private func seconds(_ time: UnsafePointer<ASN1_TIME>?) -> Int {
    var fields = tm()
    guard ASN1_TIME_to_tm(time, &fields) == 1 else { return 0 }
    return timegm(&fields)
}

/// `2026-11-28`
private func date(_ seconds: Int) -> String {
    var (seconds, fields) = (time_t(seconds), tm())
    gmtime_r(&seconds, &fields)
    let two = { (number: CInt) in number < 10 ? "0\(number)" : "\(number)" }
    return "\(fields.tm_year + 1900)-\(two(fields.tm_mon + 1))-\(two(fields.tm_mday))"
}
