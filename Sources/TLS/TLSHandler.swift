// TLS on a channel: OpenSSL between the socket and what speaks the protocol. First in the pipeline, from the connection's start or,
// after STARTTLS, from the moment that the last octet in clear was written.
//
// OpenSSL reads from and writes to buffers of this handler through a BIO of ours, so that nothing is copied but by the cipher.
// Memory is bounded: OpenSSL keeps one record that is not whole, all others are passed on at once, and whoever reads them decides
// whether more is read. Until the handshake is done nothing is passed on and what is written waits; then `TLSEvent.established`
// comes first. Every failure is a `TLSFailure` down the pipeline, after which the channel is closed.
//
// Does not: know SMTP. Who puts it into a pipeline drops what came before in clear (RFC 3207 §4.2).

internal import COpenSSL
package import NIOCore

package final class TLSHandler: ChannelDuplexHandler {
    package typealias InboundIn = ByteBuffer
    package typealias InboundOut = ByteBuffer
    package typealias OutboundIn = ByteBuffer
    package typealias OutboundOut = ByteBuffer

    private enum State { case handshaking, established, ended }

    private let session: OpaquePointer
    /// Keeps alive what the session's callbacks refer to.
    private let owner: AnyObject
    private let requirement: PeerRequirement?
    private let handshakeTimeout: TimeAmount

    private var state = State.handshaking
    private var hasBegun = false
    /// From the socket, for OpenSSL.
    fileprivate var received = ByteBuffer()
    /// From OpenSSL, for the socket.
    fileprivate var produced = ByteBuffer()
    private var waiting: [(bytes: ByteBuffer, promise: EventLoopPromise<Void>?)] = []
    private var promises: [EventLoopPromise<Void>] = []
    private var deadline: Scheduled<Void>?

    package private(set) var facts: TLSFacts?

    /// The server's side.
    package convenience init(_ context: ServerContext, handshakeTimeout: TimeAmount) throws(TLSFailure) {
        guard let session = context.makeSession() else { throw setUpFailure() }
        try self.init(session, owner: context, requirement: nil, handshakeTimeout)
    }

    /// The client's side.
    package convenience init(_ context: ClientContext, _ requirement: PeerRequirement, handshakeTimeout: TimeAmount) throws(TLSFailure) {
        try self.init(try context.makeSession(requirement), owner: context, requirement: requirement, handshakeTimeout)
    }

    private init(_ session: OpaquePointer, owner: AnyObject, requirement: PeerRequirement?, _ handshakeTimeout: TimeAmount) throws(TLSFailure) {
        self.session = session
        self.owner = owner
        self.requirement = requirement
        self.handshakeTimeout = handshakeTimeout
        guard let bio = BIO_new(method) else { throw setUpFailure() }
        BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        BIO_set_init(bio, 1)
        SSL_set_bio(session, bio, bio)
    }

    deinit { SSL_free(session) }

    // MARK: The channel

    package func handlerAdded(context: ChannelHandlerContext) {
        if context.channel.isActive { begin(context) }
    }

    package func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        begin(context)
    }

    package func handlerRemoved(context: ChannelHandlerContext) { end() }

    package func channelInactive(context: ChannelHandlerContext) {
        if state == .handshaking { fail(context, TLSFailure(.closed, "the peer closed the connection during the handshake")) }
        end()
        context.fireChannelInactive()
    }

    package func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = unwrapInboundIn(data)
        switch state {
        case .ended: return
        case .handshaking, .established:
            if received.readableBytes == 0 { received = bytes } else { received.writeBuffer(&bytes) }
        }
        if state == .handshaking { shakeHands(context) }
        if state == .established { decrypt(context) }
        sendProduced(context)
    }

    package func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if state == .handshaking, let event = event as? ChannelEvent, event == .inputClosed {
            return fail(context, TLSFailure(.closed, "the peer closed the connection during the handshake"))
        }
        context.fireUserInboundEventTriggered(event)
    }

    package func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let bytes = unwrapOutboundIn(data)
        switch state {
        case .handshaking: waiting.append((bytes, promise))
        case .established: encrypt(context, bytes, promise)
        case .ended: promise?.fail(ChannelError.ioOnClosedChannel)
        }
    }

    package func flush(context: ChannelHandlerContext) {
        if state != .handshaking { sendProduced(context) }
    }

    package func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if state == .established, mode != .input {
            // RFC 8446 §6.1: close_notify. The peer's own is not waited for.
            ERR_clear_error()
            SSL_shutdown(session)
            sendProduced(context)
        }
        if mode == .all { end() }
        context.close(mode: mode, promise: promise)
    }

    // MARK: The handshake

    private func begin(_ context: ChannelHandlerContext) {
        guard !hasBegun, state == .handshaking else { return }
        hasBegun = true
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        let seconds = handshakeTimeout.nanoseconds / 1_000_000_000
        deadline = context.eventLoop.scheduleTask(in: handshakeTimeout) {
            let (handler, context) = bound.value
            if handler.state == .handshaking { handler.fail(context, TLSFailure(.timeOut, "no handshake within \(seconds) s")) }
        }
        if requirement != nil {
            shakeHands(context)
            sendProduced(context)
        }
    }

    private func shakeHands(_ context: ChannelHandlerContext) {
        ERR_clear_error()
        let result = SSL_do_handshake(session)
        guard result != 1 else { return establish(context) }
        if SSL_get_error(session, result) == SSL_ERROR_WANT_READ { return }
        let verdict = SSL_get_verify_result(session)
        let reasons = takeOpenSSLReasons() ?? "no reason given"
        if requirement != nil, verdict != CLong(X509_V_OK) {
            fail(context, TLSFailure(.unverified, verificationReason(verdict)))
        } else {
            fail(context, TLSFailure(.handshake, reasons))
        }
    }

    private func establish(_ context: ChannelHandlerContext) {
        state = .established
        deadline?.cancel()
        deadline = nil
        let facts = makeFacts()
        self.facts = facts
        // The handshake's last flight goes in one segment with what the event leads to.
        context.fireUserInboundEventTriggered(TLSEvent.established(facts))
        let writes = waiting
        waiting = []
        for write in writes { encrypt(context, write.bytes, write.promise) }
        sendProduced(context)
    }

    private func makeFacts() -> TLSFacts {
        let cipher = SSL_get_current_cipher(session)
        let certificate = SSL_get0_peer_certificate(session)
        return TLSFacts(
            version: String(cString: SSL_get_version(session)), cipher: SSL_CIPHER_get_name(cipher).map { String(cString: $0) } ?? "?",
            bits: Int(SSL_CIPHER_get_bits(cipher, nil)), peer: certificate == nil ? .anonymous : peer(), peerFingerprint: fingerprint(of: certificate),
            isResumed: SSL_session_reused(session) == 1, serverName: requestedName(session))
    }

    /// Of a peer with a certificate.
    private func peer() -> TLSFacts.Peer {
        guard let requirement else { return .unverified(reason: nil) }
        let verdict = SSL_get_verify_result(session)
        switch requirement.verification {
        case .none: return .unverified(reason: verdict == CLong(X509_V_OK) ? nil : verificationReason(verdict))
        case .names(let names): return .trusted(name: SSL_get0_peername(session).map { String(cString: $0) } ?? names[0])
        case .dane: return SSL_get0_dane_authority(session, nil, nil) >= 0 ? .dane : .unverified(reason: nil)
        }
    }

    // MARK: After it

    private func decrypt(_ context: ChannelHandlerContext) {
        // What is not header, padding or check value: no more than what came, and of a record that was not whole before.
        var text = context.channel.allocator.buffer(capacity: max(received.readableBytes, 1024))
        var outcome: CInt = 1
        while outcome > 0 {
            ERR_clear_error()
            _ = text.writeWithUnsafeMutableBytes(minimumWritableBytes: 1024) { space in
                outcome = SSL_read(session, space.baseAddress, CInt(min(space.count, 1 << 30)))
                return max(0, Int(outcome))
            }
        }
        let error = SSL_get_error(session, outcome)
        let failure = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_ZERO_RETURN ? nil : TLSFailure(.broken, takeOpenSSLReasons() ?? "no reason given")
        if text.readableBytes > 0 { context.fireChannelRead(wrapInboundOut(text)) }
        if let failure {
            fail(context, failure)
        } else if error == SSL_ERROR_ZERO_RETURN {
            // close_notify: it sends no more, and may still want to hear (RFC 8446 §6.1).
            context.fireUserInboundEventTriggered(ChannelEvent.inputClosed)
        }
    }

    private func encrypt(_ context: ChannelHandlerContext, _ bytes: ByteBuffer, _ promise: EventLoopPromise<Void>?) {
        guard state == .established else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        if bytes.readableBytes > 0 {
            ERR_clear_error()
            produced.reserveCapacity(minimumWritableBytes: bytes.readableBytes + 64)
            let written = bytes.withUnsafeReadableBytes { SSL_write(session, $0.baseAddress, CInt($0.count)) }
            guard written > 0 else {
                promise?.fail(ChannelError.ioOnClosedChannel)
                return fail(context, TLSFailure(.broken, takeOpenSSLReasons() ?? "no reason given"))
            }
        }
        // An empty write's promise is kept, too: it says that all before it are out.
        if let promise { promises.append(promise) }
    }

    private func sendProduced(_ context: ChannelHandlerContext) {
        guard produced.readableBytes > 0 || !promises.isEmpty else { return }
        let output = produced
        produced = ByteBuffer()
        var promise: EventLoopPromise<Void>?
        if !promises.isEmpty {
            promise = promises.removeFirst()
            for other in promises { promise!.futureResult.cascade(to: other) }
            promises = []
        }
        context.writeAndFlush(wrapOutboundOut(output), promise: promise)
    }

    private func fail(_ context: ChannelHandlerContext, _ failure: TLSFailure) {
        guard state != .ended else { return }
        // The alert that OpenSSL made, before the end (RFC 8446 §6.2).
        sendProduced(context)
        end()
        context.fireErrorCaught(failure)
        context.close(promise: nil)
    }

    private func end() {
        state = .ended
        deadline?.cancel()
        deadline = nil
        received = ByteBuffer()
        for write in waiting { write.promise?.fail(ChannelError.ioOnClosedChannel) }
        for promise in promises { promise.fail(ChannelError.ioOnClosedChannel) }
        (waiting, promises) = ([], [])
    }
}

