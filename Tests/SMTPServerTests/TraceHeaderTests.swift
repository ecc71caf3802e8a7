// The Received field, and what is read of a header.

import MailQueue
import MailSyntax
import NIOCore
import Testing

@testable import SMTPServer

private func field(client: String?, helo: String?, to recipients: [String]) -> String {
    receivedField(
        Origin(client: client.flatMap { IPAddress($0) }, helo: helo, protocolName: "ESMTP"), by: Domain("mx.example.org")!, id: QueueID(rawValue: 0xABC),
        recipients: recipients.map { EnvelopeRecipient(address: Address($0)!) }, at: Timestamp(seconds: 0))
}

@Test(
    "a Received field names the client as RFC 5321 §4.4 wants it, whatever it called itself",
    arguments: [
        ("192.0.2.1", "client.example.net", "from client.example.net (unknown [192.0.2.1])\r\n\t"),
        ("2001:db8::1", "client.example.net", "from client.example.net (unknown [IPv6:2001:db8::1])\r\n\t"),
        ("192.0.2.1", "[192.0.2.1]", "from [192.0.2.1] (unknown [192.0.2.1])\r\n\t"),
        ("192.0.2.1", "[IPv6:2001:db8::1]", "from [IPv6:2001:db8::1] (unknown [192.0.2.1])\r\n\t"),
        ("192.0.2.1", "under_score", "from under_score (unknown [192.0.2.1])\r\n\t"),
        // No domain, and so not in there.
        ("192.0.2.1", nil, "from [192.0.2.1] (unknown [192.0.2.1])\r\n\t"),
        ("192.0.2.1", "(comment)", "from [192.0.2.1] (unknown [192.0.2.1])\r\n\t"),
        ("192.0.2.1", "a;b", "from [192.0.2.1] (unknown [192.0.2.1])\r\n\t"),
        ("192.0.2.1", "<x@y>", "from [192.0.2.1] (unknown [192.0.2.1])\r\n\t"),
        (nil, "localhost", ""),
    ] as [(String?, String?, String)])
func clientInReceived(client: String?, helo: String?, from: String) {
    #expect(
        field(client: client, helo: helo, to: ["alice@example.org"])
            == "Received: \(from)by mx.example.org (Valija) with ESMTP id ABC\r\n\tfor <alice@example.org>; Thu, 1 Jan 1970 00:00:00 +0000\r\n")
}

@Test("no recipient learns of another: FOR is for a single one")
func severalRecipients() {
    #expect(!field(client: "192.0.2.1", helo: nil, to: ["alice@example.org", "bob@example.org"]).contains("for "))
}

@Test(
    "a header's hops and Message-ID are read, and nothing of the body",
    arguments: [
        ("Received: a\r\nMessage-ID: <1@x>\r\nReceived: b\r\n\r\nReceived: body\r\n", 2, "<1@x>"),
        ("RECEIVED: a\r\nmessage-id:<1@x>\r\n\r\n", 1, "<1@x>"),
        ("Message-ID:\r\n <folded@x>\r\nSubject: x\r\n\r\n", 0, "<folded@x>"),
        ("Message-ID:\r\n\t <folded@x> \r\n\r\n", 0, "<folded@x>"),
        ("Message-ID:\r\nSubject: x\r\n\r\n", 0, nil),
        ("Message-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n", 0, "<1@x>"),
        ("Received-SPF: pass\r\nX-Received: a\r\nSubject: x\r\n Received: folded\r\n\r\n", 0, nil),
        ("Subject: x\r\n\r\nMessage-ID: <body@x>\r\n", 0, nil),
        ("\r\nReceived: body\r\n", 0, nil),
        ("Received: cut off", 0, nil),
        ("", 0, nil),
    ] as [(String, Int, String?)])
func headerSummary(header: String, hops: Int, messageID: String?) {
    let summary = HeaderSummary(ByteBuffer(string: header))
    #expect(summary.hops == hops)
    #expect(summary.messageID == messageID)
}

@Test(
    "TLS-Required: No is read where it stands once in the header, with that value",
    arguments: [
        ("TLS-Required: No\r\n\r\n", true), ("tls-required:NO\r\nSubject: x\r\n\r\n", true), ("Subject: x\r\nTLS-Required:\r\n\tno \r\n\r\n", true),
        ("TLS-Required: Yes\r\n\r\n", false), ("TLS-Required: No\r\nTLS-Required: No\r\n\r\n", false), ("TLS-Required: No\r\nTLS-Required: Yes\r\n\r\n", false),
        ("TLS-Required:\r\nSubject: no\r\n\r\n", false), ("X-TLS-Required: No\r\n\r\n", false), ("Subject: x\r\n TLS-Required: No\r\n\r\n", false),
        ("Subject: x\r\n\r\nTLS-Required: No\r\n", false), ("TLS-Required: No, really\r\n\r\n", false), ("TLS-Required: None\r\n\r\n", false), ("", false),
    ])
func waiver(header: String, waives: Bool) { #expect(HeaderSummary(ByteBuffer(string: header)).waivesTLS == waives) }

@Test("a Message-ID without end is shown to a bound")
func longMessageID() {
    #expect(HeaderSummary(ByteBuffer(string: "Message-ID: " + String(repeating: "x", count: 5000) + "\r\n\r\n")).messageID?.count == 250)
}
