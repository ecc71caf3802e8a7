// `valija plan FILE`: what would change if FILE came into force.

import Appliance
import ArgumentParser
import Glibc
import Manifest

struct Plan: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Shows what would change if a manifest came into force.",
        discussion: """
            Compares it with what the running appliance has in force, its queue included, or with another file. Changes nothing.

            Exit 0: nothing would change; 2: something would; 1: the manifest is not valid; 64: the command line is wrong; 69: no \
            appliance runs; 77: this user may not ask it.
            """)
    @Argument(help: ArgumentHelp("The manifest to compare.", valueName: "file"))
    var file: String

    @Option(help: ArgumentHelp("Compare with this manifest, without a running appliance.", valueName: "file"))
    var against: String?

    @OptionGroup var location: ManifestOption

    @Flag(help: "The changes as a JSON object.") var json = false
    @Flag(help: "Every change, however many there are.") var all = false

    /// Changes of one kind that are shown.
    private static let most = 20

    func run() throws {
        let status: Int32
        do { status = try compare() } catch { status = failure(error).rawValue }
        if status != 0 { throw ExitCode(status) }
    }

    private func failure(_ error: any Error) -> ExitStatus {
        if let error = error as? LocalClientError, error.kind == .notRunning {
            complain("valija plan: \(error.description); --against compares with a file")
            return .unavailable
        }
        let status = report(error, as: "valija plan")
        return status == .configuration ? .failure : status
    }

    private func compare() throws -> Int32 {
        let new = try manifest(file)
        let most = all ? Int.max : Plan.most
        let (comparison, base): (ManifestComparison, String)
        if let against {
            comparison = ManifestComparison(from: try manifest(against), to: new, most: most)
            base = against
        } else {
            let running = try RunningManifest(try directory(new))
            comparison = ManifestComparison(from: running.system, to: new, queue: running.queue, most: most)
            base = "\(running.system.file), in force since \(running.since)"
        }
        write(Array((json ? comparison.json(base) : PlanText(comparison, base, file, colours: wantsColours(STDOUT_FILENO)).text).utf8), to: STDOUT_FILENO)
        return comparison.isEmpty ? 0 : 2
    }

    /// Warnings are for `check`; errors are shown.
    private func manifest(_ path: String) throws -> MailSystem {
        let (source, result) = readManifest(path, as: path)
        if let system = result.system { return system }
        return try valid(result, source, path)
    }

    /// The appliance that `--manifest` names, or its default; else the one whose spool the new manifest names too.
    private func directory(_ new: MailSystem) throws -> String {
        do {
            return try applianceDirectory(location.manifest)
        } catch let error as LocalClientError where error.kind == .notRunning && location.manifest == nil {
            if try hasAppliance(new.queue.directory.value) { return new.queue.directory.value }
            throw error
        }
    }
}

/// What the control socket tells.
private struct RunningManifest {
    let system: MailSystem
    let since: String
    let queue: [ManifestComparison.Queued]

    init(_ directory: String) throws {
        let answer = try RunningManifest.ask(directory, "/manifest")
        let head = answer.split(separator: UInt8(ascii: "\n"), maxSplits: 3, omittingEmptySubsequences: false)
        guard head.count == 4, let system = checkManifest(text: Array(head[3]), file: String(decoding: head[0], as: UTF8.self)).system else {
            throw CommandError(status: .failure, text: "the appliance does not tell its manifest; is it of another version?")
        }
        self.system = system
        since = String(decoding: head[1], as: UTF8.self)
        queue = try RunningManifest.ask(directory, "/queue?format=recipients").split(separator: UInt8(ascii: "\n")).compactMap {
            ManifestComparison.Queued(line: Substring(decoding: $0, as: UTF8.self))
        }
    }

    private static func ask(_ directory: String, _ target: String) throws -> [UInt8] {
        let connection = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
        var answer: [UInt8] = []
        guard try connection.request("GET", target, body: { answer += $1 }) == 200 else {
            throw CommandError(status: .failure, text: "the appliance says: \(String(decoding: answer.prefix { $0 != 0x0A }, as: UTF8.self))")
        }
        return answer
    }
}

// MARK: As text

