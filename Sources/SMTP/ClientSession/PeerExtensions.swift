// What an SMTP server offers in its reply to EHLO (RFC 5321 §4.1.1.1).

package import MailSyntax

/// The extensions of the server that this client makes use of. After HELO there are none.
package struct PeerExtensions: Hashable, Sendable {
    /// RFC 2920.
    package var pipelining = false
    /// RFC 6152.
    package var eightBitMIME = false
    /// RFC 3030: BDAT.
    package var chunking = false
    /// RFC 3030: content that is neither lines nor 7-bit.
    package var binaryMIME = false
    /// RFC 6531.
    package var internationalized = false
    /// RFC 3461.
    package var deliveryStatus = false
    /// RFC 1870: SIZE was offered, so MAIL may carry it.
    package var size = false
    /// RFC 1870 §4: the largest message that the server takes. Nil when it named none or 0, which means no fixed limit.
    package var largestMessage: Int?

    /// RFC 3207.
    package var startTLS = false
    /// RFC 8689.
    package var requireTLS = false
    /// RFC 4954: as they are named there, in upper case.
    package var loginMechanisms: [String] = []

    package init() {}

    ///     ehlo-line    = ehlo-keyword *( SP ehlo-param )       ; on every line but the first, which names the server
    package init(_ reply: Reply) {
        for line in reply.lines.dropFirst() {
            let words = line.split(separator: " ")
            guard let keyword = words.first else { continue }
            switch keyword.uppercased() {
            case "PIPELINING": pipelining = true
            case "8BITMIME": eightBitMIME = true
            case "CHUNKING": chunking = true
            case "BINARYMIME": binaryMIME = true
            case "SMTPUTF8": internationalized = true
            case "DSN": deliveryStatus = true
            case "STARTTLS": startTLS = true
            case "REQUIRETLS": requireTLS = true
            case "AUTH": loginMechanisms = words.dropFirst().map { $0.uppercased() }
            case "SIZE":
                size = true
                // A number that cannot be read, or beyond Int, is no limit that any message here can meet.
                if words.count > 1, let limit = Int(words[1]), limit > 0 { largestMessage = limit }
            default: break
            }
        }
    }
}
