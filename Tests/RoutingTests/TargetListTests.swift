// Lists in files and users' forward files, as aliases(5) and people write them; and what a list's members are.

import MailSyntax
import Routing
import Testing

struct ListText: Sendable, CustomTestStringConvertible {
    let text: String
    let targets: [String]
    var flaws: [String] = []
    var testDescription: String { text }

    init(_ text: String, _ targets: [String], flaws: [String] = []) { (self.text, self.targets, self.flaws) = (text, targets, flaws) }
}

private func written(_ target: Router.Target) -> String {
    switch target {
    case .name(let name): name
    case .address(let address): address.description
    case .file(let path): "file \(path)"
    case .command(let command): "command \(command)"
    case .include(let path): "include \(path)"
    }
}

@Test(
    "a list holds what an alias may, by commas and by lines",
    arguments: [
        ListText("bob, carol@example.net\nDave\n", ["bob", "carol@example.net", "Dave"]),
        ListText("# nobody\n\n  # nobody either\r\nbob\r\n", ["bob"]),
        ListText("Carol Example <carol@example.org>, \"x, y\" <z@example.org>", ["carol@example.org", "z@example.org"]),
        ListText("\\bob, bob@mobile.example", ["bob", "bob@mobile.example"]),
        ListText("\"|/usr/bin/procmail -f a, b\", bob", ["command /usr/bin/procmail -f a, b", "bob"]),
        ListText("|/usr/bin/procmail -f a, b", ["command /usr/bin/procmail -f a, b"]),
        ListText("|\"exec procmail || exit 75\"", ["command exec procmail || exit 75"]),
        ListText("/var/mail/all, /srv/dir/, \"/srv/with blank\"", ["file /var/mail/all", "file /srv/dir/", "file /srv/with blank"]),
        ListText(":include:/etc/more, \":INCLUDE:/etc/a b\"", ["include /etc/more", "include /etc/a b"]),
        ListText("\"john smith\"@example.org", ["\"john smith\"@example.org"]),
        ListText("a b c, bob", ["bob"], flaws: ["a b c"]),
        ListText("\"|\", , bob", ["bob"], flaws: ["\"|\""]),
        ListText(":include:relative", [], flaws: [":include:relative"]),
        ListText("", []),
    ])
func lists(_ list: ListText) {
    let parsed = TargetList(list.text)
    #expect(parsed.targets.map(written) == list.targets)
    if !list.flaws.isEmpty || list.text.isEmpty { #expect(parsed.flaws.count == list.flaws.count, "\(parsed.flaws)") }
}

@Test("an alias with an owner, or that includes a file, is left to delivery by a server and opened for people")
func listAliases() {
    func entry(_ name: String, _ targets: Router.Target...) -> Router.Entry { Router.Entry(name, targets: targets) }
    var configuration = Router.Configuration(
        manifest: "mail.yaml", origin: Domain("example.org")!, domains: [Router.MailDomain(Domain("example.org")!)],
        users: [Router.User("alice"), Router.User("bob"), Router.User("team")],
        aliases: [
            entry("team", .name("bob"), .name("team")), entry("owner-team", .name("alice")), entry("plain", .name("team"), .name("alice")),
            entry("inc", .include("/etc/list")), entry("owner-owner-team", .name("bob")),
        ])
    let open = Router(configuration)
    configuration.opensLists = false
    let server = Router(configuration)
    func ends(_ router: Router, _ name: String) -> [Destination] {
        if case .deliver(let ends, _) = router.route(Address(localPart: name, domain: Domain("example.org")!)) { ends } else { [] }
    }
    #expect(ends(open, "plain") == [.mailbox(user: "bob"), .mailbox(user: "team"), .mailbox(user: "alice")])
    #expect(ends(server, "plain") == [.list(alias: "team"), .mailbox(user: "alice")])
    #expect(ends(open, "inc") == [.include(file: "/etc/list")] && ends(server, "inc") == [.list(alias: "inc")])
    #expect(ends(server, "owner-team") == [.mailbox(user: "alice")], "an owner is nobody's list")
    #expect(server.owner(ofAlias: "team") == "owner-team" && server.owner(ofAlias: "inc") == nil)
    let members = server.members(server.targets(ofAlias: "team")! + [.name("stranger"), .name("inc")], ofAlias: "team")
    #expect(members.destinations == [.mailbox(user: "bob"), .mailbox(user: "team"), .list(alias: "inc")] && members.unknown == ["stranger"])
}
