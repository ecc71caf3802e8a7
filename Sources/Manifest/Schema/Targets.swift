// Names of users and aliases, addresses of virtual domains, and where they lead.

internal import MailSyntax

extension Syntax where Value == String {
    /// What a name before the `@` may be.
    private static func localPartWord(_ noun: String) -> Word {
        Word(
            name: "name", noun: noun, forms: "a name is what stands before the @: letters, digits, and . - _ + within it",
            json: [("type", .array([.string("string"), .string("number")]))])
    }

    ///     Dot-string = Atom *("." Atom)       ; RFC 5321 §4.1.2. The quoted form of a local part is not for names of ours
    private static func localPart(_ text: String) throws(Flaw) -> String {
        if let at = text.firstIndex(of: "@"), at != text.startIndex {
            throw Flaw("\(quoted(text)) has a domain, and only a name is needed here", hint: "did you mean \(quoted(String(text[..<at])))?")
        }
        guard let bare = BareAddress(text), bare.domain == nil, bare.localPart == text, Slips.lookalike(in: text) == nil else {
            throw Flaw("\(quoted(text)) is not a name for an address", hint: Slips.hint(for: text))
        }
        return text
    }

    static var aliasName: Syntax { .word(localPartWord("a name"), isText: true) { text throws(Flaw) in try localPart(text) } }

    /// RFC 5321 §4.5.3.1.1: 64 octets; a file name of the mailbox is made of it, with a suffix for its lock.
    static var longestUserName: Int { 64 }

    /// A mailbox is named after its user: no name may lead out of the directory, or be the lock of another's mailbox.
    static var userName: Syntax {
        .word(localPartWord("a name"), isText: true) { text throws(Flaw) in
            let name = try localPart(text)
            guard name.utf8.count <= longestUserName else {
                throw Flaw("\(quoted(name)) is too long for a user", code: .outOfRange, hint: "at most \(longestUserName) octets")
            }
            guard !name.contains("/") else { throw Flaw("\(quoted(name)) cannot name a mailbox", hint: "a user's name has no /") }
            guard !lowercasedASCII(name).hasSuffix(".lock") else {
                throw Flaw("\(quoted(name)) cannot name a mailbox", hint: "names that end in .lock are those of lock files")
            }
            return name
        }
    }

    /// `*`, the catch-all, or a local part.
    static var virtualLocalPart: Syntax {
        .word(localPartWord("a name or \"*\""), isText: true) { text throws(Flaw) in
            if text.hasPrefix("@") { throw Flaw("\(quoted(text)) is not a name for an address", hint: "for every other address write \"*\"") }
            return try localPart(text)
        }
    }
}

extension Syntax where Value == MailSystem.Target {
    /// Of a virtual address or a forward: mail goes on to other addresses.
    static var target: Syntax {
        let word = Word(
            name: "target", noun: "a target", forms: "a target is a user, an alias or a whole address",
            json: [("type", .array([.string("string"), .string("number")])), ("pattern", .string("^[^/|:]"))])
        return .word(word, isText: true) { text throws(Flaw) in
            if text.hasPrefix("/") || command(text) != nil || includedFile(text) != nil {
                throw Flaw("only an alias may lead to a file or a command", hint: "put \(quoted(text)) under aliases, and name that alias here")
            }
            return try mailTarget(text)
        }
    }

    /// Of an alias: what aliases(5) allows.
    static var aliasTarget: Syntax {
        let word = Word(
            name: "alias target", noun: "a target",
            forms: "a target is a user, an alias, a whole address, a file (/path), a command (\"|command\") or a list in a file (\":include:/path\")",
            json: [("type", .array([.string("string"), .string("number")]))])
        return .word(word, isText: true, anyTarget)
    }

    /// All that aliases(5) knows.
    static func anyTarget(_ text: String) throws(Flaw) -> MailSystem.Target {
        // With a slash at its end it is a Maildir, as in aliases(5).
        if text.hasPrefix("/") { return .file(try printable(text)) }
        if let command = command(text) {
            guard !command.isEmpty else { throw Flaw("the command is empty") }
            return .command(try printable(command))
        }
        if let file = includedFile(text) {
            guard file.hasPrefix("/") else { throw Flaw("the list's path must begin with /", hint: "\":include:/etc/valija/list\"") }
            guard !file.hasSuffix("/") else { throw Flaw("\(quoted(file)) is a directory", hint: "name a file") }
            return .include(try printable(file))
        }
        return try mailTarget(text)
    }

    private static func mailTarget(_ text: String) throws(Flaw) -> MailSystem.Target {
        if text.contains("@") {
            guard let address = Address(text) else { throw Flaw("\(quoted(text)) is not an address", hint: listHint(text)) }
            return .address(address)
        }
        guard let bare = BareAddress(text), bare.localPart == text else {
            throw Flaw("\(quoted(text)) is neither a name nor an address", hint: listHint(text))
        }
        return .name(text)
    }

    /// `|command`, or with quotes around all of it as in an aliases(5) file; nil if it is none.
    private static func command(_ text: String) -> String? {
        if text.hasPrefix("|") { return String(text.dropFirst()) }
        return text.hasPrefix("\"|") && text.hasSuffix("\"") && text.count > 2 ? String(text.dropFirst(2).dropLast()) : nil
    }

    private static func includedFile(_ text: String) -> String? {
        lowercasedASCII(text).hasPrefix(":include:") ? String(text.dropFirst(9)) : nil
    }

    private static func printable(_ text: String) throws(Flaw) -> String {
        guard text.unicodeScalars.allSatisfy(isPrintable) else { throw Flaw("\(quoted(text)) contains a control character") }
        return text
    }

    /// aliases(5) separates by commas what is a list here.
    private static func listHint(_ text: String) -> String? {
        let parts = text.split { $0 == "," || $0 == " " }
        return parts.count > 1 ? "for several targets write a list: [\(parts.joined(separator: ", "))]" : nil
    }
}

extension Syntax where Value == Address {
    static var address: Syntax { .word(
        Word(name: "address", noun: "a mail address", forms: "a whole address: sales@example.org", json: [("type", .string("string")), ("format", .string("idn-email"))]),
        isText: true
    ) { text throws(Flaw) in
        guard let address = Address(text) else {
            throw Flaw("\(quoted(text)) is not a whole address", hint: text.contains("@") ? nil : "write it with its domain: \(text)@example.org")
        }
        return address
    } }
}
