// The server's side of one SASL login (RFC 4422) as a state machine without I/O: PLAIN (RFC 4616), LOGIN
// (draft-murchison-sasl-login), SCRAM (RFC 5802, RFC 7677) with and without channel binding.
//
// Responses go in, steps come out. It knows no accounts: a step asks for a password to be verified, or for a user's SCRAM
// keys, and the answer goes in. Every response is bounded by whoever reads it off the wire; a malformed one ends the login.

internal import MailSyntax

package enum SASLMechanism: String, CaseIterable, Sendable {
    // Strongest first: the order of announcement, which many clients take for advice.
    case scramSHA256Plus = "SCRAM-SHA-256-PLUS"
    case scramSHA256 = "SCRAM-SHA-256"
    case scramSHA1Plus = "SCRAM-SHA-1-PLUS"
    case scramSHA1 = "SCRAM-SHA-1"
    case plain = "PLAIN"
    case login = "LOGIN"

    /// The mechanism shows the password to the server.
    package var needsPassword: Bool { self == .plain || self == .login }
    package var bindsChannel: Bool { self == .scramSHA256Plus || self == .scramSHA1Plus }

    var digest: Digest { self == .scramSHA1 || self == .scramSHA1Plus ? .sha1 : .sha256 }
}

/// What ties a login to the TLS connection that carries it (RFC 5929, RFC 9266).
package struct ChannelBinding: Sendable {
    /// `tls-exporter`, `tls-server-end-point`, `tls-unique`.
    package let name: String
    package let octets: [UInt8]

    package init(name: String, octets: [UInt8]) {
        self.name = name
        self.octets = octets
    }
}

package struct SASLExchange: Sendable {
    package enum Step: Sendable {
        /// To the client; its answer goes to `receive`.
        case challenge([UInt8])
        /// Is this the user's password? The answer goes to `passwordIs`.
        case verify(user: String, password: [UInt8])
        /// The user's keys, or a decoy's, go to `keysAre`.
        case lookUp(user: String, Digest)
        /// Logged in. `final` has yet to be shown to the client, who answers with nothing.
        case success(user: String, final: [UInt8]?)
        case failure(Failure)
    }

    package enum Failure: Hashable, Sendable {
        /// Wrong name or wrong password, which of them is nobody's business.
        case credentials
        /// The client's words are not those of the mechanism: RFC 4954 §6: 501 5.5.2.
        case malformed
        /// The client asked to act for somebody else.
        case authorization
        /// The channel is not the one that the client sees: somebody is between.
        case channelBinding
    }

    private enum State {
        case start
        case loginUser
        case loginPassword(user: String)
        case password(user: String)
        case clientFirst
        case keys(ClientFirst)
        case clientFinal(ClientFirst, serverFirst: String, nonce: String, SCRAMKeys)
        case done
    }

    struct ClientFirst: Sendable {
        let header: String
        let bare: String
        let user: String
        let nonce: String
    }

    package let mechanism: SASLMechanism
    /// Of this connection, by name; empty without TLS.
    private let bindings: [ChannelBinding]
    private let serverNonce: String
    private var state = State.start

    /// `nonce`: random, printable, without a comma; fresh for each exchange.
    package init(_ mechanism: SASLMechanism, bindings: [ChannelBinding] = [], nonce: String) {
        self.mechanism = mechanism
        self.bindings = bindings
        serverNonce = nonce
    }

    package static func freshNonce() -> String { Base64.encode(randomOctets(18)) }

    /// Begins; `initial`: the response that came with the command (RFC 4954 §4), nil if none did.
    package mutating func start(initial: [UInt8]?) -> Step {
        switch mechanism {
        case .login:
            state = .loginUser
            return initial.map { receive($0) } ?? .challenge(Array("Username:".utf8))
        case .plain, .scramSHA1, .scramSHA256, .scramSHA1Plus, .scramSHA256Plus:
            state = .clientFirst
            // A mechanism where the client speaks first: an empty challenge asks it to.
            return initial.map { receive($0) } ?? .challenge([])
        }
    }

    package mutating func receive(_ response: [UInt8]) -> Step {
        switch state {
        case .loginUser:
            guard let user = name(response[...]) else { return fail(.malformed) }
            state = .loginPassword(user: user)
            return .challenge(Array("Password:".utf8))
        case .loginPassword(let user): return verify(user, response)
        case .clientFirst: return mechanism == .plain ? plain(response) : clientFirst(response)
        case .clientFinal(let first, let serverFirst, let nonce, let keys): return clientFinal(response, first, serverFirst, nonce, keys)
        case .start, .password, .keys, .done: return fail(.malformed)
        }
    }

    /// The answer to `.verify`.
    package mutating func passwordIs(right: Bool) -> Step {
        guard case .password(let user) = state else { return fail(.malformed) }
        guard right else { return fail(.credentials) }
        state = .done
        return .success(user: user, final: nil)
    }

    private mutating func fail(_ failure: Failure) -> Step {
        state = .done
        return .failure(failure)
    }

    private mutating func verify(_ user: String, _ password: [UInt8]) -> Step {
        guard !password.contains(0) else { return fail(.malformed) }
        state = .password(user: user)
        return .verify(user: user, password: password)
    }

    /// A name in UTF-8 without controls. RFC 4013 would also fold what looks alike; names here are what a manifest may hold.
    private func name(_ octets: ArraySlice<UInt8>) -> String? {
        guard !octets.isEmpty, octets.count <= 255, let text = String(validating: octets, as: UTF8.self) else { return nil }
        return text.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7F } ? text : nil
    }

    ///     message = [authzid] UTF8NUL authcid UTF8NUL passwd      ; RFC 4616 §2
    private mutating func plain(_ response: [UInt8]) -> Step {
        let parts = response.split(separator: 0, omittingEmptySubsequences: false)
        guard parts.count == 3, let user = name(parts[1]) else { return fail(.malformed) }
        // Acting for another needs a right that nobody has here; oneself is everybody's.
        guard parts[0].isEmpty || Array(parts[0]) == Array(parts[1]) else { return fail(.authorization) }
        return verify(user, Array(parts[2]))
    }
}

