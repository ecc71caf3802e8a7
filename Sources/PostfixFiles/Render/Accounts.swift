// The accounts that local(8) delivers to: sysusers.d(5) makes them, tmpfiles.d(5) the directories of their Maildirs.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    /// Accounts that exist are left as they are by systemd-sysusers(8).
    func sysusers() -> RenderedFile? {
        var text = header + "# systemd-sysusers sysusers.conf makes the accounts that do not exist yet.\n\n"
        let users = accountUsers
        for user in users {
            let name = user.fullName.map { "\"\(quoted($0))\"" } ?? "-"
            text += "u \(lowercasedASCII(user.name.value)) - \(name) - -\n"
        }
        return users.isEmpty ? nil : RenderedFile(name: "sysusers.conf", content: text)
    }

    /// local(8) writes as the user, who may not make a directory among those of the others.
    func tmpfiles() -> RenderedFile? {
        let users = accountUsers.filter { format(of: $0) == .maildir }
        guard !users.isEmpty, mailboxDirectory.hasPrefix("/") else { return nil }
        var text = header + "# systemd-tmpfiles --create tmpfiles.conf makes each Maildir user's directory.\n\n"
        for user in users {
            let name = lowercasedASCII(user.name.value)
            text += "d \"\(quoted("\(mailboxDirectory)/\(name)"))\" 0700 \(name) \(name)\n"
        }
        return RenderedFile(name: "tmpfiles.conf", content: text)
    }

    /// Whose name systemd takes for an account's, and local(8) for no user with an extension.
    private var accountUsers: [MailSystem.User] { system.users.filter { isAccountName($0.name.value) } }

    /// systemd.exec(5), "strict" user names: a letter or `_`, then letters, digits, `-` and `_`, 31 at most.
    func isAccountName(_ name: String) -> Bool {
        guard let first = name.utf8.first, name.utf8.count <= 31 else { return false }
        func isLetter(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "_") || (byte < 0x80 && Character(Unicode.Scalar(byte)).isLetter) }
        return isLetter(first) && name.utf8.allSatisfy { isLetter($0) || $0 == UInt8(ascii: "-") || ($0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9")) }
    }

    /// Inside double quotes; `%` begins a specifier. A colon would end the field of passwd(5).
    private func quoted(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"", "\\": result += "\\\(scalar)"
            case "%": result += "%%"
            case ":", "\n", "\r": result += " "
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
