// Hand-made configurations: what each part becomes, and what the report says of it.

import MailSyntax
@testable import Manifest
@testable import PostfixFiles
import Testing

private func imported(_ main: String, _ files: [String: String] = [:], options: ImportOptions = ImportOptions()) throws -> Importation {
    var all = files.reduce(into: [String: String]()) { $0[$1.key.hasPrefix("/") ? $1.key : "/in/\($1.key)"] = $1.value }
    all["/in/main.cf"] = "myhostname = mx.example.org\nmyorigin = example.org\n" + main
    return try Importation(source(all), options: options)
}

/// A configuration, lines that its manifest has, and what its report says: "subject: outcome".
private struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let main: String
    var files: [String: String] = [:]
    var manifest: [String] = []
    var missing: [String] = []
    var report: [String] = []
}

private let cases = [
    Case(
        testDescription: "continued lines, comments between, the later of two settings, names of its own", main: """
            mydestination = example.org,
            # a comment between
                example.net   \n\
            mydestination = $main_domain
              , example.com
            main_domain = example.org
            """, manifest: ["  example.org: {}", "  example.com: {}"], missing: ["example.net"],
        report: ["mydestination: harmless to drop", "mydestination: translated", "main_domain: harmless to drop"]),
    Case(
        testDescription: "aliases(5): quotes, files, commands, lists, direct delivery, continuation", main: "mydestination = example.org\nalias_maps = hash:/etc/aliases",
        files: [
            "aliases": "postmaster: root\nroot:\n  alice, \\bob\nsupport: \"|/bin/x -a \\\"b c\\\"\", /var/mail/log\n\"odd.name\": :include:/etc/list\nbob: bob, b@x.example\nlost: nobody-here\n",
            "passwd": "alice:x:1000:1000:Alice A,,:/h:/bin/sh\nbob:x:1001:1001::/h:\ndaemon:x:1:1::/:/bin/sh\n",
        ],
        manifest: [
            "  postmaster: root", "  root: [alice, bob]", "  support: [\"|/bin/x -a \\\"b c\\\"\", /var/mail/log]", "  odd.name: \":include:/etc/list\"",
            "    forward: [b@x.example]", "    keep_copy: true", "  alice: {name: Alice A}",
        ], missing: ["lost", "daemon"], report: ["lost: not supported", "alias_maps: translated"]),
    Case(
        testDescription: "virtual domains, catch-alls, a domain whose addresses are those of another",
        main: "mydestination = example.org\nvirtual_alias_domains = $virtual_alias_maps\nvirtual_alias_maps = inline:{{x@c.example = alice}} hash:virtual",
        files: ["virtual": "a.example anything\n@a.example joe@x.example\nsales@a.example alice, bob\n\"a b\"@a.example alice\nfoo@other.example alice\n"],
        manifest: ["      sales: [alice, bob]", "      \"*\": joe@x.example", "  alice: {}"], missing: ["a b"],
        report: ["\"a b\"@a.example: not supported", "foo@other.example: not supported", "x@c.example: not supported"]),
    Case(
        testDescription: "relay domains with recipients, next hops and service names", main: """
            mydestination =
            relay_domains = a.example, b.example
            transport_maps = texthash:transport
            relay_recipient_maps = texthash:relay_recipients
            relayhost = [smtp.isp.example]:submission
            smtp_sasl_auth_enable = yes
            smtp_sasl_password_maps = texthash:sasl
            """,
        files: ["transport": "a.example smtp:[10.0.0.1]\nb.example lmtp:unix:x\n", "relay_recipients": "o@a.example OK\n@b.example OK\n", "sasl": "[smtp.isp.example]:submission me:pa:ss\n"],
        manifest: ["    via: \"[10.0.0.1]\"", "    via: \"lmtp:unix:/var/spool/postfix/x\"", "    recipients: [o]", "  host: \"[smtp.isp.example]:587\"", "  username: me", "  password: \"pa:ss\""],
        report: ["relay_domains: changed", "smtp_sasl_password_maps: translated"]),
    Case(
        testDescription: "routes by recipient and by sender, a fallback relay, limits of deliveries, an LMTP server for the mailboxes", main: """
            mydestination = example.org
            transport_maps = inline:{{ a.example = smtp:[10.0.0.1]:2525 } { .b.example = lmtp:inet:10.0.0.2:24 } { c.example = : } { u@d.example = relay:d.example }}
            sender_dependent_relayhost_maps = inline:{{ @sales.example.org = [10.0.0.3]:submission } { bob@example.org = DUNNO }}
            smtp_fallback_relay = [10.0.0.4], backup.example
            default_destination_concurrency_limit = 7
            default_destination_rate_delay = 2s
            smtp_connect_timeout = 10s
            smtp_mx_address_limit = 0
            smtp_mx_session_limit = 4
            mailbox_transport = lmtp:unix:private/dovecot-lmtp
            """,
        manifest: [
            "  a.example: \"[10.0.0.1]:2525\"", "  \".b.example\": \"lmtp:[10.0.0.2]\"", "  c.example: mx", "  u@d.example: d.example",
            "  \"@sales.example.org\": \"[10.0.0.3]:587\"", "  concurrency: 7", "  rate_delay: 2s", "  mx_address_limit: 0", "  mx_session_limit: 4", "  fallback_relay: [\"[10.0.0.4]\", backup.example]",
            "  timeouts: {connect: 10s}", "  via: \"lmtp:unix:/var/spool/postfix/private/dovecot-lmtp\"",
        ],
        report: [
            "transport_maps: translated", "sender_dependent_relayhost_maps: translated", "bob@example.org: harmless to drop", "smtp_fallback_relay: translated",
            "mailbox_transport: translated", "smtp_connect_timeout: translated", "smtp_mx_session_limit: translated",
        ]),
    Case(
        testDescription: "networks in all of their forms", main: "mydestination =\nmynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128, 10.1.0.0/16, !10.1.2.3 0.0.0.0/0 /in/more",
        files: ["more": "192.0.2.7\n"], manifest: ["networks: [127.0.0.0/8, \"::1\", 10.1.0.0/16, 192.0.2.7]"], report: ["!10.1.2.3: not supported", "0.0.0.0/0: not supported"]),
    Case(
        testDescription: "nobody relays where no rule lets mynetworks", main: "mydestination = example.org\nmynetworks = 10.0.0.0/8\nsmtpd_relay_restrictions = reject_unauth_destination",
        manifest: ["networks: []"], report: ["mynetworks: changed"]),
    Case(
        testDescription: "services of master.cf with options in both forms", main: "mydestination = example.org\ninet_protocols = ipv4\nsmtpd_tls_security_level = may\nsmtp_tls_security_level = may\nsmtpd_tls_cert_file = /c.pem\nsmtpd_tls_key_file = /k.pem",
        files: [
            "master.cf": "smtp inet n - y - - smtpd\n  -o smtpd_milters=\n2525 inet n - n - - smtpd\nsubmission inet n - n - - smtpd\n  -o { smtpd_tls_security_level = encrypt } -o smtpd_sasl_auth_enable=yes\n# x\n  -o milter_macro_daemon_name=O\nprocmail unix - n n - - pipe\n  argv=x\n"
        ],
        manifest: ["  smtp: [\"0.0.0.0:25\", \"0.0.0.0:2525\"]", "  submission: [\"0.0.0.0:587\"]", "  certificate: /c.pem", "  key: /k.pem", "  level: may"],
        report: ["procmail unix: harmless to drop", "submission -o milter_macro_daemon_name: not supported"]),
    Case(
        testDescription: "certificates of clients that may relay, by SHA-256 and by something else", main: """
            mydestination = example.org
            smtpd_tls_security_level = may
            smtpd_tls_chain_files = /k.pem, /c.pem
            smtpd_tls_ask_ccert = yes
            smtpd_tls_fingerprint_digest = sha256
            relay_clientcerts = texthash:clients
            smtpd_relay_restrictions = permit_mynetworks, permit_tls_clientcerts, reject_unauth_destination
            """,
        files: ["clients": "C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4 laptop\n00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff old\n"],
        manifest: ["  relay_clientcerts:", "    - \"c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4:c4\""],
        report: [
            "relay_clientcerts: translated", "smtpd_relay_restrictions: translated", "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff: not supported",
            "smtpd_tls_ask_ccert: harmless to drop",
        ]),
    Case(
        testDescription: "certificates of clients that no rule lets relay",
        main: "mydestination = example.org\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = /c.pem\nsmtpd_tls_ask_ccert = yes\nsmtpd_tls_fingerprint_digest = sha256\nrelay_clientcerts = texthash:clients\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination",
        files: ["clients": "C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4 x\n"], missing: ["relay_clientcerts"], report: ["relay_clientcerts: changed"]),
    Case(
        testDescription: "certificates of clients that nobody asks for",
        main: "mydestination = example.org\nsmtpd_tls_security_level = may\nsmtpd_tls_cert_file = /c.pem\nsmtpd_tls_fingerprint_digest = sha256\nrelay_clientcerts = texthash:clients\nsmtpd_relay_restrictions = permit_mynetworks, permit_tls_clientcerts, reject_unauth_destination",
        files: ["clients": "C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4:C4 x\n"], missing: ["relay_clientcerts"], report: ["relay_clientcerts: changed"]),
    Case(
        testDescription: "virtual mailboxes of two domains", main: "mydestination = localhost\nvirtual_mailbox_domains = a.example b.example\nvirtual_mailbox_base = /srv/mail\nvirtual_mailbox_maps = hash:vmailbox",
        files: ["vmailbox": "info@a.example a/info/\ninfo@b.example b/info\n"], manifest: ["    addresses: {info: info}", "    addresses: {info: info.b.example}", "  directory: /srv/mail", "    mailbox: {format: mbox}"],
        report: ["info@a.example: changed"]),
    Case(
        testDescription: "rules, filters and tables that there are not in a manifest",
        main: "mydestination = example.org\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, reject_rbl_client zen.example\ncanonical_maps = hash:canonical\nsmtpd_milters = inet:x:1\nalias_maps = ldap:/x\nbiff = no\nmessage_size_limit = 10240000\nmy_own = 1",
        report: [
            "smtpd_recipient_restrictions, reject_rbl_client zen.example: not supported", "canonical_maps: not supported", "smtpd_milters: not supported",
            "alias_maps: not supported", "biff: harmless to drop", "message_size_limit: translated", "my_own: harmless to drop",
        ]),
]

