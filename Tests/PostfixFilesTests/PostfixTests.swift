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

    private let maps: RenderOptions.Maps

    init(_ system: MailSystem, _ options: RenderOptions = RenderOptions()) throws {
        maps = options.maps
        temporary = try TemporaryDirectory()
        directory = "\(temporary.path)/config"
        files = Rendering(system, options: options, secrets: secret).files
        try OutputDirectory(directory).write(files)
        age()
        if maps != .texthash {
            let outcome = run("make", "--silent", "-C", directory)
            // There are no certificates where the manifest says.
            let complaints = outcome.output.split(separator: "\n").filter { !$0.hasSuffix("No such file or directory: skipping this entry") }
            try #require(outcome.status == 0 && complaints.isEmpty, "make (Debian packages postfix, postfix-lmdb): \(outcome.output)")
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
        let outcome = run("postmap", "-c", directory, "-q", key, "\(maps.rawValue):\(directory)/\(table)")
        return outcome.status == 0 ? String(outcome.output.drop { $0 == " " || $0 == "\t" }.prefix { $0 != "\n" }) : nil
    }
}

private let combinations = RenderOptions.Accounts.allCases.flatMap { accounts in
    RenderOptions.Maps.allCases.map { RenderOptions(accounts: accounts, maps: $0) }
}

@Test(
    "postconf shows each parameter as it was rendered, no other and no warning; postmap finds what the manifest says",
    arguments: manifests.map(\.name), combinations)
