// The one binary: `valija SUBCOMMAND`, and the commands that administrators know when called by their own names.

import ArgumentParser

struct Valija: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "valija",
        abstract: "A mail server in one binary, configured by one file.",
        subcommands: [Check.self, Schema.self, Reference.self])
}

Valija.main()
