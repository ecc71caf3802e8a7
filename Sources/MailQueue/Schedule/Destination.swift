// What the queue knows of one place: what waits for it, how many deliveries may be under way, and whether it is dead.
//
// The rules are those of Postfix's queue manager with its defaults (SCHEDULER_README, "Concurrency scheduling"): begin with
// `initial` deliveries at once; each that found the place alive allows one more, up to `most`; each that did not takes one
// away. When failures add up to one cohort, which is as many as were allowed at once, the place is dead: what waits
// for it is deferred at once and untried, so that it costs nobody else a connection, and so is what comes, until `pause` is over.

internal import DequeModule
internal import MailSyntax

package struct DestinationLimits: Hashable, Sendable {
    /// Postfix's `initial_destination_concurrency`.
    package var initial = 5
    /// Postfix's `default_destination_concurrency_limit`.
    package var most = 20
    /// The time from the end of one delivery to the begin of the next, which makes it one message at a time; zero: none.
    /// Postfix's `default_destination_rate_delay`.
    package var rateDelay = Duration.zero

    package init() {}
    package init(initial: Int, most: Int, rateDelay: Duration) {
        self.initial = initial
        self.most = most
        self.rateDelay = rateDelay
    }
}

struct Destination: Sendable {
    struct Waiting: Sendable {
        let request: DeliveryRequest
        /// When it came here from the spool or a client.
        let since: Timestamp
    }

    var waiting = Deque<Waiting>()
    private(set) var running = 0
    /// How many may run; nil: the place has not been asked for yet.
    private var window: Int?
    /// Failures without a success in between, each as a part of the window that it happened in.
    private var failedCohorts = 0.0
    /// With a rate delay: not before then.
    private(set) var notBefore: Timestamp?
    /// How often mail for it was given back to the spool because it took too much room. Ends with the waiting.
    var evictions = 0
    /// Stands in the list of those to look at.
    var isReady = false

    var isIdle: Bool { running == 0 && waiting.isEmpty }

    mutating func concurrency(_ limits: DestinationLimits) -> Int {
        if limits.rateDelay > .zero { return 1 }
        let allowed = min(window ?? limits.initial, limits.most)
        window = allowed
        return allowed
    }

    mutating func begin() { running += 1 }

    /// A delivery ended, of which nothing is known.
    mutating func end() { running -= 1 }

    /// The place answered. `busy` counts the delivery that ended.
    mutating func succeed(_ limits: DestinationLimits, now: Timestamp) {
        let busy = running
        running -= 1
        failedCohorts = 0
        pace(limits, now)
        let allowed = concurrency(limits)
        // Not beyond what is used, else the window says nothing about what the place bears.
        if allowed < limits.most, allowed < busy + limits.initial { window = allowed + 1 }
    }

    /// True: the place is dead.
    mutating func fail(_ limits: DestinationLimits, now: Timestamp) -> Bool {
        running -= 1
        pace(limits, now)
        let allowed = concurrency(limits)
        failedCohorts += 1 / Double(allowed)
        window = max(1, allowed - 1)
        // A little less than 1: thirds must add up.
        return failedCohorts > 0.999
    }

    private mutating func pace(_ limits: DestinationLimits, _ now: Timestamp) {
        if limits.rateDelay > .zero { notBefore = now + limits.rateDelay }
    }
}