func postfixUnderstands(name: String, options: RenderOptions) throws {
    let instance = try PostfixInstance(try #require(manifests.first { $0.name == name }).system, options)

    let parameters = run("postconf", "-c", instance.directory, "-n")
    #expect(parameters.status == 0, "postconf (Debian package postfix): \(parameters.output)")
    let shown = parameters.output.split(separator: "\n").map { $0.last == " " ? String($0.dropLast()) : String($0) }
        .filter { !$0.hasPrefix("config_directory = ") }
    #expect(shown.sorted() == instance.rendered, "each parameter as it was rendered, no other, and no warning")
    let services = run("postconf", "-c", instance.directory, "-M")
    #expect(services.status == 0 && !services.output.contains("warning"), "\(services.output)")

    for answer in answers where answer.name == name && answer.accounts == options.accounts {
        var value = answer.value
        // A comment to postmap(1), which has no quotes against that.
        if answer.key.hasPrefix("#"), options.maps == .texthash { value = nil }
        #expect(instance.look(up: answer.key, in: answer.table) == value, "\(answer.key) in \(answer.table)")
    }
}

@Test("postfix check finds nothing to say of any manifest's files")
func postfixCheck() throws {
    // A queue where it disturbs nobody's, one for all: Postfix takes its time to lay one out.
    let queue = try TemporaryDirectory()
    for (name, system) in manifests {
        for accounts in RenderOptions.Accounts.allCases {
            let instance = try PostfixInstance(system, RenderOptions(accounts: accounts))
            #expect(run("postconf", "-c", instance.directory, "-e", "queue_directory=\(queue.path)").status == 0)
            instance.age()
            let outcome = run("postfix", "-c", instance.directory, "check")
            #expect(outcome.status == 0 && outcome.output.isEmpty, "\(name): postfix check (Debian package postfix, as root): \(outcome.output)")
        }
    }
}

@Test("postconf -M shows an smtpd for each listen.smtp address")
func services() throws {
    let instance = try PostfixInstance(manifests[2].system)
    let shown = run("postconf", "-c", instance.directory, "-M").output.split(separator: "\n")
        .map { $0.split(separator: " ").joined(separator: " ") }.filter { $0.hasSuffix("smtpd") }
    #expect(shown == ["127.0.0.1:2525 inet n - n - - smtpd", "[::1]:2525 inet n - n - - smtpd"])
}

/// Manifest, accounts, table, key, and the value that Postfix finds (nil: nothing).
private let answers: [(name: String, accounts: RenderOptions.Accounts, table: String, key: String, value: String?)] = [
    ("everything", .unix, "aliases", "everyone", "alice, bob, archive"),
    ("everything", .unix, "aliases", "bob", "bob, bob@mobile.example"),
    ("everything", .unix, "aliases", "alice", nil),
    ("everything", .unix, "virtual", "Info@Customer.Example", "alice, bob"),
    ("everything", .unix, "virtual", "@customer.example", "alice"),
    ("everything", .unix, "virtual", "postmaster@branch.example", "postmaster"),
    ("everything", .unix, "virtual", "office@branch.example", nil),
    ("everything", .unix, "transport", "branch.example", "relay:[192.0.2.25]:25"),
    ("everything", .unix, "transport", "example.org", nil),
    ("everything", .unix, "relay_recipients", "office@branch.example", "OK"),
    ("everything", .unix, "relay_recipients", "nobody@branch.example", nil),
    ("everything", .unix, "local_recipients", "archive", "OK"),
    ("everything", .unix, "local_recipients", "root", nil),
    ("company", .unix, "virtual", "phb@ventas.mindns.es", "aca"),
    ("company", .unix, "aliases", "mailer-daemon", "postmaster"),
    ("smallest", .unix, "aliases", "postmaster", "alice"),
    ("gateway", .unix, "relay_recipients", "@three.example", "OK"),
    ("gateway", .unix, "transport", "two.example", "relay:two.internal.example:2525"),
    ("gateway", .unix, "local_recipients", "root", nil),
    ("virtual-only", .unix, "virtual", "both@shop.example", "alice@localhost, team@shop.example"),
    ("forwards", .unix, "aliases", "carol", "carol, carol@away.example, dave"),
    ("forwards", .unix, "aliases", "alice", "alice@mobile.example, bob"),
    ("awkward-names", .unix, "virtual", "John.Smith@v.example", "alice"),
    ("awkward-names", .unix, "virtual", "ö@v.example", "\"a, b\"@elsewhere.example"),
    ("awkward-names", .unix, "aliases", "|pipe", "alice"),
    ("awkward-names", .unix, "aliases", "#hash", "alice"),
    ("awkward-names", .unix, "aliases", "a=b", "\"x y\"@elsewhere.example"),
    ("awkward-names", .unix, "aliases", "only", nil),
    ("awkward-names", .unix, "relay_recipients", "jane.doe@r.example", "OK"),
    ("everything", .unix, "mailbox_transport", "archive", "local-mbox:"),
    ("everything", .virtual, "virtual", "sales@example.org", "alice, bob"),
    ("everything", .virtual, "virtual", "Sales@Example.Net", "sales"),
    ("everything", .virtual, "virtual", "bob@example.org", "bob, bob@mobile.example"),
    ("everything", .virtual, "virtual", "alice@example.org", "alice"),
    ("everything", .virtual, "virtual", "info@customer.example", "alice, bob"),
    ("everything", .virtual, "virtual", "nobody@example.org", nil),
    ("everything", .virtual, "virtual_mailboxes", "alice@example.org", "alice/"),
    ("everything", .virtual, "virtual_mailboxes", "archive@example.org", "archive"),
    ("everything", .virtual, "virtual_mailboxes", "alice@example.net", nil),
    ("everything", .virtual, "transport", "branch.example", "relay:[192.0.2.25]:25"),
    ("company", .virtual, "virtual", "phb@ventas.mindns.es", "aca"),
    ("company", .virtual, "virtual_mailboxes", "aca@mydom.com", "aca"),
    ("smallest", .virtual, "virtual", "postmaster@example.org", "alice"),
    ("smallest", .virtual, "virtual", "alice@example.org", nil),
    ("virtual-only", .virtual, "virtual", "both@shop.example", "alice@localhost, team@shop.example"),
    ("virtual-only", .virtual, "virtual", "list@localhost", "alice@localhost, bob@localhost"),
    ("virtual-only", .virtual, "virtual_mailboxes", "bob@localhost", "bob/"),
    ("forwards", .virtual, "virtual", "carol@example.org", "carol, carol@away.example, dave"),
    ("forwards", .virtual, "virtual", "dave@example.org", "dave, bob"),
    ("forwards", .virtual, "virtual", "dave@example.net", "dave"),
    ("mutual-forwards", .virtual, "virtual", "alice@example.org", "alice, bob+x@example.org"),
    ("mutual-forwards", .virtual, "virtual", "bob@example.org", "bob, alice, bob@mobile.example"),
    ("awkward-names", .virtual, "virtual", "|pipe@example.org", "alice"),
    ("awkward-names", .virtual, "virtual", "only@example.org", "/dev/null@elsewhere.example"),
    ("awkward-names", .virtual, "virtual", "a+b@example.org", "a+b"),
    ("deliveries", .unix, "aliases", "tickets", #"alice, "|/usr/bin/tickets --queue \"a, b\" \\$HOME""#),
    ("deliveries", .unix, "aliases", "list", #":include:/etc/valija/list, ":include:/etc/valija/the other, list""#),
    ("deliveries", .virtual, "virtual", "tickets@example.org", "tickets, alice"),
    ("deliveries", .virtual, "virtual", "tickets@example.net", "tickets"),
    ("deliveries", .virtual, "transport", "tickets@example.org", "local:"),
    ("deliveries", .virtual, "aliases", "tickets", #""|/usr/bin/tickets --queue \"a, b\" \\$HOME""#),
    ("deliveries", .virtual, "aliases", "odd", #""/srv/a \"b\" c", /dev/null"#),
    ("deliveries", .virtual, "transport", "alice@example.org", nil),
    ("submission", .unix, "sender_logins", "alice@example.org", "alice"),
    ("submission", .unix, "sender_logins", "sales@shop.example", "alice"),
    ("submission", .unix, "sender_logins", "@shop.example", "bob"),
    ("submission", .unix, "sender_logins", "office@example.net", "alice, bob"),
    ("submission", .unix, "sender_logins", "postmaster@example.org", "alice"),
    ("submission", .virtual, "sender_logins", "carol@example.org", "carol"),
    ("submission", .unix, "tls_policy", "[smtp.provider.example]:587", "encrypt"),
    ("submission", .unix, "sasl_passwd", "[smtp.provider.example]:587", #"example:s3cret, with "everything" # in it"#),
    ("relay-in-the-clear", .unix, "sasl_passwd", "smtp.provider.example:25", nil),
    ("relay-in-the-clear", .unix, "tls_policy", "smtp.provider.example:25", "none"),
]
