// What a manifest says about rewriting addresses, copies, and delivery other than into mailboxes.

package import MailSyntax

extension MailSystem {
    /// Postfix's canonical(5), generic(5) and their kin.
    package struct Rewriting: Sendable {
        /// In a table of addresses: what is looked for, and what takes its place.
        package enum Pattern: Hashable, Sendable {
            case address(Address)
            /// A name in the origin and the local domains; as a result, one in the origin.
            case name(String)
            /// `@example.org`: every address of the domain; as a result, the same name in that domain.
            case domain(Domain)
        }

        package struct Entry: Sendable {
            package var pattern: Located<Pattern>
            package var result: Located<Pattern>

            package init(pattern: Located<Pattern>, result: Located<Pattern>) {
                self.pattern = pattern
                self.result = result
            }
        }

        /// Where addresses are rewritten.
        package enum Class: String, CaseIterable, Sendable {
            case envelopeSender = "envelope_sender"
            case envelopeRecipient = "envelope_recipient"
            case headerSender = "header_sender"
            case headerRecipient = "header_recipient"
        }

        /// Whose mail may have its header rewritten.
        package enum Client: String, CaseIterable, Sendable { case submission, logins, own, networks }

        package enum Extended: String, CaseIterable, Sendable { case canonical, generic }

        /// A domain whose subdomains are hidden, or, `isExempt`, one that is left alone.
        package struct Masquerade: Hashable, Sendable {
            package var domain: Domain
            package var isExempt: Bool

            package init(domain: Domain, isExempt: Bool) {
                self.domain = domain
                self.isExempt = isExempt
            }
        }

        package struct Table: Sendable {
            package var entries: [Entry]
            package var classes: Located<[Class]>
        }

        package struct SenderRewriting: Sendable {
            package var domain: Located<Domain>
            /// The first signs; all are accepted.
            package var secrets: [Located<Secret>]
        }

        package var canonical: Table
        package var senderCanonical: Table
        package var recipientCanonical: Table
        package var generic: [Entry]
        package var extended: Located<[Extended]>
        package var masqueradeDomains: [Located<Masquerade>]
        package var masqueradeExceptions: [Located<String>]
        package var masqueradeClasses: Located<[Class]>
        package var clients: Located<[Client]>
        package var remoteHeaderDomain: Located<Domain>?
        package var alwaysAddsMissingHeaders: Located<Bool>
        package var senderBCC: [Entry]
        package var recipientBCC: [Entry]
        package var alwaysBCC: Located<Pattern>?
        package var srs: SenderRewriting?
    }

    /// Postfix's local(8): files, commands, lists and users' own forwards.
    package struct LocalDelivery: Sendable {
        /// Who may name a command or a file.
        package enum Source: String, CaseIterable, Sendable { case alias, include, forward }

        package var commands: Located<[Source]>
        package var files: Located<[Source]>
        package var commandTimeLimit: Located<Duration>
        package var commandConcurrency: Located<Int>
        /// Paths in which `$user` and `$extension` stand for the recipient's; empty: there are no such files.
        package var forwardPath: Located<[String]>
    }
}

extension MailSystem.Rewriting.Pattern: CustomStringConvertible {
    /// As the manifest and Postfix's tables write it.
    package var description: String {
        switch self {
        case .address(let address): address.description
        case .name(let name): Address(localPart: name, domain: Domain(valid: "localhost")).quotedLocalPart
        case .domain(let domain): "@\(domain)"
        }
    }

    package var key: String { lowercasedASCII(description) }
}
