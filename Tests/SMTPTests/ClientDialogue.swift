// Plays a written dialogue against a client session.
//
// Each line of the script begins with its speaker: `S` the server sends this line, `!` an event (`lost`, `timeout`,
// `quit`, `abandon`, `encrypted`, `unverified`, `no handshake`, and before all else `TLS offered` or `TLS required`), `C` the client sends this line, `=` another action of the session. Neighbouring `S` lines arrive
// together, and the pieces they are cut into are the test's choice. When the session is ready, the next message begins
// by itself; a script with AUTH in it logs in, by PLAIN if that is offered, else by LOGIN; the content counts as written the moment it is asked for, unless the script says `! hold` before.

import MailSyntax
import NIOCore

@testable import SMTP

struct ClientDialogue {
    enum Cut: CaseIterable { case lump, drip, halves }

    let script: String
    let messages: [OutgoingMessage]

    /// The script with what the session really did in place of what was expected of it.
    func play(cut: Cut, splitAt split: Int = 0) -> String {
        var player = Player(messages: messages, dialect: script.contains("LHLO") ? .lmtp : .smtp)
        player.session.logsIn = script.contains("AUTH")
        var pending = ""
        for line in script.split(separator: "\n") {
            if line.hasPrefix("S ") {
                pending += line.dropFirst(2) + "\r\n"
                player.transcript.append(String(line))
                continue
            }
            player.hear(&pending, cut: cut, splitAt: split)
            if line.hasPrefix("! ") {
                player.transcript.append(String(line))
                player.event(String(line.dropFirst(2)))
            }
        }
        player.hear(&pending, cut: cut, splitAt: split)
        return player.transcript.joined(separator: "\n")
    }

    private struct Player {
        var session: ClientSession
        var messages: [OutgoingMessage]
        var transcript: [String] = []
        var holdsContent = false

        init(messages: [OutgoingMessage], dialect: NextHop.Dialect) {
            session = ClientSession(heloName: Domain("me.example")!, peer: "mx[192.0.2.1]", dialect: dialect)
            self.messages = messages
        }

        mutating func hear(_ text: inout String, cut: Cut, splitAt split: Int) {
            let bytes = Array(text.utf8)
            text = ""
            let pieces: [ArraySlice<UInt8>] =
                switch cut {
                case .lump: [bytes[...]]
                case .drip: bytes.indices.map { bytes[$0...$0] }
                case .halves: [bytes.prefix(split % (bytes.count + 1)), bytes.dropFirst(split % (bytes.count + 1))]
                }
            for piece in pieces where !piece.isEmpty { perform(session.receive(ByteBuffer(bytes: piece))) }
        }

        mutating func event(_ name: String) {
            switch name {
            case "lost": perform(session.connectionLost())
            case "timeout": perform(session.timedOut())
            case "quit": perform(session.quit())
            case "abandon": perform(session.abandon(because: Reply(451, EnhancedCode(4, 3, 2), "stop")))
            case "hold": holdsContent = true
            case "TLS offered": session.encryption = .offered
            case "TLS required": session.encryption = .required
            case "encrypted": perform(session.tlsEstablished())
            case "unverified": perform(session.tlsFailed("self-signed certificate", isUnverified: true))
            case "no handshake": perform(session.tlsFailed("wrong version number", isUnverified: false))
            case "broken": perform(session.tlsBroke("bad record mac"))
            default: fatalError("unknown event \(name)")
            }
        }

        mutating func perform(_ actions: [ClientSession.Action]) {
            var isReady = false
            var following: [ClientSession.Action] = []
            for action in actions {
                switch action {
                case .send(let buffer):
                    for line in String(buffer: buffer).split(separator: "\r\n", omittingEmptySubsequences: false).dropLast() {
                        transcript.append("C \(line)")
                    }
                case .sendContent:
                    transcript.append("= content")
                    if !holdsContent { session.contentSent() }
                case .sendChunks:
                    transcript.append("= chunks")
                    session.contentSent()
                case .result(let recipient, let outcome, _): transcript.append("= \(recipient) \(Self.text(outcome))")
                case .startTLS: transcript.append("= handshake")
                case .staysInClear(let reply): transcript.append("= in clear: \(reply.summary)")
                case .chooseLogin(let offered):
                    transcript.append("= offered \(offered.joined(separator: " "))")
                    following =
                        if offered.contains("PLAIN") {
                            session.beginLogin("PLAIN", initial: [0, 65, 0, 66])
                        } else if offered.contains("LOGIN") {
                            session.beginLogin("LOGIN", initial: nil)
                        } else {
                            session.giveUpLogin(because: "nothing offered")
                        }
                case .respond(let challenge):
                    transcript.append("= challenge \(String(decoding: challenge, as: UTF8.self))")
                    following = session.respond(Array("x".utf8))
                case .loggedIn: transcript.append("= logged in")
                case .ready: isReady = true
                case .unstarted(let reply): transcript.append("= unstarted \(reply.summary)")
                case .close(let reply): transcript.append("= close\(reply.map { " \($0.summary)" } ?? "")")
                }
            }
            if !following.isEmpty { return perform(following) }
            guard isReady else { return }
            transcript.append("= ready")
            if !messages.isEmpty, session.phase == .idle { perform(session.begin(messages.removeFirst())) }
        }

        static func text(_ outcome: ClientSession.Outcome) -> String {
            switch outcome {
            case .accepted(let reply, let passesOnDSN): "accepted\(passesOnDSN ? " with DSN" : "") \(reply.summary)"
            case .deferred(let reply): "deferred \(reply.summary)"
            case .failed(let reply): "failed \(reply.summary)"
            }
        }
    }
}
