// `mail`, `mailx`: sends what comes on standard input, or reads a mailbox by commands (mail(1)).
//
// Sending goes the way of `sendmail`. Reading needs no running appliance: the mailbox is changed under the locks of delivery.

import Glibc
import MailSyntax
import Mailboxes
import Manifest

enum Mail {
    static func run(_ arguments: [String]) -> ExitStatus {
        if arguments == ["--help"] {
            print("\(MailOptions.usage)\n\nSends standard input to the addresses; without addresses, reads mail. Its commands:\n\n\(MailSession.help)")
            return .ok
        }
        do {
            let options = try MailOptions(arguments)
            switch options.work {
            case .send: return try send(options)
            case .read(let file): return try read(file, options)
            }
        } catch let error as MailOptions.UsageError {
            complain("mail: \(error.text)\n\(MailOptions.usage)")
        } catch let error as FolderError {
            complain("mail: \(describe(error, "mailbox"))")
        } catch {
            return report(error, as: "mail")
        }
        return .failure
    }

    // MARK: Sending

    private static func send(_ options: MailOptions) throws -> ExitStatus {
        var options = options
        let text: [UInt8]
        if isatty(0) == 1 {
            if options.subject == nil {
                write(Array("Subject: ".utf8), to: 1)
                options.subject = readLine()
            }
            var lines = ""
            while let line = readLine(), line != "." { lines += line + "\n" }
            write(Array("EOT\n".utf8), to: 1)
            text = Array(lines.utf8)
        } else {
            text = try readAll(0)
        }
        if text.isEmpty {
            if options.dropsEmpty { return .ok }
            complain("Null message body; hope that's ok")
        }
        var sending = SendmailOptions()
        sending.ignoresDots = true
        sending.sender = options.sender
        sending.recipients = options.recipients + options.cc + options.bcc
        return Sendmail.run(sending, text: MailDraft(options: options, text: text).octets)
    }

    // MARK: Reading

    private static func read(_ file: String?, _ options: MailOptions) throws -> ExitStatus {
        let user = options.user ?? getenv("USER").map { String(cString: $0) } ?? localUser().name
        let (directory, name) = try file.map(place) ?? (loadManifest(nil).mailboxes.directory.value, user)
        let folder: any MailFolder
        do throws(FolderError) {
            folder = try openFolder(directory, name)
        } catch .missing where file == nil {
            if !options.asksOnly { complain("No mail for \(user)") }
            return .failure
        } catch {
            complain("mail: \(describe(error, file ?? "\(directory)/\(name)"))")
            return .failure
        }
        if options.asksOnly { return folder.messages.isEmpty ? .failure : .ok }
        if folder.messages.isEmpty, file == nil, !options.listsOnly {
            complain("No mail for \(user)")
            return .failure
        }
        let surroundings = MailSession.Surroundings(
            print: { write(Array($0.utf8), to: 1) }, printBytes: { write(isatty(1) == 1 ? printable($0) : $0, to: 1) }, append: append)
        var session = MailSession(folder, name: file ?? "\(directory)/\(name)", isMailbox: file == nil, surroundings)
        if options.listsOnly {
            session.listAll()
            return folder.messages.isEmpty ? .failure : .ok
        }
        session.greet(hidingList: options.hidesList)
        while true {
            if isatty(0) == 1 { write(Array("& ".utf8), to: 1) }
            // The end of the input is `quit`, as in mail(1).
            let end = readLine().map { session.perform($0) } ?? .quit
            if end == .exit { return .ok }
            if end == .quit { break }
        }
        do throws(FolderError) {
            try session.quit()
        } catch {
            complain("mail: \(describe(error, file ?? "\(directory)/\(name)"))")
            return .failure
        }
        return .ok
    }

    /// A file's directory and name, past symbolic links.
    private static func place(_ path: String) -> (String, String) {
        let home = getenv("HOME").map { String(cString: $0) } ?? "/"
        var path = path == "~" || path.hasPrefix("~/") ? home + path.dropFirst() : path
        if let real = realpath(path, nil) {
            path = String(cString: real)
            free(real)
        }
        guard let slash = path.lastIndex(of: "/") else { return (".", path) }
        return (slash == path.startIndex ? "/" : String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    private static func append(_ path: String, _ text: [UInt8]) throws -> Bool {
        let isNew = access(path, F_OK) != 0
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw SaveError(description: String(cString: strerror(errno))) }
        defer { close(descriptor) }
        // A message is only marked as saved once it is.
        let start = lseek(descriptor, 0, SEEK_END)
        write(text, to: descriptor)
        guard lseek(descriptor, 0, SEEK_END) >= start + off_t(text.count), fsync(descriptor) == 0 || errno == EINVAL else {
            throw SaveError(description: "cannot be written")
        }
        return isNew
    }

    private struct SaveError: Error, CustomStringConvertible { let description: String }

    /// On a terminal, control characters of a message are not for the terminal to obey.
    private static func printable(_ text: [UInt8]) -> [UInt8] {
        text.map { $0 >= 0x20 && $0 != 0x7F || $0 == 0x0A || $0 == 0x09 ? $0 : UInt8(ascii: "?") }
    }
}
