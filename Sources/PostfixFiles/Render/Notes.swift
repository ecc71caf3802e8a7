// What Postfix, set up by these files, does not do of a manifest, or does otherwise, and what is still to be done before
// it runs: the file NOTES.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    /// Adds the notes that follow from the manifest as a whole to those that its tables gave.
    mutating func addNotes() {
        addNotesOnUsers()
        addNotesOnServer()
        addNotesOnRewriting()
        if system.limits.mailboxSize.value > 0, system.users.contains(where: { format(of: $0) == .maildir }) {
            note(
                "limits.mailbox_size", at: system.limits.mailboxSize.position,
                "in a Maildir Postfix bounds each message by it, not the mailbox")
        }
        if let limit = system.limits.errorRate {
            note("limits.error_rate", at: limit.position, "left out: Postfix counts errors of a session, not of a client (smtpd_hard_error_limit)")
        }
        if !system.mailboxes.directory.value.hasPrefix("/") {
            note("mailboxes.directory", at: system.mailboxes.directory.position, "to Postfix a relative path counts from its queue_directory")
        }
        if let position = system.dns.resolvers.position, system.dns.resolvers.value != [.system] {
            note("dns.resolvers", at: position, "Postfix asks the resolvers of /etc/resolv.conf")
        }
        if let position = system.dns.validation.position, system.dns.validation.value == .always {
            note("dns.dnssec", at: position, "Postfix takes its resolver's word for it (AD), and an answer without it for unsigned")
        }
        if let anchor = system.dns.trustAnchor {
            note("dns.trust_anchor", at: anchor.position, "Postfix validates nothing itself: its resolver needs the trust anchor")
        }
        if let position = system.dns.insecureDomains.position, !system.dns.insecureDomains.value.isEmpty {
            note("dns.domains_insecure", at: position, "Postfix validates nothing itself: its resolver needs them (unbound: domain-insecure)")
        }
        if let position = system.listen.health.position {
            note("listen.health", at: position, "Postfix has no health or metrics endpoint")
        }
        if let position = system.queue.directory.position {
            note("queue.directory", at: position, "Postfix keeps its own queue_directory; the two never share one")
        }
        if let position = system.logging.level.position {
            note("logging.level", at: position, "Postfix has no such level")
        }
        if system.logging.format.value == .json, let position = system.logging.format.position {
            note("logging.format", at: position, "Postfix logs to syslog, in its own format")
        }
        let placed = notes.enumerated().sorted { a, b in
            let (first, second) = (a.element.position ?? SourcePosition(line: 0, column: 0), b.element.position ?? SourcePosition(line: 0, column: 0))
            return first == second ? a.offset < b.offset : first < second
        }
        notes = placed.map(\.element)
    }

    private mutating func addNotesOnUsers() {
        for user in system.users {
            let name = user.name.value
            let path = "users.\(name)"
            if let quota = user.quota { note("\(path).quota", at: quota.position, "Postfix has no quota for a single mailbox") }
            if let password = user.password, !hasSubmission {
                note("\(path).password", at: password.position, "Postfix has no use for it: there is no listen.submission and no listen.submissions")
            }
            guard options.accounts == .unix else { continue }
            if let delimiter = system.addressExtension.value, name.dropFirst().contains(delimiter) {
                note(path, at: user.name.position, "with \(delimiter) in it, local(8) takes the name for a user with an extension")
            } else if !isAccountName(name) {
                note(path, at: user.name.position, "systemd-sysusers makes no account of this name")
            }
        }
    }

    /// What has to be done with the files, in the order in which it is to be done.
    mutating func addSteps(_ tables: [Table]) {
        if options.maps != .texthash {
            steps.append("Make the tables, after each render: `make` in this directory (or: \(tables.map { makeCommand($0) }.joined(separator: "; ")))")
            if options.maps == .lmdb { steps.append("Debian has LMDB tables in a package of their own: apt-get install postfix-lmdb") }
        }
        if tables.contains(where: { $0.name == .relayPassword }) {
            steps.append("sasl_passwd holds the password for the relay; where render could not read it, its line is a comment, and mail waits")
            steps.append("Logins at the relay need Cyrus SASL's mechanisms: apt-get install libsasl2-modules")
        }
        if hasSubmission {
            steps.append("dovecot-users holds the users' password hashes; a user whose hash render could not read has a comment there, and no login")
            steps.append("Start Dovecot for the logins (apt-get install dovecot-core): dovecot.conf has what it needs; its paths are those of /etc/postfix")
        }
        guard !system.users.isEmpty else { return }
        switch options.accounts {
        case .unix:
            steps.append("Make the users' accounts, where they do not exist: systemd-sysusers sysusers.conf")
            if tmpfiles() != nil { steps.append("Make each user's directory, as local(8) cannot: systemd-tmpfiles --create tmpfiles.conf") }
        case .virtual:
            let owner = options.owner
            steps.append("The mailboxes' directory is to be the owner's: install -d -o \(owner.user) -g \(owner.group) \(mailboxDirectory)")
        }
    }

    func notesFile() -> RenderedFile {
        var text = header
        text += "# For Postfix 3.7.10 or later; rendered with --accounts \(options.accounts.rawValue) --maps \(options.maps.rawValue).\n"
        text += "\nBefore Postfix starts\n\n"
        for step in steps { text += "- \(step)\n" }
        text += "- See what Postfix says of the files: postfix check, with -c and this directory if it is not /etc/postfix\n"
        text += "\nWhat Postfix does not do of \(system.fileName), or does otherwise\n\n"
        for note in notes { text += "- \(note.position.map { "line \($0.line), " } ?? "")\(note.path): \(note.text)\n" }
        if notes.isEmpty { text += "Nothing.\n" }
        return RenderedFile(name: "NOTES", content: text)
    }
}