// MARK: SCRAM

extension SASLExchange {
    ///     client-first-message = gs2-header client-first-message-bare
    ///     gs2-header = gs2-cbind-flag "," [ authzid ] ","     gs2-cbind-flag = ("p=" cb-name) / "n" / "y"      ; RFC 5802 §7
    private mutating func clientFirst(_ response: [UInt8]) -> Step {
        guard let text = String(validating: response, as: UTF8.self) else { return fail(.malformed) }
        let parts = text.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { return fail(.malformed) }
        let flag = parts[0]
        if flag.hasPrefix("p=") {
            guard mechanism.bindsChannel else { return fail(.malformed) }
            guard binding(flag) != nil else { return fail(.channelBinding) }
        } else {
            guard flag == "n" || flag == "y", !mechanism.bindsChannel else { return fail(.malformed) }
            // RFC 5802 §6: the client can bind and believes that we cannot: somebody took the offer out.
            if flag == "y", !bindings.isEmpty { return fail(.channelBinding) }
        }
        let bare = String(parts[2])
        let attributes = bare.split(separator: ",", omittingEmptySubsequences: false)
        // `m=` announces an extension that must be understood; there is none.
        guard attributes.count >= 2, attributes[0].hasPrefix("n="), attributes[1].hasPrefix("r="), attributes[1].utf8.count > 2,
            let user = saslName(attributes[0].dropFirst(2)), name(Array(user.utf8)[...]) != nil
        else { return fail(.malformed) }
        let authorization = parts[1]
        if !authorization.isEmpty {
            guard authorization.hasPrefix("a="), let asked = saslName(authorization.dropFirst(2)) else { return fail(.malformed) }
            guard asked == user else { return fail(.authorization) }
        }
        state = .keys(ClientFirst(header: "\(flag),\(authorization),", bare: bare, user: user, nonce: String(attributes[1].dropFirst(2))))
        return .lookUp(user: user, mechanism.digest)
    }

    /// The answer to `.lookUp`: the user's keys, or a decoy's that no proof fits.
    package mutating func keysAre(_ keys: SCRAMKeys) -> Step {
        guard case .keys(let first) = state, keys.digest == mechanism.digest else { return fail(.malformed) }
        let nonce = first.nonce + serverNonce
        let serverFirst = "r=\(nonce),s=\(Base64.encode(keys.salt)),i=\(keys.iterations)"
        state = .clientFinal(first, serverFirst: serverFirst, nonce: nonce, keys)
        return .challenge(Array(serverFirst.utf8))
    }

    ///     client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64       ; RFC 5802 §7
    private mutating func clientFinal(_ response: [UInt8], _ first: ClientFirst, _ serverFirst: String, _ nonce: String, _ keys: SCRAMKeys) -> Step {
        guard let text = String(validating: response, as: UTF8.self), let cut = text.range(of: ",p=") else { return fail(.malformed) }
        let withoutProof = text[..<cut.lowerBound]
        let attributes = withoutProof.split(separator: ",", omittingEmptySubsequences: false)
        guard attributes.count >= 2, attributes[0].hasPrefix("c="), attributes[1].hasPrefix("r="),
            let channel = Base64.decode(attributes[0].dropFirst(2).utf8), let proof = Base64.decode(text[cut.upperBound...].utf8)
        else { return fail(.malformed) }
        guard attributes[1].dropFirst(2) == nonce else { return fail(.credentials) }
        let flag = first.header.prefix { $0 != "," }
        guard channel == Array(first.header.utf8) + (binding(flag)?.octets ?? []) else { return fail(.channelBinding) }
        let message = "\(first.bare),\(serverFirst),\(withoutProof)"
        guard let signature = keys.signature(for: proof, message: Array(message.utf8)) else { return fail(.credentials) }
        state = .done
        return .success(user: first.user, final: Array("v=\(Base64.encode(signature))".utf8))
    }

    private func binding(_ flag: Substring) -> ChannelBinding? {
        flag.hasPrefix("p=") ? bindings.first { $0.name == flag.dropFirst(2) } : nil
    }

    ///     saslname: "," is "=2C" and "=" is "=3D"; no other "=" may stand in it.
    private func saslName(_ text: Substring) -> String? {
        var result = ""
        var rest = text
        while let sign = rest.firstIndex(of: "=") {
            result += rest[..<sign]
            let escape = rest[sign...].prefix(3)
            switch escape {
            case "=2C": result += ","
            case "=3D": result += "="
            default: return nil
            }
            rest = rest[sign...].dropFirst(3)
        }
        return result + rest
    }
}

extension String {
    /// The last place of a short text.
    fileprivate func range(of text: String) -> Range<String.Index>? {
        var index = endIndex
        while index > startIndex {
            index = self.index(before: index)
            if self[index...].hasPrefix(text) { return index..<self.index(index, offsetBy: text.count) }
        }
        return nil
    }
}
