// AUTH of the client (RFC 4954): the command, the lines, and what the server's verdict means. What a mechanism says is the
// shell's: it gets `.chooseLogin`, `.respond` and `.loggedIn`, and answers with `beginLogin`, `respond` or `giveUpLogin`.
//
// A next hop for which there is a login gets no mail without it: mail that it refuses then would go back to its sender for ever.
// So whatever goes wrong here is temporary, as it is for Postfix (`smtp_sasl_auth_soft_bounce`).

internal import MailSyntax
internal import NIOCore

extension ClientSession {
    /// Answers `.chooseLogin`. `initial`: what the mechanism says first; nil: the server does.
    package mutating func beginLogin(_ mechanism: String, initial: [UInt8]?) -> [Action] {
        guard state == .login else { return [] }
        hasBegunLogin = true
        var line = "AUTH \(mechanism)"
        if let initial {
            // RFC 4954 §4: a response of no octets is a single "=". One that makes the line too long follows on its own.
            let response = initial.isEmpty ? "=" : Base64.encode(initial)
            if line.utf8.count + 1 + response.utf8.count <= ClientSession.longestCommand { line += " \(response)" } else { heldResponse = initial }
        }
        return [.send(ByteBuffer(string: line + "\r\n"))]
    }

    /// Answers `.respond`.
    package mutating func respond(_ octets: [UInt8]) -> [Action] {
        guard state == .login else { return [] }
        return [.send(ByteBuffer(string: Base64.encode(octets) + "\r\n"))]
    }

    /// The login cannot be, or not go on: the session ends. `reason` holds no secret.
    package mutating func giveUpLogin(because reason: String) -> [Action] {
        abandon(because: Reply(451, EnhancedCode(4, 7, 8), "cannot log in at \(peer): \(reason)"))
    }

    /// RFC 5321 §4.5.3.1.4: 512 octets with CRLF.
    private static let longestCommand = 510

    ///     continue-req = "334" SP [base64] CRLF                  ; RFC 4954 §8
    mutating func handleInLogin(_ reply: Reply, _ actions: inout [Action]) {
        guard hasBegunLogin else { return end(protocolError("a reply to no command: \(reply.summary)"), &actions) }
        switch reply.code {
        case 334:
            // The text is base64, which may have been taken for an enhanced code by nobody: it has no dots.
            guard reply.lines.count <= 1, let challenge = Base64.decode((reply.lines.first ?? "").utf8) else {
                actions.append(.send(ByteBuffer(string: "*\r\n")))
                return end(protocolError("a challenge that is not base64"), &actions)
            }
            if let held = heldResponse {
                heldResponse = nil
                actions += respond(held)
            } else {
                actions.append(.respond(challenge))
            }
        case 200..<300:
            state = .idle
            actions += [.loggedIn, .ready]
        default:
            actions.append(.send(ByteBuffer(string: "QUIT\r\n")))
            end(Reply(451, EnhancedCode(4, 7, 8), "cannot log in at \(peer): \(reply.summary)"), &actions)
        }
    }
}
