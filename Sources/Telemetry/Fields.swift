// The fields of a log line: typed and named once, so that a field has the same name in every event.

/// The fields of a log line, all optional, named alike in every event.
package struct Fields: Sendable {
    package struct Client: Sendable {
        package var address: String?
        package var name: String?
        package var helo: String?
        /// `SMTP`, `ESMTP`, …: how it speaks.
        package var protocolName: String?
        package init(address: String?, name: String? = nil, helo: String? = nil) {
            self.address = address
            self.name = name
            self.helo = helo
        }
    }

    package struct TLS: Sendable {
        package var version: String
        package var cipher: String
        package var bits: Int
        /// Of a connection to another server: `verified`, `dane`, or `none` where anybody will do.
        package var verification: String?

        package init(version: String, cipher: String, bits: Int, verification: String? = nil) {
            self.verification = verification
            self.version = version
            self.cipher = cipher
            self.bits = bits
        }
    }

    package var session: String?
    /// Who is logged in, or tried to be.
    package var user: String?
    /// SASL's, by which.
    package var mechanism: String?
    package var queueID: String?
    package var messageID: String?
    package var client: Client?
    package var tls: TLS?
    /// The client before the one that speaks, as XFORWARD names it, and its own name for the message.
    package var origin: Client?
    package var originID: String?
    /// Set to an empty string for the null sender.
    package var from: String?
    package var to: String?
    package var originalTo: String?
    package var recipients: Int?
    package var size: Int?
    package var relay: String?
    /// The command of ours that the next hop answered with `reply`.
    package var command: String?
    /// The message that reports this one to its sender.
    package var reportID: String?
    /// What a session had come to when it ended without QUIT: the last command, `DATA (12 bytes)`.
    package var after: String?
    package var dsn: String?
    package var reply: String?
    package var delay: Duration?
    package var rule: String?
    package var address: String?
    package var reason: String?
    package var count: Int?
    package var message: String?
    /// How much of `delay` the last attempt took; the text format shows it.
    package var attempt: Duration?
    /// Words that the text format alone has, made only if it asks.
    package var explanation: (@Sendable () -> String)?

    package init() {}
}

extension Fields {
    /// Appends `,"name":value` for each field that is set.
    func write(to line: inout JSONLine) {
        line.field("session", session)
        line.field("queue_id", queueID)
        line.field("message_id", messageID)
        for (name, client) in [("client", client), ("origin", origin)] as [(StaticString, Client?)] {
            guard let client else { continue }
            line.beginObject(name)
            line.field("address", client.address)
            line.field("name", client.name)
            line.field("helo", client.helo)
            line.field("protocol", client.protocolName)
            line.endObject()
        }
        if let tls {
            line.beginObject("tls")
            line.field("version", tls.version)
            line.field("cipher", tls.cipher)
            line.field("verification", tls.verification)
            line.endObject()
        }
        line.field("user", user)
        line.field("mechanism", mechanism)
        line.field("origin_id", originID)
        line.field("from", from)
        line.field("to", to)
        line.field("original_to", originalTo)
        line.field("recipients", recipients)
        line.field("size", size)
        line.field("relay", relay)
        line.field("command", command)
        line.field("report_id", reportID)
        line.field("after", after)
        line.field("dsn", dsn)
        line.field("reply", reply)
        if let delay { line.field("delay", delay) }
        line.field("rule", rule)
        line.field("address", address)
        line.field("count", count)
        line.field("reason", reason)
        line.field("message", message)
    }
}
