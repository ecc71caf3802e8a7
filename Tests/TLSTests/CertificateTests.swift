// What can be wrong with the files of a certificate, each told apart and by name.

import Glibc
import TLS
import Testing

@Suite struct CertificateTests {
    private static let year = 365 * 86_400

    @Test func aCertificateThatWasMadeHereCanBeLoaded() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("own.pem", try SelfSignedCertificate.make(name: "mail.example.com", now: now))
        let certificate = try Certificate.load(chainPath: path, keyPath: path, now: now)
        #expect(certificate.keyType == "EC")
        #expect(certificate.isFor("mail.example.com"))
        #expect(!certificate.isFor("example.com"))
        #expect(certificate.expiry > now + 9 * CertificateTests.year)
        #expect(certificate.fingerprint.count == 32)
    }

    @Test func eachFaultIsToldApart() throws {
        let directory = try TemporaryDirectory()
        let own = try directory.write("own.pem", try SelfSignedCertificate.make(name: "a.example", now: now))
        let other = try directory.write("other.pem", try SelfSignedCertificate.make(name: "b.example", now: now))
        let public_ = try directory.write("public.pem", try SelfSignedCertificate.make(name: "a.example", now: now), mode: 0o644)
        let empty = try directory.write("empty.pem", [])
        let locked = try directory.write("locked.pem", Array(lockedKey.utf8))
        let cases: [(chain: String, key: String, at: Int, kind: CertificateFault.Kind, says: String)] = [
            (directory.path + "/none.pem", own, now, .unreadable, "No such file or directory"),
            (own, directory.path + "/none.pem", now, .unreadable, "No such file or directory"),
            (empty, own, now, .noCertificate, "holds no certificate in PEM"),
            (own, empty, now, .noKey, "holds no private key in PEM"),
            (own, locked, now, .encryptedKey, "locked with a passphrase"),
            (own, other, now, .mismatched, "not that of the certificate"),
            (own, own, now + 11 * CertificateTests.year, .expired, "expired on 2037-01-12"),
            (own, own, now - CertificateTests.year, .notYetValid, "not valid before 2027-01-14"),
            (public_, public_, now, .keyReadableByOthers, "mode 644"),
        ]
        for test in cases {
            do {
                _ = try Certificate.load(chainPath: test.chain, keyPath: test.key, now: test.at)
                Issue.record("\(test.kind) was not noticed")
            } catch {
                #expect(error.kind == test.kind)
                #expect(error.description.contains(test.says), "\(error)")
            }
        }
    }

    @Test func aGroupMayReadTheKey() throws {
        let directory = try TemporaryDirectory()
        let path = try directory.write("own.pem", try SelfSignedCertificate.make(name: "a.example", now: now), mode: 0o640)
        #expect(throws: Never.self) { try Certificate.load(chainPath: path, keyPath: path, now: now) }
    }
}

/// Locked with a passphrase that nobody needs to know.
private let lockedKey = """
    -----BEGIN ENCRYPTED PRIVATE KEY-----
    MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhwWStTxWfrjAICCAAw
    DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEEauSf5dMp2rqdSfzFqg1vgEgZCC
    joFG8Y1uCnSMxLB17/T3nnAzsBF0BtqkS/hqKMnMRjudUxeBgT81W5cHtBWZGBGN
    tCk4SSxtYh2PROyumI8NeBbtZGyAyNaQLxcrU0xl13VyGb1VBO5m6cqIfkzCaLYy
    dnLkhvmpLXSoe/Hg0NU7hrPeCzGh1Jlg4q6wMJXdccDoCREXjHvnUMAtUEM38Rk=
    -----END ENCRYPTED PRIVATE KEY-----
    """

final class TemporaryDirectory {
    let path: String

    init() throws {
        var template = Array("/tmp/valija-tls-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw TLSFailure(.setUp, "no directory") }
        path = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    deinit {
        for name in ["own.pem", "other.pem", "public.pem", "empty.pem", "locked.pem", "made.pem"] { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func write(_ name: String, _ text: [UInt8], mode: mode_t = 0o600) throws -> String {
        let file = "\(path)/\(name)"
        let descriptor = open(file, O_CREAT | O_WRONLY | O_TRUNC, mode)
        guard descriptor >= 0 else { throw TLSFailure(.setUp, "no file") }
        defer { close(descriptor) }
        fchmod(descriptor, mode)
        guard Glibc.write(descriptor, text, text.count) == text.count else { throw TLSFailure(.setUp, "no room") }
        return file
    }
}
