// A message on its way into mailboxes, in the form that they keep: lines end with LF.

package import MailSyntax

package struct MailboxMessage: Sendable {
    /// Nil: the null reverse-path.
    package let sender: Address?
    /// When the message arrived here.
    package let received: Timestamp
    package let content: Content

    package enum Content: Sendable {
        /// Lines end with LF (`LineEnds`), unless it is binary.
        case text([UInt8])
        /// A file with CRLF line ends, to be read as a stream.
        case file(path: String)
        /// A file of binary content, which has no lines, to be kept octet by octet (RFC 3030 §3).
        case binaryFile(path: String)
    }

    package init(sender: Address?, received: Timestamp, content: Content) {
        self.sender = sender
        self.received = received
        self.content = content
    }
}

/// One copy of a message for one mailbox.
package struct MailboxCopy: Sendable {
    package let location: MailboxLocation
    package let message: MailboxMessage
    /// Names the copy among all that ever arrive; a repeated delivery has the same.
    package let name: MailName
    /// What this copy has above the message's own header.
    let trace: [UInt8]

    /// - Parameter original: the address that the client gave.
    /// - Parameter delivered: the address that routing made of it.
    package init(location: MailboxLocation, message: MailboxMessage, name: MailName, original: Address, delivered: Address) {
        self.location = location
        self.message = message
        self.name = name
        // RFC 5321 §4.4: final delivery puts the reverse-path into Return-Path, at the top. The others, and the order,
        // are Postfix's (local(8), virtual(8)).
        let sender = message.sender?.description ?? ""
        trace = Array("Return-Path: <\(sender)>\nX-Original-To: \(original)\nDelivered-To: \(delivered)\n".utf8)
    }
}

/// What the name of a Maildir file is made of: time of arrival, queue id and recipient's number, all of which are the
/// same when a delivery is repeated, so that a repeat after a crash overwrites itself.
package struct MailName: Hashable, Sendable {
    package let arrival: Timestamp
    package let queueID: String
    package let recipient: Int

    package init(arrival: Timestamp, queueID: String, recipient: Int) {
        self.arrival = arrival
        self.queueID = queueID
        self.recipient = recipient
    }

    /// `1764000000.M123456QABCR0.mx.example.org`: seconds, what is unique in them, host (the Maildir specification).
    func fileName(host: String) -> String {
        let fraction = String(1_000_000 + arrival.microseconds - arrival.seconds * 1_000_000).dropFirst()
        return "\(arrival.seconds).M\(fraction)Q\(queueID)R\(recipient).\(host)"
    }

    /// A host name as the Maildir specification wants it in file names: `/` as `\057`, `:` as `\072`.
    static func escapedHost(_ host: String) -> String {
        guard host.utf8.contains(where: { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: ":") }) else { return host }
        return host.reduce(into: "") { $0 += $1 == "/" ? "\\057" : $1 == ":" ? "\\072" : String($1) }
    }
}
