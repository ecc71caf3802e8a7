// The one binary: `valija SUBCOMMAND`, and the commands that administrators know when called by their own names.

import ArgumentParser
import Glibc

struct Valija: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "valija",
        abstract: "A mail server in one binary, configured by one file.",
        subcommands: [Check.self, Render.self, Serve.self, Health.self, Queue.self, Schema.self, Reference.self])
}

let name = CommandLine.arguments[0].split(separator: "/").last ?? "valija"
switch name {
case "sendmail": exit(Sendmail.run(Array(CommandLine.arguments.dropFirst())).rawValue)
case "mailq": exit(Sendmail.run(["-bp"]).rawValue)
default: await Valija.main()
}
