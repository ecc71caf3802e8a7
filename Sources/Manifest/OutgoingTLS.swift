// The part of a mail system that is about encryption of mail on its way out.

package import MailSyntax

extension MailSystem {
    /// What is asked of a server that mail goes to.
    package enum OutgoingLevel: String, CaseIterable, Sendable {
        /// No TLS.
        case none
        /// Where the server offers it, with any certificate (RFC 7435).
        case may
        /// Always, with any certificate.
        case encrypt
        /// Always, with a certificate that the trust store vouches for, for one of the names.
        case verify
        /// As the destination's TLSA records have it (RFC 7672), and `may` where it has none.
        case dane
    }

    package struct OutgoingTLS: Sendable {
        package var level: Located<OutgoingLevel>
        /// A file of certificates, or a directory of them; nil: where systems usually have it.
        package var trustStore: Located<String>?
        /// In the order of the manifest.
        package var destinations: [TLSDestination]

        package init(level: Located<OutgoingLevel> = Located(.may), trustStore: Located<String>? = nil, destinations: [TLSDestination] = []) {
            self.level = level
            self.trustStore = trustStore
            self.destinations = destinations
        }
    }

    package struct TLSDestination: Sendable {
        package var pattern: Located<TLSPattern>
        package var level: Located<OutgoingLevel>
        /// What may stand in the certificate, for `verify`; `.example.net`: any name under it. Empty: what the next hop is called.
        package var names: [Located<String>]

        package init(pattern: Located<TLSPattern>, level: Located<OutgoingLevel>, names: [Located<String>] = []) {
            self.pattern = pattern
            self.level = level
            self.names = names
        }
    }

    /// Whose mail: by where it goes next.
    package enum TLSPattern: Hashable, Sendable, CustomStringConvertible {
        /// Of a domain that goes by its MX records, the hop of that name.
        case hop(NextHop)
        case subdomains(of: Domain)

        /// As a key of Postfix's `smtp_tls_policy_maps`: a domain without its port where that is 25.
        package var description: String {
            switch self {
            case .hop(let hop):
                if case .mailExchangers(let domain) = hop.host, hop.port == NextHop.smtpPort { domain.key } else { hop.description }
            case .subdomains(let domain): ".\(domain.key)"
            }
        }
    }
}
