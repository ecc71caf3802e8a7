// A table of addresses and what takes their place: canonical(5), generic(5), the maps of copies. Pure look-up, in Postfix's
// order: `user+extension@domain`, `user@domain`, `user+extension`, `user`, `@domain`; bare names for the origin and the
// local domains only.

package import MailSyntax

package struct RewriteTable: Sendable {
    package enum Result: Hashable, Sendable {
        case address(Address)
        /// Gets the origin.
        case name(String)
        /// The same name, there.
        case domain(Domain)
    }

    package struct Entry: Sendable {
        /// `user@domain`, `user` or `@domain`, unquoted, in lower case.
        package var key: String
        package var result: Result
        package var line: Int?

        package init(key: String, result: Result, line: Int?) {
            self.key = key
            self.result = result
            self.line = line
        }
    }

    /// What a table says of an address, and by which entry.
    struct Found {
        let address: Address
        let entry: Entry
    }

    /// Of all tables: where names live, and what ends them.
    struct Scope: Sendable {
        let origin: Domain
        let localDomains: Set<Domain>
        let delimiter: UInt8?

        /// Bare names mean addresses of this domain.
        func isHome(_ domain: Domain) -> Bool { domain == origin || localDomains.contains(domain) }
    }

    private let entries: [String: Entry]
    private let scope: Scope
    private let propagates: Bool

    var isEmpty: Bool { entries.isEmpty }

    /// `propagates`: a result gets the extension that the entry did not name.
    init(_ entries: [Entry], _ scope: Scope, propagates: Bool) {
        self.entries = Dictionary(entries.map { ($0.key, $0) }, uniquingKeysWith: { first, _ in first })
        self.scope = scope
        self.propagates = propagates
    }

    func find(_ address: Address) -> Found? {
        let (name, domain) = (address.localKey, address.domain.key)
        let end = scope.delimiter.flatMap { delimiter in name.utf8.firstIndex(of: delimiter) }.flatMap { $0 > name.startIndex ? $0 : nil }
        let base = end.map { String(name[..<$0]) }
        if let entry = entries["\(name)@\(domain)"] { return found(entry, address, lacking: nil) }
        if let base, let entry = entries["\(base)@\(domain)"] { return found(entry, address, lacking: end) }
        if scope.isHome(address.domain) {
            if let entry = entries[name] { return found(entry, address, lacking: nil) }
            if let base, let entry = entries[base] { return found(entry, address, lacking: end) }
        }
        return entries["@\(domain)"].map { found($0, address, lacking: end) }
    }

    /// `lacking`: where the extension begins that the entry does not name.
    private func found(_ entry: Entry, _ address: Address, lacking end: String.Index?) -> Found {
        let result: Address
        switch entry.result {
        case .address(let address): result = address
        case .name(let name): result = Address(localPart: name, domain: scope.origin)
        case .domain(let domain): return Found(address: Address(localPart: address.localPart, domain: domain), entry: entry)
        }
        guard propagates, let end else { return Found(address: result, entry: entry) }
        // The key is as long as the local part: only ASCII letters were folded.
        let suffix = address.localPart.utf8.suffix(address.localKey.utf8.distance(from: end, to: address.localKey.utf8.endIndex))
        return Found(address: Address(localPart: result.localPart + String(Substring(suffix)), domain: result.domain), entry: entry)
    }
}
