// One command from start to end, on a thread that may wait: starts it, gives it the message, keeps what it says, waits for it,
// and says what came of it. All that it may take is bounded: time, output, descriptors.

internal import CLinux
internal import Glibc
internal import MailQueue
internal import MailSyntax
internal import Mailboxes
internal import NIOCore

struct CommandRun {
    /// Of what the command says; the rest is read and dropped. A report shows less still.
    private static let longestOutput = 4096
    private static let chunkSize = 64 * 1024

    let command: String
    let environment: [String]
    /// What stands before the message.
    let head: [UInt8]
    let content: MessageContent
    /// Lines end as they came, with anything between (RFC 3030).
    let isBinary: Bool
    let limit: Duration
    let isCancelled: () -> Bool

    private enum End {
        case exited(Int32)
        case killed(by: Int32)
        case timedOut
        case stopped
    }

    func perform() -> DeliveryReport.Outcome {
        var input: [Int32] = [-1, -1]
        var output: [Int32] = [-1, -1]
        guard pipe2(&input, O_CLOEXEC) == 0 else { return cannotStart(errno) }
        guard pipe2(&output, O_CLOEXEC) == 0 else {
            let code = errno
            input.forEach { close($0) }
            return cannotStart(code)
        }
        var process: pid_t = 0
        let code = start(&process, input: input[0], output: output[1])
        close(input[0])
        close(output[1])
        guard code == 0 else {
            close(input[1])
            close(output[0])
            return cannotStart(code)
        }
        return converse(process, input: input[1], output: output[0])
    }

    /// A configuration that may be mended: the mail waits.
    private func cannotStart(_ code: Int32) -> DeliveryReport.Outcome {
        .deferred(Reply(451, EnhancedCode(4, 3, 5), "mail system configuration error: the command cannot be started: \(String(cString: strerror(code)))"))
    }

    // MARK: Start

    /// As Postfix (exec_command.c): directly where the command has nothing that a shell would read, else by /bin/sh.
    private func start(_ process: inout pid_t, input: Int32, output: Int32) -> Int32 {
        if CommandRun.isPlain(command) {
            let words = command.split { $0 == " " || $0 == "\t" }.map(String.init)
            let code = words.isEmpty ? ENOENT : spawn(&process, words[0], words, input, output)
            if code != ENOENT { return code }
        }
        return spawn(&process, "/bin/sh", ["sh", "-c", command], input, output)
    }

