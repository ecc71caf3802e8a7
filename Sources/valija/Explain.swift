// `valija explain`: why mail goes where it goes, or what it is refused for. Exit 0: accepted. 1: refused. 64: the command line is
// wrong. 78: the manifest is not valid. A manifest whose `tests` fail is explained all the same: that is when it is needed.

import Appliance
import ArgumentParser
import MailSyntax
import Manifest

struct Explain: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Say why mail goes where it goes, or why it is refused.",
        discussion: """
            Puts one message to the code that decides in the server, and shows each step, with the line of the manifest that says so: \
            the client, the login, the sender, the look-ups, aliases and forwards, and where each copy ends. Nothing is sent, and no \
            server needs to run.

            Without --client and --login the message comes from a stranger, who is in none of the networks.

            Exit 0: the server would accept it; 1: it would refuse it; 64: the command line is wrong; 78: the manifest is not valid.
            """)

    @Argument(help: ArgumentHelp("The manifest. Default: $VALIJA_MANIFEST, else /etc/valija/mail.yaml.", valueName: "file"))
    var manifest: String?

    @Option(help: ArgumentHelp("The recipient, as in RCPT TO; a bare name gets the origin.", valueName: "address"))
    var rcpt: String?

    @Option(help: ArgumentHelp("The sender, as in MAIL FROM; <> is the null sender.", valueName: "address"))
    var from: String?

    @Option(help: ArgumentHelp("The client's IP address.", valueName: "address"))
    var client: String?

    @Option(help: ArgumentHelp("The user whom the client is logged in as.", valueName: "user"))
    var login: String?

    @Flag(help: "One JSON object.")
    var json = false

    func validate() throws {
        guard rcpt != nil || login != nil && from != nil else {
            throw ValidationError("--rcpt is missing. Without it only whether a user may use a sender address can be asked: --login with --from.")
        }
    }

    func run() throws {
        do {
            let system = try loadManifest(manifest)
            let explanation = Explanation(system, try question(system))
            write(json ? explanation.json : Array(explanation.text.utf8), to: 1)
            if !explanation.isAccepted { throw ExitCode(ExitStatus.failure.rawValue) }
        } catch let error as CommandError {
            throw ExitCode(report(error, as: "valija explain").rawValue)
        }
    }

    private func question(_ system: MailSystem) throws -> Question {
        let origin = system.origin.value
        var question = Question()
        question.recipient = try rcpt.map { try address($0, as: "--rcpt").qualified(with: origin) }
        question.sender = try from.map { $0 == "<>" || $0.isEmpty ? nil : try address($0, as: "--from").qualified(with: origin) }
        question.client = try client.map { text in
            guard let address = IPAddress(text) else { throw CommandError(status: .usage, text: "--client \(text): not an IP address") }
            return address
        }
        question.login = try login.map { name in
            guard let user = system.users.first(where: { lowercasedASCII($0.name.value) == lowercasedASCII(name) }) else {
                throw CommandError(status: .usage, text: "--login \(name): no user of \(system.file)")
            }
            return user.name.value
        }
        return question
    }

    /// With or without the angle brackets of SMTP.
    private func address(_ text: String, as option: String) throws -> BareAddress {
        let isBracketed = text.hasPrefix("<") && text.hasSuffix(">") && text.utf8.count > 2
        guard let address = BareAddress(isBracketed ? String(text.dropFirst().dropLast()) : text) else {
            throw CommandError(status: .usage, text: "\(option) \(text): not an address")
        }
        return address
    }
}
