// Where accounts come from: the manifest, a Dovecot passwd-file, /etc/passwd with /etc/shadow; each yields the same value.
// A look-up may block (others will ask over a network), so it never runs on an event loop.

internal import MailSyntax

package struct Account: Sendable {
    /// As the directory spells it; logs and sender rules use it.
    package let name: String
    /// Nil: this account has no login.
    package let password: StoredPassword?

    package init(name: String, password: StoredPassword?) {
        self.name = name
        self.password = password
    }
}

package protocol Directory: Sendable {
    /// The account of that name, nil if there is none. Throws where the directory cannot be asked: then nobody can say
    /// whether the login is right, and the client is to come back later.
    func account(named name: String) throws(DirectoryError) -> Account?
}

package struct DirectoryError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Accounts that are known when it is made.
package struct FixedDirectory: Directory {
    private let accounts: [String: Account]

    /// Of equal names, which compare without case, the first counts.
    package init(_ accounts: [Account]) {
        self.accounts = Dictionary(accounts.map { (lowercasedASCII($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    }

    package func account(named name: String) -> Account? { accounts[lowercasedASCII(name)] }
}

/// Several directories, asked in order: the first that knows the name answers.
package struct DirectoryChain: Directory {
    private let directories: [any Directory]

    package init(_ directories: [any Directory]) { self.directories = directories }

    package func account(named name: String) throws(DirectoryError) -> Account? {
        for directory in directories {
            if let account = try directory.account(named: name) { return account }
        }
        return nil
    }
}
