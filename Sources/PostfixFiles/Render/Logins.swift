// Logins: of users at the submission services, by Dovecot (SASL_README); and of this server at the relay.
//
// The files that hold secrets are for root alone. A secret that cannot be read leaves a comment in its place.

package import Manifest
internal import MailSyntax

/// Why a secret could not be read; never what it is.
package struct UnreadableSecret: Error, Hashable, Sendable {
    package let reason: String

    package init(reason: String) { self.reason = reason }
}

/// Reads a secret from where it is. Rendering itself reads nothing.
package typealias SecretReader = (Secret) throws(UnreadableSecret) -> String

extension RenderPlan {
    var hasSubmission: Bool { !system.listen.submission.value.isEmpty || !system.listen.submissions.value.isEmpty }

    // MARK: Users

    mutating func addLogins(to groups: inout ParameterGroups) {
        guard hasSubmission else { return }
        let (name, endpoints) = system.listen.submission.value.isEmpty ? ("submissions", system.listen.submissions) : ("submission", system.listen.submission)
        groups.add(
            system.rule(endpoints.position, "listen.\(name)"),
            [
                // Below the queue directory: where the socket is in dovecot.conf.
                "smtpd_sasl_type": "dovecot", "smtpd_sasl_path": "private/auth",
                "smtpd_sender_login_maps": reference(.senderLogins),
            ])
        if system.tls.certificate == nil, system.submission.tlsAuthOnly.value {
            note("listen.\(name)", at: endpoints.position, "there is no tls.certificate, and Postfix takes no login unencrypted")
        }
        noteSubmission()
    }

    /// What Postfix has no parameters for.
    private mutating func noteSubmission() {
        let submission = system.submission
        for (key, rate) in [("message_rate", submission.messageRate), ("recipient_rate", submission.recipientRate)] {
            guard let rate else { continue }
            note("submission.\(key)", at: rate.position, "left out: Postfix counts by client, not by user")
        }
        if submission.hideClient.value {
            note("submission.hide_client", at: submission.hideClient.position, "left out: Postfix's Received names the client; header_checks could take it away")
        }
    }

    /// Services for users: nothing without TLS and a login, and only senders that are the user's own.
    func submissionServices() -> [Service] {
        func services(_ name: String, _ endpoints: Located<[Endpoint]>, _ tls: [Parameter]) -> [Service] {
            endpoints.value.map { endpoint in
                Service(
                    name: endpoint.description, type: "inet", columns: ["n", "-", "n", "-", "-"], command: "smtpd",
                    options: [Parameter("syslog_name", "postfix/\(name)")] + proxyOptions(endpoint) + tls + [
                        Parameter("smtpd_tls_auth_only", system.submission.tlsAuthOnly.value ? "yes" : "no"),
                        Parameter("smtpd_sasl_auth_enable", "yes"),
                        Parameter("smtpd_sender_restrictions", "reject_sender_login_mismatch"),
                        Parameter("smtpd_relay_restrictions", "permit_sasl_authenticated,reject"),
                    ] + (system.submission.recipientsPerMessage.map { [Parameter("smtpd_recipient_limit", String($0.value))] } ?? []) + submissionHeaders,
                    comment: system.rule(endpoints.position, "listen.\(name)"))
            }
        }
        let level = Parameter(
            "smtpd_tls_security_level", system.tls.certificate == nil ? "none" : system.submission.tlsAuthOnly.value ? "encrypt" : "may")
        // RFC 6409 §4.3: no mail without a login. RFC 8314 §3.3: in TLS from the first octet.
        return services("submission", system.listen.submission, [level])
            + services("submissions", system.listen.submissions, [Parameter("smtpd_tls_wrappermode", "yes"), level])
    }

    mutating func senderLogins() -> Table? {
        guard hasSubmission else { return nil }
        var table = Table(.senderLogins)
        let logins = system.senderLogins
        if !logins.isEmpty { table.comment("Who may use which sender: what leads to the user alone, and users.NAME.send_as") }
        for login in logins {
            let key = switch login.pattern {
            case .address(let address): address.description
            case .domain(let domain): "@\(domain)"
            }
            if isComment(key, in: .senderLogins) {
                note("listen.submission", at: system.listen.submission.position, "nobody may send as \(key): a line that begins with # is a comment to Postfix")
            } else {
                table.add(key, login.users.map(lowercasedASCII).joined(separator: ", "))
            }
        }
        return table
    }

