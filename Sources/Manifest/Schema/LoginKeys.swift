// The keys of logins: where accounts are kept, and what the submission services do.

internal import MailSyntax

enum DirectoryKeys {
    enum Word: String, CaseIterable, Sendable { case manifest }

    static let passwdFile = Key(
        "passwd_file", .path, example: "/etc/dovecot/users", "A passwd-file as Dovecot has it: `NAME:HASH` in each line, and more fields that are not looked at.")
    // Not named after its file: whatever `passwd` holds is kept from messages, as it may be a secret.
    static let system = Key("system", .path, example: "/etc/passwd", "The accounts of a Unix system, passwd(5); goes with `shadow`.")
    static let shadow = Key("shadow", .path, default: "/etc/shadow", example: "/etc/shadow", "The hashes of their passwords, shadow(5).")
    static let userIDs = Key(
        "user_ids", .numberRange, default: "1000-59999", example: "1000-29999", "The user ids of `system` that are people's: nobody else can log in.")

    /// Nil after an error.
    private static let files = Syntax<MailSystem.Directory?>.section([passwdFile, system, shadow, userIDs]) { section, findings in
        let passwdFile = section.optional(passwdFile, &findings)
        let system = section.optional(system, &findings)
        let (shadow, userIDs) = (section.value(shadow, &findings), section.value(userIDs, &findings))
        switch (section.position(of: Self.passwdFile), section.position(of: Self.system)) {
        case (nil, nil):
            findings.error(.missingKey, "nothing says which file the accounts are in", at: section.span, hint: "passwd_file: PATH, or system: /etc/passwd")
        case (_?, let second?): findings.error(.conflictingValues, "a directory is one file of accounts or another", at: second, hint: "write two list items")
        case (_?, nil):
            for key in [Self.shadow, Self.userIDs] as [any Declared] {
                guard let span = section.position(of: key) else { continue }
                findings.warning(.noEffect, "\(quoted(key.declaration.name)) has no effect on a passwd_file", at: span)
            }
        default: break
        }
        if let passwdFile { return .passwdFile(passwdFile.value) }
        // A range that cannot be read says nothing about which directory it is.
        guard section.position(of: Self.userIDs) == nil || userIDs.position != nil else { return nil }
        return system.map { .system(passwd: $0.value, shadow: shadow.value, userIDs: userIDs.value) }
    }.then { directory, _, _ in directory }

    static let list = Syntax<[Located<MailSystem.Directory>]>.list(
        of: .either(Syntax<Word>.choice(Word.self).then { _, _, _ in MailSystem.Directory.manifest }, orMapping: files))
}

extension Syntax where Value == ClosedRange<Int> {
    /// `1000-59999`.
    fileprivate static var numberRange: Syntax { .word(
        Word(
            name: "range", noun: "a range of numbers", forms: "a range is two numbers with a dash, such as 1000-59999",
            json: [("type", .string("string")), ("pattern", .string("^[0-9]+-[0-9]+$"))])
    ) { text throws(Flaw) in
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, let first = Int(parts[0]), let last = Int(parts[1]), parts.allSatisfy({ $0.utf8.allSatisfy(isDigit) }), first <= last else {
            throw Flaw("\(quoted(text)) is not a range")
        }
        return first...last
    } }
}

enum SubmissionKeys {
    private static let counts = 1...1_000_000

    static let tlsAuthOnly = Key(
        "tls_auth_only", .truth, default: "true", example: "false", postfix: "smtpd_tls_auth_only",
        "Logins are offered and taken in TLS only; `false` lets passwords cross the network readable by all.")
    static let recipients = Key(
        "recipients_per_message", .integer(counts), defaultNote: "`limits.recipients_per_message`", example: "100",
        "Recipients of one message of a user; more get 452 and another message.")
    static let messageRate = Key(
        "message_rate", .integer(counts), defaultNote: "no limit", example: "30", "Messages that one user may send in a minute, from wherever.")
    static let recipientRate = Key(
        "recipient_rate", .integer(counts), defaultNote: "no limit", example: "200", "Recipients that one user may name in a minute.")
    static let hideClient = Key(
        "hide_client", .truth, default: "false", example: "true", "`Received` does not say from which address a user sent the message.")

    static let syntax = Syntax<MailSystem.Submission>.section([tlsAuthOnly, recipients, messageRate, recipientRate, hideClient]) { section, findings in
        MailSystem.Submission(
            tlsAuthOnly: section.value(tlsAuthOnly, &findings), recipientsPerMessage: section.optional(recipients, &findings),
            messageRate: section.optional(messageRate, &findings), recipientRate: section.optional(recipientRate, &findings),
            hideClient: section.value(hideClient, &findings))
    }
}
