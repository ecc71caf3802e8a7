// Rendered files before Postfix itself, as Debian packages it: its commands must be there, and the tests must run as
// root, to whom alone Postfix shows its queue.

import Manifest
import MailSyntax
import PostfixFiles
import Testing

/// A rendering in a directory of its own, with a queue of its own beside it.
private final class PostfixInstance {
    let directory: String
    let files: [RenderedFile]
    private let temporary: TemporaryDirectory

    init(_ system: MailSystem) throws {
        temporary = try TemporaryDirectory()
        directory = "\(temporary.path)/config"
        files = Rendering(system).files
        try OutputDirectory(directory).write(files)
        age()
        if files.contains(where: { $0.name == "aliases" }) {
            let outcome = run("postalias", "-c", directory, "\(directory)/aliases")
            try #require(outcome.status == 0 && outcome.output.isEmpty, "postalias (Debian package postfix): \(outcome.output)")
        }
    }

    /// Postfix waits for a file of this second to be finished; a minute ago it was.
    func age() {
        for file in files { _ = run("touch", "-d", "1 minute ago", "\(directory)/\(file.name)") }
    }

    /// The parameters of main.cf as they were rendered.
    var rendered: [String] {
        files[0].content.split(separator: "\n").filter { !$0.hasPrefix("#") }.map(String.init).sorted()
    }

    /// What `postmap -q` finds for `key`; nil: nothing.
    func look(up key: String, in table: String) -> String? {
        let type = table == "aliases" ? "hash" : "texthash"
        let outcome = run("postmap", "-c", directory, "-q", key, "\(type):\(directory)/\(table)")
        return outcome.status == 0 ? String(outcome.output.drop { $0 == " " || $0 == "\t" }.prefix { $0 != "\n" }) : nil
    }
}

@Test("postconf shows each parameter as it was rendered, no other and no warning; postmap finds what the manifest says", arguments: manifests.map(\.name))
func postfixUnderstands(name: String) throws {
    let instance = try PostfixInstance(try #require(manifests.first { $0.name == name }).system)

    let parameters = run("postconf", "-c", instance.directory, "-n")
    #expect(parameters.status == 0, "postconf (Debian package postfix): \(parameters.output)")
    let shown = parameters.output.split(separator: "\n").map { $0.last == " " ? String($0.dropLast()) : String($0) }
        .filter { !$0.hasPrefix("config_directory = ") }
    #expect(shown.sorted() == instance.rendered, "each parameter as it was rendered, no other, and no warning")
    let services = run("postconf", "-c", instance.directory, "-M")
    #expect(services.status == 0 && !services.output.contains("warning"), "\(services.output)")

    for answer in answers where answer.name == name {
        #expect(instance.look(up: answer.key, in: answer.table) == answer.value, "\(answer.key) in \(answer.table)")
    }
}

@Test("postfix check finds nothing to say of any manifest's files")
func postfixCheck() throws {
    // A queue where it disturbs nobody's, one for all: Postfix takes its time to lay one out.
    let queue = try TemporaryDirectory()
    for (name, system) in manifests {
        let instance = try PostfixInstance(system)
        #expect(run("postconf", "-c", instance.directory, "-e", "queue_directory=\(queue.path)").status == 0)
        instance.age()
        let outcome = run("postfix", "-c", instance.directory, "check")
        #expect(outcome.status == 0 && outcome.output.isEmpty, "\(name): postfix check (Debian package postfix, as root): \(outcome.output)")
    }
}

@Test("postconf -M shows an smtpd for each listen.smtp address")
func services() throws {
    let instance = try PostfixInstance(manifests[2].system)
    let shown = run("postconf", "-c", instance.directory, "-M").output.split(separator: "\n")
        .map { $0.split(separator: " ").joined(separator: " ") }.filter { $0.hasSuffix("smtpd") }
    #expect(shown == ["127.0.0.1:2525 inet n - n - - smtpd", "[::1]:2525 inet n - n - - smtpd"])
}

/// Manifest, table, key, and the value that Postfix finds (nil: nothing).
private let answers: [(name: String, table: String, key: String, value: String?)] = [
    ("everything", "aliases", "everyone", "alice, bob, archive"),
    ("everything", "aliases", "bob", "bob, bob@mobile.example"),
    ("everything", "aliases", "alice", nil),
    ("everything", "virtual", "Info@Customer.Example", "alice, bob"),
    ("everything", "virtual", "@customer.example", "alice"),
    ("everything", "virtual", "postmaster@branch.example", "postmaster"),
    ("everything", "virtual", "office@branch.example", nil),
    ("everything", "transport", "branch.example", "relay:[192.0.2.25]:25"),
    ("everything", "transport", "example.org", nil),
    ("everything", "relay_recipients", "office@branch.example", "OK"),
    ("everything", "relay_recipients", "nobody@branch.example", nil),
    ("everything", "local_recipients", "archive", "OK"),
    ("everything", "local_recipients", "root", nil),
    ("company", "virtual", "phb@ventas.mindns.es", "aca"),
    ("company", "aliases", "mailer-daemon", "postmaster"),
    ("smallest", "aliases", "postmaster", "alice"),
    ("gateway", "relay_recipients", "@three.example", "OK"),
    ("gateway", "transport", "two.example", "relay:two.internal.example:2525"),
    ("gateway", "local_recipients", "root", nil),
    ("virtual-only", "virtual", "both@shop.example", "alice@localhost, team@shop.example"),
    ("forwards", "aliases", "carol", "carol, carol@away.example, dave"),
    ("forwards", "aliases", "alice", "alice@mobile.example, bob"),
    ("awkward-names", "virtual", "John.Smith@v.example", "alice"),
    ("awkward-names", "virtual", "ö@v.example", "\"a, b\"@elsewhere.example"),
    ("awkward-names", "aliases", "|pipe", "alice"),
    ("awkward-names", "aliases", "#hash", "alice"),
    ("awkward-names", "aliases", "a=b", "\"x y\"@elsewhere.example"),
    ("awkward-names", "aliases", "only", nil),
    ("awkward-names", "relay_recipients", "jane.doe@r.example", "OK"),
]
