// Accounts from files of other programs: a Dovecot passwd-file, and passwd(5) with shadow(5). Pure: text in, accounts out,
// and what was left out, with its line. Reading the files is the caller's.

internal import MailSyntax

package struct AccountFile: Sendable {
    package struct Omission: Hashable, Sendable {
        /// From 1.
        package let line: Int
        /// Never quotes a hash.
        package let reason: String
    }

    package let accounts: [Account]
    package let omissions: [Omission]

    /// doc.dovecot.org, "Passwd-file": `user:password:uid:gid:gecos:home:shell:extra`, all but the first two optional.
    package init(dovecot text: String) { self.init(text) { Array($0) } }

    /// shadow(5): `name:hash:…`. The hashes that passwd(5) keeps elsewhere, on systems that have one.
    package init(shadow text: String) { self.init(text) { Array($0) } }

    /// passwd(5) with the accounts of shadow(5): those of people, by their user id, in passwd's order.
    package init(passwd text: String, shadow: AccountFile, userIDs: ClosedRange<Int>) {
        let hashes = FixedDirectory(shadow.accounts)
        self.init(text) { fields in
            guard fields.count >= 4, let id = Int(fields[2]), userIDs.contains(id) else { return nil }
            return fields
        } password: { name, field throws(StoredPassword.Flaw) in
            // passwd(5): `x` says that the hash is in the other file.
            if field == "x" { return hashes.account(named: name)?.password }
            return try StoredPassword(field)
        }
    }

    private init(
        _ text: String, fields choose: ([Substring]) -> [Substring]?,
        password: (String, String) throws(StoredPassword.Flaw) -> StoredPassword? = { _, field throws(StoredPassword.Flaw) in try StoredPassword(field) }
    ) {
        var accounts: [Account] = []
        var omissions: [Omission] = []
        var names: Set<String> = []
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            let number = index + 1
            guard let first = line.first(where: { $0 != " " && $0 != "\t" }), first != "#" else { continue }
            let all = line.split(separator: ":", omittingEmptySubsequences: false)
            guard all.count >= 2, !all[0].isEmpty else {
                omissions.append(Omission(line: number, reason: "the line is not NAME:PASSWORD"))
                continue
            }
            guard let fields = choose(all) else { continue }
            let name = String(fields[0])
            guard names.insert(lowercasedASCII(name)).inserted else {
                omissions.append(Omission(line: number, reason: "\(name) stands twice"))
                continue
            }
            do throws(StoredPassword.Flaw) {
                accounts.append(Account(name: name, password: try password(name, String(fields[1]))))
            } catch {
                omissions.append(Omission(line: number, reason: "\(name) has no login: \(error)"))
                accounts.append(Account(name: name, password: nil))
            }
        }
        self.accounts = accounts
        self.omissions = omissions
    }
}
