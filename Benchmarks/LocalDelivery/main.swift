// How fast messages get into mailboxes, durably: `swift run -c release LocalDeliveryBenchmark DIRECTORY [MESSAGES [maildir|mbox]]`.
//
// Prints messages per second and CPU time per message, for batches of several sizes on one to four threads, all into one
// user's mailbox and spread over 100 users. DIRECTORY must lie on the file system in question. What the run wrote is left in
// place and named at the end: on an ext4 without journal, inodes deleted within the last seconds slow the next
// run down by several times. Compare runs by their ratios only.

import Delivery
import Glibc
import MailQueue
import MailSyntax
import Mailboxes
import NIOCore
import NIOPosix
import Synchronization

let arguments = CommandLine.arguments
guard arguments.count >= 2 else {
    print("usage: LocalDeliveryBenchmark DIRECTORY [MESSAGES [maildir|mbox]]")
    exit(64)
}
let root = "\(arguments[1])/local-delivery.\(getpid())"
let messages = arguments.count > 2 ? Int(arguments[2]) ?? 4096 : 4096
let format = arguments.count > 3 ? MailboxFormat(rawValue: arguments[3]) ?? .maildir : .maildir
guard mkdir(root, 0o700) == 0 else {
    perror(root)
    exit(73)
}

/// 4 KiB, as `smtp-source -l 4096` sends it: a short header and lines of 78 octets.
let content: ByteBuffer = {
    var text = "Received: from client.example (client.example [192.0.2.1])\r\n\tby mx.example.org with ESMTP id 1\r\nFrom: <a@example.org>\r\n"
    text += "To: <b@example.org>\r\nSubject: benchmark\r\n\r\n"
    while text.utf8.count < 4096 { text += String(repeating: "X", count: 78) + "\r\n" }
    return ByteBuffer(string: text)
}()

final class Tally: Sendable {
    let next = Atomic(0)
    let delivered = Atomic(0)
}

func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return [usage.ru_utime, usage.ru_stime].reduce(0) { $0 + Double($1.tv_sec) + Double($1.tv_usec) / 1e6 }
}

func requests(_ numbers: Range<Int>, users: Int) -> [DeliveryRequest] {
    numbers.map { number in
        let user = "user\(number % users)"
        let address = Address(localPart: user, domain: Domain(valid: "example.org"))
        return DeliveryRequest(
            id: QueueID(rawValue: 1_764_000_000_000_000 + Int64(number)), sender: address, body: .sevenBit, isInternationalized: false,
            returnContent: nil, envelopeID: nil, received: .now(), content: .inline(content),
            recipients: [
                QueuedRecipient(
                    number: 0, original: address, target: .mailbox(user: user, address: address), notify: [], originalRecipient: nil)
            ])
    }
}

func run(_ name: Int, batch: Int, threads: Int, users: Int, count: Int) async {
    let directory = "\(root)/\(name)"
    mkdir(directory, 0o700)
    let pool = NIOThreadPool(numberOfThreads: threads)
    pool.start()
    let names = Dictionary(uniqueKeysWithValues: (0..<users).map { ("user\($0)", LocalAgent.Configuration.User()) })
    let agent = LocalAgent(
        configuration: .init(directory: directory, format: format, quota: 1 << 40, users: names, hostname: "mx.example.org"), threads: pool)
    // Made beforehand: the mailboxes themselves are not what is measured.
    await agent.deliver(requests(count..<count + users, users: users), to: .mailboxes) { _ in }
    let batches = stride(from: 0, to: count, by: batch).map { requests($0..<min(count, $0 + batch), users: users) }
    let tally = Tally()
    let cpu = cpuSeconds()
    let start = ContinuousClock.now
    await withTaskGroup(of: Void.self) { group in
        for _ in 0..<threads {
            group.addTask {
                while true {
                    let index = tally.next.add(1, ordering: .relaxed).oldValue
                    guard index < batches.count else { return }
                    await agent.deliver(batches[index], to: .mailboxes) { report in
                        if case .delivered = report.outcome { tally.delivered.add(1, ordering: .relaxed) } else { print(report.outcome) }
                    }
                }
            }
        }
    }
    let seconds = (ContinuousClock.now - start).inSeconds
    let used = (cpuSeconds() - cpu) / Double(count) * 1e6
    let delivered = tally.delivered.load(ordering: .relaxed)
    let complete = delivered == count ? "" : "  INCOMPLETE: \(delivered)"
    print("\(format.rawValue) users \(users) threads \(threads) batch \(batch): \(Int(Double(count) / seconds))/s, CPU \(Int(used)) µs a message\(complete)")
    try? await pool.shutdownGracefully()
}

var number = 0
for users in [1, 100] {
    for threads in [1, 2, 4] {
        for batch in [1, 2, 3, 4, 8, 16, 64, 256] {
            number += 1
            await run(number, batch: batch, threads: threads, users: users, count: min(messages, batch * 256))
        }
    }
}
print("left in place: \(root)")
