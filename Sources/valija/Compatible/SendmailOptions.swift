// The options of sendmail(1) as programs use them: clustered in the old way (`-oi`, `-ti`, `-fSENDER`, `-f SENDER`), not as
// getopt_long writes them. Those of Postfix's sendmail(1) are known; what has no meaning here is taken, what would
// mean something else than was asked for is refused. Pure: arguments in, options or a usage error out.

import MailSyntax

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
    /// -N
    var notify = Notify.unspecified
    /// -R
    var returnContent: Envelope.ReturnContent?
    /// -V
    var envelopeID: String?
    /// -O requiretls=yes: REQUIRETLS (RFC 8689), as Postfix 3.11 has it.
    var requiresTLS = false
    /// -XV, -XVxy: the parameter of MAIL for VERP.
    var verp: String?
    /// -qIID: flush this message only.
    var flushedID: String?
    var recipients: [String] = []

    struct UsageError: Error, Equatable { let text: String }

    /// As without arguments.
    init() {}

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

    /// One argument: options without a value may stand together, and one with a value ends it.
    private mutating func take(_ cluster: Substring, _ rest: inout ArraySlice<String>) throws(UsageError) {
        var cluster = cluster
        while let option = cluster.popFirst() {
            switch option {
            case "t": readsRecipients = true
            case "i": ignoresDots = true
            case "I": mode = .initializeAliases
            case "v", "m", "n", "G", "U", "c", "x": break  // no meaning here
            case "q": return try takeFlush(cluster)
            default: return try take(option, value(of: option, cluster, &rest))
            }
        }
    }

    private func value(of option: Character, _ tail: Substring, _ rest: inout ArraySlice<String>) throws(UsageError) -> String {
        if !tail.isEmpty { return String(tail) }
        guard "frFNRVboBhOpALXCe".contains(option) else { throw UsageError(text: "unknown option -\(option)") }
        guard let next = rest.popFirst() else { throw UsageError(text: "option -\(option) needs a value") }
        return next
    }

    private mutating func take(_ option: Character, _ value: String) throws(UsageError) {
        switch option {
        case "f", "r": sender = value
        case "F": fullName = value
        case "N": notify = try SendmailOptions.notify(value)
        case "R":
            guard let content = Envelope.ReturnContent(rawValue: value.uppercased()) else {
                throw UsageError(text: "option -R takes full or hdrs, not \(value)")
            }
            returnContent = content
        case "V":
            // RFC 3461 §4.4: up to 100 characters as MAIL writes it.
            guard !value.isEmpty, XText.encode(value).utf8.count <= 100 else {
                throw UsageError(text: "option -V takes an envelope id of up to 100 characters")
            }
            envelopeID = value
        case "b": try takeMode(value)
        // -oi is -i; -om, -oem and their kin ask for what happens anyway.
        case "o": if value == "i" { ignoresDots = true }
        // -X has meant a log file of all traffic since sendmail 8; Postfix's -XV is something else.
        case "X" where value.hasPrefix("V"):
            guard value.count == 1 || VERP(delimiters: String(value.dropFirst())) != nil else {
                throw UsageError(text: "option -XV takes two of the characters -=+, not \(value.dropFirst())")
            }
            verp = value.count == 1 ? "XVERP" : "XVERP=\(value.dropFirst())"
        case "O" where value.lowercased().hasPrefix("requiretls="):
            switch value.lowercased().dropFirst(11) {
            case "yes": requiresTLS = true
            case "no": requiresTLS = false
            default: throw UsageError(text: "option -O takes requiretls=yes or requiretls=no, not \(value)")
            }
        case "B", "h", "O", "p", "A", "L", "X", "C", "e": break  // no meaning here, as in Postfix's sendmail(1)
        default: throw UsageError(text: "unknown option -\(option)")
        }
    }

    ///     notify-esmtp-value = "NEVER" / 1#( "SUCCESS" / "FAILURE" / "DELAY" )     ; RFC 3461 §4.1
    private static func notify(_ value: String) throws(UsageError) -> Notify {
        let names: [String: Notify] = ["success": .success, "failure": .failure, "delay": .delay]
        if value.lowercased() == "never" { return .never }
        var notify = Notify.unspecified
        for name in value.lowercased().split(separator: ",", omittingEmptySubsequences: false) {
            guard let event = names[String(name)] else {
                throw UsageError(text: "option -N takes never, or some of success,failure,delay; not \(value)")
            }
            notify.insert(event)
        }
        return notify
    }

    /// `-q` flushes all, `-qIID` one message. `-q30m` asks a daemon to look every 30 minutes, which happens anyway.
    private mutating func takeFlush(_ tail: Substring) throws(UsageError) {
        switch tail.first {
        case nil: mode = .flushQueue
        case "I" where tail.count > 1:
            mode = .flushQueue
            flushedID = String(tail.dropFirst())
        case let digit? where digit.isNumber: break
        default: throw UsageError(text: "-q\(tail) is not supported; there are -q and -qIID")
        }
    }

    private mutating func takeMode(_ letter: String) throws(UsageError) {
        switch letter {
        case "m": mode = .send
        case "s": mode = .smtp
        case "p": mode = .printQueue
        case "i": mode = .initializeAliases
        default: throw UsageError(text: "mode -b\(letter) is not supported; there are -bm, -bs, -bp and -bi")
        }
    }
}
