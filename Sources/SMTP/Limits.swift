// Limits on what an SMTP client can send, each with its reason (RFC 5321 §4.5.3). What an administrator sets (message
// size, recipients) is `ServerSession.Configuration`'s; these have values that nobody should need to change.

/// Limits of one server session.
package struct ServerLimits: Sendable {
    /// Octets of a command line with its CRLF. RFC 5321 §4.5.3.1.4 asks for 512, and extensions add to it (RFC 1870: 26,
    /// RFC 3461: 620, RFC 6531: 10, addresses in UTF-8): this holds all of them, and Postfix takes the same.
    package var commandLine = 2048
    /// Octets of a line in a login. RFC 4954 §4: 12288 are enough for the mechanisms that are in use.
    package var loginLine = 12_288 + 2
    /// Refusals before the session ends with 421 (Postfix `smtpd_hard_error_limit`): guessing addresses costs a new
    /// connection every twenty tries.
    package var errors = 20
    /// Commands that do nothing for a message (NOOP, RSET, VRFY, HELO, HELP), per message, before each counts as an error
    /// (Postfix `smtpd_junk_command_limit`).
    package var idleCommands = 100
    /// Recipients refused with 452 that do not count as errors: a list server that sends all its RCPT commands in one
    /// go is to send the rest later (RFC 5321 §4.5.3.1.10), not to be thrown out (Postfix `smtpd_recipient_overshoot_limit`).
    package var recipientOvershoot = 1000

    package init() {}
}

/// Limits of the grammar.
enum GrammarLimits {
    /// RFC 3461 §4.4: an ENVID has at most 100 characters as written.
    static let envelopeID = 100
    /// RFC 3461 §4.2: an ORCPT has at most 500 characters as written.
    static let originalRecipient = 500
    /// RFC 4954 §3: MAIL may be 500 octets longer for AUTH=.
    static let author = 500
    /// RFC 5321 §4.5.3.1.2: a domain has at most 255 octets, so has the argument of HELO.
    static let hello = 255
    /// RFC 1870 §4: size-value = 1*20DIGIT. RFC 3030 §2 sets no bound for BDAT; a chunk of more digits does not exist.
    static let sizeDigits = 20
    /// Characters of a refused command that logs show: enough to recognize it, too little to flood.
    static let excerpt = 128
    /// Characters of the client's own text that a reply repeats.
    static let echo = 40
    /// RFC 5321 §4.5.3.1.5: a reply line has at most 512 octets with its code and CRLF.
    static let replyText = 512 - 6
}
