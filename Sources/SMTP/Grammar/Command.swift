// Commands of an SMTP client (RFC 5321 §4.1.1, RFC 3030 §2), from the octets of one line without its CRLF. Says what a
// line means, not whether it may come now: that is `ServerSession`'s. A line is whole when it gets here, so of the three
// outcomes of parsing "need more" is `LineScanner`'s; here it is a value or a `SyntaxFlaw`.

package import MailSyntax

enum Verb: Hashable, Sendable {
    case helo, ehlo, lhlo, mail, rcpt, data, bdat, rset, noop, vrfy, expn, etrn, help, quit, starttls, auth, xclient, xforward
    /// Known, and not offered.
    case turn
    case foreign, unknown
}

enum Command: Hashable, Sendable {
    /// By HELO, EHLO or LHLO.
    case hello(String, by: Verb)
    case mail(MailCommand)
    case recipient(RecipientCommand)
    case data
    case chunk(size: Int, isLast: Bool)
    case startTLS
    case reset
    case noop
    case verify(String)
    case expand(String)
    case runQueue(QueueNode)
    case override(ClientClaims)
    case forward(ClientClaims)
    /// The mechanism in upper case, and the response as it stands there.
    case login(mechanism: String, initial: [UInt8]?)
    case help
    case quit
}

/// What ETRN names (RFC 1985 §5.2).
package struct QueueNode: Hashable, Sendable {
    package var domain: Domain
    /// `@domain`: the domains below it as well.
    package var includesSubdomains: Bool

    package init(_ domain: Domain, includesSubdomains: Bool = false) {
        self.domain = domain
        self.includesSubdomains = includesSubdomains
    }
}

/// A line as far as it was understood: the verb even where the rest is wrong, for whether it may come now is told first.
struct CommandLine: Sendable {
    let verb: Verb
    let command: Result<Command, SyntaxFlaw>

    init(_ line: UnsafeRawBufferPointer) {
        var end = line.count
        // RFC 5321 §4.1.1: servers SHOULD tolerate trailing white space before CRLF.
        while end > 0, isBlank(line[end - 1]) { end -= 1 }
        var cursor = Cursor(UnsafeRawBufferPointer(rebasing: line[..<end]))
        verb = Verb(cursor.take { !isBlank($0) })
        cursor.skipBlanks()
        do throws(SyntaxFlaw) {
            command = .success(try CommandLine.parse(verb, &cursor))
        } catch {
            command = .failure(error)
        }
    }

    private static func parse(_ verb: Verb, _ cursor: inout Cursor) throws(SyntaxFlaw) -> Command {
        switch verb {
        case .helo: return .hello(try hello(&cursor, usage: "HELO hostname"), by: .helo)
        case .ehlo: return .hello(try hello(&cursor, usage: "EHLO hostname"), by: .ehlo)
        case .lhlo: return .hello(try hello(&cursor, usage: "LHLO hostname"), by: .lhlo)
        case .mail: return .mail(try MailCommand(&cursor))
        case .rcpt: return .recipient(try RecipientCommand(&cursor))
        case .bdat: return try chunk(&cursor)
        case .data: return try alone(.data, cursor, usage: "DATA")
        case .rset: return try alone(.reset, cursor, usage: "RSET")
        // RFC 5321 §4.1.1.9: NOOP may carry a text without effect. What follows QUIT and HELP changes nothing either.
        case .noop: return .noop
        case .help: return .help
        case .quit: return .quit
        case .vrfy: return .verify(try verify(cursor, usage: "VRFY address"))
        case .expn: return .expand(try verify(cursor, usage: "EXPN address"))
        case .etrn: return .runQueue(try queueNode(&cursor))
        case .xclient: return .override(try ClientClaims(&cursor, .override))
        case .xforward: return .forward(try ClientClaims(&cursor, .forward))
        case .auth: return try login(&cursor)
        // RFC 3207 §4: no parameters.
        case .starttls: return try alone(.startTLS, cursor, usage: "STARTTLS")
        case .turn: throw .notOffered
        case .foreign: throw .foreignProtocol
        case .unknown: throw .unknownCommand
        }
    }

    private static func alone(_ command: Command, _ cursor: Cursor, usage: String) throws(SyntaxFlaw) -> Command {
        guard cursor.isAtEnd else { throw .usage(usage) }
        return command
    }

    ///     ehlo = "EHLO" SP ( Domain / address-literal ) CRLF
    ///     helo = "HELO" SP Domain CRLF
    /// Clients send host names with underscores, bare addresses and worse, and RFC 5321 §4.1.4 forbids to refuse mail for a
    /// name that does not verify: any printable ASCII without blanks is taken (an IDN comes as A-labels, RFC 6531 §3.7.1).
    private static func hello(_ cursor: inout Cursor, usage: String) throws(SyntaxFlaw) -> String {
        let name = cursor.take { (0x21...0x7E).contains($0) }
        guard cursor.isAtEnd, (1...GrammarLimits.hello).contains(name.count) else { throw .helloUsage(usage) }
        return String(decoding: name, as: UTF8.self)
    }

