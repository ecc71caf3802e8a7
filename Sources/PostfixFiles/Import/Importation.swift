// A hand-made Postfix configuration as a manifest, with a report of what became of each of its parameters (docs/import.md).
//
// Pure: files come through `ImportSource`. What a manifest has no key for is left out and said, never approximated in
// silence; the manifest is always one that `check` finds valid, because what would not be (a target that leads
// nowhere) is left out too, and said. In doubt less mail is accepted and fewer clients may relay than before.
//
// This file has the order of the work and the notes that all of it takes; each part of the manifest has a file.

internal import MailSyntax
package import Manifest

package struct ImportOptions: Sendable {
    /// Paths of account files, as the caller can read them; nil: those that belong to the configuration.
    package var passwd: String?
    package var shadow: String?
    /// A Dovecot passwd-file.
    package var users: String?
    /// What gethostname(2) says, where main.cf does not name the host.
    package var hostName: String

    package init(passwd: String? = nil, shadow: String? = nil, users: String? = nil, hostName: String = "localhost") {
        self.passwd = passwd
        self.shadow = shadow
        self.users = users
        self.hostName = hostName
    }
}

package struct Importation: Sendable {
    /// Why there is no manifest at all.
    package struct Failure: Error, Hashable, Sendable { package let text: String }

    package let system: MailSystem
    /// The text of the manifest.
    package let manifest: String
    package let report: ImportReport
    /// True if the manifest holds hashes or passwords.
    package let holdsSecrets: Bool

    package init(_ source: ImportSource, options: ImportOptions = ImportOptions()) throws(Failure) {
        var importer = try Importer(source, options)
        importer.run()
        system = importer.system
        report = importer.finishedReport()
        holdsSecrets = system.relayhost?.value.password != nil || system.users.contains { $0.password != nil }
        manifest = ManifestWriter.text(of: system, heading: ["Imported by valija from \(source.directory). What could not be said here stands in the report."])
        // The promise is kept here: whatever went wrong before, no manifest that is not valid leaves.
        let errors = ManifestReader.read(text: Array(manifest.utf8), file: "manifest").diagnostics.filter { $0.severity == .error }
        if let error = errors.first {
            throw Failure(text: "the manifest would not be valid: line \(error.position?.line ?? 0): \(error.message)")
        }
    }
}

/// The manifest as it grows, and what is known on the way to it. Every position in `system` is the number of a place in
/// `places`: so the reader's judgement leads back to the line of the configuration that is at fault.
struct Importer {
    let source: ImportSource
    let options: ImportOptions
    let mainPath: String
    let main: MainFile
    let masterPath: String
    let master: MasterFile
    let scope: ParameterScope
    /// The setting that counts, by parameter.
    let settings: [String: MainFile.Setting]

    var system = MailSystem.defaults
    var report = ImportReport()
    /// Parameters that have an entry in the report, or need none.
    var handled: Set<String> = []
    var places: [Place] = []
    private var tables: [String: LookupTable?] = [:]
    /// The domains of each class, in the order of their parameters; one that stands in two classes is of the first.
    var localDomains: [Located<Domain>] = []
    var virtualDomains: [Located<Domain>] = []
    var mailboxDomains: [Located<Domain>] = []
    var relayDomains: [Located<Domain>] = []
    /// The class of each domain's key.
    var classes: [String: DomainClass] = [:]
    var spaces: [String: AddressSpace] = [:]
    /// The virtual mailbox domains are what a manifest calls local: users and aliases exist in all of them.
    var mailboxDomainsAreLocal = false
    var mailboxes: [VirtualMailbox] = []
    /// What names in the local domains lead to, before users are told from aliases.
    var localEntries: [NamedEntry] = []
    /// Names whose mail transport_maps gives to local(8), though their domain is a virtual one.
    var locallyDelivered: Set<String> = []
    /// The domains that have addresses in the table of that many entries: counted once.
    var domainsWithAddresses: (table: Int, domains: Set<String>) = (0, [])
    var accounts: [Account] = []
    var accountsByName: [String: Account] = [:]
    /// Users who have what their account says.
    var attached: Set<String> = []
    /// True if every account is known: a name that is not among them has no mailbox.
    var knowsAccounts = false
    /// Services of master.cf that are said by keys of the manifest.
    var usedServices: Set<String> = []
    /// True if tables list the local recipients, so that an account alone makes none.
    var knowsRecipients = false
    /// Numbers in `system.users` by name in lower case.
    var userNumbers: [String: Int] = [:]

