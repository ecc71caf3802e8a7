// The options of sendmail(1) as programs use them: clustered in the old way (`-oi`, `-fSENDER`, `-f SENDER`), not as
// getopt_long writes them. Pure: arguments in, options or a usage error out.

struct SendmailOptions: Equatable {
    enum Mode: Equatable { case send, smtp, printQueue, flushQueue, initializeAliases }

    var mode = Mode.send
    /// -t: recipients from the header.
    var readsRecipients = false
    /// -i, -oi: a line of a single dot is text.
    var ignoresDots = false
    /// -f, -r. Empty or `<>`: the null sender.
    var sender: String?
    /// -F
    var fullName: String?
    /// -N, as NOTIFY writes it (RFC 3461 §4.1).
    var notify: String?
    /// -R: `full` or `hdrs`.
    var returnContent: String?
    /// -V
    var envelopeID: String?
    var recipients: [String] = []

    struct UsageError: Error, Equatable { let text: String }

    init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            if argument == "--" {
                recipients += rest
                return
            }
            guard argument.hasPrefix("-"), argument.count > 1 else {
                recipients.append(argument)
                continue
            }
            try take(argument.dropFirst(), &rest)
        }
    }

    private mutating func take(_ option: Substring, _ rest: inout ArraySlice<String>) throws(UsageError) {
        let tail = String(option.dropFirst())
        func value() throws(UsageError) -> String {
            if !tail.isEmpty { return tail }
            guard let next = rest.popFirst() else { throw UsageError(text: "option -\(option) needs a value") }
            return next
        }
        switch option.first! {
        case "t", "i", "v", "m", "n", "G", "U": try takeFlags(option)
        case "f", "r": sender = try value()
        case "F": fullName = try value()
        case "N": notify = try value()
        case "R": returnContent = try value()
        case "V": envelopeID = try value()
        case "b": try takeMode(tail)
        case "q": mode = .flushQueue
        case "o":
            // -oi is -i; -om, -oem and their kin ask for what happens anyway. `-o 7` has its value apart.
            if tail == "i" { ignoresDots = true }
            if tail.isEmpty { _ = rest.popFirst() }
        case "B", "h", "O", "p", "A", "L", "X", "C": _ = try value()  // no meaning here, as in Postfix's sendmail(1)
        default: throw UsageError(text: "unknown option -\(option)")
        }
    }

    /// Options without a value may stand together: `-ti`.
    private mutating func takeFlags(_ flags: Substring) throws(UsageError) {
        for flag in flags {
            switch flag {
            case "t": readsRecipients = true
            case "i": ignoresDots = true
            case "v", "m", "n", "G", "U": break  // no meaning here
            default: throw UsageError(text: "unknown option -\(flag) in -\(flags)")
            }
        }
    }

    private mutating func takeMode(_ letter: String) throws(UsageError) {
        switch letter {
        case "m": mode = .send
        case "s": mode = .smtp
        case "p": mode = .printQueue
        case "i": mode = .initializeAliases
        case "": throw UsageError(text: "option -b needs a mode: -bm, -bs, -bp or -bi")
        default: throw UsageError(text: "mode -b\(letter) is not supported; there are -bm, -bs, -bp and -bi")
        }
    }
}
