// A manifest as Postfix's configuration: the same mail system, run by Postfix 3.7.10 or later.
//
// Pure and deterministic: the same manifest and options give the same bytes. What Postfix cannot express is left out and
// said in `notes`, never approximated in silence. Writing to disk is `OutputDirectory`'s.
//
// A rendering is kept as parameters, services and tables; the files are their text.

package import Manifest
internal import MailSyntax

/// What is decided about Postfix's side; the manifest does not know of it.
package struct RenderOptions: Hashable, Sendable {
    package enum Accounts: String, CaseIterable, Sendable {
        /// Each user is an account of the system: local(8) delivers.
        case unix
        /// The users are in tables: virtual(8) delivers, as one owner of all mailboxes.
        case virtual
    }

    /// DATABASE_README: `texthash` is read as it is; the others are made by postmap(1) and postalias(1).
    package enum Maps: String, CaseIterable, Sendable { case texthash, lmdb, hash }

    package struct Owner: Hashable, Sendable {
        package var user: UInt32
        package var group: UInt32

        package init(user: UInt32, group: UInt32) {
            self.user = user
            self.group = group
        }
    }

    package var accounts: Accounts
    package var maps: Maps
    /// Whose the mailboxes are with `virtual` accounts. The default is the user that the image runs as, so that either
    /// server can take over the other's mailboxes.
    package var owner: Owner

    package init(accounts: Accounts = .unix, maps: Maps = .texthash, owner: Owner = Owner(user: 65_532, group: 65_532)) {
        self.accounts = accounts
        self.maps = maps
        self.owner = owner
    }
}

package struct RenderedFile: Hashable, Sendable {
    package let name: String
    package let content: String
    /// Permissions.
    package var mode: UInt16 = 0o644
    /// Its content is not to be shown.
    package var isSecret = false
    /// False if a secret could not be read, and its line is left blank.
    package var isComplete = true
}

/// Something of the manifest that the files do not do.
package struct RenderNote: Hashable, Sendable {
    /// Nil where no line of the manifest is at its root.
    package let position: SourcePosition?
    /// The manifest's key: `users.alice.quota`.
    package let path: String
    package let text: String
}

/// `name = value` of main.cf, or `-o name=value` of a service.
package struct Parameter: Hashable, Sendable {
    package let name: String
    package let value: String

    init(_ name: String, _ value: String) {
        self.name = name
        self.value = value
    }
}

/// Parameters that stand together in main.cf under one comment, which names the manifest's line.
package struct ParameterGroup: Hashable, Sendable {
    package let comment: String
    package let parameters: [Parameter]
}

/// A line of master.cf (master(5)).
package struct Service: Hashable, Sendable {
    package var name: String
    /// inet, unix, unix-dgram.
    package var type: String
    /// The columns private, unpriv, chroot, wakeup and maxproc as they are written.
    package var columns: [String]
    package var command: String
    package var options: [Parameter] = []
    /// The line of the manifest; nil: one of those that Postfix itself needs.
    package var comment: String?
}

package struct Rendering: Sendable {
    /// main.cf, in the order in which it is written.
    package let groups: [ParameterGroup]
    package let services: [Service]
    /// In the order of `RenderedFile.names`, those that the manifest needs.
    package let files: [RenderedFile]
    /// By place in the manifest, those without one first.
    package let notes: [RenderNote]
    /// Secrets that could not be read. Their lines are comments, and what they are for does not work.
    package let unreadable: [RenderNote]
    /// What has to be done in the directory before Postfix starts, a sentence each.
    package let steps: [String]

    /// Every parameter that main.cf sets, in its order: none twice.
    package var parameters: [Parameter] { groups.flatMap(\.parameters) }

    /// `secrets` reads the secrets that the files need; without it they are left blank.
    package init(
        _ system: MailSystem, options: RenderOptions = RenderOptions(),
        secrets: SecretReader = { _ throws(UnreadableSecret) in throw UnreadableSecret(reason: "was not read") }
    ) {
        var plan = RenderPlan(system, options)
        let tables = plan.tables(secrets)
        groups = plan.mainGroups(tables: Set(tables.map(\.name)))
        services = plan.services()
        var schemes: Set<String> = []
        let users = plan.dovecotUsers(secrets, &schemes)
        let dovecot = [users, plan.dovecotConfiguration(schemes)].compactMap { $0 }
        plan.addNotes()
        plan.addSteps(tables)
        notes = plan.notes
        unreadable = plan.unreadable
        steps = plan.steps
        var files = [plan.mainCF(groups), plan.masterCF(services)] + tables.map(plan.file) + dovecot
        if options.maps != .texthash { files.append(plan.makefile(tables)) }
        if options.accounts == .unix { files += [plan.sysusers(), plan.tmpfiles()].compactMap { $0 } }
        files.append(plan.notesFile())
        self.files = files
    }
}

