// When to try again, and when to give up. Pure: times and chance in, a time out.
//
// The delay doubles with each attempt, from `minimum` to `maximum`. With the defaults of 5m and 4h:
//
//     attempt   1    2    3    4    5    6    7 and on
//     delay     5m   10m  20m  40m  80m  160m 4h
//
// Each delay is up to a tenth longer, by chance: mail that failed together does not come back together, to a next hop that is
// just getting well.
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
    /// `chance`: a number from 0 up to 1, drawn for this message alone.
    package func nextAttempt(after attempts: Int, received: Timestamp, now: Timestamp, isBounce: Bool, chance: Double = 0) -> Timestamp? {
        let end = end(received: received, isBounce: isBounce)
        guard now < end else { return nil }
        let delay = delay(after: attempts)
        return min(now + delay + delay * (chance / 10), end)
    }

    /// No attempt is later than so long after the one before.
    var longestDelay: Duration { max(minimum, maximum) * 1.1 + .seconds(1) }

    /// When it is given up.
    func end(received: Timestamp, isBounce: Bool) -> Timestamp { received + (isBounce ? bounceLifetime : lifetime) }

    func delay(after attempts: Int) -> Duration {
        var delay = minimum
        for _ in 1..<max(attempts, 1) {
            guard delay < maximum else { break }
            delay *= 2
        }
        return min(delay, max(maximum, minimum))
    }
}
