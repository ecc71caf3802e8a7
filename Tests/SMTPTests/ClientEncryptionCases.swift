import MailSyntax

@testable import SMTP

/// Dialogues with STARTTLS (RFC 3207).
extension ClientSessionTests {
    private static let start = """
        S 220 mx
        C EHLO me.example
        S 250-mx
        S 250-PIPELINING
        S 250 STARTTLS
        C STARTTLS
        """

    static let encryption: [Case] = [
        Case("what was offered before TLS is forgotten, and what is offered in it counts", """
            ! TLS offered
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250-SIZE 1
            S 250 STARTTLS
            C STARTTLS
            S 220 go ahead
            = handshake
            ! encrypted
            C EHLO me.example
            S 250-mx
            S 250 8BITMIME
            = ready
            C MAIL FROM:<a@me.example>
            S 250 ok
            C RCPT TO:<b@you.example>
            S 250 ok
            C DATA
            S 354 go
            = content
            S 250 2.0.0 taken
            = 0 accepted 250 2.0.0 taken
            = ready
            """),
        Case("what comes with the reply to STARTTLS is nobody's", [], """
            ! TLS offered
            \(start)
            S 220 go ahead
            S 250-mx
            S 250 SIZE 1
            S 250 injected
            = handshake
            ! encrypted
            C EHLO me.example
            S 250 mx
            = ready
            """),
        Case("a server that offers STARTTLS again in TLS is not asked again", [], """
            ! TLS required
            \(start)
            S 220 go ahead
            = handshake
            ! encrypted
            C EHLO me.example
            S 250-mx
            S 250 STARTTLS
            = ready
            """),
        Case("the login is made in TLS, with what is offered there", [], """
            ! TLS required
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250-AUTH LOGIN
            S 250 STARTTLS
            C STARTTLS
            S 220 go ahead
            = handshake
            ! encrypted
            C EHLO me.example
            S 250-mx
            S 250 AUTH PLAIN
            = offered PLAIN
            C AUTH PLAIN AEEAQg==
            S 235 2.7.0 welcome
            = logged in
            = ready
            """),
        Case("where it need not be, a refusal of STARTTLS changes nothing", [], """
            ! TLS offered
            \(start)
            S 454 4.7.0 TLS not available
            = in clear: 454 4.7.0 TLS not available
            = ready
            """),
        Case("where it must be, a refusal of STARTTLS ends the session", [], """
            ! TLS required
            \(start)
            S 454 4.7.0 TLS not available
            C QUIT
            = close 451 4.7.4 TLS is required, but host mx[192.0.2.1] refused to start TLS: 454 4.7.0 TLS not available
            """),
        Case("where it need not be, a server without STARTTLS gets mail", [], """
            ! TLS offered
            S 220 mx
            C EHLO me.example
            S 250 mx
            = ready
            """),
        Case("where it must be, a server without STARTTLS gets none", [], """
            ! TLS required
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 XSTARTTLS
            C QUIT
            = close 451 4.7.4 TLS is required, but was not offered by host mx[192.0.2.1]
            """),
        Case("nor does a server that knows HELO only", [], """
            ! TLS required
            S 220 mx
            C EHLO me.example
            S 500 what?
            C HELO me.example
            S 250 mx
            C QUIT
            = close 451 4.7.4 TLS is required, but was not offered by host mx[192.0.2.1]
            """),
        Case("a certificate that is not the right one", [], """
            ! TLS required
            \(start)
            S 220 go ahead
            = handshake
            ! unverified
            = close 451 4.7.5 certificate of host mx[192.0.2.1] not verified: self-signed certificate
            """),
        Case("a handshake that comes to nothing", [], """
            ! TLS offered
            \(start)
            S 220 go ahead
            = handshake
            ! no handshake
            = close 451 4.7.5 cannot start TLS with host mx[192.0.2.1]: wrong version number
            """),
        Case("TLS that breaks later", [], """
            ! TLS offered
            \(start)
            S 220 go ahead
            = handshake
            ! encrypted
            C EHLO me.example
            ! broken
            = close 451 4.4.2 lost TLS with host mx[192.0.2.1] while performing the EHLO handshake: bad record mac
            """),
        Case("the end of the connection in the handshake", [], """
            ! TLS offered
            \(start)
            S 220 go ahead
            = handshake
            ! lost
            = close 451 4.4.2 lost connection with mx[192.0.2.1] while performing the TLS handshake
            """),
        Case("no answer to STARTTLS", [], """
            ! TLS offered
            \(start)
            ! timeout
            = close 451 4.4.2 conversation with mx[192.0.2.1] timed out while receiving the STARTTLS response
            """),
        Case("421 to STARTTLS ends the session, as it does everywhere", [], """
            ! TLS offered
            \(start)
            S 421 4.3.2 going down
            = close 421 4.3.2 going down
            """),
        Case("a reply that is none to STARTTLS", [], """
            ! TLS offered
            \(start)
            S garbage
            = close 451 4.5.0 protocol error: host mx[192.0.2.1] sent a line that is no SMTP reply: garbage
            """),
        Case("TLS from the first octet needs no STARTTLS", [], """
            ! encrypted
            S 220 mx
            C EHLO me.example
            S 250-mx
            S 250 STARTTLS
            = ready
            """),
    ]
}
