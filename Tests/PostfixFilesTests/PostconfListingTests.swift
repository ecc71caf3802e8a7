// What postconf prints. The wanted lines and warnings are those of Postfix 3.7's postconf for the same files.

import Testing

@testable import PostfixFiles

private let mainText = """
    compatibility_level = 3.6
    myhostname = mx.example.org
    # a comment
    mydestination = a.example,
        b.example
    smtpd_recipient_restrictions = permit_mynetworks, $foo,
      check_client_access texthash:$config_directory/some/long/name/of/a/table, reject_unauth_destination
    foo = reject_unknown_sender_domain
    dup = 1
    dup = 2
    forward_path = $home/.forward

    """

private let masterText = """
    smtp inet n - y - - smtpd -v
      -o { smtpd_banner = hello there } -o syslog_name=postfix/$service_name
    relay unix - - n - - smtp
    list unix - n n - - pipe flags=FR user=list argv=/bin/list ${nexthop} {two words}

    """

private func answer(_ set: (inout PostconfListing.Request) -> Void) throws -> PostconfListing.Answer {
    var request = PostconfListing.Request()
    set(&request)
    return try PostconfListing.answer(
        request, main: MainSettings(Array(mainText.utf8), name: "/pc/main.cf"), master: MasterEntries(Array(masterText.utf8), name: "/pc/master.cf"),
        directory: "/pc", settings: ["config_directory": "/pc"], host: .init(name: "host.example.net"))
}

@Test("-n prints what is set and known, in order, and warns of the rest")
func nonDefault() throws {
    let answer = try answer { $0.which = .set }
    #expect(
        answer.lines == [
            "compatibility_level = 3.6\n", "config_directory = /pc\n", "foo = reject_unknown_sender_domain\n", "forward_path = $home/.forward\n",
            "mydestination = a.example, b.example\n", "myhostname = mx.example.org\n",
            "smtpd_recipient_restrictions = permit_mynetworks, $foo, "
                + "check_client_access texthash:$config_directory/some/long/name/of/a/table, reject_unauth_destination\n",
        ])
    #expect(answer.warnings == ["/pc/main.cf, line 10: overriding earlier entry: dup=1", "/pc/main.cf: unused parameter: dup=2"])
}

@Test("a parameter that nobody knows is warned of; the others are printed")
func unknown() throws {
    let answer = try answer { $0.names = ["mydomain", "nope", "myhostname"] }
    #expect(answer.lines == ["mydomain = example.org\n", "myhostname = mx.example.org\n"])
    #expect(answer.warnings.contains("nope: unknown parameter"))
}

private struct Form: Sendable {
    let set: @Sendable (inout PostconfListing.Request) -> Void
    let want: [String]

    init(_ want: [String], _ set: @escaping @Sendable (inout PostconfListing.Request) -> Void) { (self.want, self.set) = (want, set) }
}

@Test(
    "names, values, both, evaluated and folded",
    arguments: [
        Form(["mx.example.org\n"]) { $0.hidesNames = true },
        Form(["myhostname\n"]) { $0.hidesValues = true },
        Form(["myhostname = host.example.net\n"]) { $0.which = .defaults },
        Form(["myhostname = other.example\n"]) { $0.overrides = ["myhostname": "other.example"] },
        Form(["forward_path = $home/.forward\n", "foo = reject_unknown_sender_domain\n"]) { ($0.names, $0.evaluates) = (["forward_path", "foo"], true) },
        Form([
            """
            smtpd_recipient_restrictions = permit_mynetworks, reject_unknown_sender_domain,
                check_client_access texthash:/pc/some/long/name/of/a/table,
                reject_unauth_destination

            """
        ]) { ($0.names, $0.evaluates, $0.folds) = (["smtpd_recipient_restrictions"], true, true) },
    ])
private func forms(form: Form) throws {
    let answer = try answer { request in
        request.names = ["myhostname"]
        form.set(&request)
    }
    #expect(answer.lines == form.want)
}

@Test("master.cf: services in columns, fields by name, parameters of -o")
func serviceLines() throws {
    let lines = try answer { $0.subject = .services }.lines
    #expect(
        lines == [
            "smtp       inet  n       -       y       -       -       smtpd -v -o {smtpd_banner=hello there} -o syslog_name=postfix/$service_name\n",
            "relay      unix  -       -       n       -       -       smtp\n",
            "list       unix  -       n       n       -       -       pipe flags=FR user=list argv=/bin/list ${nexthop} {two words}\n",
        ])
    let fields = try answer { ($0.subject, $0.names) = (.fields, ["*/inet/chroot", "relay/unix/command"]) }.lines
    #expect(fields == ["smtp/inet/chroot = y\n", "relay/unix/command = smtp\n"])
    let parameters = try answer { ($0.subject, $0.evaluates, $0.names) = (.serviceParameters, true, ["smtp/inet", "x"]) }
    #expect(parameters.lines == ["smtp/inet/smtpd_banner = hello there\n", "smtp/inet/syslog_name = postfix/smtp\n"])
    #expect(parameters.warnings.contains("unmatched request: \"x\""))
}

@Test("each service of an agent brings its parameters, which are a class of their own")
func classes() throws {
    let service = try answer { $0.classes = [.service] }.lines
    #expect(service.contains("relay_destination_rate_delay = $default_destination_rate_delay\n"))
    #expect(service.contains("list_time_limit = $command_time_limit\n"))
    #expect(service.allSatisfy { !$0.hasPrefix("myhostname ") })
    let user = try answer { $0.classes = [.user] }.lines
    #expect(user == ["foo = reject_unknown_sender_domain\n"])
}

@Test(
    "a main.cf that Postfix does not read is refused in its words",
    arguments: [("a = b\nc\n", "f, line 2: missing '=' after attribute name: \"c\""), ("= b\n", "f, line 1: missing attribute name: \"= b\"")])
func flaws(text: String, want: String) {
    do throws(MainSettings.Flaw) {
        _ = try MainSettings(Array(text.utf8), name: "f")
        Issue.record("taken")
    } catch {
        #expect(error.text == want)
    }
}

@Test(
    "references to parameters are found in every form",
    arguments: [
        ("$a, ${b} $(c)", ["a", "b", "c"]), ("$$a", []), ("${a?{$b}:{c}}", ["a", "b"]), ("${{$a} == {x} ? {$b} : {y}}", ["a", "b"]), ("a$", []), ("${x", ["x"]),
    ])
func references(value: String, want: [String]) { #expect(MainSettings.references(in: value) == want) }
