// master.cf (master(5)): a service for each address that the manifest listens at, and those that Postfix itself needs.
// None is in a chroot.

internal import MailSyntax
internal import Manifest

extension RenderPlan {
    func services() -> [Service] {
        var services: [Service] = []
        let comment = system.rule(system.listen.smtp.position, "listen.smtp")
        for endpoint in system.listen.smtp.value {
            services.append(
                Service(
                    name: endpoint.description, type: "inet", columns: ["n", "-", "n", "-", "-"], command: "smtpd", options: proxyOptions(endpoint),
                    comment: comment))
        }
        services += submissionServices() + Service.always
        services += ["local", "virtual"].map { Service(name: $0, type: "unix", columns: ["-", "n", "n", "-", "-"], command: $0) }
        if let relayhost = system.relayhost, relayhost.value.usesImplicitTLS {
            services.append(
                Service(
                    name: implicitTransport, type: "unix", columns: ["-", "-", "n", "-", "-"], command: "smtp",
                    options: [Parameter("smtp_tls_wrappermode", "yes")],
                    comment: system.rule(relayhost.value.implicitTLS?.position ?? relayhost.position, "relayhost.implicit_tls")))
        }
        if usesLMTP { services.append(Service(name: "lmtp", type: "unix", columns: ["-", "-", "n", "-", "-"], command: "lmtp")) }
        if options.accounts == .unix, let first = usersOfOtherFormat.first { services.append(otherLocal(first)) }
        return services
    }

    private var usesLMTP: Bool {
        let ways = system.routes.map(\.hop.value) + system.relayDomains.map { domain in
            if case .relay(let via?, _) = domain.kind { via.value } else { nil }
        }
        return system.mailboxes.via != nil || ways.contains { $0?.dialect == .lmtp }
    }

    /// Gets from local(8) the users whose mailbox is of the other format, after their aliases.
    private func otherLocal(_ first: MailSystem.User) -> Service {
        let directory = literal(mailboxDirectory)
        return Service(
            name: otherLocalService, type: "unix", columns: ["-", "n", "n", "-", "-"], command: "local",
            options: [
                Parameter("mail_spool_directory", system.mailboxes.format.value == .maildir ? directory : directory + "/"),
                Parameter("alias_maps", ""), Parameter("mailbox_transport_maps", ""),
            ],
            comment: system.rule(first.format?.position, "users.\(first.name.value).mailbox.format"))
    }

    func masterCF(_ services: [Service]) -> RenderedFile {
        var text = header
        text += "#\n# service type  private unpriv  chroot  wakeup  maxproc command\n"
        var comment: String?
        for (index, service) in services.enumerated() {
            if index == 0 || service.comment != comment {
                comment = service.comment
                text += "\n# \(comment ?? "The services that Postfix itself needs")\n"
            }
            text += line(of: service)
        }
        return RenderedFile(name: "master.cf", content: text)
    }

    private func line(of service: Service) -> String {
        var text = ""
        for (word, width) in zip([service.name, service.type] + service.columns, [10, 6, 8, 8, 8, 8, 8]) {
            text += word + String(repeating: " ", count: max(width - word.count, 1))
        }
        text += service.command + "\n"
        for option in service.options {
            let isPlain = !option.value.contains { $0 == " " || $0 == "{" || $0 == "}" }
            // master(5): braces around what holds white space.
            text += isPlain ? "  -o \(option.name)=\(option.value)\n" : "  -o { \(option.name) = \(option.value) }\n"
        }
        return text
    }
}

extension Service {
    /// As Postfix ships them, but for the chroot.
    fileprivate static let always: [Service] = {
        let table: [(String, String, [String], String)] = [
            ("pickup", "unix", ["n", "-", "n", "60", "1"], "pickup"),
            ("cleanup", "unix", ["n", "-", "n", "-", "0"], "cleanup"),
            ("qmgr", "unix", ["n", "-", "n", "300", "1"], "qmgr"),
            ("tlsmgr", "unix", ["-", "-", "n", "1000?", "1"], "tlsmgr"),
            ("rewrite", "unix", ["-", "-", "n", "-", "-"], "trivial-rewrite"),
            ("bounce", "unix", ["-", "-", "n", "-", "0"], "bounce"),
            ("defer", "unix", ["-", "-", "n", "-", "0"], "bounce"),
            ("trace", "unix", ["-", "-", "n", "-", "0"], "bounce"),
            ("verify", "unix", ["-", "-", "n", "-", "1"], "verify"),
            ("flush", "unix", ["n", "-", "n", "1000?", "0"], "flush"),
            ("proxymap", "unix", ["-", "-", "n", "-", "-"], "proxymap"),
            ("smtp", "unix", ["-", "-", "n", "-", "-"], "smtp"),
            ("relay", "unix", ["-", "-", "n", "-", "-"], "smtp"),
            ("showq", "unix", ["n", "-", "n", "-", "-"], "showq"),
            ("error", "unix", ["-", "-", "n", "-", "-"], "error"),
            ("retry", "unix", ["-", "-", "n", "-", "-"], "error"),
            ("discard", "unix", ["-", "-", "n", "-", "-"], "discard"),
            ("anvil", "unix", ["-", "-", "n", "-", "1"], "anvil"),
            ("scache", "unix", ["-", "-", "n", "-", "1"], "scache"),
            ("postlog", "unix-dgram", ["n", "-", "n", "-", "1"], "postlogd"),
        ]
        return table.map { Service(name: $0.0, type: $0.1, columns: $0.2, command: $0.3) }
    }()
}
