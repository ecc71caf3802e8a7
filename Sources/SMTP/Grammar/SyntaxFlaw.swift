// What can be wrong with a command line, apart from the wording of the reply (see `ServerReplies.swift`).

enum SyntaxFlaw: Error, Hashable, Sendable {
    case lineTooLong(limit: Int)
    case bareLineFeed
    case bareCarriageReturn
    case nulOctet
    case unknownCommand
    /// A command of SMTP that this server does not offer.
    case notOffered
    /// HTTP or another protocol: somebody makes a browser speak to port 25.
    case foreignProtocol
    /// The argument has not the form that the command wants; the text is that form.
    case usage(String)
    /// The same of HELO and EHLO, to which no enhanced code is given.
    case helloUsage(String)
    /// A BDAT that does not say how many octets follow: whatever comes next would be taken for commands.
    case badChunk
    case badSender
    case badRecipient
    /// An address or argument beyond ASCII without SMTPUTF8 (RFC 6531 §3.5).
    case needsSMTPUTF8
    case unknownParameter(String)
    case badParameter(String)
    case duplicateParameter(String)
}
