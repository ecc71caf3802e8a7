// What a trusted proxy says of the client that it speaks for: XCLIENT and XFORWARD, as Postfix's XCLIENT_README and
// XFORWARD_README describe them. Who is trusted is not decided here.

package import MailSyntax

///     xclient-command  = "XCLIENT" 1*( SP attribute-name "=" attribute-value )
///     xforward-command = "XFORWARD" 1*( SP attribute-name "=" attribute-value )
///     attribute-value  = xtext                                 ; RFC 3461 §4; 255 characters at most
/// `[UNAVAILABLE]` stands for what is not known. Values are taken unencoded as well: old clients send them so.
package struct ClientClaims: Hashable, Sendable {
    /// IDENT and SOURCE are XFORWARD's: the message's name at the other server, and whether it began there.
    package enum Attribute: String, Sendable {
        case name = "NAME", address = "ADDR", port = "PORT", protocolName = "PROTO", helo = "HELO", login = "LOGIN"
        case destinationAddress = "DESTADDR", destinationPort = "DESTPORT", identifier = "IDENT", source = "SOURCE"
    }

    package enum Claim: Hashable, Sendable {
        case known(String)
        case unavailable
        /// Of a name: the look-up failed for now.
        case temporarilyUnavailable
    }

    private var claims: [Attribute: Claim] = [:]

    package init() {}

    /// Nil: not said.
    package subscript(attribute: Attribute) -> Claim? { claims[attribute] }

    /// Nil: not said, or not known.
    package func value(_ attribute: Attribute) -> String? { if case .known(let text)? = claims[attribute] { text } else { nil } }

    package var address: IPAddress? { value(.address).flatMap { IPAddress($0) } }

    /// What either says; where both do, the later.
    mutating func update(_ later: ClientClaims) { claims.merge(later.claims) { $1 } }
}

extension ClientClaims {
    /// Which command it is, and so which attributes there are.
    enum Kind {
        case override, forward

        var name: String { self == .override ? "XCLIENT" : "XFORWARD" }

        /// As EHLO announces them.
        var attributes: [Attribute] {
            switch self {
            case .override: [.name, .address, .protocolName, .helo, .port, .login, .destinationAddress, .destinationPort]
            case .forward: [.name, .address, .protocolName, .helo, .source, .port, .identifier]
            }
        }
    }

    init(_ cursor: inout Cursor, _ kind: Kind) throws(SyntaxFlaw) {
        self.init()
        let usage = SyntaxFlaw.usage("\(kind.name) attribute=value...")
        guard !cursor.isAtEnd else { throw usage }
        while !cursor.isAtEnd {
            let name = String(decoding: cursor.take { isLetter($0) }.map(uppercased), as: UTF8.self)
            guard cursor.take(UInt8(ascii: "=")) else { throw usage }
            let raw = cursor.take { !isBlank($0) }
            cursor.skipBlanks()
            guard let attribute = Attribute(rawValue: name), kind.attributes.contains(attribute), let text = ClientClaims.text(raw),
                let claim = ClientClaims.claim(attribute, text)
            else { throw .badParameter(name.isEmpty ? "attribute" : name) }
            claims[attribute] = claim
        }
    }

    /// XFORWARD_README, note 1: no controls, nothing beyond ASCII, no white space, nothing that is special in header fields.
    private static func text(_ raw: UnsafeRawBufferPointer) -> String? {
        guard (1...255).contains(raw.count) else { return nil }
        let written = String(decoding: raw, as: UTF8.self)
        let text = XText.decode(written) ?? written
        let isPlain = text.utf8.allSatisfy { (0x21...0x7E).contains($0) && !"<>()\\\";@,".utf8.contains($0) }
        return isPlain && !text.isEmpty ? text : nil
    }

    /// Nil where the attribute cannot have that value.
    private static func claim(_ attribute: Attribute, _ text: String) -> Claim? {
        let lowered = lowercasedASCII(text)
        if lowered == "[unavailable]" { return .unavailable }
        if lowered == "[tempunavail]" { return attribute == .name ? .temporarilyUnavailable : nil }
        switch attribute {
        case .address, .destinationAddress:
            // An IPv6 address has its tag, an IPv4 address has none.
            let isTagged = lowered.hasPrefix("ipv6:")
            let bare = isTagged ? String(text.dropFirst(5)) : text
            guard IPAddress(bare) != nil, isTagged == bare.contains(":") else { return nil }
            return .known(bare)
        case .port, .destinationPort: return text.utf8.allSatisfy(isDigit) && UInt16(text) != nil ? .known(text) : nil
        default: return .known(text)
        }
    }
}
