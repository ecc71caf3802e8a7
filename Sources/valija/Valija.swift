// The one binary: `valija SUBCOMMAND`, and the commands that administrators know when called by their own names.

import ArgumentParser
import Glibc

@main
enum Program {
    static func main() async {
        let arguments = CommandLine.arguments
        switch arguments.first?.split(separator: "/").last ?? "valija" {
        case "sendmail": exit(Sendmail.run(Array(arguments.dropFirst())).rawValue)
        case "mailq": exit(Sendmail.run(["-bp"] + arguments.dropFirst()).rawValue)
        case "postqueue": exit(Postqueue.run(Array(arguments.dropFirst())).rawValue)
        case "postsuper": exit(Postsuper.run(Array(arguments.dropFirst())).rawValue)
        case "postcat": exit(Postcat.run(Array(arguments.dropFirst())).rawValue)
        case "newaliases": exit(Sendmail.run(["-bi"]).rawValue)
        case "mail", "mailx": exit(Mail.run(Array(arguments.dropFirst())).rawValue)
        case "postconf": exit(Postconf.run(Array(arguments.dropFirst())).rawValue)
        case "postfix": exit(PostfixControl.run(Array(arguments.dropFirst())).rawValue)
        case "postmap": exit(Postmap.run(Array(arguments.dropFirst()), as: .postmap).rawValue)
        case "postalias": exit(Postmap.run(Array(arguments.dropFirst()), as: .postalias).rawValue)
        default: await Valija.main()
        }
    }
}

struct Valija: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "valija",
        abstract: "A mail server in one binary, configured by one file.",
        subcommands: [
            Init.self, Check.self, Render.self, Import.self, Serve.self, Explain.self, Names.self, Health.self, Reload.self, Plan.self, Queue.self, Password.self,
            Schema.self, Reference.self,
        ])
}
