// The keys of `reports`: what senders and the postmaster are told about mail that waits or could not be delivered.

internal import MailSyntax

enum ReportKeys {
    /// A report is kept and sent as a whole: what it returns is held in memory.
    private static let mostReturned = 10 << 20

    static let delayWarning = Key(
        "delay_warning", .duration(), defaultNote: "never", example: "4h", postfix: "delay_warning_time",
        "When the sender of mail that still waits is told so, once; NOTIFY of the message may forbid it (RFC 3461).")
    static let returnedSize = Key(
        "returned_size", returnedOctets, default: "50000", example: "20KB", postfix: "bounce_size_limit",
        "A message up to this size is returned whole with the report of its failure; of a larger one the header is.")
    static let bounceNotice = Key(
        "bounce_notice", .target, defaultNote: "nobody", example: "postmaster", postfix: "notify_classes `bounce`, bounce_notice_recipient",
        "Who gets a copy of each report of a failure, with the header of the message.")
    static let doubleBounceNotice = Key(
        "double_bounce_notice", .target, defaultNote: "nobody", example: "postmaster", postfix: "notify_classes `2bounce`, 2bounce_notice_recipient",
        "Who gets a report that its sender cannot get.")
    static let delayNotice = Key(
        "delay_notice", .target, defaultNote: "nobody", example: "postmaster", postfix: "notify_classes `delay`, delay_notice_recipient",
        "Who gets a copy of each report of a delay.")
    static let verpDelimiters = Key(
        "verp_delimiters", .verpDelimiters, default: "+=", example: "\"-=\"", postfix: "default_verp_delimiters",
        "With XVERP the sender's address names the recipient, between these two characters: list+user=example.net@example.org.")

    private static let returnedOctets = Syntax<Int>.size(from: 1).then { octets, node, findings -> Int? in
        if octets > mostReturned {
            findings.error(.outOfRange, "\(octets) octets are more than a report may return", at: node.span, hint: "at most 10MiB")
            return nil
        }
        return octets
    }

    static let syntax = Syntax<MailSystem.Reports>.section([
        delayWarning, returnedSize, bounceNotice, doubleBounceNotice, delayNotice, verpDelimiters,
    ]) { section, findings in
        MailSystem.Reports(
            delayWarning: section.optional(delayWarning, &findings), returnedSize: section.value(returnedSize, &findings),
            bounceNotice: section.optional(bounceNotice, &findings), doubleBounceNotice: section.optional(doubleBounceNotice, &findings),
            delayNotice: section.optional(delayNotice, &findings), verpDelimiters: section.value(verpDelimiters, &findings))
    }
}

extension Syntax where Value == VERP {
    static var verpDelimiters: Syntax {
        .word(
            Word(
                name: "two characters", noun: "two characters", forms: "two of the characters - = +, in quotes",
                json: [("type", .string("string")), ("pattern", .string("^[-=+]{2}$"))])
        ) { text throws(Flaw) in
            guard let verp = VERP(delimiters: text) else { throw Flaw("\(quoted(text)) are no delimiters of VERP") }
            return verp
        }
    }
}
