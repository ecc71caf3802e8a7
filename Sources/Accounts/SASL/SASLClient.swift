// The client's side of one SASL login as a state machine without I/O: PLAIN, LOGIN, SCRAM with and without channel binding.
// Challenges go in, responses come out. A server that could not prove that it knows the password has not let us in.

internal import MailSyntax

package struct SASLClient: Sendable {
    package enum Step: Sendable {
        case response([UInt8])
        /// What the server says is not the mechanism's, or not that of a server that knows the password.
        case failure(String)
    }

    private enum State {
        case start
        case loginUser, loginPassword
        case serverFirst(bare: String)
        case serverFinal(signature: [UInt8])
        /// Nothing is left to say: the server's verdict decides.
        case done
    }

    package let mechanism: SASLMechanism
    private let user: String
    private let password: [UInt8]
    private let binding: ChannelBinding?
    private let nonce: String
    private var state = State.start

    /// The strongest that the server offers. Those that show the password are for connections where nobody listens
    /// (`allowsPlaintext`). Nil: there is none.
    package static func choose(among offered: [String], bindings: [ChannelBinding], allowsPlaintext: Bool) -> SASLMechanism? {
        let names = Set(offered.map { $0.uppercased() })
        return SASLMechanism.allCases.first { mechanism in
            names.contains(mechanism.rawValue) && (!mechanism.bindsChannel || !bindings.isEmpty) && (!mechanism.needsPassword || allowsPlaintext)
        }
    }

    /// `nonce`: random, printable, without a comma; fresh for each exchange.
    package init(_ mechanism: SASLMechanism, user: String, password: String, bindings: [ChannelBinding] = [], nonce: String = SASLExchange.freshNonce()) {
        self.mechanism = mechanism
        self.user = user
        self.password = Array(password.utf8)
        // RFC 9266 §3: with TLS 1.3 tls-exporter is the one; whoever lists the bindings has it first.
        binding = mechanism.bindsChannel ? bindings.first : nil
        self.nonce = nonce
    }

    /// What goes with AUTH; nil: the server speaks first.
    package mutating func start() -> [UInt8]? {
        switch mechanism {
        case .plain:
            state = .done
            return [0] + Array(user.utf8) + [0] + password
        case .login:
            state = .loginUser
            return nil
        case .scramSHA1, .scramSHA256, .scramSHA1Plus, .scramSHA256Plus:
            let bare = "n=\(SASLClient.escaped(user)),r=\(nonce)"
            state = .serverFirst(bare: bare)
            return Array((header + bare).utf8)
        }
    }

    /// Takes as long as the server's number of iterations asks: not on an event loop.
    package mutating func receive(_ challenge: [UInt8]) -> Step {
        switch state {
        case .loginUser:
            state = .loginPassword
            return .response(Array(user.utf8))
        case .loginPassword:
            state = .done
            return .response(password)
        case .serverFirst(let bare): return serverFirst(challenge, bare)
        case .serverFinal(let signature):
            // server-final-message = (server-error / verifier)      verifier = "v=" base64        ; RFC 5802 §7
            guard challenge.starts(with: "v=".utf8), Base64.decode(challenge.dropFirst(2)) == signature else {
                return .failure("the server does not know the password")
            }
            state = .done
            return .response([])
        case .start, .done: return .failure("the server asks for more than \(mechanism.rawValue) has")
        }
    }

    /// The server's good verdict counts only where the server has proved itself.
    package var mayTrustSuccess: Bool { if case .done = state { true } else { false } }

    private var header: String { binding.map { "p=\($0.name),," } ?? "n,," }

    ///     server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions]      ; RFC 5802 §7
    private mutating func serverFirst(_ challenge: [UInt8], _ bare: String) -> Step {
        guard let text = String(validating: challenge, as: UTF8.self) else { return .failure("the challenge is not UTF-8") }
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count >= 3, parts[0].hasPrefix("r="), parts[1].hasPrefix("s="), parts[2].hasPrefix("i="), let salt = Base64.decode(parts[1].dropFirst(2).utf8),
            let iterations = Int(parts[2].dropFirst(2)), (1...SCRAMKeys.mostIterations).contains(iterations), !salt.isEmpty
        else { return .failure("the challenge is not SCRAM's") }
        let serverNonce = parts[0].dropFirst(2)
        guard serverNonce.hasPrefix(nonce), serverNonce.utf8.count > nonce.utf8.count else { return .failure("the challenge is not for this login") }
        let withoutProof = "c=\(Base64.encode(Array(header.utf8) + (binding?.octets ?? []))),r=\(serverNonce)"
        let message = Array("\(bare),\(text),\(withoutProof)".utf8)
        let digest = mechanism.digest
        let salted = digest.stretch(password, salt: salt, iterations: iterations)
        let clientKey = digest.hmac(key: salted, Array("Client Key".utf8))
        let proof = zip(clientKey, digest.hmac(key: digest.hash(clientKey), message)).map { $0 ^ $1 }
        state = .serverFinal(signature: digest.hmac(key: digest.hmac(key: salted, Array("Server Key".utf8)), message))
        return .response(Array("\(withoutProof),p=\(Base64.encode(proof))".utf8))
    }

    ///     saslname: "," is "=2C" and "=" is "=3D"
    private static func escaped(_ name: String) -> String {
        name.map { $0 == "," ? "=2C" : $0 == "=" ? "=3D" : String($0) }.joined()
    }
}
