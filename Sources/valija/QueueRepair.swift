// `valija queue verify` and `valija queue repair`: a spool that no appliance has open.

import ArgumentParser
import Glibc
import MailQueue
import MailSyntax
import Manifest
import Telemetry

extension Queue {
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Looks whether a spool that is not in use is sound.",
            discussion: """
                Checks the structure of the database, and that every message has its content and its recipients. Stop the appliance first. Exit 0: \
                it is sound; 1: it is not, and each fault is told; 75: an appliance has it open.
                """)
        @OptionGroup var location: ManifestOption
        @Flag(help: "One JSON object.") var json = false

        func run() throws {
            try offline(location) { directory in
                let inspection = try SpoolInspection(directory: directory)
                write(1, json ? object(inspection) : text(inspection))
                return inspection.isSound ? .ok : .failure
            }
        }

        private func text(_ inspection: SpoolInspection) -> String {
            var text = ""
            for finding in inspection.findings { text += "\(finding.isNote ? "note: " : "")\(finding.id.map { "\($0): " } ?? "")\(finding.text)\n" }
            let more = inspection.faults - inspection.findings.count { !$0.isNote }
            if more > 0 { text += "and \(more) more\n" }
            let sum = "\(inspection.messages) message\(inspection.messages == 1 ? "" : "s")"
            return text + (inspection.isSound ? "sound: \(sum)\n" : "not sound: \(inspection.faults) faults, \(sum) readable; see valija queue repair\n")
        }

        private func object(_ inspection: SpoolInspection) -> String {
            var line = JSONLine()
            line.field("sound", inspection.isSound)
            line.field("messages", inspection.messages)
            line.field("faults", inspection.faults)
            line.beginArray("findings")
            for finding in inspection.findings {
                line.beginElement()
                line.field("queue_id", finding.id?.description)
                line.field("note", finding.isNote)
                line.field("text", finding.text)
                line.endObject()
            }
            line.endArray()
            line.finish()
            return String(decoding: line.bytes, as: UTF8.self)
        }
    }

    struct Repair: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a damaged spool one that can be served again.",
            discussion: """
                What can be read of the database goes into a fresh one. The damaged one, and content that belongs to no message any more, are kept in \
                lost+found in the spool's directory. Needs room for a second database. Stop the appliance first. Exit 0: done, or nothing to \
                do; 1: it could not be done, and the spool is as it was; 75: an appliance has it open.
                """)
        @OptionGroup var location: ManifestOption
        @Flag(help: "Even if nothing seems to be wrong.") var force = false
        @Flag(help: "One JSON object.") var json = false

        func run() throws {
            try offline(location) { directory in
                let inspection = try SpoolInspection(directory: directory)
                if inspection.isSound, !force {
                    write(1, json ? "{\"repaired\":false,\"messages\":\(inspection.messages)}\n" : "sound: nothing to repair\n")
                    return .ok
                }
                let repair = try SpoolRepair(directory: directory, now: .now())
                if json {
                    var line = JSONLine()
                    line.field("repaired", true)
                    line.field("messages", repair.messages)
                    line.field("kept_aside", repair.keptAside)
                    line.field("gaps", repair.gaps)
                    line.field("lost_and_found", repair.lostAndFound)
                    line.finish()
                    write(line.bytes, to: 1)
                } else {
                    write(
                        1, "repaired: \(repair.messages) messages are queued; \(repair.keptAside) more, and the damaged database, are in \(repair.lostAndFound)\n")
                }
                return .ok
            }
        }
    }
}

private func write(_ descriptor: CInt, _ text: String) { write(Array(text.utf8), to: descriptor) }

private func offline(_ location: ManifestOption, _ work: (String) throws -> ExitStatus) throws {
    let status: ExitStatus
    do {
        status = try work(try loadManifest(location.manifest).queue.directory.value)
    } catch let failure as SpoolFailure {
        complain("valija queue: \(failure.reason)\(failure.isInUse ? ": stop the appliance first" : "")")
        status = failure.isInUse ? .temporaryFailure : .failure
    } catch {
        status = report(error, as: "valija queue")
    }
    if status != .ok { throw ExitCode(status.rawValue) }
}
