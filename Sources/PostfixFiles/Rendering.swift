// A manifest as Postfix's configuration: the same mail system, run by Postfix 3.7.10 or later.
//
// Pure and deterministic: the same manifest gives the same bytes. What Postfix cannot express is left out and said in
// `notes`, never approximated in silence. Maps are `texthash:`, which Postfix reads as they are; only `aliases`
// has a syntax of its own and needs postalias(1) once. Writing to disk is `OutputDirectory`'s.

package import Manifest
internal import MailSyntax

package struct RenderedFile: Hashable, Sendable {
    package let name: String
    package let content: String
    /// Permissions. No secret is in these files.
    package var mode: UInt16 { 0o644 }
}

/// Something of the manifest that the files do not do.
package struct RenderNote: Hashable, Sendable {
    /// Nil where no line of the manifest is at its root.
    package let position: SourcePosition?
    /// The manifest's key: `users.alice.quota`.
    package let path: String
    package let text: String
}

package struct Rendering: Sendable {
    /// In the order of `RenderedFile.names`, those that the manifest needs.
    package let files: [RenderedFile]
    /// By place in the manifest, those without one first.
    package let notes: [RenderNote]

    package init(_ system: MailSystem) {
        var plan = RenderPlan(system)
        let maps = plan.mapFiles()
        plan.addNotes()
        notes = plan.notes
        files = [plan.mainCF(maps: Set(maps.map(\.name))), plan.masterCF()] + maps
    }
}

extension RenderedFile {
    /// Every name that a rendering may have.
    package static let names = ["main.cf", "master.cf", "aliases", "virtual", "transport", "relay_recipients", "local_recipients"]

    /// How the first line of every rendered file begins: the mark by which the next rendering knows its own.
    package static let mark = "# Rendered by valija from "
}

/// What the files of one rendering share.
struct RenderPlan {
    let system: MailSystem
    /// The domain in which bare names live. Postfix has no names without domain, so one must be; nil: there are none.
    let home: Domain?
    /// Of users and aliases, in lower case.
    let names: Set<String>
    var notes: [RenderNote] = []

    init(_ system: MailSystem) {
        self.system = system
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

    func target(_ target: MailSystem.Target) -> String {
        switch target {
        case .name(let name): self.name(name)
        case .address(let address): address.description
        case .file(let path): path
        case .command(let command): "\"|\(command)\""
        case .include(let path): ":include:\(path)"
        }
    }

    /// Who gets `postmaster` where the manifest names none: its first user.
    var standInPostmaster: MailSystem.User? {
        names.contains("postmaster") ? nil : system.users.first
    }
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
