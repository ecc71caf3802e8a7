// How long a client is waited for. Whole commands count, and content at a decent pace: a client that sends an octet now and
// then, so that it is never silent for long, gets no more time than one that sends none.

internal import NIOCore

struct Patience {
    /// Content that comes at this pace or faster has all the time it needs; octets a second (Postfix `smtpd_min_data_rate`).
    private static let slowestContent: Int64 = 500
    /// What a client may take while the server is full (Postfix `smtpd_timeout = ${stress?{10}:{300}}s`).
    private static let underStress = TimeAmount.seconds(10)

    private var since: NIODeadline

    init(_ now: NIODeadline) { since = now }

    /// The client did what was due, or waits for us.
    mutating func renew(_ now: NIODeadline) { since = now }

    /// Octets of content came.
    mutating func earn(octets: Int, _ now: NIODeadline) {
        since = min(now, since + .nanoseconds(Int64(octets) * (1_000_000_000 / Patience.slowestContent)))
    }

    func isOver(_ now: NIODeadline, allowed: TimeAmount, isUnderStress: Bool) -> Bool {
        since + (isUnderStress ? min(allowed, Patience.underStress) : allowed) <= now
    }
}
