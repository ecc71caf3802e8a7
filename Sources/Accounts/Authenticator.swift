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
        /// Of the user, whose name is as the directory spells it, or a decoy's.
        case keys(SCRAMKeys, user: String)
        case unavailable(reason: String)
    }

    /// Logins that wait for a thread, beyond which there is no use in waiting.
    private static let mostWaiting = 200

    private let directory: any Directory
    private let threads: NIOThreadPool
    private let waiting = NIOLockedValueBox(0)
    private let knowledge: NIOLockedValueBox<Knowledge>
    /// One for the life of the process: the salt of a user who does not exist is not to change where that of others stays.
    private static let decoySecret = randomOctets(32)

    /// What is known of the directory as a whole.
    private struct Knowledge {
        /// What a login of an unknown user is compared with: a password as most of the directory's users have it.
        var stranger: StoredPassword
        var mechanisms: [SASLMechanism]
        var isRefreshing = false
    }

    /// Asks the directory for all its accounts, which may take as long as they are many.
    package init(_ directory: any Directory, threads: NIOThreadPool) {
        self.directory = directory
        self.threads = threads
        knowledge = NIOLockedValueBox(Authenticator.knowledge(of: directory))
    }

    /// What may be offered: those that show the password always, and SCRAM where everybody who can log in has keys for it
    /// (a client tries the strongest that is offered, and has no second choice). Strongest first.
    package var mechanisms: [SASLMechanism] { knowledge.withLockedValue { $0.mechanisms } }

    /// Looks for changes in the directory, on a thread of its own, for the logins to come.
    package func refresh() {
        let isDue = knowledge.withLockedValue { knowledge in
            defer { knowledge.isRefreshing = true }
            return !knowledge.isRefreshing
        }
        guard isDue else { return }
        threads.submit { [self] _ in
            let new = directory.refresh() ? Authenticator.knowledge(of: directory) : nil
            knowledge.withLockedValue { knowledge in
                knowledge = new ?? knowledge
                knowledge.isRefreshing = false
            }
        }
    }

    private static func knowledge(of directory: any Directory) -> Knowledge {
        let passwords = directory.accounts?.compactMap(\.password)
        let mechanisms = SASLMechanism.allCases.filter { mechanism in
            if mechanism.needsPassword { return true }
            guard let passwords, !passwords.isEmpty else { return false }
            return passwords.allSatisfy { $0.scramKeys?.digest == mechanism.digest }
        }
        var kinds: [String: (count: Int, sample: StoredPassword)] = [:]
        for password in passwords ?? [] { kinds[password.kind, default: (0, password)].count += 1 }
        return Knowledge(stranger: kinds.values.max { $0.count < $1.count }?.sample ?? defaultSample, mechanisms: mechanisms)
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
                    knowledge.withLockedValue { $0.stranger }.verifyInVain(password)
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
                if let account = try directory.account(named: user), let keys = account.password?.scramKeys, keys.digest == digest {
                    return .keys(keys, user: account.name)
                }
                let iterations = knowledge.withLockedValue { $0.stranger }.scramKeys?.iterations ?? SCRAMKeys.iterations
                return .keys(.decoy(for: lowercasedASCII(user), secret: Authenticator.decoySecret, iterations: iterations, digest), user: user)
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
