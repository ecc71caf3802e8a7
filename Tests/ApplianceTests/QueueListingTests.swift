// The queue as mailq(1) prints it, and as JSON.

import MailSyntax
import Testing

@testable import Appliance
@testable import MailQueue

private func stored(_ id: Int64, from sender: String?, size: Int, isLeased: Bool = false, isHeld: Bool = false, to recipients: [(String, StoredRecipient.State, Reply?)]) -> StoredMessage {
    StoredMessage(
        id: QueueID(rawValue: id), sender: sender.flatMap { Address($0) }, received: Timestamp(seconds: 1_795_525_509), size: size,
        flags: StoredMessage.Flags(rawValue: 0), envelopeID: nil, due: Timestamp(seconds: 1_795_525_809), attempts: 1, isLeased: isLeased, isHeld: isHeld,
        recipients: recipients.enumerated().map { number, recipient in
            let address = Address(recipient.0)!
            return StoredRecipient(
                recipient: QueuedRecipient(number: number, original: address, target: .remote(address), notify: .unspecified, originalRecipient: nil),
                state: recipient.1, reply: recipient.2, relay: recipient.2 == nil ? nil : "none")
        })
}

private let refused = Reply(451, EnhancedCode(4, 4, 1), "connect to [192.0.2.1]:25: Connection refused")
private let messages = [
    stored(0x6445439EE4A40, from: "alice@example.org", size: 1234, to: [("a@x.test", .pending, refused), ("b@x.test", .pending, refused), ("c@x.test", .failed, refused)]),
    stored(0x6445439EE4A41, from: nil, size: 99, isLeased: true, to: [("d@x.test", .pending, nil)]),
]

@Test("the listing has the columns of Postfix's mailq: id with status, size, arrival, sender; reason; recipients")
func mailq() {
    var listing = QueueListing(format: .mailq)
    let text = String(decoding: listing.render([messages[0]]) + listing.render([messages[1]]) + listing.end(), as: UTF8.self)
    #expect(
        text == """
            ----Queue ID----- --Size-- ---Arrival Time---- --Sender/Recipient------
            6445439EE4A40         1234 Tue Nov 24 13:05:09 alice@example.org
                                           (connect to [192.0.2.1]:25: Connection refused)
                                                           a@x.test
                                                           b@x.test

            6445439EE4A41*          99 Tue Nov 24 13:05:09 MAILER-DAEMON
                                                           d@x.test

            -- 1 Kbytes in 2 Requests.

            """)
}

@Test("what a message asks of TLS is shown with it, in text and as JSON", arguments: [(512, "required"), (1024, "not required")] as [(Int64, String)])
func tlsOption(flag: Int64, words: String) {
    let plain = messages[0]
    let tagged = StoredMessage(
        id: plain.id, sender: plain.sender, received: plain.received, size: plain.size, flags: StoredMessage.Flags(rawValue: flag), envelopeID: nil, due: plain.due,
        attempts: plain.attempts, isLeased: false, recipients: plain.recipients)
    #expect(String(decoding: QueueListing.shown(tagged, .mailq), as: UTF8.self).contains("b@x.test\nTLS on the way: \(words) ("))
    #expect(String(decoding: QueueListing.shown(tagged, .json), as: UTF8.self).contains("\"from\":\"alice@example.org\",\"tls\":\"\(words)\",\"recipients\""))
    #expect(QueueListing.shown(plain, .mailq) == QueueListing.entry(plain, .mailq))
    #expect(QueueListing.entry(tagged, .mailq) == QueueListing.entry(plain, .mailq))
}

@Test("an empty queue is said to be empty; as JSON it is nothing")
func emptyQueue() {
    #expect(String(decoding: QueueListing(format: .mailq).end(), as: UTF8.self) == "Mail queue is empty\n")
    #expect(QueueListing(format: .json).end().isEmpty)
}

@Test("JSON has one object a line, with every recipient's state and last reply")
func json() {
    let line = String(decoding: QueueListing.json(messages[0]), as: UTF8.self)
    #expect(
        line == """
            {"queue_id":"6445439EE4A40","queue":"deferred","arrival_time":"2026-11-24T13:05:09.000000Z","next_attempt":"2026-11-24T13:10:09.000000Z","attempts":1,\
            "size":1234,"from":"alice@example.org","recipients":[\
            {"to":"a@x.test","state":"pending","dsn":"4.4.1","reply":"451 4.4.1 connect to [192.0.2.1]:25: Connection refused","relay":"none"},\
            {"to":"b@x.test","state":"pending","dsn":"4.4.1","reply":"451 4.4.1 connect to [192.0.2.1]:25: Connection refused","relay":"none"},\
            {"to":"c@x.test","state":"failed","dsn":"4.4.1","reply":"451 4.4.1 connect to [192.0.2.1]:25: Connection refused","relay":"none"}]}

            """)
    #expect(String(decoding: QueueListing.json(messages[1]), as: UTF8.self).contains("\"queue\":\"active\",") )
}

@Test("a message on hold is marked so, and what a next hop said is told in Postfix's words")
func held() {
    var message = stored(0x6445439EE4A42, from: "alice@example.org", size: 7, isHeld: true, to: [("a@x.test", .pending, Reply(450, EnhancedCode(4, 2, 1), "not now"))])
    message.recipients[0].relay = "mx.x.test[192.0.2.1]:25"
    message.recipients[0].answers = "RCPT TO"
    let text = String(decoding: QueueListing.entry(message, .mailq), as: UTF8.self)
    #expect(text.hasPrefix("6445439EE4A42!           7 Tue Nov 24 13:05:09 alice@example.org\n"), "\(text)")
    #expect(text.contains("\n(host mx.x.test[192.0.2.1] said: 450 4.2.1 not now (in reply to RCPT TO command))\n"), "\(text)")
    #expect(
        String(decoding: QueueListing.entry(message, .postqueue), as: UTF8.self) == """
            {"queue_name": "hold", "queue_id": "6445439EE4A42", "arrival_time": 1795525509, "message_size": 7, "forced_expire": false, \
            "sender": "alice@example.org", "recipients": [{"address": "a@x.test", \
            "delay_reason": "host mx.x.test[192.0.2.1] said: 450 4.2.1 not now (in reply to RCPT TO command)"}]}

            """)
    let json = String(decoding: QueueListing.json(message), as: UTF8.self)
    #expect(json.contains("\"queue\":\"hold\",") && !json.contains("next_attempt") && json.contains("\"command\":\"RCPT TO\"}"), "\(json)")
}

@Test("an envelope has postcat's records: the null sender is empty, who is done with is no recipient any more")
func envelope() {
    let text = String(decoding: QueueListing.entry(messages[0], .envelope) + QueueListing.entry(messages[1], .envelope), as: UTF8.self)
    #expect(text.hasPrefix("*** ENVELOPE RECORDS deferred/6445439EE4A40 ***\nmessage_size:            1234               0               3               0            1234               0\n"), "\(text)")
    #expect(text.contains("\nmessage_arrival_time: Tue Nov 24 13:05:09 2026\n") && text.contains("\nsender: alice@example.org\nnamed_attribute: dsn_orig_rcpt=rfc822;a@x.test\noriginal_recipient: a@x.test\nrecipient: a@x.test\n"))
    #expect(text.contains("\ndone_recipient: c@x.test\n*** ENVELOPE RECORDS active/6445439EE4A41 ***\n") && text.contains("\nsender: \n"))
}
