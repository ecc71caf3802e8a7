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
        guard let bare = BareAddress(text), bare.domain == nil, bare.localPart == text else { throw Flaw("\(quoted(text)) is not a name for an address") }
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
    static var target: Syntax {
        let word = Word(
            name: "target", noun: "a target", forms: "a target is a user, an alias or a whole address",
            json: [("type", .array([.string("string"), .string("number")])), ("pattern", .string("^[^/|:]"))])
        return .word(word, isText: true) { text throws(Flaw) in
            try refusePlanned(text)
            if text.contains("@") {
                guard let address = Address(text) else { throw Flaw("\(quoted(text)) is not an address", hint: listHint(text)) }
                return .address(address)
            }
            guard let bare = BareAddress(text), bare.localPart == text else {
                throw Flaw("\(quoted(text)) is neither a name nor an address", hint: listHint(text))
            }
            return .name(text)
        }
    }

    private static func refusePlanned(_ text: String) throws(Flaw) {
        let advice = "for now a target is a user, an alias or an address; take it out"
        if text.hasPrefix("/") { throw Flaw("delivery to a file is not supported yet", code: .notSupportedYet, hint: advice) }
        if text.hasPrefix("|") || text.hasPrefix("\"|") {
            throw Flaw("delivery to a command is not supported yet", code: .notSupportedYet, hint: advice)
        }
        if lowercasedASCII(text).hasPrefix(":include:") {
            throw Flaw("targets from a file (:include:) are not supported yet", code: .notSupportedYet, hint: "for now write the targets out as a list")
        }
    }

    /// aliases(5) separates by commas what is a list here.
    private static func listHint(_ text: String) -> String? {
        let parts = text.split { $0 == "," || $0 == " " }
        return parts.count > 1 ? "for several targets write a list: [\(parts.joined(separator: ", "))]" : nil
    }
}
