// postsuper(1): deletes, holds, releases, requeues and expires queued mail, with the words and exit codes of Postfix's.
//
// `-s`, `-S` and `-p` put Postfix's directories in order and remove files that crashes left; the spool is a database whose
// transactions are whole, and is cleaned up at each start: there is nothing to do.

import MailQueue

enum Postsuper {
    private static let usage = """
        postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] \
        [-r queue_id (requeue)] [-s (structure fix)] [-S (redundant structure fix)][-v (verbose)] [queue...]
        """

    private struct Deed {
        let letter: Character
        let verb: QueueVerb
        /// What a message is said to be, and the head of the sum.
        let done: String
        let sum: String
        /// Where ALL looks if no queue is named.
        let queues: [QueueName]
    }

    /// In the order of the sums.
    private static let deeds = [
        Deed(letter: "r", verb: .requeue, done: "requeued", sum: "Requeued", queues: [.hold, .incoming, .active, .deferred]),
        Deed(letter: "d", verb: .delete, done: "removed", sum: "Deleted", queues: [.hold, .incoming, .active, .deferred]),
        Deed(letter: "e", verb: .expireUnlessHeld, done: "expired", sum: "Force-expired", queues: [.hold, .incoming, .active, .deferred]),
        Deed(letter: "f", verb: .expire, done: "expired", sum: "Force-expired", queues: [.hold, .incoming, .active, .deferred]),
        Deed(letter: "h", verb: .hold, done: "placed on hold", sum: "Placed on hold", queues: [.incoming, .active, .deferred]),
        Deed(letter: "H", verb: .release, done: "released from hold", sum: "Released from hold", queues: [.hold]),
    ]

    /// Queues of Postfix's that have no equivalent: always empty.
    private static let emptyQueues = ["maildrop", "defer", "bounce", "flush", "trace"]

    static func run(_ arguments: [String]) -> ExitStatus {
        runCompatible("postsuper", arguments, letters: "c:d:e:f:h:H:pr:sSv", usage: usage, usageStatus: .failure) { options in
            for name in options.operands where QueueName(rawValue: name) == nil && !emptyQueues.contains(name) {
                throw CommandError(status: .failure, text: "invalid directory name: \(name)")
            }
            return try change(options)
        }
    }

    private static func change(_ options: CommandOptions) throws -> ExitStatus {
        var sums: [String: Int] = [:]
        let wanted = options.options.compactMap { option in deeds.first { $0.letter == option.letter }.map { (deed: $0, value: option.value) } }
        guard !wanted.isEmpty else { return .ok }
        let directory = try options.queueDirectory()
        let named = options.operands.isEmpty ? nil : options.operands.compactMap { QueueName(rawValue: $0) }
        for (deed, value) in wanted {
            let count: Int
            switch value {
            case "ALL": count = try changeAll(directory, deed, in: named)
            case "-":
                let lines = String(decoding: try readAll(0), as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
                // What follows the last line end is none.
                count = try change(directory, deed, lines.last?.isEmpty == true ? lines.dropLast() : lines)
            default: count = try change(directory, deed, [value[...]])
            }
            sums[deed.sum, default: 0] += count
        }
        for deed in deeds {
            if let sum = sums.removeValue(forKey: deed.sum) { complain("postsuper: \(deed.sum): \(sum) message\(sum == 1 ? "" : "s")") }
        }
        return .ok
    }

    private static func changeAll(_ directory: String, _ deed: Deed, in named: [QueueName]?) throws -> Int {
        let queues = named?.filter { deed.queues.contains($0) } ?? deed.queues
        guard !queues.isEmpty else { return 0 }
        return try changeQueue(directory, deed.verb, "queue=\(queues.map(\.rawValue).joined(separator: ","))").count
    }

    /// Queue ids, one a line.
    private static func change(_ directory: String, _ deed: Deed, _ lines: [Substring]) throws -> Int {
        var ids: [String] = []
        var count = 0
        func changeGathered() throws {
            let answer = try changeQueue(directory, deed.verb, ids: ids)
            for id in answer.changed { complain("postsuper: \(id): \(deed.done)") }
            count += answer.count
            ids = []
        }
        for line in lines {
            let id = line.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
            // Those that no message of ours can have: as good as gone, where Postfix's characters are in them.
            if isQueueID(id) {
                ids.append(id)
            } else if !isPostfixQueueID(id) {
                try changeGathered()  // so that what is said comes in the order of the lines
                complain("postsuper: warning: invalid mail queue id: \(id)")
            }
        }
        try changeGathered()
        return count
    }
}
