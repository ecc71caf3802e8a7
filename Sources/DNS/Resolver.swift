// The resolver of the server: /etc/hosts first, then the DNS by libunbound in this process, which caches and validates.
//
// It forwards to the resolvers that it is given; with none it asks the authoritative servers from the root on. Every
// look-up ends within `Configuration.timeout`, and at once when its task is cancelled. DNSSEC (RFC 4033-4035): a bogus
// answer is a failure that says why; names without a dot are the local network's own and are not validated. Names in
// UTF-8 are looked up as A-labels.

package import MailSyntax
internal import NIOConcurrencyHelpers

package final class Resolver: NameService {
    private let configuration: Configuration
    /// Validates nothing.
    private let plain: UnboundThread
    private let validating: UnboundThread?
    private let ability: NIOLockedValueBox<Ability>
    private let notice: @Sendable (String) -> Void

    /// With `Validation.may`: whether the resolvers pass signatures on.
    private struct Ability {
        /// Until then they are taken at their word.
        var isMissingUntil: ContinuousClock.Instant?
    }

    /// How long resolvers that passed no signatures on are not asked for any.
    private static let pause = Duration.seconds(300)

    /// Starts the resolver's threads; they end with the resolver. `notice` is told what an administrator should know.
    package init(_ configuration: Configuration, notice: @escaping @Sendable (String) -> Void = { _ in }) throws(Flaw) {
        if case .file(let path) = configuration.trustAnchor, configuration.validation != .none, readSystemFile(path) == nil {
            throw Flaw(description: "\(path) cannot be read")
        }
        self.configuration = configuration
        self.notice = notice
        ability = NIOLockedValueBox(Ability())
        plain = try UnboundThread(configuration, anchors: nil)
        validating = configuration.validation == .none ? nil : try UnboundThread(configuration, anchors: configuration.trustAnchor)
    }

    deinit {
        plain.stop()
        validating?.stop()
    }

    // MARK: Addresses

    package func addresses(of host: Domain) async -> Lookup<[IPAddress]> {
        if let literal = host.literal { return .found([literal]) }
        if let known = configuration.hosts.addresses(of: host) { return .found(known) }
        guard let name = Punycode.ascii(host) else { return .noSuchName }
        let answer = await queryAddresses(of: name).lookup
        guard !name.utf8.contains(UInt8(ascii: ".")) else { return answer }
        switch answer {
        case .found, .failure: return answer
        case .noSuchName, .noRecords:
            for domain in configuration.search {
                let longer = await queryAddresses(of: "\(name).\(domain.key)").lookup
                if case .found = longer { return longer }
            }
            return answer
        }
    }

    private struct AddressAnswer {
        var lookup: Lookup<[IPAddress]>
        /// What was found is secure as a whole.
        var isSecure: Bool
        var canonicalName: String?
    }

    /// IPv4 first: where a host has both, fewer receivers turn IPv4 away for want of a reverse name.
    private func queryAddresses(of name: String) async -> AddressAnswer {
        async let four = query(name, .a)
        async let six = query(name, .aaaa)
        let answers = await [(four, ResourceData.RecordType.a), (six, .aaaa)]
        var addresses: [IPAddress] = []
        var worst: Lookup<[IPAddress]> = .noRecords
        var isSecure = true
        var canonicalName: String?
        for (answer, type) in answers {
            canonicalName = canonicalName ?? answer.canonicalName
            switch answer.lookup {
            case .found(let records):
                addresses += records.compactMap { ResourceData.address($0, type) }
                isSecure = isSecure && answer.isSecure
            // NXDOMAIN is about the name, so it holds for both types (RFC 2308 §2.1), whatever became of the other.
            case .noSuchName: return AddressAnswer(lookup: addresses.isEmpty ? .noSuchName : .found(addresses), isSecure: isSecure && answer.isSecure)
            case .noRecords: break
            case .failure(let reason): worst = .failure(reason: reason)
            }
        }
        return AddressAnswer(lookup: addresses.isEmpty ? worst : .found(addresses), isSecure: isSecure && !addresses.isEmpty, canonicalName: canonicalName)
    }

    // MARK: Mail exchangers and names

    package func mailExchangers(of domain: Domain) async -> Answer<MailExchange> {
        if domain.literal != nil { return Answer(.found(.implicit)) }
        guard let name = Punycode.ascii(domain) else { return Answer(.noSuchName) }
        let answer = await query(name, .mx)
        switch answer.lookup {
        case .found(let records):
            let exchange = MailExchange(rdata: records)
            return Answer(exchange.map { .found($0) } ?? .failure(reason: "\(domain) has malformed MX records only"), isSecure: answer.isSecure)
        case .noRecords: return Answer(.found(.implicit), isSecure: answer.isSecure)
        // A name of /etc/hosts need not be in the DNS at all.
        case .noSuchName: return Answer(configuration.hosts.addresses(of: domain) == nil ? .noSuchName : .found(.implicit))
        case .failure(let reason):
            return Answer(configuration.hosts.addresses(of: domain) == nil ? .failure(reason: reason) : .found(.implicit))
        }
    }

    package func names(of address: IPAddress) async -> Lookup<[Domain]> {
        if let known = configuration.hosts.names(of: address) { return .found(known) }
        return await records(address.reverseName, .ptr, ResourceData.pointer)
    }

    package func texts(of name: Domain) async -> Lookup<[[UInt8]]> {
        guard name.literal == nil, let name = Punycode.ascii(name) else { return .noSuchName }
        return await records(name, .txt, ResourceData.text)
    }

    package func services(of name: Domain) async -> Lookup<[ServiceLocation]> {
        guard name.literal == nil, let name = Punycode.ascii(name) else { return .noSuchName }
        return await records(name, .srv, ResourceData.service)
    }

    private func records<Value>(_ name: String, _ type: ResourceData.RecordType, _ read: ([UInt8]) -> Value?) async -> Lookup<[Value]> {
        switch await query(name, type).lookup {
        case .found(let records):
            let values = records.compactMap(read)
            return values.isEmpty ? .noRecords : .found(values)
        case .noSuchName: return .noSuchName
        case .noRecords: return .noRecords
        case .failure(let reason): return .failure(reason: reason)
        }
    }

    // MARK: DANE

    /// RFC 7672 §2.2.2: TLSA records are worth a question only where the addresses of the host are secure; where the host is
    /// an alias, at the name that it stands for, then at its own. An alias whose end is not secure may have records of its own.
    package func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations> {
        guard validating != nil, host.literal == nil, configuration.hosts.addresses(of: host) == nil, let name = Punycode.ascii(host) else { return .noRecords }
        let addresses = await queryAddresses(of: name)
        if case .failure(let reason) = addresses.lookup { return .failure(reason: reason) }
        let alias = addresses.canonicalName.flatMap { $0.lowercased() == name ? nil : $0 }
        var bases: [String] = []
        if addresses.isSecure {
            bases = [alias, name].compactMap { $0 }
        } else if alias != nil, await query(name, .cname).isSecure {
            bases = [name]
        }
        for base in bases {
            let answer = await query("_\(port)._tcp.\(base)", .tlsa)
            switch answer.lookup {
            case .found(let records) where answer.isSecure:
                guard let domain = Domain(base) else { continue }
                return .found(CertificateAssociations(base: domain, records: records.compactMap(ResourceData.certificateAssociation)))
            case .found, .noSuchName, .noRecords: continue
            // RFC 7672 §2.1.2: not known is not the same as not there.
            case .failure(let reason): return .failure(reason: reason)
            }
        }
        return .noRecords
    }

    // MARK: Questions

    private func query(_ name: String, _ type: ResourceData.RecordType) async -> RecordAnswer {
        guard let validating, name.utf8.dropLast().contains(UInt8(ascii: ".")), isAble else { return await ask(plain, name, type) }
        let answer = await ask(validating, name, type)
        guard answer.isBogus, configuration.validation == .may, configuration.trustAnchor == .root else { return answer }
        // Is it this name, or do the resolvers pass no signatures on at all? The root's own records are signed for sure.
        guard !(await ask(validating, ".", .ns).isSecure) else { return answer }
        if pauseValidation() {
            notice("the resolvers pass no DNSSEC signatures on; their answers are not validated for \(Resolver.pause.components.seconds) seconds")
        }
        return await ask(plain, name, type)
    }

    private func ask(_ thread: UnboundThread, _ name: String, _ type: ResourceData.RecordType) async -> RecordAnswer {
        await thread.ask(name, type, timeout: configuration.timeout)
    }

    private var isAble: Bool {
        ability.withLockedValue { ability in
            guard let until = ability.isMissingUntil else { return true }
            if until > .now { return false }
            ability.isMissingUntil = nil
            return true
        }
    }

    /// True if it was not paused yet.
    private func pauseValidation() -> Bool {
        ability.withLockedValue { ability in
            defer { ability.isMissingUntil = .now + Resolver.pause }
            return ability.isMissingUntil == nil
        }
    }
}
