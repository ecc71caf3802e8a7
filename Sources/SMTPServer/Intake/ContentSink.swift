// Where the content of a message gathers while it is received: in memory up to 64 KiB, beyond that in a file of the
// spool, written on a thread that may block. Lives on its connection's event loop.
//
// While a write is under way the connection does not read, so that memory holds one chunk and no more.

internal import MailQueue
internal import MailSyntax
internal import NIOCore
internal import NIOPosix
internal import SMTP

final class ContentSink {
    private enum Place {
        case memory
        case file(BodyFile)
        case failed(any Error)
    }

    private let id: QueueID
    private let spool: Spool
    private let threads: NIOThreadPool
    private let loop: any EventLoop
    /// What is not yet in the file; all of it while there is none.
    private var pending: ByteBuffer
    private var place = Place.memory
    private var isWriting = false
    private var afterWrite: (() -> Void)?
    /// The first part of the content, where a body went to a file.
    private(set) var beginning: ByteBuffer
    /// Nil: the header stays as it is.
    private var rewriter: HeaderRewriter?

    /// `trace` is the first content.
    init(id: QueueID, trace: String, rewriter: HeaderRewriter? = nil, spool: Spool, threads: NIOThreadPool, loop: any EventLoop) {
        self.rewriter = rewriter
        self.id = id
        self.spool = spool
        self.threads = threads
        self.loop = loop
        pending = ByteBufferAllocator().buffer(capacity: 8192)
        pending.writeString(trace)
        beginning = ByteBuffer()
    }

    /// The connection should read no more until `onDrained`.
    var isBusy: Bool { isWriting }
    var onDrained: (() -> Void)?

    func append(_ bytes: ByteBuffer) {
        var bytes = bytes
        pending.writeBuffer(&bytes)
        guard !isWriting, pending.readableBytes > Spool.largestInlineBody else { return }
        writePending()
    }

    private func writePending() {
        let rest = rewriteHeader(&pending, isLast: false)
        let bytes = pending
        pending = rest
        if case .failed = place { return }
        if case .memory = place { beginning = bytes }
        isWriting = true
        let (place, spool, id) = (place, spool, id)
        let file = NIOLoopBound(self, eventLoop: loop)
        threads.runIfActive(eventLoop: loop) {
            let body = if case .file(let body) = place { body } else { try BodyFile(spool: spool, id: id) }
            try body.append(bytes)
            return body
        }.whenComplete { file.value.didWrite($0) }
    }

    private func didWrite(_ result: Result<BodyFile, any Error>) {
        isWriting = false
        switch result {
        case .success(let file): place = .file(file)
        case .failure(let error):
            if case .file(let file) = place { discard(file) }
            place = .failed(error)
        }
        if let afterWrite {
            self.afterWrite = nil
            afterWrite()
        } else {
            if pending.readableBytes > Spool.largestInlineBody { writePending() }
            // Nothing is being written where nothing can be any more: the client is heard to its end, and refused there.
            if !isWriting { onDrained?() }
        }
    }

    /// The complete content, on disk where it is a file. `completion` runs on the event loop.
    func finish(_ completion: @escaping (Result<MessageContent, any Error>) -> Void) {
        if isWriting {
            afterWrite = { self.finish(completion) }
            return
        }
        switch place {
        case .memory:
            _ = rewriteHeader(&pending, isLast: true)
            completion(.success(.inline(pending)))
        case .failed(let error): completion(.failure(error))
        case .file(let file):
            _ = rewriteHeader(&pending, isLast: true)
            let bytes = pending
            let completion = NIOLoopBound(completion, eventLoop: loop)
            threads.runIfActive(eventLoop: loop) {
                try file.append(bytes)
                try file.finish()
                return MessageContent.file(path: file.path, size: file.size)
            }.whenComplete { completion.value($0) }
        }
    }

    /// What is not complete yet of it.
    private func rewriteHeader(_ bytes: inout ByteBuffer, isLast: Bool) -> ByteBuffer {
        rewriter?.rewrite(&bytes, isLast: isLast) ?? ByteBufferAllocator().buffer(capacity: 0)
    }

    /// Forgets the content.
    func abandon() {
        if isWriting {
            afterWrite = { self.abandon() }
        } else if case .file(let file) = place {
            discard(file)
        }
    }

    private func discard(_ file: BodyFile) {
        threads.submit { _ in file.abandon() }
    }
}
