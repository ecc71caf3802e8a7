// The keys of `limits`: what is too much, of one message, one mailbox, one client, and all clients together.

internal import MailSyntax

enum LimitKeys {
    /// Above what a person means; a number that large is a slip.
    private static let counts = 1...1_000_000

    static let messageSize = Key(
        "message_size", .size(from: 1), default: "10240000", example: "25MiB", postfix: "message_size_limit",
        "The largest message that is taken, as EHLO announces it (RFC 1870).")
    static let mailboxSize = Key(
        "mailbox_size", .size(from: 0), default: "51200000", example: "5GiB", postfix: "mailbox_size_limit",
        "The size that a mailbox may grow to where its user has no `quota`; 0 is no limit.")
    static let recipients = Key(
        "recipients_per_message", .integer(counts), default: "1000", example: "200", postfix: "smtpd_recipient_limit",
        "Recipients of one message; more get 452 and another message.")
    static let connectionsPerClient = Key(
        "connections_per_client", .integer(counts), default: "50", example: "20", postfix: "smtpd_client_connection_count_limit",
        "Connections that one address may hold open at a time; of IPv6, one network of 64 bits, as with the rates below.")
    static let connectionRate = Key(
        "connection_rate", .integer(counts), defaultNote: "no limit", example: "60", postfix: "smtpd_client_connection_rate_limit",
        "Connections that one address may open in a minute; more get 421 4.7.0.")
    static let messageRate = Key(
        "message_rate", .integer(counts), defaultNote: "no limit", example: "100", postfix: "smtpd_client_message_rate_limit",
        "Messages that one address may send in a minute; more get 450 4.7.1.")
    static let recipientRate = Key(
        "recipient_rate", .integer(counts), defaultNote: "no limit", example: "500", postfix: "smtpd_client_recipient_rate_limit",
        "Recipients that one address may name in a minute; more get 450 4.7.1.")
    static let errorRate = Key(
        "error_rate", .integer(counts), defaultNote: "no limit", example: "100",
        "Refusals for good (5xx) that one address may bring upon itself in a minute; more get 421 4.7.0.")
    static let exempt = Key(
        "exempt", .networks, default: "[]", example: "[127.0.0.0/8]", postfix: "smtpd_client_event_limit_exceptions",
        "Clients that the rates and `connections_per_client` are not for.")
    static let connections = Key(
        "connections", .integer(counts), default: "20000", example: "2000", postfix: "default_process_limit",
        "Connections of all clients together; from four fifths on, a client may take ten seconds for a command and no longer.")
    static let messagesPerConnection = Key(
        "messages_per_connection", .integer(counts), defaultNote: "no limit", example: "100",
        "Messages that one connection may bring; EHLO announces it (RFC 9422), and one more ends the connection with 421.")
    static let timeout = Key(
        "timeout", .duration(), default: "5m", example: "5m", postfix: "smtpd_timeout",
        "How long a client may take for a command; for content, how long it may stay behind a pace of 500 octets a second.")

    static let syntax = Syntax<MailSystem.Limits>.section([
        messageSize, mailboxSize, recipients, connectionsPerClient, connectionRate, messageRate, recipientRate, errorRate, exempt, connections,
        messagesPerConnection, timeout,
    ]) { section, findings in
        MailSystem.Limits(
            messageSize: section.value(messageSize, &findings), mailboxSize: section.value(mailboxSize, &findings),
            recipientsPerMessage: section.value(recipients, &findings), connectionsPerClient: section.value(connectionsPerClient, &findings),
            connectionRate: section.optional(connectionRate, &findings), messageRate: section.optional(messageRate, &findings),
            recipientRate: section.optional(recipientRate, &findings), errorRate: section.optional(errorRate, &findings),
            exempt: section.value(exempt, &findings), connections: section.value(connections, &findings),
            messagesPerConnection: section.optional(messagesPerConnection, &findings), timeout: section.value(timeout, &findings))
    }
}
