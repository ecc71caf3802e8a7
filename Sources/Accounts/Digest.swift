// Digests that stored passwords and SCRAM need, by OpenSSL.

internal import COpenSSL
internal import Glibc

package enum Digest: Hashable, Sendable {
    case sha1, sha256, sha512

    private var algorithm: OpaquePointer? {
        switch self {
        case .sha1: EVP_sha1()
        case .sha256: EVP_sha256()
        case .sha512: EVP_sha512()
        }
    }

    /// Octets.
    var length: Int {
        switch self {
        case .sha1: 20
        case .sha256: 32
        case .sha512: 64
        }
    }

    func hash(_ data: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: length)
        guard EVP_Digest(data, data.count, &result, nil, algorithm, nil) == 1 else { fatalError("OpenSSL has no \(self)") }
        return result
    }

    func hmac(key: [UInt8], _ data: [UInt8]) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: length)
        guard HMAC(algorithm, key, CInt(key.count), data, data.count, &result, nil) != nil else { fatalError("OpenSSL has no HMAC of \(self)") }
        return result
    }

    /// `Hi` of RFC 5802 §2.2: PBKDF2 with HMAC, one block.
    func stretch(_ password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
        var result = [UInt8](repeating: 0, count: length)
        let done = password.withUnsafeBytes { bytes in
            PKCS5_PBKDF2_HMAC(
                bytes.bindMemory(to: CChar.self).baseAddress, CInt(bytes.count), salt, CInt(salt.count), CInt(iterations), algorithm, CInt(length), &result)
        }
        guard done == 1 else { fatalError("OpenSSL has no PBKDF2 of \(self)") }
        return result
    }
}

/// Compares in a time that tells nothing but whether the lengths differ.
func isEqualInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.count == b.count && CRYPTO_memcmp(a, b, a.count) == 0 }

func randomOctets(_ count: Int) -> [UInt8] {
    var octets = [UInt8](repeating: 0, count: count)
    // RAND_bytes fails only where the system gives no entropy at all; what would be guessable must not go on.
    guard RAND_bytes(&octets, CInt(count)) == 1 else { fatalError("no random octets: \(ERR_get_error())") }
    return octets
}
