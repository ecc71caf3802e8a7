import NIOConcurrencyHelpers

/// Raised once; whoever waits goes on.
final class Flag: Sendable {
    private let lock = ConditionLock(value: false)
    func raise() {
        lock.lock()
        lock.unlock(withValue: true)
    }
    func wait() {
        lock.lock(whenValue: true)
        lock.unlock()
    }
}
