// The parameter table and the evaluation of values, against the installed Postfix's own postconf(1).

import PostfixFiles
import Testing

/// What postconf prints.
private func settings(of directory: String, _ arguments: String...) -> [String: String] {
    var settings: [String: String] = [:]
    let outcome = runArguments(["postconf", "-c", directory] + arguments)
    for line in outcome.output.split(separator: "\n") where !line.hasPrefix("postconf: warning") {
        guard let equals = line.firstIndex(of: "=") else { continue }
        settings[String(line[..<equals].dropLast())] = String(line[line.index(after: equals)...].dropFirst())
    }
    return settings
}

private let host = ParameterDefaults.Host(name: "mx.example.org")

@Test("The table holds every parameter of the installed Postfix with its default")
func defaults() throws {
    let directory = try TemporaryDirectory()
    try write("", to: "\(directory.path)/main.cf")
    let services = [("smtp", "smtp"), ("local", "local"), ("maildrop", "pipe"), ("policy", "spawn"), ("discard", "discard"), ("retry", "error")]
    try write(services.map { "\($0) unix - - n - - \($1)\n" }.joined(), to: "\(directory.path)/master.cf")
    let theirs = settings(of: directory.path, "-d")
    try #require(theirs.count > 800, "postconf -d (Debian package postfix)")
    let ours = ParameterDefaults(host: host, services: services.map { ParameterDefaults.Service(name: $0, program: $1) })
    #expect(Set(ours.names).symmetricDifference(theirs.keys).sorted() == [])
    #expect(ours.names == theirs.keys.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) })
    let varying = ParameterDefaults.ofHost.union(ParameterDefaults.ofRelease)
    for (name, value) in theirs where !varying.contains(name) { #expect(ours[name] == value, "\(name)") }
    #expect(ours["mail_version"]?.hasPrefix("3.7.") == true)
}

@Test("myhostname and mydomain follow from the name of the host", arguments: [
    ("mx.example.org", "mx.example.org", "example.org"), ("vm", "vm.localdomain", "localdomain"), ("a.b.", "a.b.", "b."), ("x.", "x.", "localdomain"),
])
func hostNames(name: String, hostname: String, domain: String) {
    let defaults = ParameterDefaults(host: .init(name: name))
    #expect(defaults["myhostname"] == hostname)
    #expect(defaults["mydomain"] == domain)
}

/// Values of main.cf and what they evaluate to; nil: not at all.
private let evaluations: [(text: String, value: String?)] = [
    ("plain", "plain"), ("", ""), ("$one", "1"), ("${one}", "1"), ("$(one)", "1"), ("a$one.b", "a1.b"), ("$$one $$$$", "$one $$"),
    ("$two", "<1>"), ("$nosuch.", "."), ("$empty|", "|"),
    ("${one?yes}", "yes"), ("${empty?yes}", ""), ("${nosuch?yes}", ""), ("${one:no}", ""), ("${empty:no}", "no"), ("${nosuch:no}", "no"),
    ("${one?{yes}}", "yes"), ("${one:{no}}", ""), ("${empty:{no}}", "no"), ("${one?{x}:{y}}", "x"), ("${empty?{x}:{y}}", "y"),
    ("${one?{x} : {y}}", "x"), ("${ one ? {x} : {y} }", "x"), ("|${one?{ x }}|", "| x |"), ("${one?$two}", "<1>"), ("${one?{$two}:{$three}}", "<1>"),
    ("${one??foo:b}", "?foo:b"), ("${empty:a:b?c}", "a:b?c"), ("${one?{x}:y}", "x"), ("${empty?{x}:y z}", "y z"),
    ("${{1} == {1} ? {x} : {y}}", "x"), ("${{1} == {2}?{x}:{y}}", "y"), ("${{$one} == {1} ? {x} : {y}}", "x"), ("${{1} != {2}?x}", "x"),
    ("${{9} < {10} ? {number} : {text}}", "number"), ("${{9a} < {10} ? {number} : {text}}", "text"), ("${{b} > {a}?{x}}", "x"),
    ("${{a} >= {a}?{x}}", "x"), ("${{a} <= {b}?{x}}", "x"), ("${{a} == {a}}", "true"), ("${{a} == {b}}|", "|"), ("${{a} == {b}:no}", "no"),
    ("${{3.10} >level {3.9} ? {x} : {y}}", "x"), ("${{3} <=level {3.0} ? {x} : {y}}", "x"), ("${{$compatibility_level} <level {2} ? {x} : {y}}", "y"),
    ("${one?${empty?{a}:{b}}}", "b"), ("${one?{${empty?{a}:{b}}}:{c}}", "b"), ("x${one?{a{b}c}}y", "xa{b}cy"),
    ("$mydomain", "example.net"), ("$virtual_maps|", "|"),
    ("${one", nil), ("$", nil), ("${}", nil), ("$ x", nil), ("${a-b}", nil), ("${one?{x}junk}", nil),
    ("${one?{x}:{y}junk}", nil), ("${{a} ~ {b}?x}", nil),
    ("${{a} == b?x}", nil), ("${{a} ==level {b}?x}", nil), ("${{a} ==other {b}?x}", nil), ("${{a} == {b}x}", nil),
    ("$loop", nil), ("${one?{$loop}}", nil),
]

private let values = [
    "one": "1", "two": "<$one>", "three": "3", "empty": "", "loop": "$pool", "pool": "x$loop", "myhostname": "mail.$site", "site": "example.net",
    "compatibility_level": "3.6",
]

@Test("A value is evaluated as postconf(5) says", arguments: evaluations)
func evaluation(text: String, value: String?) throws {
    let scope = ParameterScope(settings: values, defaults: ParameterDefaults(host: host))
    if let value {
        #expect(try scope.evaluate(text) == value)
    } else {
        #expect(throws: ParameterFlaw.self) { try scope.evaluate(text) }
    }
}

@Test("postconf -x evaluates the same values to the same")
func evaluationOfPostfix() throws {
    let directory = try TemporaryDirectory()
    try write("", to: "\(directory.path)/master.cf")
    let common = values.filter { !["loop", "pool"].contains($0.key) }.map { "\($0) = \($1)\n" }.joined()
    for (text, value) in evaluations where !text.contains("loop") {
        try write("\(common)mail_name = \(text)\n", to: "\(directory.path)/main.cf")
        _ = run("touch", "-d", "1 minute ago", "\(directory.path)/main.cf")  // Postfix waits for a file of this second to be finished
        let outcome = runArguments(["postconf", "-c", directory.path, "-x", "-h", "mail_name"])
        try #require(outcome.status != 127, "postconf (Debian package postfix)")
        let lines = outcome.output.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let complaints = lines.filter { $0.hasPrefix("postconf: ") && !$0.contains("unused parameter") && !$0.contains("undefined parameter") }
        if let value {
            #expect(lines.contains(value), "\(text): \(outcome.output)")
            #expect(complaints == [], "\(text)")
        } else {
            #expect(complaints.count > 0, "\(text): \(outcome.output)")
        }
    }
}

@Test("Options of a service come before main.cf, that before the defaults")
func scopes() throws {
    let scope = ParameterScope(settings: ["mail_name": "A", "smtpd_banner": "$mail_name $x"], defaults: ParameterDefaults(host: host))
    #expect(try scope.value(of: "smtpd_banner") == "A ")
    #expect(try scope.overridden(by: ["mail_name": "B", "x": "$relayhost$myhostname"]).value(of: "smtpd_banner") == "B mx.example.org")
    #expect(try scope.value(of: "no_such_parameter") == nil)
}

@Test("A value that would expand for ever ends with an error", .timeLimit(.minutes(1)), arguments: [2, 50])
func bombs(fanOut: Int) {
    var settings = ["x0": "0123456789"]
    for level in 1...90 { settings["x\(level)"] = String(repeating: "$x\(level - 1)", count: fanOut) }
    let scope = ParameterScope(settings: settings, defaults: ParameterDefaults(host: host))
    #expect(throws: ParameterFlaw.self) { try scope.value(of: "x90") }
    settings["x0"] = ""
    #expect(throws: ParameterFlaw.self) { try ParameterScope(settings: settings, defaults: ParameterDefaults(host: host)).value(of: "x90") }
}