    /// passwd-file of Dovecot: `user:{scheme}hash:uid:gid:gecos:home:shell:extra`.
    mutating func dovecotUsers(_ read: SecretReader, _ schemes: inout Set<String>) -> RenderedFile? {
        guard hasSubmission else { return nil }
        guard directories.contains(.manifest) else { return nil }
        var text = header
        var isComplete = true
        for user in system.users {
            guard let password = user.password else { continue }
            let name = user.name.value
            let path = "users.\(name).password"
            text += "\n# \(system.rule(password.position, path))\n"
            let hash = secret(password, path, read) { text in
                if text.hasPrefix("SCRAM-SHA-") { return "is PostgreSQL's form of SCRAM keys, which Dovecot does not read" }
                return text.contains { $0 == ":" || $0.isWhitespace } ? "is no hash" : nil
            }
            if let hash {
                text += "\(lowercasedASCII(name)):\(hash.hasPrefix("{") ? "" : "{CRYPT}")\(hash)::::::\n"
                if let scheme = scramScheme(of: hash) { schemes.insert(scheme) } else { schemes.insert("") }
            } else {
                isComplete = false
                text += "# \(lowercasedASCII(name)):{CRYPT}HASH::::::\n"
            }
        }
        return RenderedFile(name: "dovecot-users", content: text, mode: 0o600, isSecret: true, isComplete: isComplete)
    }

    private var directories: [MailSystem.Directory] { system.directories.value.map(\.value) }

    private func scramScheme(of hash: String) -> String? {
        ["scram-sha-256", "scram-sha-1"].first { lowercasedASCII(hash).hasPrefix("{\($0)}") }
    }

    /// The directories in their order: Dovecot asks the next one where a user is not known, or the password is wrong.
    private mutating func passdbs() -> String {
        system.directories.value.map { directory in
            switch directory.value {
            case .manifest: return "passdb {\n  driver = passwd-file\n  args = /etc/postfix/dovecot-users\n}\n"
            case .passwdFile(let path): return "passdb {\n  driver = passwd-file\n  args = username_format=%Lu \(path)\n}\n"
            case .system(let passwd, let shadow, _):
                if passwd != "/etc/passwd" || shadow != "/etc/shadow" {
                    note("directories", at: directory.position, "Dovecot asks the system for its accounts, and not \(passwd) and \(shadow)")
                }
                return "passdb {\n  driver = shadow\n}\n"
            }
        }.joined()
    }

    /// What Dovecot 2.3 needs to answer Postfix's questions about logins, and nothing else. `schemes`: of the users' hashes.
    mutating func dovecotConfiguration(_ schemes: Set<String>) -> RenderedFile? {
        guard hasSubmission else { return nil }
        // SCRAM where everybody has keys for it.
        let scram = schemes.count == 1 && directories == [.manifest] ? schemes.first.map { $0.isEmpty ? "" : " \($0)" } ?? "" : ""
        let passdbs = passdbs()
        let text = """
            # Logins for Postfix, by Dovecot 2.3. It expects the rendered files in /etc/postfix, and Postfix's queue in /var/spool/postfix.
            # Where a Dovecot runs already, take passdb and service auth into its configuration.

            protocols =
            ssl = no
            disable_plaintext_auth = no
            auth_mechanisms = plain login\(scram)

            \(passdbs)userdb {
              driver = static
              args = uid=\(options.owner.user) gid=\(options.owner.group) home=/nonexistent
            }
            service auth {
              # dovecot-users is for root alone.
              user = root
              unix_listener /var/spool/postfix/private/auth {
                mode = 0600
                user = postfix
              }
            }

            """
        return RenderedFile(name: "dovecot.conf", content: header + text)
    }

    // MARK: The relay

    func addRelayhost(to groups: inout ParameterGroups, _ tables: Set<Table.Name>) {
        guard let relayhost = system.relayhost else { return }
        groups.add(system.rule(relayhost.position, "relayhost"), ["relayhost": relayhost.value.hop.description])
        guard tables.contains(.relayPassword), let username = relayhost.value.username else { return }
        // Postfix's default is no password in the clear, neither in TLS. In TLS it may be.
        let options = relayhost.value.tls?.value == MailSystem.OutgoingLevel.none ? "smtp_sasl_security_options" : "smtp_sasl_tls_security_options"
        groups.add(
            system.rule(username.position, "relayhost.username"),
            ["smtp_sasl_auth_enable": "yes", "smtp_sasl_password_maps": reference(.relayPassword), options: "noanonymous"])
    }

    mutating func relayPassword(_ read: SecretReader) -> Table? {
        guard let relayhost = system.relayhost?.value, let username = relayhost.username, let password = relayhost.password else { return nil }
        if relayhost.tls?.value == MailSystem.OutgoingLevel.none { note("relayhost.password", at: password.position, "Postfix sends it unencrypted, if the relay offers no more") }
        var table = Table(.relayPassword)
        table.comment(system.rule(username.position, "relayhost.username"))
        let key = relayhost.hop.description
        let value = secret(password, "relayhost.password", read) { secret in
            if username.value.contains(":") { return "cannot stand beside a user name with a colon" }
            return secret.last!.isWhitespace ? "ends with white space, which a table does not keep" : nil
        }
        if let value { table.add(key, "\(username.value):\(value)") } else { table.leaveBlank(key, "\(username.value):PASSWORD") }
        return table
    }

    /// Nil, and said to be unreadable, where it cannot be read or cannot stand where it is to.
    private mutating func secret(
        _ secret: Located<Secret>, _ path: String, _ read: SecretReader, unless flaw: (String) -> String?
    ) -> String? {
        do throws(UnreadableSecret) {
            let text = try read(secret.value)
            guard !text.isEmpty else { throw UnreadableSecret(reason: "is empty") }
            guard text.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else { throw UnreadableSecret(reason: "contains a control character") }
            if let flaw = flaw(text) { throw UnreadableSecret(reason: flaw) }
            return text
        } catch {
            unreadable.append(RenderNote(position: secret.position, path: path, text: "\(secret.value) \(error.reason); its line is left blank"))
            return nil
        }
    }
}
