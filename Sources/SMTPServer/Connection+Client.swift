// Who the client is: its name, what a proxy says of it, and what it may ask beyond mail (EXPN, ETRN, XCLIENT, XFORWARD).

internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import Policy
internal import Routing
internal import SMTP
internal import Telemetry

extension Connection {
    // MARK: Names

    /// Begins to look the client's name up, unless it is known. `lookUps` counts what MAIL has to wait for.
    func lookUpName() {
        guard let names = service.names, configuration.rules.looksUpNames, let address = client.address, let loop else { return }
        if let name = names.known(address, at: loop.now) {
            client.name = name
            return
        }
        guard let found = names.lookUp(address, on: loop) else {
            client.name = .unavailable
            return
        }
        wait(for: found, else: .unavailable, atMost: ClientNames.timeout) { connection, name in
            // XCLIENT may have made it another since.
            if connection.client.address == address { connection.client.name = name }
        }
    }

    /// The name in HELO, where the manifest asks for it and nothing is known of it yet.
    func lookUpHelo() {
        if client.helo != session.helo {
            client.helo = session.helo
            client.heloStanding = .unchecked
        }
        guard client.heloStanding == .unchecked, configuration.policy.needsHeloStanding(client), let names = service.names, let helo = client.helo, let loop else {
            return
        }
        wait(for: names.standing(ofHelo: helo, on: loop), else: .unavailable, atMost: ClientNames.timeout) { connection, standing in
            if connection.client.helo == helo { connection.client.heloStanding = standing }
        }
    }

    /// Takes what the future brings, or `fallback` where it takes too long.
    private func wait<Value: Sendable>(
        for future: EventLoopFuture<Value>, else fallback: Value, atMost timeout: TimeAmount, _ take: @escaping (Connection, Value) -> Void
    ) {
        guard let loop else { return }
        lookUps += 1
        var isOver = false
        let finish = { [weak self] (value: Value) in
            guard !isOver, let self else { return }
            isOver = true
            lookUps -= 1
            take(self, value)
            if lookUps == 0 { lookedUp() }
        }
        let timer = loop.assumeIsolated().scheduleTask(in: timeout) { finish(fallback) }
        future.assumeIsolated().whenComplete { result in
            timer.cancel()
            finish((try? result.get()) ?? fallback)
        }
    }

    // MARK: Proxies

    /// To be told whenever the client is another, or is known better, or the manifest is another: what it may say for others, by its
    /// address, and whether it may ask for VERP.
    func renewPrivileges() {
        session.mayUseVERP = configuration.policy.mayRelay(client)
        session.isWithinHost = client.isLocalProcess
        var privileges: ServerSession.Privileges = []
        if let address = client.address {
            if configuration.rules.override.contains(where: { $0.contains(address) }) { privileges.insert(.override) }
            if configuration.rules.forward.contains(where: { $0.contains(address) }) { privileges.insert(.forward) }
        }
        session.privileges = privileges
    }

    /// XCLIENT: another client from here on, logged in if the proxy says so and only then. Its name is believed as it is said.
    func override(_ claims: ClientClaims) {
        let address = claims[.address] == nil ? client.address : claims.address
        let name = claims[.address] == nil ? client.name : .unknown(hasReverse: false)
        client = ClientFacts(address: address, login: claims.value(.login))
        client.name = name
        switch claims[.name] {
        case .known(let text): client.name = Domain(text).map { .confirmed($0) } ?? .unknown(hasReverse: true)
        case .unavailable: client.name = .unknown(hasReverse: false)
        case .temporarilyUnavailable: client.name = .unavailable
        case nil: if claims[.address] != nil { lookUpName() }
        }
        renewPrivileges()
    }

    // MARK: EXPN, ETRN

    func expand(_ argument: String) -> Reply {
        let origin = configuration.session.origin
        guard let address = BareAddress(argument)?.qualified(with: origin) else {
            return Reply(501, EnhancedCode(5, 1, 3), "Bad recipient address syntax")
        }
        let decision = configuration.policy.expand(address, client: client)
        switch decision {
        case .refuse(let reply, let rule):
            logRefusal(reply, command: "EXPN", to: address, rule: rule)
            return reply
        case .accept(let destinations, _):
            let lines = destinations.map { destination in
                switch destination {
                case .mailbox(let user): "<\(Address(localPart: user, domain: origin))>"
                case .remote(let address): "<\(address)>"
                default: destination.description
                }
            }
            // RFC 6531 §3.7.4.2: nothing beyond ASCII for a client that did not ask for it.
            guard lines.allSatisfy({ $0.utf8.allSatisfy { $0 < 0x80 } }) else { return Reply(553, EnhancedCode(5, 6, 7), "Error: address needs SMTPUTF8") }
            return Reply(250, EnhancedCode(2, 0, 0), lines: lines)
        }
    }

    /// ETRN (RFC 1985 §5.3): tries what waits for the domain now, and says how much that is. Only for the domains that the manifest
    /// lets be asked for, and one run at a time: it looks at the whole queue.
    func runQueue(_ node: QueueNode) {
        let domains = configuration.rules.flushable.filter { $0 == node.domain || node.includesSubdomains && $0.key.hasSuffix("." + node.domain.key) }
        guard !domains.isEmpty else {
            let reply = Reply(459, EnhancedCode(4, 7, 1), "<\(node.domain)>: service unavailable")
            logRefusal(reply, command: "ETRN", rule: configuration.rules.flushableRule)
            return session.answer(reply)
        }
        guard service.beginQueueRun(), let loop else {
            return session.answer(Reply(458, EnhancedCode(4, 3, 0), "Unable to queue messages for node \(node.domain): another run is under way"))
        }
        let promise = loop.makePromise(of: Int.self)
        promise.completeWithTask { [service] in
            defer { service.endQueueRun() }
            var count = 0
            for domain in domains { count += try await service.queue.change(.flush, where: QueueSelection(site: domain)) }
            return count
        }
        promise.futureResult.assumeIsolated().whenComplete { result in
            switch result {
            case .success(0): self.answer(Reply(251, EnhancedCode(2, 0, 0), "Ok, no messages waiting for node \(node.domain)"))
            case .success(let count):
                self.answer(Reply(253, EnhancedCode(2, 0, 0), "Ok, \(count) pending message\(count == 1 ? "" : "s") for node \(node.domain) started"))
            case .failure: self.answer(Reply(458, EnhancedCode(4, 3, 0), "Unable to queue messages for node \(node.domain)"))
            }
        }
    }
}
