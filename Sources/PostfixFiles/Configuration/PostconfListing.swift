// What postconf(1) prints of a configuration: parameters and services, in Postfix's order, words and columns.
//
// Pure: the texts of main.cf and master.cf go in, lines and warnings come out. Parameters are those of Postfix 3.7, those
// that the services bring, and those of main.cf that something refers to; others are warned of, as Postfix does.

package struct PostconfListing: Sendable {
    package enum Subject: Hashable, Sendable { case parameters, services, fields, serviceParameters }
    package enum Which: Hashable, Sendable { case all, set, defaults }
    package enum Class: String, CaseIterable, Hashable, Sendable { case builtin, service, user }

    package struct Request: Hashable, Sendable {
        package var subject = Subject.parameters
        package var which = Which.all
        package var classes = Set(Class.allCases)
        package var hidesNames = false
        package var hidesValues = false
        package var evaluates = false
        package var folds = false
        /// `-o name=value`.
        package var overrides: [String: String] = [:]
        /// Parameters, or services as `name/type[/field]`; empty: all.
        package var names: [String] = []

        package init() {}
    }

    package struct Answer: Sendable {
        /// Each with its line end; folded ones have more.
        package var lines: [String] = []
        package var warnings: [String] = []
    }

    /// A request that Postfix ends with a fatal error.
    package struct Refusal: Error, Hashable, Sendable {
        package let text: String
    }

    private let request: Request
    private let main: MainSettings
    private let master: MasterEntries
    private let scope: ParameterScope
    private let directory: String
    private var answer = Answer()

    /// Parameters whose values mean something else than `$name` by a `$`: nobody evaluates them here.
    private static let raw: Set<String> = [
        "command_execution_directory", "default_rbl_reply", "forward_path", "luser_relay", "mailbox_command", "postscreen_expansion_filter",
        "postscreen_reject_footer", "smtpd_expansion_filter", "smtpd_reject_footer",
    ]

    /// - Parameter directory: stands in warnings.
    /// - Parameter settings: of Postfix's own before those of main.cf: `config_directory` where it is not the default.
    package static func answer(
        _ request: Request, main: MainSettings, master: MasterEntries, directory: String, settings: [String: String] = [:], host: ParameterDefaults.Host
    ) throws(Refusal) -> Answer {
        let services = master.entries.map { ParameterDefaults.Service(name: $0.name, program: $0.command) }
        let values = settings.merging(main.values) { $1 }.merging(request.overrides) { $1 }
        let scope = ParameterScope(settings: request.which == .defaults ? [:] : values, defaults: ParameterDefaults(host: host, services: services))
        var postconf = PostconfListing(request, main, master, scope, directory)
        if request.which != .defaults { postconf.answer.warnings = main.complaints + master.complaints }
        switch request.subject {
        case .parameters: try postconf.showParameters(values)
        case .services: try postconf.showServices()
        case .fields: try postconf.showFields()
        case .serviceParameters: try postconf.showServiceParameters()
        }
        return postconf.answer
    }

    private init(_ request: Request, _ main: MainSettings, _ master: MasterEntries, _ scope: ParameterScope, _ directory: String) {
        (self.request, self.main, self.master, self.scope, self.directory) = (request, main, master, scope, directory)
    }

    private mutating func warn(_ text: String) { answer.warnings.append(text) }

    private func evaluated(_ value: String, in scope: ParameterScope) throws(Refusal) -> String {
        do throws(ParameterFlaw) {
            return try scope.evaluate(value)
        } catch {
            throw Refusal(text: error.text)
        }
    }

    // MARK: Parameters

    private mutating func showParameters(_ values: [String: String]) throws(Refusal) {
        let user = userParameters(values)
        if request.names.isEmpty {
            let builtIn = request.classes.contains(.builtin) || request.classes.contains(.service) ? scope.defaults.names : []
            let names = builtIn.filter(isOfClass) + (request.classes.contains(.user) ? values.keys.filter(user.contains) : [])
            for name in names.sorted(by: { $0.utf8.lexicographicallyPrecedes($1.utf8) }) { try show(name, values) }
        } else {
            for name in request.names {
                if scope.defaults[name] != nil || user.contains(name) { try show(name, values) } else { warn("\(name): unknown parameter") }
            }
        }
        if request.which != .defaults { warnOfUnused(user) }
    }

    private mutating func warnOfUnused(_ user: Set<String>) {
        for setting in main.settings.uniqueLast where scope.defaults[setting.name] == nil && !user.contains(setting.name) {
            warn("\(directory)/main.cf: unused parameter: \(setting.name)=\(setting.value)")
        }
        for (name, value) in master.entries.flatMap(\.overrides) where scope.defaults[name] == nil && !user.contains(name) {
            warn("\(directory)/master.cf: unused parameter: \(name)=\(value)")
        }
    }

    private func isOfClass(_ name: String) -> Bool {
        // Some agents have limits of their own that Postfix counts among those of services: local_destination_recipient_limit.
        let isOwnLimit = name.hasSuffix("_destination_concurrency_limit") || name.hasSuffix("_destination_recipient_limit")
        let isOfService = (isOwnLimit || !isBuiltIn(name)) && master.entries.contains { name.hasPrefix("\($0.name)_") }
        return request.classes.contains(isOfService ? .service : .builtin)
    }

    private func isBuiltIn(_ name: String) -> Bool { ParameterDefaults(host: .init(name: ""))[name] != nil }

    /// Those of main.cf that Postfix does not know but something in the configuration refers to.
    private func userParameters(_ values: [String: String]) -> Set<String> {
        let overrides = master.entries.flatMap(\.overrides)
        var referred: Set<String> = []
        for (name, value) in values.map({ ($0, $1) }) + overrides where !PostconfListing.raw.contains(name) {
            referred.formUnion(MainSettings.references(in: value))
            if name == "smtpd_restriction_classes" {
                referred.formUnion(value.utf8.split { isBlank($0) || $0 == UInt8(ascii: ",") }.map { String(Substring($0)) })
            }
        }
        return referred.filter { name in scope.defaults[name] == nil && (values[name] != nil || overrides.contains { $0.name == name }) }
    }

    private mutating func show(_ name: String, _ values: [String: String]) throws(Refusal) {
        let text: String?
        switch request.which {
        case .all: text = scope.text(of: name)
        case .set: text = values[name]
        case .defaults: text = scope.defaults[name]
        }
        guard var text else { return }
        if request.evaluates, !PostconfListing.raw.contains(name) { text = try evaluated(text, in: scope) }
        answer.lines.append(line(name, text))
    }

    private func line(_ name: String, _ value: String) -> String {
        PostconfListing.line(request.hidesValues ? name : request.hidesNames ? value : "\(name) = \(value)", folds: request.folds)
    }

    /// White space becomes one space; folded lines break before they reach `width`.
    static func line(_ text: String, folds: Bool) -> String {
        var line = ""
        var length = 0
        for word in text.utf8.split(whereSeparator: { [0x20, 0x09, 0x0D, 0x0A].contains($0) }) {
            if length > 0 {
                if !folds || length + word.count < width {
                    line += " "
                    length += 1
                } else {
                    line += "\n    "
                    length = indent
                }
            }
            line += String(Substring(word))
            length += word.count
        }
        return line + "\n"
    }

    private static let width = 80
    private static let indent = 4

    // MARK: Services

    private struct Pattern {
        let text: String
        let parts: [String]
        var isMatched = false

        func matches(_ entry: MasterEntries.Entry) -> Bool {
            (parts[0] == "*" || parts[0] == entry.name) && (parts.count < 2 || parts[1] == "*" || parts[1] == entry.type)
        }
    }

    private func patterns(_ form: String, option: String) throws(Refusal) -> [Pattern] {
        var patterns: [Pattern] = []
        for name in request.names {
            let parts = name.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard parts.count <= form.split(separator: "/").count, !parts[0].isEmpty else { throw Refusal(text: "\(option) option requires \(form)") }
            patterns.append(Pattern(text: name, parts: parts))
        }
        return patterns
    }

    /// Calls `body` for each service, and each pattern that it matches. Returns a warning for each pattern that found nothing.
    private func forEachService(_ patterns: [Pattern], _ body: (MasterEntries.Entry, Pattern?) throws(Refusal) -> Bool) throws(Refusal) -> [String] {
        var patterns = patterns
        for entry in master.entries {
            if patterns.isEmpty { _ = try body(entry, nil) }
            for index in patterns.indices where patterns[index].matches(entry) {
                if try body(entry, patterns[index]) { patterns[index].isMatched = true }
            }
        }
        return patterns.filter { !$0.isMatched }.map { "unmatched request: \"\($0.text)\"" }
    }

    private mutating func showServices() throws(Refusal) {
        var lines: [String] = []
        answer.warnings += try forEachService(patterns("service_name[/type]", option: "-M")) { (entry, _) throws(Refusal) in
            var line = Columns(folds: request.folds)
            // The columns at which master(5)'s own file has them.
            for (column, place) in zip(entry.columns, [0, 11, 17, 25, 33, 41, 49, 57]) { line.add(column, at: place) }
            line.add(try arguments(of: entry))
            lines.append(line.text + "\n")
            return true
        }
        answer.lines += lines
    }

    private mutating func showFields() throws(Refusal) {
        var lines: [String] = []
        let names = MasterEntries.columnNames
        let patterns = try patterns("service_name[/type[/field]]", option: "-F")
        for pattern in patterns where pattern.parts.count > 2 && pattern.parts[2] != "*" && !names.contains(pattern.parts[2]) {
            throw Refusal(text: "invalid service attribute name: \"\(pattern.parts[2])\"")
        }
        answer.warnings += try forEachService(patterns) { (entry, pattern) throws(Refusal) in
            for (index, name) in names.enumerated() {
                if let pattern, pattern.parts.count > 2, pattern.parts[2] != "*", pattern.parts[2] != name { continue }
                var line = Columns(folds: request.folds)
                if !request.hidesNames { line.text = "\(entry.name)/\(entry.type)/\(name)" }
                if !request.hidesNames, !request.hidesValues { line.text += " = " }
                if !request.hidesValues {
                    line.text += entry.columns[index]
                    line.length = line.text.utf8.count
                    if name == "command" { line.add(try arguments(of: entry)) }
                }
                lines.append(line.text + "\n")
            }
            return true
        }
        answer.lines += lines
    }

    private mutating func showServiceParameters() throws(Refusal) {
        var lines: [String] = []
        answer.warnings += try forEachService(patterns("service_name[/type[/parameter]]", option: "-P")) { (entry, pattern) throws(Refusal) in
            var isFound = false
            for (name, value) in entry.overrides.sorted(by: { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }) {
                if let pattern, pattern.parts.count > 2, pattern.parts[2] != "*", pattern.parts[2] != name { continue }
                isFound = true
                let shown = request.evaluates ? try evaluated(value, in: scope(of: entry)) : value
                lines.append(line("\(entry.name)/\(entry.type)/\(name)", shown))
            }
            return isFound
        }
        answer.lines += lines
    }

    /// What parameters are to a service: its `-o` options first, and its own name.
    private func scope(of entry: MasterEntries.Entry) -> ParameterScope {
        let own = ["service_name": entry.name, "process_name": entry.command]
        return scope.overridden(by: Dictionary(entry.overrides.map { ($0.name, $0.value) }) { $1 }.merging(own) { $1 })
    }

    /// An option and its value stay together; what holds white space gets its braces back.
    private func arguments(of entry: MasterEntries.Entry) throws(Refusal) -> [Columns.Argument] {
        var arguments: [Columns.Argument] = []
        var isOption = true
        var index = 0
        while index < entry.arguments.count {
            let word = entry.arguments[index]
            index += 1
            if !word.hasPrefix("-") || word == "--" { isOption = false }
            if isOption, word == "-o", index < entry.arguments.count {
                var value = entry.arguments[index]
                index += 1
                if request.evaluates { value = try evaluated(value, in: scope(of: entry)) }
                arguments.append(Columns.Argument(text: "\(word) \(braced(value))", startsLine: true))
            } else {
                arguments.append(Columns.Argument(text: isOption ? word : braced(word), startsLine: false))
            }
        }
        return arguments
    }

    private func braced(_ text: String) -> String { text.utf8.contains(where: isBlank) ? "{\(text)}" : text }

    /// A line of master.cf on its way.
    private struct Columns {
        struct Argument {
            let text: String
            /// What Postfix counts of it before it breaks a line: not the braces.
            var length: Int { text.utf8.count - (text.hasPrefix("{") && text.hasSuffix("}") ? 2 : 0) }
            /// An option with a value has a line of its own where lines are folded.
            let startsLine: Bool
        }

        let folds: Bool
        var text = ""
        var length = 0

        init(folds: Bool) { self.folds = folds }

        mutating func add(_ word: String, at place: Int) {
            if length > 0 {
                let blanks = max(1, place - length)
                text += String(repeating: " ", count: blanks)
                length += blanks
            }
            text += word
            length += word.utf8.count
        }

        mutating func add(_ arguments: [Argument]) {
            for argument in arguments {
                if argument.startsLine { length = PostconfListing.width }
                if length > PostconfListing.indent {
                    if folds, length + 1 + argument.length >= PostconfListing.width {
                        text += "\n    "
                        length = PostconfListing.indent
                    } else {
                        text += " "
                        length += 1
                    }
                }
                text += argument.text
                length = argument.startsLine ? PostconfListing.width : length + argument.text.utf8.count
            }
        }
    }
}

extension [MainSettings.Setting] {
    /// Of each name the last one, in the order of the file.
    fileprivate var uniqueLast: [MainSettings.Setting] {
        var seen: Set<String> = []
        return reversed().filter { seen.insert($0.name).inserted }.reversed()
    }
}
