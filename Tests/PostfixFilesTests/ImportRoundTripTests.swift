// What `render` wrote, imported: the same mail system, but for what Postfix cannot say and `render` had noted.

import MailSyntax
@testable import Manifest
@testable import PostfixFiles
import Testing

/// A configuration in memory.
func source(_ files: [String: String], directory: String = "/in") -> ImportSource {
    ImportSource(directory: directory) { path in files[path].map { .success(Array($0.utf8)) } ?? .failure(.missing) }
}

private func imported(_ rendering: Rendering) throws -> Importation {
    try Importation(source(Dictionary(uniqueKeysWithValues: rendering.files.map { ("/in/\($0.name)", $0.content) })))
}

/// The same for systems that take the same mail to the same places: names in lower case, in no order; an alias of a user's own name is a
/// forward; the postmaster that a manifest has without saying so is said; local domains share their names.
struct Meaning: Equatable, CustomStringConvertible {
    var lines: [String]
    var description: String { lines.joined(separator: "\n") }

    init(_ given: MailSystem) {
        var system = given
        Meaning.readSecrets(&system)
        if let first = system.users.first, !(system.users.map(\.name.value) + system.aliases.map(\.name.value)).contains(where: { lowercasedASCII($0) == "postmaster" }) {
            system.aliases.append(MailSystem.Alias(name: Located("postmaster"), targets: [Located(.name(first.name.value))]))
        }
        var domains: [String: String] = [:]
        // Without a local domain `render` has to make one for bare names.
        if system.localDomains.isEmpty, !(system.users.isEmpty && system.aliases.isEmpty) {
            system.domains.append(MailSystem.MailDomain(name: Located(Domain("localhost")!), kind: .local))
        }
        Meaning.foldAliases(&system)
        let locals = Set(system.localDomains.map(\.name.value))
        func target(_ target: MailSystem.Target) -> String {
            switch target {
            case .name(let name): "name \(lowercasedASCII(name))"
            case .address(let address): locals.contains(address.domain) ? "name \(address.localKey)" : "address \(lowercasedASCII(address.description))"
            default: "\(target)"
            }
        }
        func targets(_ list: [Located<MailSystem.Target>]) -> [String] { Set(list.map { target($0.value) }).sorted() }
        for domain in locals { domains[domain.key] = "local" }
        for domain in system.domains {
            switch domain.kind {
            case .local: break
            case .virtual(let addresses, let catchAll):
                var table = Dictionary(uniqueKeysWithValues: addresses.map { (lowercasedASCII($0.localPart.value), targets($0.targets)) })
                if let catchAll { table["*"] = targets(catchAll.targets) } else if table["postmaster"] == ["name postmaster"] { table["postmaster"] = nil }
                domains[domain.name.value.key] = "virtual \(table.sorted { $0.key < $1.key })"
            case .relay(let via, let recipients):
                domains[domain.name.value.key] = "relay \(via.map { $0.value.description } ?? "MX") \(recipients.map { $0.map { lowercasedASCII($0.value) }.sorted() }.map(String.init(describing:)) ?? "all")"
            }
        }
        var aliases: [String: [String]] = [:]
        for alias in system.aliases { aliases[lowercasedASCII(alias.name.value)] = targets(alias.targets) }
        let users = system.users.map { lowercasedASCII($0.name.value) }
        for user in system.users where !user.forward.isEmpty {
            let name = lowercasedASCII(user.name.value)
            let own = user.keepCopy ? ["name \(name)"] : []
            let forward = targets(user.forward)
            aliases[name] = Set(forward + own).sorted()
        }
        lines = domains.sorted { $0.key < $1.key }.map { "domain \($0.key) \($0.value)" }
        lines += users.sorted().map { "user \($0)" } + aliases.filter { $0.value != ["name \($0.key)"] }.sorted { $0.key < $1.key }.map { "alias \($0.key) \($0.value)" }
        // Without logins `render` has no use for hashes.
        let hasLogins = !system.listen.submission.value.isEmpty || !system.listen.submissions.value.isEmpty
        if hasLogins { lines += system.users.compactMap { user in user.password.map { "password \(lowercasedASCII(user.name.value)) \(meaning($0))" } }.sorted() }
        lines += system.users.map { "format \(lowercasedASCII($0.name.value)) \($0.format?.value ?? system.mailboxes.format.value)" }.sorted()
        if !system.users.isEmpty { lines.append("directory \(system.mailboxes.directory.value.split(separator: "/", omittingEmptySubsequences: true))") }
        lines += [
            "hostname \(system.hostname.value.key)", "origin \(system.origin.value.key)", "extension \(system.addressExtension.value.map(String.init) ?? "none")",
            "networks \(system.networks.value.map(\.description).sorted())", "relayhost \(system.relayhost.map { meaning($0) } ?? "none")",
            "tls \(system.tls.level.value) \(meaning(system.tls.certificate as Any)) \(system.tls.certificates.map { meaning($0) }) \(system.tls.relayClients.value.map(\.value))", "limits \(meaning(system.limits))",
            "listen \(system.listen.smtp.value) \(system.listen.submission.value) \(system.listen.submissions.value)",
            "queue \(system.queue.lifetime.value) \(system.queue.bounceLifetime.value) \(system.queue.retryMinimum.value) \(system.queue.retryMaximum.value) \(system.queue.minimumFree.value)",
        ]
        lines += system.senderLogins.map { "login \($0.pattern) \($0.users.map(lowercasedASCII).sorted())" }.sorted()
    }

