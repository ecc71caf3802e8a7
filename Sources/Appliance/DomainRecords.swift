// The records that the DNS should hold for the domains of a manifest, as far as this server has to do with them: where mail goes
// (MX), who sends (SPF), what the server is called (A, AAAA, PTR), what its certificate is (TLSA), where users hand mail in (SRV).
// Reads the certificates that the manifest names, and asks nobody; what is published, `PublishedRecords.swift` looks at.

internal import DNS
package import MailSyntax
package import Manifest
internal import TLS

/// One record, in the form of zone files.
package struct DomainRecord: Hashable, Sendable {
    package enum Kind: String, Sendable { case a = "A", aaaa = "AAAA", ptr = "PTR", mx = "MX", txt = "TXT", srv = "SRV", tlsa = "TLSA" }

    /// Absolute: with the dot at its end.
    package let name: String
    package let kind: Kind
    package let data: String
    /// What it is good for.
    package let purpose: String
    /// The line of the manifest that it comes from.
    package let rule: String
    /// Of a PTR record: what it is the reverse of.
    var address: IPAddress?

    /// A line of a zone file.
    package var line: String { "\(name) \(kind.rawValue) \(data)" }
}

package struct DomainRecords: Sendable {
    package private(set) var records: [DomainRecord] = []
    /// What the manifest does not say, and a reader has to see to.
    package private(set) var notes: [String] = []
    /// Others reach the server at these; empty: not known.
    package let addresses: [IPAddress]

    private let system: MailSystem
    let host: Domain

    /// `addresses`: where others reach this server; empty: those that `listen.smtp` names and that the world can reach.
    package init(_ system: MailSystem, addresses: [IPAddress]) {
        self.system = system
        host = system.hostname.value
        self.addresses = addresses.isEmpty ? DomainRecords.worldly(system.listen.smtp.value.map(\.address)) : addresses
        addHost()
        addCertificates()
        for domain in system.domains { addDomain(domain) }
        addNotes()
    }

    private mutating func add(_ name: String, _ kind: DomainRecord.Kind, _ data: String, _ purpose: String, _ rule: String) {
        records.append(DomainRecord(name: name, kind: kind, data: data, purpose: purpose, rule: rule))
    }

    // MARK: The server

    private mutating func addHost() {
        let rule = hostRule
        for address in addresses { add(absolute(host), address.isV6 ? .aaaa : .a, "\(address)", "the server's address", rule) }
        records += addresses.map(reverse)
        // RFC 7208 §2.3: the name of HELO is judged too, and alone where the sender is null. A domain of the same name has its own below.
        if !system.domains.contains(where: { $0.name.value == host && sends($0) }) {
            add(absolute(host), .txt, quoted("v=spf1 a -all"), "reports go out from the null sender, under this name", rule)
        }
    }

    var hostRule: String { system.rule(system.hostname.position, "hostname") }

    func reverse(of address: IPAddress) -> DomainRecord {
        DomainRecord(
            name: address.reverseName, kind: .ptr, data: absolute(host), purpose: "many receivers refuse mail from addresses without a name", rule: hostRule,
            address: address)
    }

    private mutating func addCertificates() {
        guard system.tls.level.value != .none else { return }
        let rule = system.rule(system.tls.certificate?.value.chain.position ?? system.tls.level.position, system.tls.certificate == nil ? "tls.level" : "tls.certificate")
        if let certificate = system.tls.certificate?.value {
            addCertificate(certificate.all.map(\.chain.value), of: host, rule)
        } else {
            addCertificate([system.ownCertificatePath], of: host, rule)
        }
        for entry in system.tls.certificates where entry.domain.value != host {
            addCertificate(entry.certificate.all.map(\.chain.value), of: entry.domain.value, system.rule(entry.domain.position, "tls.certificates.\(entry.domain.value)"))
        }
    }

    /// RFC 7672 §3.1.1: 3 1 1 is what a mail server should have, whoever signed its certificate.
    private mutating func addCertificate(_ paths: [String], of host: Domain, _ rule: String) {
        for path in paths {
            do throws(CertificateFault) {
                let digest = try Certificate.publicKeyDigest(chainPath: path).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
                add("_25._tcp.\(absolute(host))", .tlsa, "3 1 1 \(digest)", "DANE: the certificate, where the zone is signed", rule)
            } catch {
                notes.append("no TLSA record for \(host): \(error)")
            }
        }
    }

    // MARK: A domain

    private mutating func addDomain(_ domain: MailSystem.MailDomain) {
        let (name, rule) = (absolute(domain.name.value), system.rule(domain.name.position, "domains.\(domain.name.value)"))
        add(name, .mx, "10 \(absolute(host))", "mail to the domain comes here", rule)
        // Who sends for a relay domain, the server behind knows.
        guard sends(domain) else { return }
        let isRelayed = system.relayhost != nil
        add(
            name, .txt, quoted("v=spf1 mx \(isRelayed ? "~all" : "-all")"),
            isRelayed ? "mail from the domain comes from here, and from the relay" : "mail from the domain comes from here and from nowhere else", rule)
        for (service, endpoints) in [("submission", system.listen.submission), ("submissions", system.listen.submissions)] {
            // RFC 6186 §3.1, RFC 8314 §5.1.
            guard let endpoint = endpoints.value.first(where: { !$0.address.isLoopback }) else { continue }
            let rule = system.rule(endpoints.position, "listen.\(service)")
            add("_\(service)._tcp.\(name)", .srv, "0 1 \(endpoint.port) \(absolute(host))", "mail programs find where to send", rule)
        }
    }

    private func sends(_ domain: MailSystem.MailDomain) -> Bool { if case .relay = domain.kind { false } else { true } }

    private mutating func addNotes() {
        if addresses.isEmpty {
            notes.append("\(host) needs A or AAAA records, and its addresses PTR records: listen.smtp names no address that the world can reach; --address does")
        }
        if let relayhost = system.relayhost {
            notes.append("mail leaves through \(relayhost.value.hop): its operator knows what the SPF records must have for it, most often an include:")
        }
        let domains = Set(system.domains.map(\.name.value))
        if let srs = system.rewriting.srs, !domains.contains(srs.domain.value) {
            notes.append("forwarded mail has senders at \(srs.domain.value) (rewriting.srs), which is no domain of the manifest: it needs MX and SPF records too")
        }
    }

    // MARK: Words

    private func absolute(_ name: Domain) -> String { "\(Punycode.ascii(name) ?? name.key)." }

    private func quoted(_ text: String) -> String { "\"\(text)\"" }

    /// RFC 6890: not every address is one that others can reach.
    private static func worldly(_ addresses: [IPAddress]) -> [IPAddress] {
        let closed = ["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::/127", "fc00::/7", "fe80::/10"]
            .compactMap { try? Network(parsing: $0) }
        var seen: Set<IPAddress> = []
        return addresses.filter { address in !closed.contains { $0.contains(address) } && seen.insert(address).inserted }
    }
}
