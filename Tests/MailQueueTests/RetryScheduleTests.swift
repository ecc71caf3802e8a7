import MailSyntax
import Testing

@testable import MailQueue

struct RetryScheduleTests {
    private let schedule = RetrySchedule(minimum: .seconds(300), maximum: .seconds(14_400), lifetime: .seconds(432_000), bounceLifetime: .seconds(86_400))

    @Test("the delay doubles from the minimum to the maximum", arguments: [
        (0, 300), (1, 300), (2, 600), (3, 1200), (4, 2400), (5, 4800), (6, 9600), (7, 14_400), (8, 14_400), (1000, 14_400), (Int.max, 14_400),
    ])
    func delay(attempts: Int, seconds: Int) {
        #expect(schedule.nextAttempt(after: attempts, received: epoch, now: epoch, isBounce: false) == epoch + .seconds(seconds))
    }

    @Test("chance makes a delay up to a tenth longer, and never later than the end", arguments: [(0.0, 300.0), (0.5, 315.0), (0.999_999, 330.0)])
    func chance(chance: Double, seconds: Double) {
        let due = schedule.nextAttempt(after: 1, received: epoch, now: epoch, isBounce: false, chance: chance)!
        #expect(abs(Double((due - epoch).inMicroseconds) / 1e6 - seconds) < 0.001)
        #expect(schedule.nextAttempt(after: 9, received: epoch, now: epoch + .seconds(431_999), isBounce: false, chance: chance) == epoch + .seconds(432_000))
        #expect(due < epoch + schedule.longestDelay)
    }

    @Test("the last attempt is at the end of the lifetime, and none comes after", arguments: [
        // now, next, both in seconds after arrival; is it a bounce
        (431_999, 432_000, false), (425_000, 432_000, false), (417_600, 432_000, false), (417_599, 431_999, false), (432_000, nil, false),
        (1_000_000, nil, false), (86_399, 86_400, true), (86_400, nil, true), (86_400, 100_800, false),
    ] as [(Int, Int?, Bool)])
    func end(now: Int, next: Int?, isBounce: Bool) {
        let due = schedule.nextAttempt(after: 9, received: epoch, now: epoch + .seconds(now), isBounce: isBounce)
        #expect(due == next.map { epoch + .seconds($0) })
    }

    @Test("a maximum below the minimum does not shorten the delay") func crossed() {
        let schedule = RetrySchedule(minimum: .seconds(600), maximum: .seconds(60), lifetime: .seconds(432_000), bounceLifetime: .seconds(1))
        #expect(schedule.nextAttempt(after: 5, received: epoch, now: epoch, isBounce: false) == epoch + .seconds(600))
    }

    @Test("a clock that was set back still gives a time to come") func clockBack() {
        let now = epoch + .seconds(-1000)
        #expect(schedule.nextAttempt(after: 1, received: epoch, now: now, isBounce: false)! > now)
    }
}
