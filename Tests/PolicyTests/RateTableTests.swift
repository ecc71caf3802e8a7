import MailSyntax
import Testing

@testable import Policy

private func client(_ text: String) -> RateTable.Subject { .network(of: IPAddress(text)!) }

@Test("events of a subject are counted by kind, and start over a minute after the first")
func countsByTheMinute() {
    var table = RateTable()
    let one = client("192.0.2.1")
    #expect(table.note(.messages, by: one, at: 100) == 1)
    #expect(table.note(.messages, by: one, at: 159) == 2)
    #expect(table.note(.recipients, by: one, at: 159) == 1)
    #expect(table.noted(.messages, by: one, at: 159) == 2)
    #expect(table.noted(.messages, by: one, at: 160) == 0)
    #expect(table.note(.messages, by: one, at: 160) == 1)
    #expect(table.note(.recipients, by: one, at: 160) == 1)
}

@Test("clients and users do not count for each other, and a network of IPv6 is one client")
func subjectsAreApart() {
    var table = RateTable()
    #expect(table.note(.connections, by: client("192.0.2.1"), at: 0) == 1)
    #expect(table.note(.connections, by: client("192.0.2.2"), at: 0) == 1)
    #expect(table.note(.connections, by: .user("192.0.2.1"), at: 0) == 1)
    #expect(table.note(.connections, by: client("2001:db8::1"), at: 0) == 1)
    #expect(table.note(.connections, by: client("2001:db8::ffff:2"), at: 0) == 2)
    #expect(table.note(.connections, by: client("2001:db8:0:1::1"), at: 0) == 1)
}

@Test("a flood of subjects takes no more room than there is, and hides no busy one")
func aFloodIsBounded() {
    var table = RateTable(capacity: 100)
    let busy = client("192.0.2.1")
    for _ in 0..<50 { _ = table.note(.errors, by: busy, at: 0) }
    for number in 0..<10_000 {
        _ = table.note(.errors, by: .user("\(number)"), at: 1)
        #expect(table.count <= 100)
    }
    #expect(table.noted(.errors, by: busy, at: 1) == 50)
    // What is over goes first.
    _ = table.note(.errors, by: .user("late"), at: 61)
    for number in 0..<60 { _ = table.note(.errors, by: .user("\(number)"), at: 61) }
    #expect(table.noted(.errors, by: .user("late"), at: 61) == 1)
}
