// When to try again, and when to give up. Pure: times in, a time out.
//
// The delay doubles with each attempt, from `minimum` to `maximum`. With the defaults of 5m and 4h:
//
//     attempt   1    2    3    4    5    6    7 and on
//     delay     5m   10m  20m  40m  80m  160m 4h
//
// RFC 5321 §4.5.4.1 asks for at least 30 minutes between attempts after the first ones, and for giving up after 4-5 days.
// The last attempt is made when the lifetime ends, so that the sender hears of a failure then and not a delay later.

package import MailSyntax

package struct RetrySchedule: Sendable {
    package let minimum: Duration
    package let maximum: Duration
    /// How long ordinary mail is tried.
    package let lifetime: Duration
    /// How long mail from the null sender is tried.
    package let bounceLifetime: Duration

    package init(minimum: Duration, maximum: Duration, lifetime: Duration, bounceLifetime: Duration) {
        self.minimum = minimum
        self.maximum = maximum
        self.lifetime = lifetime
        self.bounceLifetime = bounceLifetime
    }

    /// The time of the next attempt after a failed one at `now`, the `attempts`-th (from 1). Nil: the lifetime is over.
    package func nextAttempt(after attempts: Int, received: Timestamp, now: Timestamp, isBounce: Bool) -> Timestamp? {
        let end = received + (isBounce ? bounceLifetime : lifetime)
        guard now < end else { return nil }
        return min(now + delay(after: attempts), end)
    }

    func delay(after attempts: Int) -> Duration {
        var delay = minimum
        for _ in 1..<max(attempts, 1) {
            guard delay < maximum else { break }
            delay *= 2
        }
        return min(delay, max(maximum, minimum))
    }
}
