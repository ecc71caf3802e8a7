// How long a client waits for what (RFC 5321 §4.5.3.2). The session only says in which phase it is; whoever has the
// clock keeps the time.

/// What a client session is waiting for.
package enum ClientPhase: Hashable, Sendable {
    case greeting, hello, startTLS, handshake, login, idle, reset, mail, recipient, data, content, endOfData, quit, closed

    /// As the end of `lost connection with … while`, in Postfix's words, which administrators and their scripts know.
    package var activity: String {
        switch self {
        case .greeting: "receiving the initial server greeting"
        case .hello: "performing the EHLO handshake"
        case .startTLS: "receiving the STARTTLS response"
        case .handshake: "performing the TLS handshake"
        case .login: "performing the AUTH exchange"
        case .idle, .closed: "waiting for the next message"
        case .reset: "sending RSET"
        case .mail: "sending MAIL FROM"
        case .recipient: "sending RCPT TO"
        case .data: "sending DATA command"
        case .content: "sending message body"
        // The server may have taken the message on and only its answer been lost.
        case .endOfData: "sending end of data -- message may be sent more than once"
        case .quit: "sending QUIT"
        }
    }
}

package struct ClientTimeouts: Hashable, Sendable {
    /// §4.5.3.2.1: a server may accept the connection long before its load lets it greet.
    package var greeting: Duration = .seconds(5 * 60)
    /// EHLO, HELO, STARTTLS, AUTH and RSET; the RFC names none, so that of MAIL.
    package var hello: Duration = .seconds(5 * 60)
    /// §4.5.3.2.2.
    package var mail: Duration = .seconds(5 * 60)
    /// §4.5.3.2.3: longer than one would think, for lists are expanded and addresses verified here.
    package var recipient: Duration = .seconds(5 * 60)
    /// §4.5.3.2.4.
    package var data: Duration = .seconds(2 * 60)
    /// §4.5.3.2.5: for each block, until the transport has taken it.
    package var block: Duration = .seconds(3 * 60)
    /// §4.5.3.2.6: the server delivers now, and a client that leaves too early makes it deliver twice.
    package var endOfData: Duration = .seconds(10 * 60)
    /// Nothing depends on the answer to QUIT.
    package var quit: Duration = .seconds(10)

    package init() {}

    /// Nil while the session waits for us and not for the server.
    package subscript(phase: ClientPhase) -> Duration? {
        switch phase {
        case .greeting: greeting
        case .hello, .startTLS, .login, .reset: hello
        case .mail: mail
        case .recipient: recipient
        case .data: data
        case .content: block
        case .endOfData: endOfData
        case .quit: quit
        // Whoever shakes hands keeps the time for it.
        case .idle, .handshake, .closed: nil
        }
    }
}
