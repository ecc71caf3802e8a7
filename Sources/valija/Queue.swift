// `valija queue`: the spool of the running appliance.

import ArgumentParser
import MailQueue
import MailSyntax
import Manifest

struct Queue: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Lists and changes the queue of the running appliance.",
        discussion: """
            Exit 0: done; 1: there is no such message, or the appliance could not do it; 64: the command line is wrong; 75: no \
            appliance answers; 77: this user may not ask it; 78: the manifest is not valid.
            """,
        subcommands: [List.self, Show.self, Flush.self, Hold.self, Release.self, Requeue.self, Expire.self, Delete.self, Verify.self, Repair.self])

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
        static let configuration = CommandConfiguration(
            abstract: "Tries deferred mail now: some messages, those for one domain, or all.", discussion: "Prints how many. Mail on hold stays there.")
        @OptionGroup var location: ManifestOption
        @Argument(help: "Queue ids; without one all messages.") var ids: [String] = []
        @Option(name: .customLong("to"), help: ArgumentHelp("Those with a recipient in this domain.", valueName: "domain")) var domain: String?
        @Flag(help: "The number in a JSON object.") var json = false

        func validate() throws {
            guard domain == nil || ids.isEmpty else { throw ValidationError("name messages, or a domain with --to, not both") }
            guard domain.map({ Domain($0)?.isASCII == true }) ?? true else { throw ValidationError("\(domain!) is not a domain") }
        }

        func run() throws {
            try change(location, .flush, ids.isEmpty ? ["ALL"] : ids, named: "flushed", json, site: domain.flatMap { Domain($0) })
        }
    }

    struct Hold: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Puts messages on hold: they are not tried, and not given up either, until they are released.")
        @OptionGroup var location: ManifestOption
        @OptionGroup var messages: Messages

        func run() throws { try change(location, .hold, messages.ids, named: "held", messages.json) }
    }

    struct Release: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Takes messages off hold, and tries them.")
        @OptionGroup var location: ManifestOption
        @OptionGroup var messages: Messages

        func run() throws { try change(location, .release, messages.ids, named: "released", messages.json) }
    }

    struct Requeue: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Routes messages anew by the manifest in force, and tries them.",
            discussion: """
                After a change of aliases, domains or the relayhost: an address of which nothing was delivered yet goes where it leads \
                now; of one that was delivered in part the rest is sent on. A message keeps its id and its age.
                """)
        @OptionGroup var location: ManifestOption
        @OptionGroup var messages: Messages

        func run() throws { try change(location, .requeue, messages.ids, named: "requeued", messages.json) }
    }

    struct Expire: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Gives messages up now: their senders get the report that would come at the end of queue.lifetime.",
            discussion: "Mail on hold too. What an attempt that is under way delivers is delivered; the rest is given up when it is over.")
        @OptionGroup var location: ManifestOption
        @OptionGroup var messages: Messages

        func run() throws { try change(location, .expire, messages.ids, named: "expired", messages.json) }
    }

    struct Delete: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Deletes messages without a report to their senders.")
        @OptionGroup var location: ManifestOption
        @OptionGroup var messages: Messages

        func run() throws { try change(location, .delete, messages.ids, named: "deleted", messages.json) }
    }

    struct Messages: ParsableArguments {
        @Argument(help: "Queue ids, or ALL.") var ids: [String]
        @Flag(help: "The number in a JSON object.") var json = false
    }
}

private func inQueue(_ location: ManifestOption, _ work: (String) throws -> ExitStatus) throws {
    let status: ExitStatus
    do { status = try work(try loadManifest(location.manifest).queue.directory.value) } catch { status = report(error, as: "valija queue") }
    if status != .ok { throw ExitCode(status.rawValue) }
}

/// Tells of messages that are not there, and how many were changed.
private func change(
    _ location: ManifestOption, _ verb: QueueVerb, _ ids: [String], named name: String, _ json: Bool, site: Domain? = nil
) throws {
    try inQueue(location) { directory in
        let answer = try ids == ["ALL"] ? changeQueue(directory, verb, site.map { "site=\($0.key)" } ?? "") : changeQueue(directory, verb, ids: ids.map(queueID))
        for id in answer.missing { complain("valija queue: no message \(id) in the queue") }
        if answer.missing.isEmpty || answer.count > 0 {
            let count = answer.count
            write(Array((json ? "{\"\(name)\":\(count)}\n" : "\(count) message\(count == 1 ? "" : "s") \(name)\n").utf8), to: 1)
        }
        return answer.missing.isEmpty ? .ok : .failure
    }
}
