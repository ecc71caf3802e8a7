// The message that `mail` sends: fields from the command line, and a text. Pure; Date, From and Message-ID are `Submission`'s.

import MailSyntax

struct MailDraft {
    let options: MailOptions
    let text: [UInt8]

    /// Lines end with LF.
    var octets: [UInt8] {
        var header = ["To: \(options.recipients.joined(separator: ", "))"]
        if let subject = options.subject, !subject.isEmpty { header.append("Subject: \(EncodedWord.encode(oneLine(subject)))") }
        if !options.cc.isEmpty { header.append("Cc: \(options.cc.joined(separator: ", "))") }
        header += options.fields.map(oneLine)
        if !text.allSatisfy({ $0 < 0x80 }), !options.fields.contains(where: { $0.lowercased().hasPrefix("content-type:") }) {
            // RFC 2045 §6.2: what is not ASCII has to be declared, by its own character set where that can be told.
            let charset = String(validating: text, as: UTF8.self) != nil ? "UTF-8" : "unknown-8bit"
            header += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=\(charset)", "Content-Transfer-Encoding: 8bit"]
        }
        return Array(header.joined(separator: "\n").utf8) + Array("\n\n".utf8) + text
    }

    /// A line end in an option would begin another field.
    private func oneLine(_ text: String) -> String { String(text.map { $0.isNewline ? " " : $0 }) }
}