private struct PlanText {
    private(set) var text = ""
    private let colours: Bool

    init(_ plan: ManifestComparison, _ base: String, _ file: String, colours: Bool) {
        self.colours = colours
        guard !plan.isEmpty else {
            text = "No changes: \(file) says the same as \(base).\n"
            return
        }
        text = "\(file), compared with \(base):\n"
        section("Addresses that begin to be accepted", plan.begins)
        section("Addresses that cease to be accepted", plan.ceases)
        section("Addresses that lead elsewhere", plan.leadsElsewhere)
        section("Relaying", plan.relaying)
        section("Listeners", plan.listeners)
        section("Values", plan.values)
        if !plan.queue.isEmpty {
            text += "\nQueued mail\n"
            for reroute in plan.queue {
                let rest = reroute.messages > reroute.ids.count ? ", …" : ""
                text += line("~", "\(reroute.from) → \(reroute.to): \(messages(reroute.messages)) (\(reroute.ids.joined(separator: ", "))\(rest))")
            }
        }
        if !plan.needsRestart.isEmpty {
            text += "\nA reload refuses this; it needs a restart\n"
            for change in plan.needsRestart { text += line("!", change.name) }
        }
        text += "\nPlan: \(plan.begins.count) to be accepted, \(plan.ceases.count) to cease, \(plan.leadsElsewhere.count) to lead elsewhere; "
        let others = plan.values.count + plan.relaying.count + plan.listeners.count
        text += "\(others) other change\(others == 1 ? "" : "s"); \(messages(plan.queue.reduce(0) { $0 + $1.messages })) queued.\n"
    }

    private mutating func section(_ title: String, _ listing: ManifestComparison.Listing) {
        guard listing.count > 0 else { return }
        text += "\n\(title) (\(listing.count))\n"
        for change in listing.shown { text += line(change) }
        if listing.count > listing.shown.count { text += "    … and \(listing.count - listing.shown.count) more (--all shows them)\n" }
    }

    private mutating func section(_ title: String, _ changes: [ManifestComparison.Change]) {
        guard !changes.isEmpty else { return }
        text += "\n\(title)\n"
        for change in changes { text += line(change) }
    }

    private func line(_ change: ManifestComparison.Change) -> String {
        switch (change.from, change.to) {
        case (nil, let to?): line("+", "\(change.name): \(to)")
        case (let from?, nil): line("-", "\(change.name): \(from)")
        case (let from, let to): line("~", "\(change.name): \(from ?? "none") → \(to ?? "none")")
        }
    }

    private func line(_ mark: String, _ words: String) -> String {
        guard colours else { return "  \(mark) \(words)\n" }
        let colour = ["+": "32", "-": "31", "~": "33"][mark] ?? "1;31"
        return "  \u{1B}[\(colour)m\(mark)\u{1B}[0m \(words)\n"
    }

    private func messages(_ count: Int) -> String { "\(count) message\(count == 1 ? "" : "s")" }
}

// MARK: As JSON

extension ManifestComparison {
    /// Names are those of the text, in the words of the log's fields.
    fileprivate func json(_ base: String) -> String {
        JSON.object([
            ("against", .string(base)), ("changed", .bool(!isEmpty)),
            (
                "addresses",
                .object([("begin", object(begins)), ("cease", object(ceases)), ("lead_elsewhere", object(leadsElsewhere))])
            ),
            ("relaying", array(relaying)), ("listeners", array(listeners)), ("values", object(values)), ("needs_restart", array(needsRestart)),
            (
                "queue",
                .array(
                    queue.map {
                        .object([
                            ("from", .string($0.from)), ("to", .string($0.to)), ("messages", .int($0.messages)), ("queue_ids", .array($0.ids.map(JSON.string))),
                        ])
                    })
            ),
        ]).text
    }

    private func object(_ listing: Listing) -> JSON { .object([("count", .int(listing.count)), ("changes", array(listing.shown))]) }

    private func array(_ changes: [Change]) -> JSON {
        .array(
            changes.map {
                .object([("name", .string($0.name)), ("from", $0.from.map(JSON.string) ?? .null), ("to", $0.to.map(JSON.string) ?? .null)])
            })
    }
}
