// What a session forgets when TLS begins (RFC 3207 §4.2), and what it says then.

import MailSyntax
import NIOCore
@testable import SMTP
import Testing

@Suite struct ServerEncryptionTests {
    private func session(_ encryption: ServerSession.Encryption = .may) -> ServerSession {
        var configuration = ServerScript.configuration
        configuration.encryption = encryption
        return ServerSession(configuration: configuration)
    }

    /// The replies to this input, up to a question of the session or its end.
    private func say(_ text: String, to session: inout ServerSession) -> (replies: String, question: ServerSession.Action?) {
        session.receive(ByteBuffer(string: text))
        return rest(of: &session)
    }

    private func rest(of session: inout ServerSession) -> (replies: String, question: ServerSession.Action?) {
        var last: ServerSession.Action?
        while let action = session.next() { last = action }
        return (session.takeOutput().map { String(buffer: $0) } ?? "", last)
    }

    @Test(arguments: ["RSET\r\n", "MAIL FROM:<evil@example.net>\r\n", "NOO", String(repeating: "x", count: 5000)])
    func whatCameWithTheCommandIsDropped(_ injected: String) {
        var session = session()
        session.greet()
        _ = say("EHLO client.example\r\n", to: &session)
        let (replies, question) = say("STARTTLS\r\n" + injected, to: &session)
        #expect(replies.isEmpty)
        guard case .startTLS? = question else {
            Issue.record("TLS was not asked for")
            return
        }
        session.beginTLS()
        #expect(rest(of: &session).replies == "220 2.0.0 Ready to start TLS\r\n")
        #expect(session.unconsumedInput == 0)
        session.becameEncrypted(bindsChannel: false)
        #expect(rest(of: &session).replies.isEmpty)
        #expect(say("NOOP\r\n", to: &session).replies == "250 2.0.0 Ok\r\n")
    }

    @Test func theClientHasToSayHelloAgainAndIsOfferedTLSOnceOnly() {
        var session = session(.encrypt)
        session.greet()
        _ = say("EHLO client.example\r\nSTARTTLS\r\n", to: &session)
        session.beginTLS()
        session.becameEncrypted(bindsChannel: false)
        _ = rest(of: &session)
        #expect(session.helo == nil)
        #expect(say("MAIL FROM:<a@b.example>\r\n", to: &session).replies.hasPrefix("503 5.5.1"))
        #expect(!say("EHLO client.example\r\n", to: &session).replies.contains("STARTTLS"))
        #expect(session.protocolName == "ESMTPS")
        #expect(say("STARTTLS\r\n", to: &session).replies == "554 5.5.1 Error: TLS already active\r\n")
    }

    @Test("REQUIRETLS is there in TLS alone, and where the server can keep it (RFC 8689 §2); it has no value, and stays with the message")
    func requireTLS() {
        var configuration = ServerScript.configuration
        configuration.encryption = .may
        configuration.offersRequireTLS = true
        var session = ServerSession(configuration: configuration)
        session.greet()
        #expect(!say("EHLO client.example\r\n", to: &session).replies.contains("REQUIRETLS"))
        #expect(say("MAIL FROM:<a@b.example> REQUIRETLS\r\n", to: &session).replies == "555 5.5.4 Unsupported option: REQUIRETLS\r\n")
        _ = say("STARTTLS\r\n", to: &session)
        session.beginTLS()
        session.becameEncrypted(bindsChannel: false)
        _ = rest(of: &session)
        #expect(say("EHLO client.example\r\n", to: &session).replies.contains("REQUIRETLS\r\n"))
        #expect(say("MAIL FROM:<a@b.example> REQUIRETLS=yes\r\n", to: &session).replies == "501 5.5.4 Bad option: REQUIRETLS\r\n")
        #expect(say("MAIL FROM:<a@b.example> REQUIRETLS=\r\n", to: &session).replies == "501 5.5.4 Bad option: REQUIRETLS\r\n")
        #expect(say("MAIL FROM:<a@b.example> REQUIRETLS REQUIRETLS\r\n", to: &session).replies == "501 5.5.4 Option given twice: REQUIRETLS\r\n")
        #expect(say("MAIL FROM:<a@b.example> requiretls\r\n", to: &session).replies.isEmpty)
        session.answer(Reply(250, nil, "Ok"))
        #expect(say("RCPT TO:<alice@example> REQUIRETLS\r\n", to: &session).replies.hasSuffix("555 5.5.4 Unsupported option: REQUIRETLS\r\n"))
        _ = say("RCPT TO:<alice@example>\r\n", to: &session)
        session.answer(Reply(250, nil, "Ok"))
        session.receive(ByteBuffer(string: "DATA\r\n"))
        guard case .beginContent(let envelope)? = session.next() else {
            Issue.record("no content")
            return
        }
        #expect(envelope.tlsOption == .required)
    }

    @Test("a process of this host needs no TLS for it; a server that cannot keep it does not offer it")
    func requireTLSWithinHost() {
        var configuration = ServerScript.configuration
        var session = ServerSession(configuration: configuration)
        session.isWithinHost = true
        session.greet()
        #expect(!say("EHLO localhost\r\n", to: &session).replies.contains("REQUIRETLS"))
        configuration.offersRequireTLS = true
        let isAdopted = session.adopt(configuration)
        #expect(isAdopted)
        #expect(say("EHLO localhost\r\n", to: &session).replies.contains("REQUIRETLS"))
    }

    @Test func aConnectionThatBeginsInTLSGreetsInIt() {
        var session = session(.none)
        session.becameEncrypted(bindsChannel: true)
        session.greet()
        #expect(rest(of: &session).replies == "220 mx.example ESMTP Valija\r\n")
        #expect(!say("EHLO client.example\r\n", to: &session).replies.contains("STARTTLS"))
        #expect(session.protocolName == "ESMTPS")
    }

    @Test func withoutACertificateThereIsNoSTARTTLS() {
        var session = session(.none)
        session.greet()
        #expect(!say("EHLO client.example\r\n", to: &session).replies.contains("STARTTLS"))
        #expect(say("STARTTLS\r\n", to: &session).replies.hasSuffix("502 5.5.1 Error: command not implemented\r\n"))
    }
}
