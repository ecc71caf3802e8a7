// From the manifest to the certificates that the server shows. Reads the files that the manifest names; what is wrong with one goes to
// `faults`. Where none is named and one is needed, makes one, in the queue's directory, and uses it from then on.

internal import Glibc
internal import MailSyntax
package import Manifest
internal import MailQueue
internal import SMTP
internal import SMTPServer
internal import TLS
internal import Telemetry

/// Not `MailSystem.Certificate`, which is paths.
private typealias ServerCertificate = TLS.Certificate

/// Whatever is loaded anew, clients resume their sessions.
let ticketKeys = TicketKeys()

/// A certificate that somebody else made, and one that nobody vouches for, are news; those of a reload that changed nothing are not.
struct LoadedCertificate: Hashable, Sendable {
    var path: String
    var summary: String
    var isOwn: Bool
}

struct ServerTLS: Sendable {
    var context: ServerContext
    var certificates: [LoadedCertificate]
}

extension MailSystem {
    /// Some service of it may speak TLS.
    var needsServerTLS: Bool { tls.level.value != .none || !listen.submission.value.isEmpty || !listen.submissions.value.isEmpty }

    /// The files that TLS is made of.
    var certificateFiles: [String] {
        guard needsServerTLS else { return [] }
        return ((tls.certificate?.value.all ?? []) + tls.certificates.flatMap(\.certificate.all)).flatMap { [$0.chain.value, $0.key.value] }
    }

    var ownCertificatePath: String { "\(queue.directory.value)/tls/self-signed.pem" }

    /// Nil: no service speaks TLS, or something is wrong. `makesOwn`: a certificate is made where none is named.
    func serverTLS(makesOwn: Bool, now: Int, faults: inout [Diagnostic]) -> ServerTLS? {
        guard needsServerTLS else { return nil }
        let before = faults.count
        var loaded: [LoadedCertificate] = []
        var own = tls.certificate.map { load($0.value, now, &loaded, &faults) } ?? []
        var named: [String: [ServerCertificate]] = [:]
        for entry in tls.certificates { named[entry.domain.value.key] = load(entry.certificate, now, &loaded, &faults) }
        if tls.certificate == nil {
            guard makesOwn, faults.count == before else { return nil }
            do {
                own = [try ownCertificate(now)]
            } catch {
                faults.append(Diagnostic(.cannotApply, .error, "tls: \(error)", file: file, at: tls.level.position))
                return nil
            }
            loaded.append(LoadedCertificate(path: ownCertificatePath, summary: own[0].summary, isOwn: true))
        }
        guard faults.count == before else { return nil }
        do throws(TLSFailure) {
            let configuration = ServerContext.Configuration(certificates: own, named: named, asksForCertificate: !tls.relayClients.value.isEmpty)
            return ServerTLS(context: try ServerContext(configuration, tickets: ticketKeys), certificates: loaded)
        } catch {
            faults.append(Diagnostic(.cannotApply, .error, "tls.certificate: OpenSSL does not take it: \(error)", file: file, at: tls.certificate?.position))
            return nil
        }
    }

    private func load(_ certificate: Certificate, _ now: Int, _ loaded: inout [LoadedCertificate], _ faults: inout [Diagnostic]) -> [ServerCertificate] {
        var kinds: Set<String> = []
        return certificate.all.compactMap { pair in
            do throws(CertificateFault) {
                let result = try ServerCertificate.load(chainPath: pair.chain.value, keyPath: pair.key.value, now: now)
                guard kinds.insert(result.keyType).inserted else {
                    faults.append(
                        Diagnostic(
                            .conflictingValues, .error, "\(pair.chain.value): there is another certificate with a key of the same kind, \(result.keyType)", file: file,
                            at: pair.chain.position, endColumn: pair.chain.endColumn, hint: "a list is for different kinds: one RSA, one ECDSA"))
                    return nil
                }
                loaded.append(LoadedCertificate(path: pair.chain.value, summary: result.summary, isOwn: false))
                return result
            } catch {
                let place = error.path == pair.key.value ? pair.key : pair.chain
                let code: Diagnostic.Code = error.kind == .unreadable ? .unreadableFile : .badCertificate
                faults.append(Diagnostic(code, .error, error.description, file: file, at: place.position, endColumn: place.endColumn))
                return nil
            }
        }
    }

    /// The one that was made before, as long as it is good for.
    private func ownCertificate(_ now: Int) throws -> ServerCertificate {
        let path = ownCertificatePath
        if let kept = try? ServerCertificate.load(chainPath: path, keyPath: path, now: now), kept.isFor(hostname.value.text) { return kept }
        try makeDirectory("\(queue.directory.value)/tls")
        try write(SelfSignedCertificate.make(name: hostname.value.text, now: now), to: path)
        return try ServerCertificate.load(chainPath: path, keyPath: path, now: now)
    }

    /// Whole or not at all, and never open to others.
    private func write(_ text: [UInt8], to path: String) throws {
        let temporary = path + ".new"
        unlink(temporary)
        let descriptor = open(temporary, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ApplianceFailure(description: "\(temporary): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, text, text.count) == text.count, fsync(descriptor) == 0, rename(temporary, path) == 0 else {
            throw ApplianceFailure(description: "\(temporary): \(String(cString: strerror(errno)))")
        }
    }
}

extension ServerCertificate {
    /// `EC until 2027-02-26, SHA-256 d4:0f:…`
    fileprivate var summary: String {
        let digest = fingerprint.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
        return "\(keyType) until \(Timestamp(microseconds: Int64(expiry) * 1_000_000).rfc3339.prefix(10)), SHA-256 \(digest)"
    }
}

func record(_ certificates: [LoadedCertificate], _ log: EventLog) {
    for certificate in certificates {
        log.record(.certificateLoaded, by: .appliance) { fields in
            fields.address = certificate.path
            fields.message = certificate.summary
            if certificate.isOwn { fields.reason = "self-signed: the manifest names no files for tls.certificate, and others cannot verify this one" }
        }
    }
}

/// What is wrong with the files that the manifest names, as `serve` would find them.
package func checkFiles(_ system: MailSystem) -> [Diagnostic] {
    var faults: [Diagnostic] = []
    _ = system.serverTLS(makesOwn: false, now: time(nil), faults: &faults)
    _ = system.tlsContexts(faults: &faults)
    return faults
}
