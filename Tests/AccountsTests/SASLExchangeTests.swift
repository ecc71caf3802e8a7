// SASL logins word by word, with the examples of the RFCs.

@testable import Accounts
import MailSyntax
import Testing

private func octets(_ text: String) -> [UInt8] { Array(text.utf8) }

/// A step in one line.
private func shown(_ step: SASLExchange.Step) -> String {
    switch step {
    case .challenge(let octets): "challenge \(String(decoding: octets, as: UTF8.self))"
    case .verify(let user, let password): "verify \(user) \(String(decoding: password, as: UTF8.self))"
    case .lookUp(let user, _): "look up \(user)"
    case .success(let user, let final): "success \(user) \(String(decoding: final ?? [], as: UTF8.self))"
    case .failure(let failure): "failure \(failure)"
    }
}

struct SCRAMExample: Sendable {
    let mechanism: SASLMechanism
    let nonce: String
    let salt: String
    let first: String
    let serverFirst: String
    let final: String
    let serverFinal: String
}

private let scramExamples = [
    // RFC 5802 §5
    SCRAMExample(
        mechanism: .scramSHA1, nonce: "3rfcNHYJY1ZVvWVs7j", salt: "QSXCR+Q6sek8bf92", first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
        serverFirst: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
        final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=", serverFinal: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ="),
    // RFC 7677 §3
    SCRAMExample(
        mechanism: .scramSHA256, nonce: "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", salt: "W22ZaJ0SNY7soEsUEjb6gQ==", first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
        serverFirst: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        serverFinal: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
]

@Suite("SASL")
struct SASLExchangeTests {
    @Test("PLAIN shows name and password in one response", arguments: [
        ("\0tim\0tanstaaftanstaaf", "verify tim tanstaaftanstaaf"), ("tim\0tim\0x", "verify tim x"), ("Ursel\0Kurt\0xipj3plmq", "failure authorization"),
        ("tim\0tan", "failure malformed"), ("\0tim\0a\0b", "failure malformed"), ("\0\0x", "failure malformed"), ("", "failure malformed"), ("\0a\u{1}b\0x", "failure malformed"),
    ])
    func plain(_ response: String, _ expected: String) {
        var exchange = SASLExchange(.plain, nonce: "x")
        #expect(shown(exchange.start(initial: octets(response))) == expected)
    }

    @Test("PLAIN without an initial response gets an empty challenge; the verdict ends it")
    func plainLater() {
        var exchange = SASLExchange(.plain, nonce: "x")
        #expect(shown(exchange.start(initial: nil)) == "challenge ")
        #expect(shown(exchange.receive(octets("\0tim\0pw"))) == "verify tim pw")
        #expect(shown(exchange.passwordIs(right: true)) == "success tim ")
        #expect(shown(exchange.passwordIs(right: true)) == "failure malformed", "once is enough")
    }

    @Test("LOGIN asks for both, or takes the name with the command")
    func login() {
        var exchange = SASLExchange(.login, nonce: "x")
        #expect(shown(exchange.start(initial: nil)) == "challenge Username:")
        #expect(shown(exchange.receive(octets("tim"))) == "challenge Password:")
        #expect(shown(exchange.receive(octets("pw"))) == "verify tim pw")
        #expect(shown(exchange.passwordIs(right: false)) == "failure credentials")
        var other = SASLExchange(.login, nonce: "x")
        #expect(shown(other.start(initial: octets("tim"))) == "challenge Password:")
    }

    @Test("SCRAM is word for word the examples of RFC 5802 and RFC 7677, and whatever differs is no login", arguments: scramExamples)
    func scram(_ example: SCRAMExample) {
        let keys = SCRAMKeys(password: octets("pencil"), salt: Base64.decode(example.salt.utf8)!, iterations: 4096, example.mechanism.digest)
        func answer(to final: String) -> String {
            var exchange = SASLExchange(example.mechanism, nonce: example.nonce)
            #expect(shown(exchange.start(initial: octets(example.first))) == "look up user")
            #expect(shown(exchange.keysAre(keys)) == "challenge \(example.serverFirst)")
            return shown(exchange.receive(octets(final)))
        }
        let final = example.final
        #expect(answer(to: final) == "success user \(example.serverFinal)")
        #expect(answer(to: final.dropLast(8) + "AAAAAAA=") == "failure credentials")
        #expect(answer(to: "c=biws,r=x" + final.dropFirst(9)) == "failure credentials")
        #expect(answer(to: "c=eSws" + final.dropFirst(6)) == "failure channelBinding")
        #expect(answer(to: String(final.dropLast(1))) == "failure malformed")
        #expect(answer(to: "") == "failure malformed")
    }

    @Test("-PLUS binds the login to the channel; a client that could and was told it could not finds somebody between")
    func channelBinding() {
        let binding = ChannelBinding(name: "tls-exporter", octets: [1, 2, 3])
        func first(_ mechanism: SASLMechanism, _ header: String, _ bindings: [ChannelBinding]) -> String {
            var exchange = SASLExchange(mechanism, bindings: bindings, nonce: "s")
            return shown(exchange.start(initial: octets("\(header)n=user,r=c")))
        }
        #expect(first(.scramSHA256Plus, "p=tls-exporter,,", [binding]) == "look up user")
        #expect(first(.scramSHA256Plus, "p=tls-unique,,", [binding]) == "failure channelBinding")
        #expect(first(.scramSHA256Plus, "n,,", [binding]) == "failure malformed")
        #expect(first(.scramSHA256, "p=tls-exporter,,", [binding]) == "failure malformed")
        #expect(first(.scramSHA256, "y,,", [binding]) == "failure channelBinding")
        #expect(first(.scramSHA256, "y,,", []) == "look up user")

        let keys = SCRAMKeys(password: octets("pencil"), salt: [1], iterations: 10, .sha256)
        for (channel, expected) in [([1, 2, 3] as [UInt8], "success user"), ([1, 2, 4], "failure channelBinding"), ([], "failure channelBinding")] {
            var exchange = SASLExchange(.scramSHA256Plus, bindings: [binding], nonce: "s")
            _ = exchange.start(initial: octets("p=tls-exporter,,n=user,r=c"))
            guard case .challenge(let challenge) = exchange.keysAre(keys) else { return #expect(Bool(false), "no challenge") }
            let plain = "c=\(Base64.encode(octets("p=tls-exporter,,") + channel)),r=cs"
            let message = octets("n=user,r=c,\(String(decoding: challenge, as: UTF8.self)),\(plain)")
            let clientKey = Digest.sha256.hmac(key: Digest.sha256.stretch(octets("pencil"), salt: [1], iterations: 10), octets("Client Key"))
            let proof = zip(clientKey, Digest.sha256.hmac(key: keys.storedKey, message)).map { $0 ^ $1 }
            #expect(shown(exchange.receive(octets("\(plain),p=\(Base64.encode(proof))"))).hasPrefix(expected), "\(channel)")
        }
    }

    @Test("malformed first messages of SCRAM are refused", arguments: [
        "", "n", "n,,", "x,,n=u,r=c", "n,,n=,r=c", "n,,n=u,r=", "n,,m=ext,n=u,r=c", "n,,n=a=b,r=c", "n,a=other,n=u,r=c", "n,b,n=u,r=c", "n,,r=c,n=u",
    ])
    func malformed(_ text: String) {
        var exchange = SASLExchange(.scramSHA256, nonce: "s")
        #expect(shown(exchange.start(initial: octets(text))).hasPrefix("failure"))
    }

    @Test("a name may hold a comma and an equals sign, escaped")
    func escapedName() {
        var exchange = SASLExchange(.scramSHA256, nonce: "s")
        #expect(shown(exchange.start(initial: octets("n,,n=a=2Cb=3Dc,r=c"))) == "look up a,b=c")
    }
}
