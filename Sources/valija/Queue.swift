// `valija queue`: the spool of the running appliance.

import ArgumentParser
import Manifest

struct Queue: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists and changes the queue of the running appliance.",
        discussion: """
            Exit 0: done; 1: there is no such message, or the appliance could not do it; 64: the command line is wrong; 75: no \
            appliance answers; 77: this user may not ask it; 78: the manifest is not valid.
            """,
        subcommands: [List.self, Show.self, Flush.self, Delete.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Lists the queued messages, oldest first.")
        @OptionGroup var location: ManifestOption
        @Flag(help: "One JSON object a message.") var json = false

        func run() throws {
            try inQueue(location) { try printQueue($0, format: json ? .json : .mailq) }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a queued message: its entry, then its content.")
        @OptionGroup var location: ManifestOption
        @Argument(help: "Queue id.") var id: String
        @Flag(help: "The entry alone, as a JSON object.") var json = false

        func run() throws {
            try inQueue(location) { try printQueue($0, id: queueID(id), format: json ? .json : .mailq) }
        }
    }

    struct Flush: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Tries deferred mail now: one message, or all. Prints how many.")
        @OptionGroup var location: ManifestOption
        @Argument(help: "Queue id; without it all messages.") var id: String?
        @Flag(help: "The number in a JSON object.") var json = false

        func run() throws {
            try inQueue(location) { directory in
                try change(directory, "POST", "/queue\(try id.map { "/\(try queueID($0))" } ?? "")/flush", named: "flushed", json: json)
            }
        }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes a message without a report to its sender, or ALL messages.")
        @OptionGroup var location: ManifestOption
        @Argument(help: "Queue id, or ALL.") var id: String
        @Flag(help: "The number in a JSON object.") var json = false

        func run() throws {
            try inQueue(location) { directory in
                try change(directory, "DELETE", id == "ALL" ? "/queue" : "/queue/\(try queueID(id))", named: "deleted", json: json)
            }
        }
    }
}

private func inQueue(_ location: ManifestOption, _ work: (String) throws -> ExitStatus) throws {
    let status: ExitStatus
    do { status = try work(try loadManifest(location.manifest).queue.directory.value) } catch { status = report(error, as: "valija queue") }
    if status != .ok { throw ExitCode(status.rawValue) }
}

private func change(_ directory: String, _ method: String, _ target: String, named name: String, json: Bool) throws -> ExitStatus {
    let (status, text) = try answer(directory, method, target)
    guard status == 200 else {
        complain("valija queue: \(text)")
        return .failure
    }
    write(Array((json ? "{\"\(name)\":\(text)}\n" : "\(text) message\(text == "1" ? "" : "s") \(name)\n").utf8), to: 1)
    return .ok
}
