// What Postfix, set up by these files alone, does not do of a manifest, or does otherwise.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    /// Adds the notes that follow from the manifest as a whole to those that its tables gave.
    mutating func addNotes() {
        addNotesOnUsers()
        if system.mailboxes.format.value == .maildir, system.limits.mailboxSize.value > 0 {
            note(
                "limits.mailbox_size", at: system.limits.mailboxSize.position,
                "in a Maildir Postfix bounds each message by it, not the mailbox")
        }
        if !system.mailboxes.directory.value.hasPrefix("/") {
            note("mailboxes.directory", at: system.mailboxes.directory.position, "to Postfix a relative path counts from its queue_directory")
        }
        if let position = system.listen.health.position {
            note("listen.health", at: position, "Postfix has no health or metrics endpoint")
        }
        if let position = system.queue.directory.position {
            note("queue.directory", at: position, "Postfix keeps its own queue_directory; the two never share one")
        }
        if let position = system.logging.level.position {
            note("logging", at: position, "Postfix logs to syslog, in its own format")
        }
        let placed = notes.enumerated().sorted { a, b in
            let (first, second) = (a.element.position ?? SourcePosition(line: 0, column: 0), b.element.position ?? SourcePosition(line: 0, column: 0))
            return first == second ? a.offset < b.offset : first < second
        }
        notes = placed.map(\.element)
    }

    private mutating func addNotesOnUsers() {
        guard !system.users.isEmpty else { return }
        note("users", at: nil, "local(8) delivers to UNIX accounts: each user needs one of that name")
        if system.mailboxes.format.value == .maildir {
            note(
                "mailboxes.directory", at: nil,
                "local(8) writes as the user: each one's directory in \(system.mailboxes.directory.value) must exist and be the user's own")
        }
        for user in system.users {
            let path = "users.\(user.name.value)"
            if let quota = user.quota { note("\(path).quota", at: quota.position, "Postfix has no quota for a single mailbox") }
            if let format = user.format, format.value != system.mailboxes.format.value {
                note("\(path).mailbox.format", at: format.position, "Postfix has one format for all: \(system.mailboxes.format.value.rawValue)")
            }
            if let delimiter = system.addressExtension.value, user.name.value.dropFirst().contains(delimiter) {
                note(path, at: user.name.position, "with \(delimiter) in it, local(8) takes the name for a user with an extension")
            }
        }
    }
}
