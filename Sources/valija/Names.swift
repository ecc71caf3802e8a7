// `valija dns`: the records that the DNS should hold for the manifest's domains; with --check, whether it does. Exit 0: shown, or all are
// there; 1: one is missing or another; 64: the command line is wrong; 75: one could not be looked up; 78: the manifest is not valid.

import Appliance
import ArgumentParser
import MailSyntax
import Manifest

struct Names: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dns",
        abstract: "Show the DNS records that the domains need, and whether they are there.",
        discussion: """
            Prints lines for zone files: where mail goes (MX), who sends (SPF), the server's name (A, AAAA, PTR), its certificate (TLSA, \
            for DANE), and where users hand mail in (SRV). Nothing is asked, and nothing is changed.

            With --check each record is looked up by the resolvers of the manifest. Other records beside these do not matter.

            Exit 0: shown, or all records are there; 1: one is missing or another; 64: the command line is wrong; 75: one could not be \
            looked up; 78: the manifest is not valid.
            """)

    @Argument(help: ArgumentHelp("The manifest. Default: $VALIJA_MANIFEST, else /etc/valija/mail.yaml.", valueName: "file"))
    var manifest: String?

    @Option(help: ArgumentHelp("An address that others reach the server at; may be given several times. Default: those of listen.smtp.", valueName: "address"))
    var address: [String] = []

    @Flag(help: "Look the records up.")
    var check = false

    @Flag(help: "One JSON object.")
    var json = false

    func run() async throws {
        do {
            let system = try validManifest(manifestPath(manifest))
            let wanted = DomainRecords(system, addresses: try addresses())
            guard check else {
                write(Array((json ? wanted.json : wanted.text).utf8), to: 1)
                return
            }
            let published: PublishedRecords
            do {
                published = try await PublishedRecords(of: wanted, system)
            } catch {
                throw CommandError(status: .unavailable, text: "dns: \(error)")
            }
            write(Array((json ? published.json(wanted.notes) : published.text(wanted.notes)).utf8), to: 1)
            if published.records.contains(where: { $0.state == .missing || $0.state == .differs }) { throw ExitCode(ExitStatus.failure.rawValue) }
            if published.records.contains(where: { $0.state == .unknown }) { throw ExitCode(ExitStatus.temporaryFailure.rawValue) }
        } catch let error as CommandError {
            throw ExitCode(report(error, as: "valija dns").rawValue)
        }
    }

    private func addresses() throws -> [IPAddress] {
        try address.map { text in
            guard let address = IPAddress(text) else { throw CommandError(status: .usage, text: "--address \(text): not an IP address") }
            return address
        }
    }
}

// MARK: As text

extension DomainRecords {
    /// A part of a zone file. A comment stands over what has the same reason.
    fileprivate var text: String {
        var (text, last) = ("", "")
        for record in records {
            let comment = "; \(record.rule): \(record.purpose)"
            if comment != last { text += comment + "\n" }
            last = comment
            text += record.line + "\n"
        }
        return text + comments(notes)
    }

    fileprivate var json: String {
        JSON.object([("records", .array(records.map { .object($0.members) })), ("notes", .array(notes.map(JSON.string)))]).text
    }
}

extension PublishedRecords {
    fileprivate func text(_ notes: [String]) -> String {
        var text = ""
        for entry in records {
            let word = entry.state.rawValue
            text += word + String(repeating: " ", count: 8 - word.utf8.count) + entry.record.line + "\n"
            if entry.state == .differs { text += "        published: \(entry.published.joined(separator: ", "))\n" }
            if let reason = entry.reason { text += "        \(reason)\n" }
        }
        return text + comments(notes)
    }

    fileprivate func json(_ notes: [String]) -> String {
        let entries = records.map { entry in
            JSON.object(
                entry.record.members + [
                    ("state", .string(entry.state.rawValue)), ("published", .array(entry.published.map(JSON.string))),
                    ("reason", entry.reason.map(JSON.string) ?? .null),
                ])
        }
        return JSON.object([("records", .array(entries)), ("notes", .array(notes.map(JSON.string)))]).text
    }
}

extension DomainRecord {
    fileprivate var members: [(String, JSON)] {
        [
            ("name", .string(name)), ("type", .string(kind.rawValue)), ("data", .string(data)), ("purpose", .string(purpose)), ("rule", .string(rule)),
        ]
    }
}

private func comments(_ notes: [String]) -> String { notes.map { "; \($0)\n" }.joined() }
