// Says whether a login is right. Hashing takes long by purpose, so it runs on a few threads of its own, and no more logins
// wait for them than a bound: beyond it the answer is to come back later, and other sessions notice nothing.
//
// A user who does not exist costs the same time as one who does, and gets the same answer. Failures are counted by the
// client's address and by the user's name together and apart (`LoginThrottle`).

internal import MailSyntax
internal import NIOConcurrencyHelpers
package import NIOPosix

package final class Authenticator: Sendable {
    package enum Verdict: Sendable {
        case right(user: String)
        case wrong
        /// Nobody can say now: too many logins at once, or the directory is away. `reason` is for the log.
        case unavailable(reason: String)
    }

    package enum Keys: Sendable {
        /// Of the user, or a decoy's.
        case keys(SCRAMKeys)
        case unavailable(reason: String)
    }

    /// Logins that wait for a thread, beyond which there is no use in waiting.
    private static let mostWaiting = 200

    private let directory: any Directory
    private let threads: NIOThreadPool
    private let waiting = NIOLockedValueBox(0)
    /// What a login of an unknown user is compared with: the costliest kind of hash that the directory was seen to hold.
    private let stranger: StoredPassword
    private let decoySecret = randomOctets(32)

    /// `sample`: a stored password as this directory's users have them, for the time that an unknown one takes.
    package init(_ directory: any Directory, sample: StoredPassword?, threads: NIOThreadPool) {
        self.directory = directory
        self.threads = threads
        stranger = sample ?? Authenticator.defaultSample
    }

    /// sha512crypt of nothing in particular.
    private static let defaultSample = StoredPassword.hash(randomOctets(16).map { $0 | 1 }, scheme: .sha512crypt).flatMap { try? StoredPassword($0) }
        ?? StoredPassword(scram: SCRAMKeys(password: [1], salt: [1], iterations: SCRAMKeys.iterations, .sha256))

    /// Calls back on a thread of its own.
    package func verify(user: String, password: [UInt8], completion: @escaping @Sendable (Verdict) -> Void) {
        run(completion, busy: { .unavailable(reason: $0) }) { [self] in
            do throws(DirectoryError) {
                let account = try directory.account(named: user)
                guard let account, let stored = account.password else {
                    stranger.verifyInVain(password)
                    return .wrong
                }
                return stored.verify(password) ? .right(user: account.name) : .wrong
            } catch {
                return .unavailable(reason: error.description)
            }
        }
    }

    /// Calls back on a thread of its own. `digest` is the mechanism's; a user whose keys are of another has none for it.
    package func keys(of user: String, _ digest: Digest, completion: @escaping @Sendable (Keys) -> Void) {
        run(completion, busy: { .unavailable(reason: $0) }) { [self] in
            do throws(DirectoryError) {
                if let keys = try directory.account(named: user)?.password?.scramKeys, keys.digest == digest { return .keys(keys) }
                let iterations = stranger.scramKeys?.iterations ?? SCRAMKeys.iterations
                return .keys(.decoy(for: lowercasedASCII(user), secret: decoySecret, iterations: iterations, digest))
            } catch {
                return .unavailable(reason: error.description)
            }
        }
    }

    private func run<Result: Sendable>(
        _ completion: @escaping @Sendable (Result) -> Void, busy: (String) -> Result, _ work: @escaping @Sendable () -> Result
    ) {
        let isAdmitted = waiting.withLockedValue { waiting in
            guard waiting < Authenticator.mostWaiting else { return false }
            waiting += 1
            return true
        }
        guard isAdmitted else { return completion(busy("\(Authenticator.mostWaiting) logins are being checked")) }
        threads.submit { [self] state in
            defer { waiting.withLockedValue { $0 -= 1 } }
            guard case .active = state else { return }
            completion(work())
        }
    }
}