    ///     bdat-cmd   = "BDAT" SP chunk-size [ SP end-marker ] CR LF
    ///     chunk-size = 1*DIGIT
    ///     end-marker = "LAST"
    private static func chunk(_ cursor: inout Cursor) throws(SyntaxFlaw) -> Command {
        guard let size = cursor.takeNumber(), size < Int.max else { throw .badChunk }
        if cursor.isAtEnd { return .chunk(size: size, isLast: false) }
        let blanks = cursor.take(while: isBlank)
        guard !blanks.isEmpty, cursor.take(word: "LAST"), cursor.isAtEnd else { throw .badChunk }
        return .chunk(size: size, isLast: true)
    }

    ///     etrn = "ETRN" SP [ "@" / "#" ] node CRLF                ; RFC 1985 §5.2
    /// `#` is for queues with names of their own, of which there is none here.
    private static func queueNode(_ cursor: inout Cursor) throws(SyntaxFlaw) -> QueueNode {
        let includesSubdomains = cursor.take(UInt8(ascii: "@"))
        guard let text = cursor.rest.utf8Text, let domain = Domain(text), domain.literal == nil else { throw .usage("ETRN domain") }
        return QueueNode(domain, includesSubdomains: includesSubdomains)
    }

    ///     auth-command     = "AUTH" SP sasl-mech [SP initial-response] *(CRLF [base64]) [CRLF cancel-response] CRLF      ; RFC 4954 §8
    ///     sasl-mech        = 1*20mech-char             mech-char = UPPER-ALPHA / DIGIT / HYPHEN / UNDERSCORE       ; RFC 4422 §3.1
    ///     initial-response = base64 / "="
    /// RFC 4954 §4: names of mechanisms compare without case.
    private static func login(_ cursor: inout Cursor) throws(SyntaxFlaw) -> Command {
        let usage = SyntaxFlaw.usage("AUTH mechanism [initial-response]")
        let name = cursor.take { isLetter($0) || isDigit($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
        guard (1...20).contains(name.count), cursor.isAtEnd || isBlank(cursor.next!) else { throw usage }
        cursor.skipBlanks()
        let response = cursor.take { !isBlank($0) }
        guard cursor.isAtEnd else { throw usage }
        return .login(mechanism: String(decoding: name.map(uppercased), as: UTF8.self), initial: response.isEmpty ? nil : Array(response))
    }

    ///     vrfy = "VRFY" SP String CRLF               ; RFC 6531 §3.7.4.2: / "VRFY" SP uLocal-part SP "SMTPUTF8" CRLF
    ///     expn = "EXPN" SP String CRLF
    private static func verify(_ cursor: Cursor, usage: String) throws(SyntaxFlaw) -> String {
        guard !cursor.isAtEnd else { throw .usage(usage) }
        var argument = cursor.rest
        var takesUTF8 = false
        if argument.count > 9, UnsafeRawBufferPointer(rebasing: argument.suffix(8)).equals(word: "SMTPUTF8"), isBlank(argument[argument.count - 9]) {
            argument = UnsafeRawBufferPointer(rebasing: argument.dropLast(9))
            takesUTF8 = true
        }
        guard let text = argument.utf8Text, !text.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) else {
            throw .badRecipient
        }
        guard takesUTF8 || argument.isASCII else { throw .needsSMTPUTF8 }
        // The grammar wants the address alone; clients write it as a path too, and Postfix reads both.
        return text.hasPrefix("<") && text.hasSuffix(">") ? String(text.dropFirst().dropLast()) : text
    }
}

extension Verb {
    /// In the order in which a session asks for them most.
    init(_ word: UnsafeRawBufferPointer) {
        self =
            if word.equals(word: "RCPT") { .rcpt }
            else if word.equals(word: "MAIL") { .mail }
            else if word.equals(word: "DATA") { .data }
            else if word.equals(word: "EHLO") { .ehlo }
            else if word.equals(word: "QUIT") { .quit }
            else if word.equals(word: "BDAT") { .bdat }
            else if word.equals(word: "RSET") { .rset }
            else if word.equals(word: "NOOP") { .noop }
            else if word.equals(word: "HELO") { .helo }
            else if word.equals(word: "VRFY") { .vrfy }
            else if word.equals(word: "HELP") { .help }
            else if word.equals(word: "AUTH") { .auth }
            else if word.equals(word: "STARTTLS") { .starttls }
            else if word.equals(word: "EXPN") { .expn }
            else if word.equals(word: "ETRN") { .etrn }
            else if word.equals(word: "TURN") { .turn }
            else if word.equals(word: "XFORWARD") { .xforward }
            else if word.equals(word: "XCLIENT") { .xclient }
            else if word.equals(word: "LHLO") { .lhlo }
            else if ["GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT"].contains(where: { word.equals(word: $0) }) { .foreign }
            else { .unknown }
    }
}
