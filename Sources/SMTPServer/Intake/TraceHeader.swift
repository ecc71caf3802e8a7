// The Received field that this hop adds (RFC 5321 §4.4), and what the intake wants to know of a header that is there.

package import MailSyntax
internal import MailQueue
internal import NIOCore
package import Policy

/// How a message came to us.
package struct Origin: Sendable {
    /// Nil: a process of this host, over the appliance's own socket.
    package var client: IPAddress?
    package var name: ReverseName
    package var helo: String?
    /// `SMTP`, `ESMTP`, `UTF8SMTP`, `LMTP`: the WITH of the field (RFC 3848, RFC 6531 §4.3).
    package var protocolName: String
    /// `using TLSv1.3 with cipher …`; nil: in clear.
    package var tls: String?

    package init(client: IPAddress?, name: ReverseName = .unknown(hasReverse: false), helo: String?, protocolName: String, tls: String? = nil) {
        self.client = client
        self.name = name
        self.helo = helo
        self.protocolName = protocolName
        self.tls = tls
    }
}

///     Time-stamp-line = "Received:" FWS Stamp CRLF
///     Stamp           = From-domain By-domain Opt-info [CFWS] ";" FWS date-time
///
/// FOR is given for a single recipient only, so that no recipient learns of another (RFC 5321 §7.6).
func receivedField(_ origin: Origin, by hostname: Domain, id: QueueID, recipients: [EnvelopeRecipient], at time: Timestamp) -> String {
    var field = "Received: "
    field.reserveCapacity(400)
    if let client = origin.client {
        // From-domain = "FROM" FWS Extended-Domain: what the client called itself, then what the DNS calls it and its address as we see
        // it. `unknown` is Postfix's word where no name leads back to the address.
        let helo = origin.helo.flatMap { Domain($0) }?.text ?? client.literal
        field += "from \(helo) (\(origin.name.text) \(client.literal))\r\n\t"
    }
    if let tls = origin.tls { field += "(\(tls))\r\n\t" }
    field += "by \(hostname.text) (Valija) with \(origin.protocolName) id \(id)"
    if recipients.count == 1 { field += "\r\n\tfor <\(recipients[0].address)>" }
    return field + "; \(time.rfc5322)\r\n"
}

/// What the beginning of a message says.
struct HeaderSummary {
    /// Received fields: the hops behind the message.
    private(set) var hops = 0
    private(set) var messageID: String?
    /// `TLS-Required: No`. RFC 8689 §3: there is one at most, so two say nothing.
    var waivesTLS: Bool { waivers == 1 }
    private var waivers = 0

    /// RFC 5321 §6.3: with more hops than this a message runs in a circle; the threshold is to be 100 at least. With this
    /// hop's own field.
    static let mostHops = 100

    /// Reads the header of `content`; what follows the first empty line is not looked at.
    init(_ content: ByteBuffer) { content.withUnsafeReadableBytes { read($0) } }

    private mutating func read(_ content: UnsafeRawBufferPointer) {
        var rest = content[...]
        // The last line was a field whose value stands on the next.
        var folded: Field?
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<end]
            guard let first = line.first, first != UInt8(ascii: "\r") else { return }
            rest = rest[(end + 1)...]
            if let field = folded {
                folded = nil
                if first == UInt8(ascii: " ") || first == UInt8(ascii: "\t") {
                    take(field, line)
                    continue
                }
            }
            switch first | 0x20 {
            case UInt8(ascii: "r"): if HeaderSummary.value(of: line, named: "received") != nil { hops += 1 }
            case UInt8(ascii: "m"):
                if messageID == nil, let value = HeaderSummary.value(of: line, named: "message-id"), !take(.messageID, value) { folded = .messageID }
            case UInt8(ascii: "t"):
                if let value = HeaderSummary.value(of: line, named: "tls-required"), !take(.tlsRequired, value) { folded = .tlsRequired }
            default: break
            }
        }
    }

    private typealias Octets = Slice<UnsafeRawBufferPointer>
    private enum Field { case messageID, tlsRequired }

    /// False: there is nothing but white space.
    @discardableResult
    private mutating func take(_ field: Field, _ value: Octets) -> Bool {
        guard let word = HeaderSummary.identifier(value) else { return false }
        switch field {
        case .messageID: messageID = word
        // RFC 8689 §3: "No" is the only value; a field with another counts all the same.
        case .tlsRequired: waivers += lowercasedASCII(word) == "no" ? 1 : 2
        }
        return true
    }

    /// Nil where there is nothing but white space.
    private static func identifier(_ value: Octets) -> String? {
        var octets: [UInt8] = []
        for octet in value where octet != UInt8(ascii: " ") && octet != UInt8(ascii: "\r") && octet != UInt8(ascii: "\t") {
            octets.append(octet)
            if octets.count == longestIdentifier { break }
        }
        return octets.isEmpty ? nil : String(decoding: octets, as: UTF8.self)
    }

    /// What a log line shows of a Message-ID: real ones are shorter.
    private static let longestIdentifier = 250

    private static func value(of line: Octets, named name: StaticString) -> Octets? {
        let length = name.utf8CodeUnitCount
        guard line.count > length else { return nil }
        for offset in 0..<length where line[line.startIndex + offset] | 0x20 != name.utf8Start[offset] | 0x20 { return nil }
        let colon = line.startIndex + length
        return line[colon] == UInt8(ascii: ":") ? line[(colon + 1)...] : nil
    }
}