// MARK: Channel bindings

extension TLSHandler {
    package enum ChannelBinding: Sendable {
        /// `tls-exporter`, RFC 9266
        case exporter
        /// `tls-server-end-point`, RFC 5929 §4
        case serverEndPoint
        /// `tls-unique`, RFC 5929 §3: in TLS 1.2 alone
        case unique
    }

    /// What ties a login to this very connection. Nil where the connection has none of that kind.
    package func channelBinding(_ kind: ChannelBinding) -> [UInt8]? {
        guard facts != nil else { return nil }
        ERR_clear_error()
        switch kind {
        case .exporter:
            var octets = [UInt8](repeating: 0, count: 32)
            let label = "EXPORTER-Channel-Binding"
            // RFC 9266 §4.2: before TLS 1.3 only where the secret belongs to this handshake alone (RFC 7627).
            if SSL_version(session) < TLS1_3_VERSION, valija_SSL_has_extended_secret(session) != 1 { return nil }
            return SSL_export_keying_material(session, &octets, 32, label, label.utf8.count, nil, 0, 1) == 1 ? octets : nil
        case .serverEndPoint: return serverEndPoint()
        case .unique:
            // RFC 7627 §1: without an extended master secret two connections may have the same one.
            guard SSL_version(session) == TLS1_2_VERSION, valija_SSL_has_extended_secret(session) == 1 else { return nil }
            var octets = [UInt8](repeating: 0, count: 64)
            // The first Finished: the client's, in a resumed session the server's.
            let isOwn = (requirement != nil) != (SSL_session_reused(session) == 1)
            let length = isOwn ? SSL_get_finished(session, &octets, 64) : SSL_get_peer_finished(session, &octets, 64)
            return length > 0 ? Array(octets[..<min(length, 64)]) : nil
        }
    }

