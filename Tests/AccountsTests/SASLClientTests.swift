// The client's side of a login against the server's, mechanism by mechanism, and against servers that are none.

@testable import Accounts
import Testing

@Suite("SASL client")
struct SASLClientTests {
    private static let password = "p,=\"ä"
    private static let binding = ChannelBinding(name: "tls-exporter", octets: [1, 2, 3])

    /// Runs both sides; the user that the server sees, or what went wrong.
    private func run(_ mechanism: SASLMechanism, user: String = "a,b=c", password: String = SASLClientTests.password, bindings: [ChannelBinding] = []) throws -> String {
        var client = SASLClient(mechanism, user: user, password: password, bindings: bindings)
        var server = SASLExchange(mechanism, bindings: bindings, nonce: "server")
        var step = server.start(initial: client.start())
        while true {
            switch step {
            case .challenge(let challenge):
                guard case .response(let response) = client.receive(challenge) else { return "client gave up" }
                step = server.receive(response)
            case .verify(let user, let given):
                #expect(user == "a,b=c")
                step = server.passwordIs(right: given == Array(SASLClientTests.password.utf8))
            case .lookUp(_, let digest):
                step = server.keysAre(SCRAMKeys(password: Array(SASLClientTests.password.utf8), salt: [7], iterations: 4096, digest))
            case .success(let user, let final):
                if let final {
                    #expect(!client.mayTrustSuccess)
                    guard case .response([]) = client.receive(final) else { return "client does not believe the server" }
                }
                #expect(client.mayTrustSuccess)
                return user
            case .failure(let failure): return "\(failure)"
            }
        }
    }

    @Test("each mechanism logs in with the right password, and not with another", arguments: SASLMechanism.allCases)
    func mechanisms(_ mechanism: SASLMechanism) throws {
        let bindings = mechanism.bindsChannel ? [SASLClientTests.binding] : []
        #expect(try run(mechanism, bindings: bindings) == "a,b=c")
        #expect(try run(mechanism, password: "wrong", bindings: bindings) == "credentials")
    }

    @Test("the strongest mechanism is chosen that is offered and allowed")
    func choice() {
        let all = ["login", "PLAIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "XOAUTH2"]
        func choose(_ offered: [String], bindings: [ChannelBinding] = [], allowsPlaintext: Bool = true) -> SASLMechanism? {
            SASLClient.choose(among: offered, bindings: bindings, allowsPlaintext: allowsPlaintext)
        }
        #expect(choose(all, bindings: [SASLClientTests.binding]) == .scramSHA256Plus)
        #expect(choose(all) == .scramSHA256)
        #expect(choose(["LOGIN", "PLAIN"]) == .plain)
        #expect(choose(["login"]) == .login)
        #expect(choose(["LOGIN", "PLAIN"], allowsPlaintext: false) == nil)
        #expect(choose(["SCRAM-SHA-1", "PLAIN"], allowsPlaintext: false) == .scramSHA1)
        #expect(choose(["XOAUTH2", "CRAM-MD5"]) == nil)
    }

    @Test("what is no SCRAM, or not for this login, ends it", arguments: [
        "", "r=", "x=1,s=AA==,i=1", "r=other,s=AA==,i=4096", "r=nonce,s=AA==,i=4096", "r=nonce1,s=?,i=4096", "r=nonce1,s=AA==,i=0", "r=nonce1,s=AA==,i=99999999999",
        "r=nonce1,s=,i=4096",
    ])
    func impostors(_ challenge: String) {
        var client = SASLClient(.scramSHA256, user: "alice", password: "x", nonce: "nonce")
        _ = client.start()
        guard case .failure = client.receive(Array(challenge.utf8)) else { Issue.record("it went on"); return }
        #expect(!client.mayTrustSuccess)
    }

    @Test("a server that does not know the password is not believed")
    func unprovedServer() {
        var client = SASLClient(.scramSHA256, user: "alice", password: "x", nonce: "nonce")
        _ = client.start()
        guard case .response = client.receive(Array("r=nonce1,s=AA==,i=4096".utf8)) else { Issue.record("no answer"); return }
        guard case .failure(let reason) = client.receive(Array("v=AAAA".utf8)) else { Issue.record("it is believed"); return }
        #expect(reason == "the server does not know the password")
    }
}
