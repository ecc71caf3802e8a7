// The options of postconf(1), and which of them go together. Pure: arguments in, a request or an error out.

import PostfixFiles

struct PostconfOptions: Equatable {
    enum Work: Equatable {
        case show(PostconfListing.Request)
        /// -e, -#, -X, or `name=value`: the parameters that would change.
        case edit([String])
        case mapTypes
        case lockTypes
    }

    var work: Work
    /// -c
    var directory: String?

    struct UsageError: Error, Equatable { let text: String }

    static let usage = """
        usage: postconf [-c config_dir] [-C param_class] [-d (parameter defaults)] [-f (fold lines)] [-F (master.cf fields)] \
        [-h (no names)] [-H (no values)] [-l (lock types)] [-m (map types)] [-M (master.cf)] [-n (non-default parameters)] \
        [-o name=value (override parameter value)] [-P (master.cf parameters)] [-v (verbose)] [-x (expand parameter values)] [name...]
        """

    init(_ arguments: [String]) throws(UsageError) {
        let read: CommandOptions
        do throws(CommandOptions.UsageError) {
            read = try CommandOptions(arguments, "aAbc:C:deEfFhHlmMno:pPtT:vxX#")
        } catch {
            throw UsageError(text: "\(error.text); \(PostconfOptions.usage)")
        }
        directory = read.value("c")
        for letter in "aAbtT" as String where read.has(letter) { throw UsageError(text: "option -\(letter) is not supported here") }
        let subjects = "mlpMFP".filter(read.has)
        guard subjects.count < 2 else { throw UsageError(text: "specify one of \(subjects.map { "-\($0)" }.joined(separator: " "))") }
        if read.has("e") || read.has("E") || read.has("X") || read.has("#") || read.operands.contains(where: { $0.contains("=") }) {
            guard !read.operands.isEmpty else { throw UsageError(text: "-e requires name=value argument") }
            work = .edit(read.operands.map { String($0.prefix { $0 != "=" }) })
            return
        }
        switch subjects.first {
        case "m": work = .mapTypes
        case "l": work = .lockTypes
        default: work = .show(try PostconfOptions.request(read, subject: subjects.first))
        }
    }

    private static func request(_ read: CommandOptions, subject: Character?) throws(UsageError) -> PostconfListing.Request {
        var request = PostconfListing.Request()
        if let subject, subject != "p" {
            request.subject = subject == "M" ? .services : subject == "F" ? .fields : .serviceParameters
            // What postconf(1) does not do either.
            let excess = (subject == "M" ? "CdhHn" : subject == "F" ? "Cdn" : "Cdn").filter(read.has)
            guard excess.isEmpty else {
                throw UsageError(text: "with option -\(subject), do not specify \(excess.map { "-\($0)" }.joined(separator: " "))")
            }
        }
        guard !(read.has("d") && read.has("n")) else { throw UsageError(text: "specify one of -d -n") }
        request.which = read.has("d") ? .defaults : read.has("n") ? .set : .all
        request.hidesNames = read.has("h")
        request.hidesValues = read.has("H")
        request.evaluates = read.has("x")
        request.folds = read.has("f")
        if let name = read.value("C"), name.lowercased() != "all" {
            guard let only = PostconfListing.Class(rawValue: name.lowercased()) else {
                throw UsageError(text: "unknown -C option value \"\(name)\" in \"\(name)\"")
            }
            request.classes = [only]
        }
        for option in read.options where option.letter == "o" {
            let parts = option.value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[0].isEmpty else {
                throw UsageError(text: "invalid parameter override: \(option.value): missing '=' after attribute name")
            }
            request.overrides[String(parts[0])] = String(parts[1])
        }
        request.names = read.operands
        return request
    }
}