    /// The hash of the server's certificate by its signature's own function, SHA-256 in place of MD5 and SHA-1.
    private func serverEndPoint() -> [UInt8]? {
        guard let certificate = requirement == nil ? SSL_get_certificate(session) : SSL_get0_peer_certificate(session) else { return nil }
        var kind: CInt = 0
        guard OBJ_find_sigid_algs(X509_get_signature_nid(certificate), &kind, nil) == 1 else { return nil }
        if kind == NID_md5 || kind == NID_sha1 { kind = NID_sha256 }
        // An algorithm without a hash of its own, as Ed25519, has no such binding.
        guard kind != NID_undef, let algorithm = EVP_get_digestbyname(OBJ_nid2sn(kind)) else { return nil }
        var digest = [UInt8](repeating: 0, count: 64)
        var length: CUnsignedInt = 64
        return X509_digest(certificate, algorithm, &digest, &length) == 1 ? Array(digest[..<Int(length)]) : nil
    }
}

// MARK: The BIO

private func verificationReason(_ verdict: CLong) -> String { X509_verify_cert_error_string(verdict).map { String(cString: $0) } ?? "error \(verdict)" }

private func handler(_ bio: OpaquePointer?) -> TLSHandler? {
    BIO_get_data(bio).map { Unmanaged<TLSHandler>.fromOpaque($0).takeUnretainedValue() }
}

/// Made once, and never changed afterwards.
private nonisolated(unsafe) let method: OpaquePointer? = {
    let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "channel")
    BIO_meth_set_read(method) { bio, space, count in
        valija_BIO_clear_retry(bio)
        guard let handler = handler(bio), let space, count > 0 else { return 0 }
        let length = min(Int(count), handler.received.readableBytes)
        if length == 0 {
            valija_BIO_set_retry_read(bio)
            return -1
        }
        handler.received.readWithUnsafeReadableBytes { bytes in
            UnsafeMutableRawPointer(space).copyMemory(from: bytes.baseAddress!, byteCount: length)
            return length
        }
        return CInt(length)
    }
    BIO_meth_set_write(method) { bio, bytes, count in
        valija_BIO_clear_retry(bio)
        guard let handler = handler(bio), let bytes, count > 0 else { return 0 }
        handler.produced.writeBytes(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
        return count
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
    return method
}()
