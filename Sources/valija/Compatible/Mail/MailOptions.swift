// The options of mail(1) as Debian's bsd-mailx has them, and -H and -e of POSIX's mailx. Options may stand behind addresses, as
// scripts write them (`mail bob -s hello`). Pure.

struct MailOptions: Equatable {
    enum Work: Equatable {
        case send
        /// A file, or nil: the mailbox of the user.
        case read(file: String?)
    }

    var work = Work.send
    var subject: String?
    var cc: [String] = []
    var bcc: [String] = []
    /// -a: whole header fields.
    var fields: [String] = []
    /// -r
    var sender: String?
    /// -E: a message without text is not sent.
    var dropsEmpty = false
    /// -u
    var user: String?
    /// -H: the list of messages, and no more.
    var listsOnly = false
    /// -e: the exit code says whether there is mail.
    var asksOnly = false
    /// -N: no list at the beginning.
    var hidesList = false
    var recipients: [String] = []

    struct UsageError: Error, Equatable { let text: String }

    static let usage = """
        usage: mail [-E] [-a header] [-b bcc-addr] [-c cc-addr] [-r from-addr] [-s subject] [--] to-addr ...
               mail [-eHN] -f [name]
               mail [-eHN] [-u user]
        """

    init(_ arguments: [String]) throws(UsageError) {
        var isFile = false
        var operands: [String] = []
        let end = arguments.firstIndex(of: "--") ?? arguments.endIndex
        var rest = Array(arguments[..<end])
        while !rest.isEmpty {
            let read: CommandOptions
            do throws(CommandOptions.UsageError) {
                read = try CommandOptions(rest, "a:b:c:dEefHIiNnr:s:u:v")
            } catch {
                throw UsageError(text: error.text)
            }
            for (letter, value) in read.options { if letter == "f" { isFile = true } else { take(letter, value) } }
            operands += read.operands.prefix(1)
            rest = Array(read.operands.dropFirst())
        }
        operands += arguments[end...].dropFirst()
        if isFile || user != nil || listsOnly || asksOnly {
            guard operands.count <= (isFile ? 1 : 0) else { throw UsageError(text: "to read mail, give no addresses") }
            let home = isFile ? operands.first ?? "~/mbox" : nil
            work = .read(file: home)
        } else if operands.isEmpty {
            guard subject == nil, cc.isEmpty, bcc.isEmpty, fields.isEmpty, sender == nil else { throw UsageError(text: "send options without primary recipient specified") }
            work = .read(file: nil)
        }
        recipients = work == .send ? operands : []
    }

    private mutating func take(_ letter: Character, _ value: String) {
        switch letter {
        case "s": subject = value
        case "c": cc.append(value)
        case "b": bcc.append(value)
        case "a": fields.append(value)
        case "r": sender = value
        case "E": dropsEmpty = true
        case "u": user = value
        case "H": listsOnly = true
        case "e": asksOnly = true
        case "N": hidesList = true
        default: break  // -d -I -i -n -v: no meaning here
        }
    }
}
