// The paths of MAIL and RCPT (RFC 5321 §4.1.2). Decisions where clients and the grammar differ:
// - A blank after the colon is taken, as Postfix does: many clients send it, and it means nothing else.
// - The angle brackets are required: without them a parameter and a mailbox cannot be told apart.
// - Dots may stand anywhere in a local part: there are mailboxes such as `a..b` and `a.`, which have no other address. What
//   goes out is quoted, as the grammar wants it.
// - A source route is read over (RFC 5321 §3.6.1, appendix C: servers MUST accept and SHOULD ignore it).
// - A mailbox may lack its domain, as `postmaster` may (§4.1.1.3). The session completes it with its origin.

internal import MailSyntax

enum Path {
    ///     Reverse-path   = Path / "<>"
    ///     Forward-path   = Path
    ///     Path           = "<" [ A-d-l ":" ] Mailbox ">"
    /// Nil where the octets are none; `.some(nil)` is `<>`. Leaves the cursor after the `>`.
    static func parse(_ cursor: inout Cursor) -> BareAddress?? {
        guard cursor.take(UInt8(ascii: "<")) else { return nil }
        if cursor.take(UInt8(ascii: ">")) { return .some(nil) }
        if cursor.next == UInt8(ascii: "@"), !skipSourceRoute(&cursor) { return nil }
        guard let length = lengthOfMailbox(cursor.rest), let text = UnsafeRawBufferPointer(rebasing: cursor.rest.prefix(length)).utf8Text,
            let address = BareAddress(text, allowsAnyDots: true)
        else { return nil }
        cursor.advance(by: length + 1)
        return address
    }

    ///     A-d-l          = At-domain *( "," At-domain )
    ///     At-domain      = "@" Domain
    private static func skipSourceRoute(_ cursor: inout Cursor) -> Bool {
        repeat {
            guard cursor.take(UInt8(ascii: "@")) else { return false }
            let domain = cursor.take { isAtext($0) || $0 == UInt8(ascii: ".") }
            guard let text = domain.utf8Text, Domain(text) != nil else { return false }
        } while cursor.take(UInt8(ascii: ","))
        return cursor.take(UInt8(ascii: ":"))
    }

    /// The octets before the `>` that closes the path: one inside a Quoted-string does not.
    private static func lengthOfMailbox(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var isQuoted = false
        var isEscaped = false
        for (index, byte) in bytes.enumerated() {
            switch byte {
            case _ where isEscaped: isEscaped = false
            case UInt8(ascii: "\\") where isQuoted: isEscaped = true
            case UInt8(ascii: "\""): isQuoted.toggle()
            case UInt8(ascii: ">") where !isQuoted: return index
            default: break
            }
        }
        return nil
    }
}
