// Message content: DATA (RFC 5321 §4.1.1.4) and BDAT (RFC 3030 §2). Slices go to the shell as they come. As soon as
// something is wrong the shell is told to forget what it has; the rest is read over to the real end, and the refusal comes
// there, where the client reads it.

internal import MailSyntax
internal import NIOCore

extension ServerSession {
    mutating func beginData() {
        beginContent(isDotStuffed: true)
        write(Reply(354, nil, "End data with <CR><LF>.<CR><LF>"))
        phase = .data
    }

    /// The first chunk begins the content, others go on with it.
    mutating func beginChunk(_ size: Int, isLast: Bool) {
        if case .awaited? = transaction?.content { beginContent(isDotStuffed: false) }
        var refusal: Reply?
        // Known before the first octet: RFC 1870 §6.3 counts the message, not the chunk.
        if size > sizeLimit - scanner.size {
            refusal = .messageTooLarge
            giveUpContent(.messageTooLarge)
        }
        phase = .chunk(remaining: size, isLast: isLast, refusal: refusal)
    }

    private mutating func beginContent(isDotStuffed: Bool) {
        guard let envelope = transaction?.envelope else { return }
        scanner = ContentScanner(isDotStuffed: isDotStuffed, sizeLimit: sizeLimit, isBinary: envelope.body == .binary)
        transaction?.content = .begun
        actions.append(.beginContent(envelope))
    }

    /// False when all input was used.
    mutating func readData() -> Bool {
        guard input.readableBytes > 0 else { return false }
        let step = takeContent(atMost: input.readableBytes)
        if step.isEnd { endContent(command: "end of DATA") }
        return true
    }

    /// False when the chunk goes on and all input was used.
    mutating func readChunk(_ remaining: Int, isLast: Bool, refusal: Reply?) -> Bool {
        guard remaining > 0 else {
            endChunk(isLast: isLast, refusal: refusal)
            return true
        }
        guard input.readableBytes > 0 else { return false }
        let used: Int
        if refusal == nil {
            used = takeContent(atMost: remaining).consumed
        } else {
            used = min(remaining, input.readableBytes)
            input.moveReaderIndex(forwardBy: used)
        }
        phase = .chunk(remaining: remaining - used, isLast: isLast, refusal: refusal)
        return true
    }

    /// Passes one run of content on and moves over what was scanned.
    private mutating func takeContent(atMost limit: Int) -> ContentScanner.Step {
        var scanner = scanner
        let step = input.withUnsafeReadableBytes { bytes in
            scanner.scan(UnsafeRawBufferPointer(rebasing: bytes.prefix(limit)))
        }
        self.scanner = scanner
        if case .begun? = transaction?.content {
            if let reply = scanner.flaws.reply {
                giveUpContent(reply)
            } else if !step.content.isEmpty,
                let slice = input.getSlice(at: input.readerIndex + step.content.lowerBound, length: step.content.count)
            {
                actions.append(.content(slice))
            }
        }
        input.moveReaderIndex(forwardBy: step.consumed)
        return step
    }

    private mutating func giveUpContent(_ reply: Reply) {
        abandonContent()
        transaction?.content = .refused(reply)
    }

    /// The message is complete: it is committed, or refused for the gravest of its flaws.
    private mutating func endContent(command: String) {
        if let reply = scanner.flaws.reply {
            refuseContent(reply, isLast: true, command: command)
        } else {
            phase = .waiting(.commit)
            actions.append(.commit)
        }
    }

    private mutating func endChunk(isLast: Bool, refusal: Reply?) {
        if let reply = refusal {
            refuseContent(reply, isLast: isLast, command: "BDAT")
        } else if isLast {
            // A message ends with CRLF; after DATA it cannot be otherwise, by BDAT it can, and gets one.
            if scanner.finish(), scanner.flaws.isEmpty { actions.append(.content(ByteBuffer(string: "\r\n"))) }
            endContent(command: "BDAT")
        } else if let reply = scanner.flaws.reply {
            refuseContent(reply, isLast: false, command: "BDAT")
        } else {
            phase = .command
            progress &+= 1
            write(Reply(250, EnhancedCode(2, 0, 0), "Ok: \(scanner.size) octets received"))
        }
    }

    /// One message is one error, however many chunks of it still come.
    private mutating func refuseContent(_ reply: Reply, isLast: Bool, command: String) {
        phase = .command
        progress &+= 1
        giveUpContent(reply)
        reject(reply, command: command, countsAsError: transaction?.refusalWasCounted != true, perRecipient: isLast)
        transaction?.refusalWasCounted = true
        if isLast { transactionEnded() }
    }
}