extension RenderedFile {
    /// Every name that a rendering may have.
    package static let names =
        ["main.cf", "master.cf"] + Table.Name.allCases.map(\.rawValue) + ["dovecot-users", "dovecot.conf", "Makefile", "sysusers.conf", "tmpfiles.conf", "NOTES"]

    /// How the first line of every rendered file begins: the mark by which the next rendering knows its own.
    package static let mark = "# Rendered by valija from "
}

/// What the files of one rendering share.
struct RenderPlan {
    let system: MailSystem
    let options: RenderOptions
    /// The domain in which bare names live. Postfix has no names without domain, so one must be; nil: there are none.
    let home: Domain?
    /// Of users and aliases, in lower case.
    let names: Set<String>
    var notes: [RenderNote] = []
    var unreadable: [RenderNote] = []
    var steps: [String] = []

    init(_ system: MailSystem, _ options: RenderOptions) {
        self.system = system
        self.options = options
        names = Set((system.aliases.map(\.name.value) + system.users.map(\.name.value)).map(lowercasedASCII))
        let locals = system.localDomains.map(\.name.value)
        if locals.contains(system.origin.value) {
            home = system.origin.value
        } else if let first = locals.first {
            home = first
        } else {
            home = system.users.isEmpty && system.aliases.isEmpty ? nil : Domain(valid: "localhost")
        }
    }

    mutating func note(_ path: String, at position: SourcePosition?, _ text: String) {
        notes.append(RenderNote(position: position, path: path, text: text))
    }

    var header: String { "\(RenderedFile.mark)\(system.fileName); do not edit.\n" }

    /// A bare name as Postfix finds it: it adds `myorigin`, which need not be one of our domains.
    func name(_ name: String) -> String {
        let quoted = Address(localPart: name, domain: system.origin.value).quotedLocalPart
        guard let home, home != system.origin.value else { return quoted }
        return "\(quoted)@\(home)"
    }

    /// Who gets `postmaster` where the manifest names none: its first user.
    var standInPostmaster: MailSystem.User? {
        names.contains("postmaster") ? nil : system.users.first
    }

    /// The local domains, or the one that stands in for them where users and aliases have none to live in.
    var homeDomains: [Domain] {
        let local = system.localDomains.map(\.name.value)
        return local.isEmpty ? home.map { [$0] } ?? [] : local
    }

    /// postconf(5): `$` begins the name of a parameter, `$$` is a dollar sign.
    func literal(_ text: String) -> String { text.map { $0 == "$" ? "$$" : String($0) }.joined() }

    /// A slash at the end makes a Maildir of a mailbox for local(8) and virtual(8).
    var mailboxDirectory: String {
        let directory = system.mailboxes.directory.value
        return directory.count > 1 && directory.hasSuffix("/") ? String(directory.dropLast()) : directory
    }

    func format(of user: MailSystem.User) -> MailSystem.MailboxFormat { user.format?.value ?? system.mailboxes.format.value }
}

extension MailSystem {
    var localDomains: [MailDomain] {
        domains.filter { if case .local = $0.kind { true } else { false } }
    }

    var virtualDomains: [MailDomain] {
        domains.filter { if case .virtual = $0.kind { true } else { false } }
    }

    var relayDomains: [MailDomain] {
        domains.filter { if case .relay = $0.kind { true } else { false } }
    }
}
