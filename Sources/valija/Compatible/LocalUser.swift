// Who runs the command, from /etc/passwd: getpwuid(3) does not work in a static binary, and an image from scratch has no such
// file, so a missing entry is an ordinary case.

import Glibc
import MailSyntax

struct LocalUser {
    let name: String
    let fullName: String?
}

///     name:password:UID:GID:GECOS:directory:shell        ; passwd(5)
func localUser() -> LocalUser {
    let uid = getuid()
    if let text = try? readFile("/etc/passwd") {
        for line in String(decoding: text, as: UTF8.self).split(separator: "\n") {
            let fields = line.split(separator: ":", omittingEmptySubsequences: false)
            guard fields.count >= 5, UInt32(fields[2]) == uid else { continue }
            let fullName = String(fields[4].prefix { $0 != "," })
            return LocalUser(name: String(fields[0]), fullName: fullName.isEmpty ? nil : fullName)
        }
    }
    return LocalUser(name: uid == 0 ? "root" : "uid\(uid)", fullName: nil)
}