    /// `render` writes what secrets are, not where.
    private static func readSecrets(_ system: inout MailSystem) {
        func read(_ secret: Located<Secret>?) -> Located<Secret>? {
            guard let secret else { return nil }
            if case .literal = secret.value { return secret }
            return (try? PostfixFilesTests.secret(secret.value)).map { Located(.literal($0)) }
        }
        for index in system.users.indices { system.users[index].password = read(system.users[index].password) }
        guard var relayhost = system.relayhost?.value else { return }
        relayhost.password = read(relayhost.password)
        if relayhost.password == nil { relayhost.username = nil }
        system.relayhost = Located(relayhost)
    }

    /// An alias of a user's own name as what it is, a forward: its own name in it is the user's.
    private static func foldAliases(_ system: inout MailSystem) {
        for index in system.users.indices {
            let name = lowercasedASCII(system.users[index].name.value)
            guard let number = system.aliases.firstIndex(where: { lowercasedASCII($0.name.value) == name }) else { continue }
            let locals = system.localDomains.map(\.name.value)
            func isSelf(_ target: MailSystem.Target) -> Bool {
                switch target {
                case .name(let text): lowercasedASCII(text) == name
                case .address(let address): locals.contains(address.domain) && address.localKey == name
                default: false
                }
            }
            let alias = system.aliases.remove(at: number)
            let others = alias.targets.filter { !isSelf($0.value) }
            let namesItself = others.count < alias.targets.count
            let user = system.users[index]
            system.users[index].keepCopy = namesItself && (user.forward.isEmpty || user.keepCopy)
            system.users[index].forward = others + (namesItself ? user.forward : [])
        }
    }

    /// Everything that a value holds but where it stood.
    private func meaning(_ value: Any) -> String { PostfixFilesTests.meaning(value) }
}

func meaning(_ value: Any) -> String {
    let mirror = Mirror(reflecting: value)
    if "\(type(of: value))".hasPrefix("Located<") { return meaning(mirror.children.first { $0.label == "value" }!.value) }
    if mirror.displayStyle == .optional { return mirror.children.first.map { meaning($0.value) } ?? "nil" }
    guard !mirror.children.isEmpty else { return "\(value)" }
    return "(\(mirror.children.map { "\($0.label ?? ""):\(meaning($0.value))" }.joined(separator: " ")))"
}

@Test("What was rendered is imported as the same mail system", arguments: manifests.map(\.name), RenderOptions.Accounts.allCases)
func roundTrip(name: String, accounts: RenderOptions.Accounts) throws {
    let system = try #require(manifests.first { $0.name == name }).system
    for maps in RenderOptions.Maps.allCases {
        let rendering = Rendering(system, options: RenderOptions(accounts: accounts, maps: maps), secrets: secret)
        let result = try imported(rendering)
        let (before, after) = (Meaning(system), Meaning(result.system))
        let missing = before.lines.filter { !after.lines.contains($0) }.joined(separator: "\n")
        let extra = after.lines.filter { !before.lines.contains($0) }.joined(separator: "\n")
        let written = try #require(ManifestReader.read(text: Array(result.manifest.utf8), file: "mail.yaml").system)
        #expect(Meaning(written) == after)
        // What `render` left out cannot come back; what came back comes back again.
        guard !rendering.notes.contains(where: { $0.text.hasPrefix("left out") }) else {
            let again = try imported(Rendering(result.system, options: RenderOptions(accounts: accounts, maps: maps), secrets: secret))
            #expect(Meaning(again.system) == after)
            continue
        }
        #expect(before == after, "\(name) \(accounts) \(maps)\nmissing:\n\(missing)\nextra:\n\(extra)\n\(result.report.text)")
        let losses = result.report.entries.filter { $0.outcome.isLoss && !$0.text.hasPrefix("no entry for") }
        #expect(losses == [], "\(name) \(accounts) \(maps)")
    }
}
