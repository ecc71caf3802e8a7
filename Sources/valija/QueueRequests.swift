// What the queue's commands ask of the running appliance, by its control socket.

import Appliance
import Glibc
import MailQueue

enum QueueFormat: String { case mailq, json, postqueue, envelope }

/// Prints the queue, or one message, piece by piece: a listing may be of any length.
func printQueue(_ directory: String, id: String? = nil, format: QueueFormat) throws -> ExitStatus {
    let connection = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
    let target = "/queue\(id.map { "/\($0)" } ?? "")?format=\(format.rawValue)"
    let status = try connection.request("GET", target) { status, bytes in write(bytes, to: status == 200 ? 1 : 2) }
    return status == 200 ? .ok : .failure
}

/// Queue ids as the appliance writes them; other text would be another request.
func isQueueID(_ text: some StringProtocol) -> Bool {
    !text.isEmpty && text.utf8.count <= 16 && text.utf8.allSatisfy { Character(Unicode.Scalar($0)).isHexDigit }
}

/// As any Postfix may write them: a script's word for a message that is not here.
func isPostfixQueueID(_ text: some StringProtocol) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { byte in byte < 0x80 && (Character(Unicode.Scalar(byte)).isLetter || (0x30...0x39).contains(byte)) }
}

func queueID(_ text: String) throws -> String {
    guard isQueueID(text) else { throw CommandError(status: .usage, text: "\(text) is not a queue id") }
    return text.uppercased()
}

/// What became of the messages that were to be changed.
struct QueueAnswer {
    var changed: [String] = []
    var missing: [String] = []
    /// All that were changed, named or not.
    var count = 0
}

/// Messages for one request: the appliance changes them in one transaction.
private let idsPerRequest = 500

/// Changes the messages named, as many as there are.
func changeQueue(_ directory: String, _ verb: QueueVerb, ids: [String]) throws -> QueueAnswer {
    var answer = QueueAnswer()
    var rest = ids[...]
    while !rest.isEmpty {
        let part = try changeQueue(directory, verb, "id=\(rest.prefix(idsPerRequest).joined(separator: ","))")
        rest = rest.dropFirst(idsPerRequest)
        answer.changed += part.changed
        answer.missing += part.missing
        answer.count += part.count
    }
    return answer
}

/// Changes what `query` selects: `id=…`, `queue=…`, `site=…`, or all.
func changeQueue(_ directory: String, _ verb: QueueVerb, _ query: String) throws -> QueueAnswer {
    let connection = try LocalConnection(unixSocket: ApplianceSockets.control(directory))
    var bytes: [UInt8] = []
    let status = try connection.request("POST", "/queue/\(verb.rawValue)?\(query)") { bytes += $1 }
    let text = String(decoding: bytes, as: UTF8.self)
    guard status == 200 else { throw CommandError(status: .failure, text: String(text.prefix { !$0.isNewline })) }
    var answer = QueueAnswer()
    for line in text.split(separator: "\n") {
        let words = line.split(separator: " ").map(String.init)
        switch words.first {
        case "changed": answer.changed.append(words[1])
        case "missing": answer.missing.append(words[1])
        case "done":
            answer.count = Int(words[1]) ?? 0
            return answer
        default: break
        }
    }
    throw CommandError(status: .failure, text: "the appliance ended before it was done")
}
