// What a server keeps of a password for SCRAM (RFC 5802 §3): enough to check a proof, too little to make one.

internal import MailSyntax

package struct SCRAMKeys: Sendable {
    let digest: Digest
    let salt: [UInt8]
    let iterations: Int
    let storedKey: [UInt8]
    let serverKey: [UInt8]

    /// RFC 7677 §4 asks for 4096 at least; that was in 2015.
    static let iterations = 100_000
    /// More would let whoever writes the hash keep a thread busy for minutes.
    static let mostIterations = 10_000_000

    private init?(_ digest: Digest, salt: [UInt8]?, iterations: Int?, storedKey: [UInt8]?, serverKey: [UInt8]?) {
        guard let salt, let iterations, let storedKey, let serverKey, !salt.isEmpty, (1...SCRAMKeys.mostIterations).contains(iterations),
            storedKey.count == digest.length, serverKey.count == digest.length
        else { return nil }
        self.digest = digest
        self.salt = salt
        self.iterations = iterations
        self.storedKey = storedKey
        self.serverKey = serverKey
    }

    /// Dovecot's: `ITERATIONS,SALT,STOREDKEY,SERVERKEY`, the last three in base64.
    init?(dovecot text: String, _ digest: Digest) {
        let parts = text.split(separator: ",", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        self.init(
            digest, salt: Base64.decode(parts[1].utf8), iterations: Int(parts[0]), storedKey: Base64.decode(parts[2].utf8),
            serverKey: Base64.decode(parts[3].utf8))
    }

    /// PostgreSQL's: `SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY`.
    init?(postgres text: String) {
        let parts = text.split(separator: "$", omittingEmptySubsequences: false).map { $0.split(separator: ":", omittingEmptySubsequences: false) }
        guard parts.count == 3, parts[0] == ["SCRAM-SHA-256"] || parts[0] == ["SCRAM-SHA-1"], parts[1].count == 2, parts[2].count == 2 else { return nil }
        self.init(
            parts[0] == ["SCRAM-SHA-1"] ? .sha1 : .sha256, salt: Base64.decode(parts[1][1].utf8), iterations: Int(parts[1][0]),
            storedKey: Base64.decode(parts[2][0].utf8), serverKey: Base64.decode(parts[2][1].utf8))
    }

    /// RFC 5802 §3. Takes the time of `iterations`.
    init(password: [UInt8], salt: [UInt8], iterations: Int, _ digest: Digest) {
        let salted = digest.stretch(password, salt: salt, iterations: iterations)
        self.digest = digest
        self.salt = salt
        self.iterations = iterations
        storedKey = digest.hash(digest.hmac(key: salted, Array("Client Key".utf8)))
        serverKey = digest.hmac(key: salted, Array("Server Key".utf8))
    }

    var dovecotText: String {
        "{\(digest == .sha1 ? "SCRAM-SHA-1" : "SCRAM-SHA-256")}\(iterations),\(Base64.encode(salt)),\(Base64.encode(storedKey)),\(Base64.encode(serverKey))"
    }

    /// True if the password has these keys. Blocks.
    func verify(_ password: [UInt8]) -> Bool {
        isEqualInConstantTime(SCRAMKeys(password: password, salt: salt, iterations: iterations, digest).storedKey, storedKey)
    }

    /// The signature that proves the server to the client, if `proof` proves the client to the server (RFC 5802 §3).
    func signature(for proof: [UInt8], message: [UInt8]) -> [UInt8]? {
        guard proof.count == digest.length else { return nil }
        let clientSignature = digest.hmac(key: storedKey, message)
        let clientKey = zip(proof, clientSignature).map { $0 ^ $1 }
        guard isEqualInConstantTime(digest.hash(clientKey), storedKey) else { return nil }
        return digest.hmac(key: serverKey, message)
    }

    /// For a user who does not exist: a salt that stays the same for a name, as a real one would, and keys that nothing fits.
    static func decoy(for user: String, secret: [UInt8], iterations: Int, _ digest: Digest) -> SCRAMKeys {
        let salt = Array(digest.hmac(key: secret, Array(user.utf8)).prefix(16))
        return SCRAMKeys(digest, salt: salt, iterations: iterations, storedKey: randomOctets(digest.length), serverKey: randomOctets(digest.length))!
    }
}
