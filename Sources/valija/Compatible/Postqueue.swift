// postqueue(1): lists the queue and asks for attempts, with the words and exit codes of Postfix's.

import MailQueue
import MailSyntax

enum Postqueue {
    private static let usage = "postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

    static func run(_ arguments: [String]) -> ExitStatus {
        runCompatible("postqueue", arguments, letters: "c:fi:jps:v", usage: usage, usageStatus: .unavailable) { options in
            let deeds = options.options.filter { !["c", "v"].contains($0.letter) }
            guard deeds.count == 1, options.operands.isEmpty else { throw CommandError(status: .unavailable, text: "usage: \(usage)") }
            let (letter, value) = deeds[0]
            let directory = try options.queueDirectory()
            switch letter {
            case "p": return try printQueue(directory, format: .mailq)
            case "j": return try printQueue(directory, format: .postqueue)
            case "i":
                guard isPostfixQueueID(value) else {
                    throw CommandError(status: .unavailable, text: "Cannot flush queue ID - invalid name: \"\(value)\"")
                }
                if isQueueID(value) { _ = try changeQueue(directory, .flush, ids: [value]) }
            case "s":
                guard let site = Domain(value), site.isASCII else {
                    throw CommandError(status: .unavailable, text: "Cannot flush mail queue - invalid destination: \"\(value)\"")
                }
                _ = try changeQueue(directory, .flush, "site=\(site.key)")
            default: _ = try changeQueue(directory, .flush, "")
            }
            return .ok
        }
    }
}
