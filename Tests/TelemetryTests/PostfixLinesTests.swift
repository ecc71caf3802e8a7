// Events in Postfix's words; what an event lacks is left out, and nothing that a peer said makes a line of its own.

import Testing

@testable import Telemetry

struct PostfixLinesTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let event: Event
        var service = Service.smtpd
        let fields: @Sendable (inout Fields) -> Void
        let lines: [String]
        var testDescription: String { lines.first ?? event.rawValue }
    }

    private func render(_ event: Event, _ service: Service, isVerbose: Bool = true, _ fill: (inout Fields) -> Void) -> [String] {
        var fields = Fields()
        fill(&fields)
        let bytes = PostfixLines(host: "mx", process: 7, user: 65532).render(event, service, PostfixLines.level(of: event), fields, time: "Nov 24 16:00:00", isVerbose: isVerbose)
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map { line in
            let head = "Nov 24 16:00:00 mx postfix/"
            #expect(line.hasPrefix(head))
            return String(line.dropFirst(head.count))
        }
    }

    private static func from(_ address: String, helo: String? = nil, session: String = "3") -> @Sendable (inout Fields) -> Void {
        { fields in
            fields.session = session
            fields.client = Fields.Client(address: address, helo: helo)
        }
    }

    private static func closed(_ after: String?, _ dsn: String?) -> @Sendable (inout Fields) -> Void {
        { fields in
            from("192.0.2.1")(&fields)
            (fields.after, fields.dsn) = (after, dsn)
            fields.explanation = { "ehlo=1 commands=1" }
        }
    }

    private static func refused(_ command: String, _ reply: String, to: String? = nil, local: Bool = false) -> @Sendable (inout Fields) -> Void {
        { fields in
            from(local ? "local" : "192.0.2.1", helo: "c.example.net")(&fields)
            fields.client?.protocolName = "ESMTP"
            (fields.message, fields.reply, fields.from, fields.to) = (command, reply, "", to)
        }
    }

    static let sessions: [Case] = [
        Case(event: .sessionOpened, fields: from("192.0.2.1"), lines: ["smtpd[3]: connect from unknown[192.0.2.1]"]),
        Case(event: .sessionOpened, fields: from("local"), lines: []),
        Case(event: .sessionClosed, fields: closed(nil, "2.0.0"), lines: ["smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1"]),
        Case(event: .sessionClosed, fields: closed("CONNECT", nil), lines: [
            "smtpd[3]: lost connection after CONNECT from unknown[192.0.2.1]", "smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1",
        ]),
        Case(event: .sessionClosed, fields: closed("END-OF-MESSAGE", nil), lines: ["smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1"]),
        Case(event: .sessionClosed, fields: closed("END-OF-MESSAGE", "4.4.2"), lines: [
            "smtpd[3]: timeout after END-OF-MESSAGE from unknown[192.0.2.1]", "smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1",
        ]),
        Case(event: .sessionClosed, fields: closed("RCPT", "4.7.0"), lines: [
            "smtpd[3]: too many errors after RCPT from unknown[192.0.2.1]", "smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1",
        ]),
        Case(event: .sessionClosed, fields: closed("RCPT", "4.3.2"), lines: ["smtpd[3]: disconnect from unknown[192.0.2.1] ehlo=1 commands=1"]),
    ]

    static let refusals: [Case] = [
        Case(event: .messageRejected, fields: refused("RCPT", "554 5.7.1 <x@y>: Relay access denied", to: "x@y"), lines: [
            "smtpd[3]: NOQUEUE: reject: RCPT from unknown[192.0.2.1]: 554 5.7.1 <x@y>: Relay access denied; from=<> to=<x@y> proto=ESMTP helo=<c.example.net>",
        ]),
        Case(event: .messageRejected, fields: refused("MAIL FROM:<a@b> SIZE=9", "552 5.3.4 Message size exceeds fixed limit"), lines: [
            "smtpd[3]: NOQUEUE: reject: MAIL from unknown[192.0.2.1]: 552 5.3.4 Message size exceeds fixed limit; from=<> proto=ESMTP helo=<c.example.net>",
        ]),
        Case(event: .messageRejected, fields: { refused("end of DATA", "550 5.6.0 Error: bare <LF>")(&$0); $0.queueID = "64F" }, lines: [
            "smtpd[3]: 64F: reject: END-OF-MESSAGE from unknown[192.0.2.1]: 550 5.6.0 Error: bare <LF>; from=<> proto=ESMTP helo=<c.example.net>",
        ]),
        Case(event: .messageRejected, fields: refused("GET / HTTP/1.1", "554 5.7.0 Error: this is a mail server"), lines: [
            "smtpd[3]: warning: non-SMTP command from unknown[192.0.2.1]: GET / HTTP/1.1",
        ]),
        Case(event: .messageRejected, fields: refused("FOO", "500 5.5.2 Error: command not recognized"), lines: [
            "smtpd[3]: warning: 500 5.5.2 Error: command not recognized was the reply to unknown[192.0.2.1] for: FOO",
        ]),
        Case(event: .messageRejected, fields: refused("RCPT", "550 5.1.1 <a\r\nNov 24>: no\u{7F}", to: "a\nb", local: true), lines: [
            "smtpd[3]: NOQUEUE: reject: RCPT from unknown[local]: 550 5.1.1 <a??Nov 24>: no?; from=<> to=<a?b> proto=ESMTP helo=<c.example.net>",
        ]),
    ]

    private static func mail(_ fields: inout Fields) {
        (fields.queueID, fields.messageID, fields.from, fields.size, fields.recipients) = ("64F", "<1@x>", "a@x", 425, 2)
    }

    private static func delivery(_ fields: inout Fields) {
        (fields.queueID, fields.to, fields.relay, fields.dsn, fields.reply) = ("64F", "b@y", "mx.y[192.0.2.7]:25", "4.2.1", "450 4.2.1 no")
        (fields.delay, fields.attempt) = (.milliseconds(61_230), .milliseconds(1230))
        fields.explanation = { "said no" }
    }

    static let messages: [Case] = [
        Case(event: .messageAccepted, fields: { mail(&$0); from("192.0.2.1")(&$0) }, lines: [
            "smtpd[3]: 64F: client=unknown[192.0.2.1]", "cleanup[7]: 64F: message-id=<1@x>", "qmgr[7]: 64F: from=<a@x>, size=425, nrcpt=2 (queue active)",
        ]),
        Case(event: .messageAccepted, fields: { mail(&$0); from("local")(&$0); ($0.messageID, $0.from) = (nil, "") }, lines: [
            "pickup[7]: 64F: uid=65532 from=<>", "cleanup[7]: 64F: message-id=<>", "qmgr[7]: 64F: from=<>, size=425, nrcpt=2 (queue active)",
        ]),
        Case(event: .deliveryDeferred, service: .smtp, fields: delivery, lines: [
            "smtp[7]: 64F: to=<b@y>, relay=mx.y[192.0.2.7]:25, delay=61, delays=60/0/0/1.2, dsn=4.2.1, status=deferred (said no)",
        ]),
        Case(event: .deliverySent, service: .local, fields: { delivery(&$0); $0.originalTo = "info@y"; $0.dsn = "2.0.0" }, lines: [
            "local[7]: 64F: to=<b@y>, orig_to=<info@y>, relay=local, delay=61, delays=60/0/0/1.2, dsn=2.0.0, status=sent (said no)",
        ]),
        Case(event: .deliveryBounced, service: .smtp, fields: { delivery(&$0); ($0.explanation, $0.relay) = (nil, nil) }, lines: [
            "smtp[7]: 64F: to=<b@y>, relay=none, delay=61, delays=60/0/0/1.2, dsn=4.2.1, status=bounced (450 4.2.1 no)",
        ]),
        Case(event: .deliveryExpired, service: .smtp, fields: { delivery(&$0); $0.from = "a@x" }, lines: [
            "smtp[7]: 64F: to=<b@y>, relay=mx.y[192.0.2.7]:25, delay=61, delays=60/0/0/1.2, dsn=4.2.1, status=deferred (said no)",
            "qmgr[7]: 64F: from=<a@x>, status=expired, returned to sender",
        ]),
        Case(event: .bounceQueued, service: .queue, fields: {
            ($0.queueID, $0.reportID, $0.messageID, $0.size, $0.recipients, $0.message) = ("64F", "650", "<650@mx>", 900, 1, "sender non-delivery notification")
        }, lines: ["bounce[7]: 64F: sender non-delivery notification: 650", "cleanup[7]: 650: message-id=<650@mx>", "qmgr[7]: 650: from=<>, size=900, nrcpt=1 (queue active)"]),
        Case(event: .messageRemoved, service: .queue, fields: { $0.queueID = "64F" }, lines: ["qmgr[7]: 64F: removed"]),
        Case(event: .queueChanged, service: .control, fields: { ($0.queueID, $0.message) = ("64F", "removed") }, lines: ["postsuper[7]: 64F: removed"]),
        Case(event: .queueChanged, service: .control, fields: { ($0.count, $0.message) = (1, "removed") }, lines: ["postsuper[7]: Deleted: 1 message"]),
        Case(event: .queueChanged, service: .control, fields: { ($0.count, $0.message) = (20, "placed on hold") }, lines: ["postsuper[7]: Placed on hold: 20 messages"]),
        Case(event: .queueFailed, service: .queue, fields: { ($0.queueID, $0.reason) = ("64F", "disk full") }, lines: ["qmgr[7]: error: 64F: disk full"]),
        Case(event: .bounceDropped, service: .queue, fields: { ($0.queueID, $0.reason) = ("64F", "nobody") }, lines: ["qmgr[7]: warning: 64F: nobody"]),
        Case(event: .listenerOpened, service: .smtpd, fields: { $0.address = "[::]:25" }, lines: ["master[7]: listening at [::]:25"]),
    ]

    @Test("each event is the lines that Postfix would write", arguments: sessions + refusals + messages)
    func lines(_ wanted: Case) { #expect(render(wanted.event, wanted.service, wanted.fields) == wanted.lines) }

    @Test("a command that is wrong as such is a line at level debug only; a program that speaks HTTP is one always")
    func protocolErrors() {
        #expect(render(.messageRejected, .smtpd, isVerbose: false, PostfixLinesTests.refused("FOO", "500 5.5.2 Error: command not recognized")).isEmpty)
        #expect(render(.messageRejected, .smtpd, isVerbose: false, PostfixLinesTests.refused("GET /", "554 5.7.0 Error: this is a mail server")).count == 1)
    }

    @Test("every event that is logged is a line, with fields or without", arguments: Event.allCases, Service.allCases)
    func all(event: Event, service: Service) { #expect(!render(event, service) { $0.client = Fields.Client(address: "192.0.2.1") }.isEmpty) }

    @Test("a delay has two significant digits, down to a hundredth of a second", arguments: [
        (0, "0"), (4, "0"), (5, "0.01"), (40, "0.04"), (120, "0.12"), (100, "0.1"), (994, "0.99"), (999, "1"), (1234, "1.2"), (1000, "1"), (9960, "10"), (12_345, "12"), (130_400, "130"),
    ] as [(Int64, String)])
    func delays(milliseconds: Int64, text: String) { #expect(PostfixLines.seconds(.milliseconds(milliseconds)) == text) }

    @Test("connections and finished messages are told at level info, as Postfix tells them")
    func levels() {
        #expect(PostfixLines.level(of: .sessionOpened) == .info && PostfixLines.level(of: .messageRemoved) == .info)
        #expect(Event.allCases.allSatisfy { PostfixLines.level(of: $0) >= $0.level })
    }
}