    init(_ source: ImportSource, _ options: ImportOptions) throws(Importation.Failure) {
        self.source = source
        self.options = options
        mainPath = "\(source.directory)/main.cf"
        masterPath = "\(source.directory)/master.cf"
        switch source.read(mainPath) {
        case .success(let bytes): main = MainFile(bytes, file: mainPath)
        case .failure(let failure): throw Importation.Failure(text: "\(mainPath): \(failure)")
        }
        var masterFailure: ImportSource.Failure?
        switch source.read(masterPath) {
        case .success(let bytes): master = MasterFile(bytes, file: masterPath)
        case .failure(let failure):
            master = MasterFile([], file: masterPath)
            masterFailure = failure
        }
        var settings: [String: MainFile.Setting] = [:]
        var overridden: [MainFile.Setting] = []
        for setting in main.settings {
            if let earlier = settings.updateValue(setting, forKey: setting.name) { overridden.append(earlier) }
        }
        self.settings = settings
        let services = master.services.filter { $0.type == "unix" }.map { ParameterDefaults.Service(name: $0.name, program: $0.program) }
        let known: [String: String] = ["config_directory": source.directory]
        scope = ParameterScope(
            settings: known.merging(settings.mapValues(\.value)) { $1 },
            defaults: ParameterDefaults(host: ParameterDefaults.Host(name: options.hostName), services: services))
        for setting in overridden {
            let later = settings[setting.name]!
            note(mainPath, setting.line, setting.name, .harmless, "line \(later.line) sets it again, and the later value counts")
        }
        for flaw in main.flaws { note(mainPath, flaw.line, "syntax", .unsupported, "\(flaw.text); Postfix stops here or reads something else: mend the line") }
        for flaw in master.flaws { note(masterPath, flaw.line, "syntax", .unsupported, "\(flaw.text); mend the line") }
        if let masterFailure { note(masterPath, nil, "master.cf", .changed, "\(masterFailure); the services are taken to be Postfix's usual ones") }
    }

    mutating func run() {
        system.file = "manifest"
        importIdentity()
        importDomainLists()
        importVirtualMailboxes()
        importVirtualAliases()
        importRelayDomains()
        importUsers()
        importAliases()
        finishDomains()
        importMailboxes()
        importNetworks()
        importRelayhost()
        importNames()
        importTLS()
        importOutgoingTLS()
        importLimits()
        importServerRules()
        importQueue()
        importReports()
        importDelivery()
        importServices()
        repair()
        importRewriting()
        importSenderLogins()
        importRestrictions()
        importOthers()
    }

    func finishedReport() -> ImportReport {
        var report = report
        report.sort()
        return report
    }

    // MARK: Parameters

    /// Evaluated; empty, with a word in the report, where it cannot be.
    mutating func value(_ name: String) -> String {
        do throws(ParameterFlaw) {
            return try scope.value(of: name) ?? ""
        } catch {
            if settings[name] != nil, handled.insert(name).inserted {
                note(name, .unsupported, "it cannot be evaluated (\(error.text)); Postfix does not start with that: mend the value")
            }
            return ""
        }
    }

    func isSet(_ name: String) -> Bool { settings[name] != nil }

    /// yes or no, as Postfix reads booleans.
    mutating func isYes(_ name: String) -> Bool { lowercasedASCII(value(name)) == "yes" }

    mutating func list(_ name: String) -> [String] { ConfigurationText.list(value(name)) }

    /// An entry of the report for a parameter that main.cf sets; nothing where it does not.
    mutating func note(_ parameter: String, _ outcome: ImportReport.Outcome, _ text: String) {
        guard let setting = settings[parameter] else { return }
        handled.insert(parameter)
        note(mainPath, setting.line, parameter, outcome, text)
    }

