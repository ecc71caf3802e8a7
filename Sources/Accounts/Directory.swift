// Where accounts come from: the manifest, a Dovecot passwd-file, /etc/passwd with /etc/shadow; each yields the same value.
// A look-up may block (others will ask over a network), so it never runs on an event loop.

package import MailSyntax

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

    /// All of them, where they can be listed: whether SCRAM may be offered follows from them, and what a login of an unknown user
    /// costs. Nil: they cannot (a directory over a network), so only those logins are offered that every password allows.
    var accounts: [Account]? { get }

    /// Looks for changes, which `account` does by itself. True if anything has changed since this was asked last.
    func refresh() -> Bool
}

extension Directory {
    package var accounts: [Account]? { nil }
    package func refresh() -> Bool { false }
}

package struct DirectoryError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// Accounts that are known when it is made.
package struct FixedDirectory: Directory {
    private let byName: [String: Account]

    /// Of equal names, which compare without case, the first counts.
    package init(_ accounts: [Account]) {
        byName = Dictionary(accounts.map { (lowercasedASCII($0.name), $0) }, uniquingKeysWith: { first, _ in first })
    }

    package func account(named name: String) -> Account? { byName[lowercasedASCII(name)] }
    package var accounts: [Account]? { Array(byName.values) }
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

    package var accounts: [Account]? {
        var all: [Account] = []
        for directory in directories {
            guard let accounts = directory.accounts else { return nil }
            all += accounts
        }
        return all
    }

    package func refresh() -> Bool { directories.reduce(false) { $1.refresh() || $0 } }
}

/// Mail programs log in with the whole address unless told otherwise: who gives an address that no account is named by is the
/// user whom that address leads to.
package struct AddressedDirectory: Directory {
    private let base: any Directory
    private let owner: @Sendable (Address) -> String?

    package init(_ base: any Directory, owner: @escaping @Sendable (Address) -> String?) {
        self.base = base
        self.owner = owner
    }

    package func account(named name: String) throws(DirectoryError) -> Account? {
        if let account = try base.account(named: name) { return account }
        guard let address = Address(name), let user = owner(address) else { return nil }
        return try base.account(named: user)
    }

    package var accounts: [Account]? { base.accounts }
    package func refresh() -> Bool { base.refresh() }
}
