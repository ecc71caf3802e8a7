import MailQueue
import Testing

@Suite("A queue id")
struct QueueIDTests {
    @Test("is written in upper-case hexadecimal, and read again", arguments: [0, 1, 15, 16, 0xABC, 0x6_4454_39EE_4A40, 1 << 59] as [Int64])
    func text(number: Int64) {
        #expect(QueueID(rawValue: number).description == String(number, radix: 16, uppercase: true))
        #expect(QueueID(QueueID(rawValue: number).description) == QueueID(rawValue: number))
    }
}