    mutating func note(_ file: String, _ line: Int?, _ subject: String, _ outcome: ImportReport.Outcome, _ text: String) {
        report.add(ImportReport.Entry(file: file, line: line, subject: subject, outcome: outcome, text: text))
    }

    mutating func note(_ place: Place, _ subject: String, _ outcome: ImportReport.Outcome, _ text: String) {
        note(place.file, place.line, subject, outcome, text)
    }

    /// Something that holds whether main.cf sets the parameter or not.
    mutating func noteDefault(_ parameter: String, _ outcome: ImportReport.Outcome, _ text: String) {
        if isSet(parameter) { note(parameter, outcome, text) } else { note(mainPath, nil, parameter, outcome, "(not set) \(text)") }
    }

    // MARK: Places

    /// A value that knows where it came from.
    mutating func located<Value>(_ value: Value, _ place: Place) -> Located<Value> {
        places.append(place)
        return Located(value, at: SourcePosition(line: places.count, column: 1))
    }

    func place(of parameter: String) -> Place { Place(file: mainPath, line: settings[parameter]?.line) }

    // MARK: Tables

    /// What `references` name, in their order: Postfix takes the first that has the key. Elements that are no tables are left
    /// to the caller. `whole` is false if any could not be read.
    mutating func table(_ references: [String], of parameter: String) -> (table: LookupTable, whole: Bool) {
        var all = LookupTable()
        var isWhole = true
        for text in references {
            guard let reference = LookupTable.Reference(text) else { continue }
            if let table = load(reference, of: parameter) { all.entries += table.entries } else { isWhole = false }
        }
        return (all, isWhole)
    }

    private mutating func load(_ reference: LookupTable.Reference, of parameter: String) -> LookupTable? {
        if let known = tables[reference.text] { return known }
        let table = read(reference, of: parameter)
        tables[reference.text] = .some(table)
        return table
    }

    private mutating func read(_ reference: LookupTable.Reference, of parameter: String) -> LookupTable? {
        let place = place(of: parameter)
        if reference.type == "inline", let table = LookupTable.inline(reference.name, place: place) { return table }
        guard reference.isTextFile else {
            note(place, parameter, .unsupported, "\(reference.text): \(Importer.advice(on: reference.type))")
            return nil
        }
        guard let (path, bytes) = readFile(reference.name, subject: reference.text, place: place) else { return nil }
        let (table, complaints) = LookupTable.parse(bytes, file: path)
        for complaint in complaints { note(path, nil, parameter, .unsupported, "\(complaint): mend the line") }
        note(path, nil, parameter, .note, "\(reference.text), \(table.entries.count) entries")
        return table
    }

    /// A file that the configuration names; nil, with a word in the report, if it cannot be read.
    mutating func readFile(_ name: String, subject: String, place: Place) -> (path: String, bytes: [UInt8])? {
        let (path, content) = source.find(name)
        switch content {
        case .success(let bytes): return (path, bytes)
        case .failure(let failure):
            note(place, subject, .unsupported, "\(path): \(failure); what it says is left out: bring the file and import again")
            return nil
        }
    }

    /// DATABASE_README's types that are no text files.
    static func advice(on type: String) -> String {
        switch type {
        case "regexp", "pcre": "patterns cannot be listed: write the addresses that they stand for into the manifest"
        case "cidr": "a table of networks is not read here: write its entries into the manifest"
        case "ldap", "mysql", "pgsql", "sqlite", "memcache", "socketmap", "tcp", "nis", "nisplus", "netinfo":
            "it asks a server or a database: export its entries to a text file and import that, or write them into the manifest"
        case "static": "the same answer for every key: write the names that are meant into the manifest"
        case "unix": "it lists the accounts of the system: --passwd FILE names them"
        case "pipemap", "unionmap", "randmap": "tables made of other tables are not read: name the inner ones instead"
        case "environ", "fail": "it holds nothing that could be imported"
        default: "a type of table that is not read: make a text file of its entries, name it as texthash:FILE and import again"
        }
    }
}
