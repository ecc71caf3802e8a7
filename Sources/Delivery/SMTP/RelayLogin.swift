// How this server logs in at a next hop: with which name and password, by which mechanism. The exchange runs on threads that may
// be kept busy, since SCRAM has the server say how much work a login is.

internal import Accounts
internal import NIOCore
internal import NIOPosix

extension SMTPAgent {
    package struct Login: Sendable {
        package var user: String
        package var password: String
        /// Whether the password may be shown to the server where nobody encrypts.
        package var allowsPlaintext: Bool

        package init(user: String, password: String, allowsPlaintext: Bool) {
            self.user = user
            self.password = password
            self.allowsPlaintext = allowsPlaintext
        }
    }
}

/// The login of one connection, on its event loop.
struct RelayLogin {
    private var client: SASLClient
    /// What goes with AUTH.
    let initial: [UInt8]?
    var mechanism: String { client.mechanism.rawValue }

    /// Why there is none.
    struct Obstacle: Error {
        let reason: String
    }

    init(_ login: SMTPAgent.Login, offered: [String], isEncrypted: Bool, bindings: [ChannelBinding]) throws(Obstacle) {
        guard !offered.isEmpty else { throw Obstacle(reason: "the server offers no AUTH\(isEncrypted ? "" : " without TLS")") }
        let allowsPlaintext = isEncrypted || login.allowsPlaintext
        guard let mechanism = SASLClient.choose(among: offered, bindings: bindings, allowsPlaintext: allowsPlaintext) else {
            let reason = allowsPlaintext ? "it offers none of ours" : "the connection is not encrypted, and it offers none that hides the password"
            throw Obstacle(reason: "\(reason) (AUTH \(offered.prefix(10).joined(separator: " ")))")
        }
        client = SASLClient(mechanism, user: login.user, password: login.password, bindings: bindings)
        initial = client.start()
    }

    /// RFC 5802 §5: a server that takes a login without having proved that it knows the password is another one.
    var mayTrustSuccess: Bool { client.mayTrustSuccess }

    /// The answer to a challenge, and the login as it is then.
    func answer(_ challenge: [UInt8], on threads: NIOThreadPool, _ loop: any EventLoop) -> EventLoopFuture<(RelayLogin, SASLClient.Step)> {
        threads.runIfActive(eventLoop: loop) {
            var login = self
            let step = login.client.receive(challenge)
            return (login, step)
        }
    }
}
