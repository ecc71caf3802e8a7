// Addresses that become others: canonical, masquerade and generic, and who gets copies, as Postfix's cleanup(8), smtp(8) and
// trivial-rewrite(8) do it (ADDRESS_REWRITING_README). Pure.
//
// Of an address that comes in, sender or recipient, first its own canonical table is asked, then the common one, each again
// and again until nothing changes; then the domain is masqueraded.

package import MailSyntax

package struct AddressRewriting: Sendable {
    package struct Configuration: Sendable {
        package var manifest: String
        package var origin: Domain
        package var localDomains: [Domain]
        package var extensionDelimiter: UInt8?
        package var canonical: Table
        package var senderCanonical: Table
        package var recipientCanonical: Table
        package var generic: [RewriteTable.Entry]
        package var propagatesCanonical: Bool
        package var propagatesGeneric: Bool
        package var masquerade: Masquerade
        package var senderBCC: [RewriteTable.Entry]
        package var recipientBCC: [RewriteTable.Entry]
        package var alwaysBCC: RewriteTable.Entry?

        package init(
            manifest: String, origin: Domain, localDomains: [Domain] = [], extensionDelimiter: UInt8? = nil, canonical: Table = Table(),
            senderCanonical: Table = Table(), recipientCanonical: Table = Table(), generic: [RewriteTable.Entry] = [], propagatesCanonical: Bool = true,
            propagatesGeneric: Bool = false, masquerade: Masquerade = Masquerade(), senderBCC: [RewriteTable.Entry] = [],
            recipientBCC: [RewriteTable.Entry] = [], alwaysBCC: RewriteTable.Entry? = nil
        ) {
            self.manifest = manifest
            self.origin = origin
            self.localDomains = localDomains
            self.extensionDelimiter = extensionDelimiter
            self.canonical = canonical
            self.senderCanonical = senderCanonical
            self.recipientCanonical = recipientCanonical
            self.generic = generic
            self.propagatesCanonical = propagatesCanonical
            self.propagatesGeneric = propagatesGeneric
            self.masquerade = masquerade
            self.senderBCC = senderBCC
            self.recipientBCC = recipientBCC
            self.alwaysBCC = alwaysBCC
        }
    }

    package struct Table: Sendable {
        package var entries: [RewriteTable.Entry]
        package var classes: Classes

        package init(_ entries: [RewriteTable.Entry] = [], classes: Classes = []) {
            self.entries = entries
            self.classes = classes
        }
    }

    /// Where a table applies.
    package struct Classes: OptionSet, Hashable, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let envelopeSender = Classes(rawValue: 1)
        package static let envelopeRecipient = Classes(rawValue: 2)
        package static let headerSender = Classes(rawValue: 4)
        package static let headerRecipient = Classes(rawValue: 8)
    }

    package struct Masquerade: Sendable {
        /// The first that fits counts; an exempt one ends the search.
        package var domains: [(domain: Domain, isExempt: Bool)]
        /// Local parts, in lower case.
        package var exceptions: Set<String>
        package var classes: Classes
        package var line: Int?

        package init(domains: [(domain: Domain, isExempt: Bool)] = [], exceptions: Set<String> = [], classes: Classes = [], line: Int? = nil) {
            self.domains = domains
            self.exceptions = exceptions
            self.classes = classes
            self.line = line
        }
    }

    /// Of a chain that comes to no end: `check` refuses those that it sees.
    private static let mostSteps = 100

    private struct Named: Sendable {
        let name: String
        let table: RewriteTable
        let classes: Classes
    }

    private let manifest: String
    private let origin: Domain
    /// Those that are not empty, in the order in which they are asked.
    private let canonicals: [Named]
    private let generics: Named?
    private let masquerade: Masquerade
    private let senderCopies: Named?
    private let recipientCopies: Named?
    private let alwaysCopied: RewriteTable.Entry?

    package init(_ configuration: Configuration) {
        manifest = configuration.manifest
        origin = configuration.origin
        let scope = RewriteTable.Scope(
            origin: configuration.origin, localDomains: Set(configuration.localDomains), delimiter: configuration.extensionDelimiter)
        func named(_ name: String, _ entries: [RewriteTable.Entry], _ classes: Classes, propagates: Bool) -> Named? {
            entries.isEmpty ? nil : Named(name: name, table: RewriteTable(entries, scope, propagates: propagates), classes: classes)
        }
        let propagates = configuration.propagatesCanonical
        canonicals = [
            named("sender_canonical", configuration.senderCanonical.entries, configuration.senderCanonical.classes, propagates: propagates),
            named("recipient_canonical", configuration.recipientCanonical.entries, configuration.recipientCanonical.classes, propagates: propagates),
            named("canonical", configuration.canonical.entries, configuration.canonical.classes, propagates: propagates),
        ].compactMap { $0 }
        generics = named("generic", configuration.generic, [], propagates: configuration.propagatesGeneric)
        masquerade = configuration.masquerade
        senderCopies = named("sender_bcc", configuration.senderBCC, [], propagates: false)
        recipientCopies = named("recipient_bcc", configuration.recipientBCC, [], propagates: false)
        alwaysCopied = configuration.alwaysBCC
    }

    /// Nothing of the class is ever rewritten: the caller may save the asking.
    package func leaves(_ place: Classes) -> Bool {
        !canonicals.contains { !$0.classes.isDisjoint(with: place) } && (masquerade.domains.isEmpty || masquerade.classes.isDisjoint(with: place))
    }

    package var hasGeneric: Bool { generics != nil }
    package var hasCopies: Bool { senderCopies != nil || recipientCopies != nil || alwaysCopied != nil }

    /// What becomes of an address that comes in.
    package func incoming(_ address: Address, _ place: Classes, trace: Trace? = nil) -> Address {
        var address = address
        for named in canonicals where !named.classes.isDisjoint(with: place) { address = rewritten(address, by: named, trace) }
        return masqueraded(address, place, trace)
    }

    private func rewritten(_ start: Address, by named: Named, _ trace: Trace?) -> Address {
        var address = start
        for _ in 0..<AddressRewriting.mostSteps {
            guard let found = named.table.find(address) else { break }
            let isSame = found.address == address
            if !isSame || found.address.description != address.description {
                trace?.note(.rewriting, address.description, "becomes \(found.address)", rule: rule(found.entry, named.name))
            }
            address = found.address
            if isSame { break }
        }
        return address
    }

    private func masqueraded(_ address: Address, _ place: Classes, _ trace: Trace?) -> Address {
        guard !masquerade.domains.isEmpty, !masquerade.classes.isDisjoint(with: place), !masquerade.exceptions.contains(address.localKey) else { return address }
        let key = address.domain.key
        for (domain, isExempt) in masquerade.domains {
            if key == domain.key { return address }
            guard key.utf8.count > domain.key.utf8.count, key.hasSuffix(".\(domain.key)") else { continue }
            if isExempt { return address }
            let result = Address(localPart: address.localPart, domain: domain)
            trace?.note(.rewriting, address.description, "becomes \(result)", rule: rule(masquerade.line, "masquerade_domains"))
            return result
        }
        return address
    }

    /// What becomes of an address of the header that comes in; bare ones get `domain`.
    package func header(_ role: HeaderRewriter.Role, _ address: BareAddress, domain: Domain) -> Address {
        incoming(address.qualified(with: domain), role == .sender ? .headerSender : .headerRecipient)
    }

    /// What becomes of an address that goes out by SMTP: one step, as smtp(8) makes it. Nil: it stays.
    package func generic(_ address: Address, trace: Trace? = nil) -> Address? {
        guard let generics, let found = generics.table.find(address) else { return nil }
        trace?.note(.rewriting, address.description, "goes out as \(found.address)", rule: rule(found.entry, "generic"))
        return found.address
    }

    /// Who gets copies of a message, beside its recipients: addresses after rewriting, each with the line that says so.
    package func copies(sender: Address?, recipients: [Address]) -> [(address: Address, rule: Rule)] {
        var copies: [(Address, Rule)] = []
        func add(_ found: RewriteTable.Found?, _ name: String) {
            if let found { copies.append((incoming(found.address, .envelopeRecipient), rule(found.entry, name))) }
        }
        if let senderCopies, let sender { add(senderCopies.table.find(sender), "sender_bcc") }
        if let recipientCopies { for recipient in recipients { add(recipientCopies.table.find(recipient), "recipient_bcc") } }
        if let alwaysCopied {
            let address: Address? =
                switch alwaysCopied.result {
                case .address(let address): address
                case .name(let name): Address(localPart: name, domain: origin)
                case .domain: nil
                }
            add(address.map { RewriteTable.Found(address: $0, entry: alwaysCopied) }, "always_bcc")
        }
        return copies
    }

    private func rule(_ entry: RewriteTable.Entry, _ name: String) -> Rule {
        rule(entry.line, name == "always_bcc" ? name : "\(name).\(entry.key)")
    }

    private func rule(_ line: Int?, _ path: String) -> Rule { "\(line.map { "\(manifest):\($0)" } ?? "default") rewriting.\(path)" }
}