    static func isPlain(_ command: String) -> Bool {
        command.utf8.allSatisfy { octet in
            switch octet {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "!"),
                UInt8(ascii: "@"), UInt8(ascii: "%"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "="), UInt8(ascii: "+"), UInt8(ascii: ":"),
                UInt8(ascii: ","), UInt8(ascii: "."), UInt8(ascii: "/"), 0x20, 0x09:
                true
            default: false
            }
        }
    }

    /// posix_spawn(3): no fork of a process with many threads. In a group of its own, so that all of it can be killed; with
    /// nothing of ours open.
    private func spawn(_ process: inout pid_t, _ program: String, _ words: [String], _ input: Int32, _ output: Int32) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, input, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, output, 2)
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        posix_spawn_file_actions_addchdir_np(&actions, "/")
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var (none, all) = (sigset_t(), sigset_t())
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
        let arguments = words.map { strdup($0) } + [nil]
        let variables = environment.map { strdup($0) } + [nil]
        defer { (arguments + variables).forEach { free($0) } }
        // What has no path is looked for where the command itself would look.
        if program.contains("/") { return posix_spawn(&process, program, &actions, &attributes, arguments, variables) }
        for directory in ["/usr/bin", "/bin"] {
            let code = posix_spawn(&process, "\(directory)/\(program)", &actions, &attributes, arguments, variables)
            if code != ENOENT { return code }
        }
        return ENOENT
    }

    // MARK: The conversation

    private func converse(_ process: pid_t, input: Int32, output: Int32) -> DeliveryReport.Outcome {
        // A command that reads no more is no reason to die: the write fails, on this thread alone.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGPIPE)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        for descriptor in [input, output] { _ = fcntl(descriptor, F_SETFL, O_NONBLOCK) }
        let deadline = ContinuousClock.now + limit
        var (input, said) = (input, [UInt8]())
        var source = Source(head: head, content: content, isBinary: isBinary)
        var status: Int32 = 0
        var (isOver, hasOutput) = (false, true)
        var readFlaw: String?
        var end = End.timedOut
        while true {
            if input >= 0 {
                do {
                    if try source.write(to: input) { close(input); input = -1 }
                } catch {
                    readFlaw = "\(error)"
                    kill(-process, SIGKILL)
                    close(input)
                    input = -1
                }
            }
            if hasOutput { hasOutput = read(output, &said) }
            if waitpid(process, &status, WNOHANG) == process { isOver = true }
            if isOver {
                // What it said before it went is in the pipe; what others hold open is not waited for.
                if hasOutput { _ = read(output, &said) }
                end = status & 0x7F == 0 ? .exited((status >> 8) & 0xFF) : .killed(by: status & 0x7F)
                break
            }
            guard !isCancelled(), ContinuousClock.now < deadline else {
                end = isCancelled() ? .stopped : .timedOut
                kill(-process, SIGKILL)
                while waitpid(process, &status, 0) < 0, errno == EINTR {}
                break
            }
            wait(input: input, output: hasOutput ? output : -1)
        }
        // Whatever it left running in its group.
        kill(-process, SIGKILL)
        if input >= 0 { close(input) }
        close(output)
        if let readFlaw { return .deferred(Reply(451, EnhancedCode(4, 3, 0), "the queued message cannot be read: \(readFlaw)")) }
        return outcome(end, CommandRun.line(said))
    }

    /// Until there is something to do, or it is time to look whether the command has ended.
    private func wait(input: Int32, output: Int32) {
        var descriptors = [pollfd(fd: input, events: Int16(POLLOUT), revents: 0), pollfd(fd: output, events: Int16(POLLIN), revents: 0)]
        poll(&descriptors, 2, input < 0 && output < 0 ? 10 : 50)
    }

    /// False: there will be no more.
    private func read(_ output: Int32, _ said: inout [UInt8]) -> Bool {
        var chunk = [UInt8](repeating: 0, count: CommandRun.longestOutput)
        while true {
            let count = Glibc.read(output, &chunk, chunk.count)
            if count == 0 { return false }
            if count < 0 { return errno == EAGAIN || errno == EINTR }
            said += chunk[..<min(count, CommandRun.longestOutput - said.count)]
        }
    }

    /// What a command said, as one line of text.
    static func line(_ said: [UInt8]) -> String {
        let text = String(decoding: said, as: UTF8.self)
        let scalars = text.unicodeScalars.map { scalar -> Unicode.Scalar in scalar.value < 0x20 ? " " : scalar.value == 0x7F ? "?" : scalar }
        return String(String.UnicodeScalarView(scalars)).split(separator: " ").joined(separator: " ")
    }

    // MARK: The outcome

    /// Postfix's pipe_command.c, in its words.
    private func outcome(_ end: End, _ said: String) -> DeliveryReport.Outcome {
        let output = said.isEmpty ? "" : ". Command output: \(said)"
        switch end {
        case .exited(0): return .delivered(Reply(250, EnhancedCode(2, 0, 0), "delivered to command"), passesOnDSN: false)
        case .stopped: return .stopping
        case .timedOut: return .failed(Reply(554, EnhancedCode(5, 3, 0), "Command time limit exceeded\(output)"))
        case .killed(let signal): return .failed(Reply(554, EnhancedCode(5, 3, 0), "Command died with signal \(signal)\(output)"))
        case .exited(let status):
            // A status code of its own, at the beginning of what it says, counts before that of the exit.
            if let word = said.split(separator: " ").first, let code = EnhancedCode(String(word)), code.category != 2 {
                let text = said.dropFirst(word.count).drop { $0 == " " }
                return code.category == 4 ? .deferred(Reply(451, code, "\(text)")) : .failed(Reply(554, code, "\(text)"))
            }
            guard let (code, text) = CommandRun.meanings[status] else {
                return .failed(Reply(554, EnhancedCode(5, 3, 0), "Command died with status \(status)\(output)"))
            }
            return code.category == 4 ? .deferred(Reply(451, code, "\(text)\(output)")) : .failed(Reply(554, code, "\(text)\(output)"))
        }
    }

    /// sysexits(3), with the codes and words of Postfix's sys_exits.c.
    private static let meanings: [Int32: (EnhancedCode, String)] = [
        64: (EnhancedCode(5, 3, 0), "command line usage error"), 65: (EnhancedCode(5, 6, 0), "data format error"),
        66: (EnhancedCode(5, 3, 0), "cannot open input"), 67: (EnhancedCode(5, 1, 1), "user unknown"), 68: (EnhancedCode(5, 1, 2), "host name unknown"),
        69: (EnhancedCode(5, 3, 0), "service unavailable"), 70: (EnhancedCode(5, 3, 0), "internal software error"),
        71: (EnhancedCode(4, 3, 0), "system resource problem"), 72: (EnhancedCode(5, 3, 0), "critical OS file missing"),
        73: (EnhancedCode(5, 2, 0), "can't create user output file"), 74: (EnhancedCode(5, 3, 0), "input/output error"),
        75: (EnhancedCode(4, 3, 0), "temporary failure"), 76: (EnhancedCode(5, 5, 0), "remote error in protocol"),
        77: (EnhancedCode(5, 7, 0), "permission denied"), 78: (EnhancedCode(5, 3, 5), "local configuration error"),
    ]

    /// The message piece by piece, with LF line ends.
    private struct Source {
        private var pending: ArraySlice<UInt8>
        private let content: MessageContent
        private let isBinary: Bool
        private var file: ContentFile?
        private var offset = 0
        private var lines = LineEnds()

        init(head: [UInt8], content: MessageContent, isBinary: Bool) {
            self.isBinary = isBinary
            pending = head[...]
            self.content = content
        }

        /// Writes what the pipe takes. True: that was all, or nobody reads any more.
        mutating func write(to descriptor: Int32) throws -> Bool {
            while true {
                while !pending.isEmpty {
                    let count = pending.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
                    if count < 0 {
                        if errno == EINTR { continue }
                        return errno != EAGAIN
                    }
                    pending = pending.dropFirst(count)
                }
                guard try refill() else { return true }
            }
        }

        private mutating func refill() throws -> Bool {
            var bytes: ByteBuffer
            switch content {
            case .inline(let whole):
                guard offset < whole.readableBytes else { return false }
                bytes = whole.getSlice(at: whole.readerIndex + offset, length: min(CommandRun.chunkSize, whole.readableBytes - offset))!
            case .file(let path, let size):
                guard offset < size else { return false }
                if file == nil { file = try ContentFile(path: path, size: size) }
                bytes = try file!.read(at: offset)
            }
            offset += bytes.readableBytes
            if isBinary {
                pending = Array(bytes.readableBytesView)[...]
                return true
            }
            let isLast = offset >= content.size
            var converter = lines
            let text = bytes.withUnsafeReadableBytes { input in
                [UInt8](unsafeUninitializedCapacity: input.count + 2) { output, count in
                    let output = UnsafeMutableRawBufferPointer(output)
                    count = converter.convert(input, to: output)
                    if isLast { count += converter.finish(to: UnsafeMutableRawBufferPointer(rebasing: output[count...])) }
                }
            }
            lines = converter
            pending = text[...]
            return true
        }
    }
}