@Test("A configuration becomes the manifest that is meant, and its report says what that is not", arguments: cases)
private func importing(_ test: Case) throws {
    let result = try imported(test.main, test.files)
    let lines = result.manifest.split(separator: "\n").map(String.init)
    for line in test.manifest { #expect(lines.contains(line), "\(line)\n\(result.manifest)\n\(result.report.text)") }
    for text in test.missing { #expect(!result.manifest.contains(text), "\(text)\n\(result.manifest)") }
    let report = Set(result.report.entries.map { "\($0.subject): \($0.outcome.rawValue)" })
    for text in test.report { #expect(report.contains(text), "\(text)\n\(result.report.text)") }
    #expect(ManifestReader.read(text: Array(result.manifest.utf8), file: "m").system != nil)
}

@Test("Every parameter of Postfix has its key in the manifest or a sentence of its own")
func everyParameter() throws {
    let host = ParameterDefaults.Host(name: "mx.example.org")
    let services = ["smtp", "local", "pipe"].map { ParameterDefaults.Service(name: "own_\($0)", program: $0) }
    let defaults = ParameterDefaults(host: host, services: services)
    for name in defaults.names {
        let result = try imported("\(name) = 7x\n")
        let entries = result.report.entries.filter { $0.subject == name && $0.line == 3 }
        #expect(entries.count == 1, "\(name): \(entries)")
        #expect(entries.allSatisfy { $0.text != "a manifest has no key for it" && !$0.text.isEmpty }, "\(name): \(entries)")
    }
}

@Test("Hashes come from shadow and from Dovecot's list; what is no crypt hash is said", arguments: [
    ("$y$j9T$a$b", true), ("$6$salt$hash", true), ("{SHA512-CRYPT}$6$a$b", true), ("{BLF-CRYPT}$2y$05$abc", true), ("abcdefghijk./", true),
    ("!", false), ("*", false), ("!$6$a$b", false), ("", false), ("x", false), ("{PLAIN}secret", false), ("{SSHA}abc", false), ("secret", false), ("$", false),
])
func hashes(text: String, isHash: Bool) {
    if case .crypt = AccountFiles.hash(text) { #expect(isHash) } else { #expect(!isHash) }
}

@Test("No secret stands in the report")
func secretsStayOut() throws {
    let files = ["passwd": "alice:x:1000:1000::/h:/bin/sh\n", "shadow": "alice:$6$secret$hash:1::::::\n", "sasl": "[r.example] me:topsecret\n[other.example] you:topsecret\n"]
    let result = try imported(
        "mydestination = example.org\nrelayhost = [r.example]\nsmtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = texthash:sasl\n", files)
    #expect(result.holdsSecrets)
    #expect(result.manifest.contains("topsecret") && result.manifest.contains("$6$secret$hash"))
    #expect(!result.report.text.contains("secret"))
    #expect(!result.report.json.contains("topsecret"))
}

@Test("Without main.cf there is nothing to import")
func noMain() {
    #expect(throws: Importation.Failure(text: "/in/main.cf: there is no such file")) { try Importation(source([:])) }
}
