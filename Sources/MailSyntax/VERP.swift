// Variable envelope return paths: the sender's address names the recipient, so that a list knows from the address of a report
// whom it is about. The form is Postfix's (VERP_README): owner-list@origin, for user@domain, is
// owner-list+user=domain@origin.

package struct VERP: Hashable, Sendable {
    /// The first stands before the recipient's local part, the second in the place of its `@`.
    package let delimiters: String

    /// Postfix: default_verp_delimiters.
    package static let usual = VERP(delimiters: "+=")!

    /// Nil: not two of the characters that Postfix allows (verp_delimiter_filter).
    package init?(delimiters: String) {
        guard delimiters.utf8.count == 2, delimiters.allSatisfy({ "-=+".contains($0) }) else { return nil }
        self.delimiters = delimiters
    }

    package func sender(_ sender: Address, for recipient: Address) -> Address {
        let local = "\(sender.localPart)\(delimiters.first!)\(recipient.localPart)\(delimiters.last!)\(recipient.domain)"
        return Address(localPart: local, domain: sender.domain)
    }
}
