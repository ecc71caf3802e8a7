import MailQueue
import Testing

@Suite("A queue id")
struct QueueIDTests {
    @Test("is written in upper-case hexadecimal, and read again", arguments: [0, 1, 15, 16, 255, 0xABC, 1_795_525_509_123_456, 0x6_4454_39EE_4A40, 1 << 59] as [Int64])
    func text(number: Int64) {
        #expect(QueueID(rawValue: number).description == String(number, radix: 16, uppercase: true))
        #expect(QueueID(QueueID(rawValue: number).description) == QueueID(rawValue: number))
    }

    @Test("is not just any text", arguments: ["", "+1", "-1", "xyz", "1 ", "0123456789ABCDEF", "1.eml"])
    func noID(text: String) { #expect(QueueID(text) == nil) }
}
