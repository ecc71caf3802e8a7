// The server as a whole: mailboxes, networks, the relayhost, limits, the queue.

internal import MailSyntax
internal import Manifest

extension Importer {
    // MARK: Mailboxes

    mutating func importMailboxes() {
        importMailboxServer()
        if !mailboxes.isEmpty { importVirtualBase() }
        guard !localDomains.isEmpty || mailboxes.isEmpty else { return }
        let spool = value("mail_spool_directory")
        let home = value("home_mailbox")
        if !home.isEmpty {
            let isMaildir = home.hasSuffix("/")
            system.mailboxes.format = located(isMaildir ? .maildir : .mbox, place(of: "home_mailbox"))
            note(
                "home_mailbox", .changed,
                "mailboxes.format: \(isMaildir ? "maildir" : "mbox"); mailboxes lie in \(system.mailboxes.directory.value) now: move ~/\(home) of each user there")
            return note("mail_spool_directory", .harmless, "home_mailbox comes before it")
        }
        let isMaildir = spool.hasSuffix("/")
        guard mailboxes.isEmpty else { return }
        system.mailboxes.format = located(isMaildir ? .maildir : .mbox, place(of: "mail_spool_directory"))
        setDirectory(spool, "mail_spool_directory")
        importTransportedMailboxes()
        noteDefault("mail_spool_directory", .translated, "mailboxes: \(isMaildir ? "maildir" : "mbox") in \(system.mailboxes.directory.value)")
    }

    private mutating func setDirectory(_ path: String, _ parameter: String) {
        let directory = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        if let flaw = MailSystem.flaw(in: directory, as: .path) { return note(parameter, .unsupported, flaw) }
        system.mailboxes.directory = located(directory, place(of: parameter))
    }

    /// The format that most have is the common one.
    private mutating func importVirtualBase() {
        let mboxes = mailboxes.count { !$0.isMaildir }
        let common: MailSystem.MailboxFormat = mboxes * 2 > mailboxes.count ? .mbox : .maildir
        system.mailboxes.format = located(common, place(of: "virtual_mailbox_maps"))
        for number in system.users.indices where system.users[number].format?.value == common { system.users[number].format = nil }
        let base = value("virtual_mailbox_base")
        if !base.isEmpty { setDirectory(base, "virtual_mailbox_base") }
        note("virtual_mailbox_base", .translated, "mailboxes.directory: \(system.mailboxes.directory.value)")
        for mailbox in mailboxes where mailbox.path != mailbox.user && system.mailboxes.via == nil {
            note(mailbox.place, "\(mailbox.address)", .changed, "its mailbox is \(mailbox.path) and is to be \(mailbox.user): move it in \(system.mailboxes.directory.value)")
        }
    }

    /// A service of master.cf that is local(8) with another mail_spool_directory, and a table that says for whom: that is how
    /// `render` gives a user a format of its own.
    private mutating func importTransportedMailboxes() {
        let common = value("mail_spool_directory")
        for entry in table(list("mailbox_transport_maps"), of: "mailbox_transport_maps").table.entries {
            let name = String(entry.value.prefix { $0 != ":" })
            let service = master.services.first { $0.name == name && $0.program == "local" && $0.type == "unix" }
            guard let directory = service?.options.last(where: { $0.name == "mail_spool_directory" })?.value,
                let number = userNumbers[lowercasedASCII(entry.key)], directory.split(separator: "/") == common.split(separator: "/")
            else {
                note(entry.place, entry.key, .unsupported, "its mail was delivered by \(entry.value); here each user has a Maildir or an mbox")
                continue
            }
            system.users[number].format = located(directory.hasSuffix("/") ? .maildir : .mbox, entry.place)
            usedServices.insert(name)
        }
        note("mailbox_transport_maps", .translated, "users.NAME.mailbox.format")
    }

    // MARK: Networks

    mutating func importNetworks() {
        guard isSet("mynetworks") || isSet("mynetworks_style") else {
            return noteDefault("mynetworks", .note, "networks: loopback alone; Postfix trusted this server's own addresses as well: name them if programs send by them")
        }
        guard isSet("mynetworks") else {
            let style = lowercasedASCII(value("mynetworks_style"))
            if style == "host" { return note("mynetworks_style", .translated, "networks: loopback alone, which is what host means for programs on the server") }
            return note("mynetworks_style", .changed, "networks: loopback alone; Postfix trusted the networks that this server's interfaces are in: name them")
        }
        note("mynetworks_style", .harmless, "mynetworks is set, and comes before it")
        var networks: [Network] = []
        for element in list("mynetworks") { addNetworks(element, place(of: "mynetworks"), &networks) }
        system.networks = located(networks, place(of: "mynetworks"))
        note("mynetworks", .translated, "networks")
    }

    private mutating func addNetworks(_ text: String, _ place: Place, _ networks: inout [Network]) {
        if text.hasPrefix("/") {
            guard let (path, bytes) = readFile(text, subject: "mynetworks", place: place) else { return }
            for line in ConfigurationText.logicalLines(bytes, file: path).lines {
                for word in ConfigurationText.list(line.text) where !word.hasPrefix("/") { addNetworks(word, Place(file: path, line: line.number), &networks) }
            }
            return
        }
        if let reference = LookupTable.Reference(text), reference.isTextFile || ["inline", "cidr", "regexp", "pcre", "static", "unix"].contains(reference.type) {
            for entry in table([text], of: "mynetworks").table.entries { addNetworks(entry.key, entry.place, &networks) }
            return
        }
        switch Importer.network(text) {
        case .success(let network): if !networks.contains(network) { networks.append(network) }
        case .failure(let flaw): note(place, text, .unsupported, "left out of networks: \(flaw.text)")
        }
    }

    struct NetworkFlaw: Error { let text: String }

    /// postconf(5) mynetworks: IPv6 in brackets; bits beyond the prefix are an error there and here.
    static func network(_ text: String) -> Result<Network, NetworkFlaw> {
        if text.hasPrefix("!") { return .failure(NetworkFlaw(text: "an exception: name smaller networks instead")) }
        var bare = text
        if text.hasPrefix("["), let end = text.firstIndex(of: "]") {
            bare = String(text[text.index(after: text.startIndex)..<end]) + text[text.index(after: end)...]
        }
        // `[::ffff:127.0.0.0]/104`: IPv4 in IPv6's clothes, as Debian has it.
        let parts = bare.split(separator: "/", maxSplits: 1).map(String.init)
        if parts.count == 2, parts[0].contains(":"), let address = IPAddress(parts[0]), !address.isV6, let length = Int(parts[1]), (96...128).contains(length) {
            bare = "\(address)/\(length - 96)"
        }
        if let flaw = MailSystem.flaw(in: bare, as: .network) { return .failure(NetworkFlaw(text: flaw)) }
        do throws(Network.Flaw) { return .success(try Network(parsing: bare)) } catch { return .failure(NetworkFlaw(text: "it is no network")) }
    }

    // MARK: Relayhost

    mutating func importRelayhost() {
        let text = value("relayhost")
        guard !text.isEmpty else { return note("relayhost", .standard, "mail goes by MX records") }
        guard let hop = nextHop(text) else {
            return note("relayhost", .unsupported, "\(text) is no host that a manifest can name: write it as [host]:port")
        }
        var relayhost = MailSystem.Relayhost(hop: hop)
        if isYes("smtp_sasl_auth_enable") {
            note("smtp_sasl_auth_enable", .translated, "relayhost.username and relayhost.password")
            importRelayLogin(text, hop, &relayhost)
        }
        system.relayhost = located(relayhost, place(of: "relayhost"))
        note("relayhost", .translated, "relayhost")
    }

    /// SASL_README: by the next hop as relayhost has it, or by the host alone.
    private mutating func importRelayLogin(_ text: String, _ hop: NextHop, _ relayhost: inout MailSystem.Relayhost) {
        let (table, isWhole) = table(list("smtp_sasl_password_maps"), of: "smtp_sasl_password_maps")
        let host = text.split(separator: ":").first.map { $0.filter { !"[]".contains($0) } } ?? text
        let keys = [text, lowercasedASCII(text), String(host), hop.description]
        guard let entry = keys.lazy.compactMap({ key in table.entries.first { lowercasedASCII($0.key) == lowercasedASCII(key) } }).first else {
            if isWhole { note("smtp_sasl_password_maps", .changed, "no entry for \(text): the relayhost gets no login") }
            return
        }
        for other in table.entries where other.key != entry.key {
            note(other.place, other.key, .unsupported, "a login at another server than the relayhost: there is none in a manifest")
        }
        // The first colon ends the name; the rest is the password.
        guard let colon = entry.value.firstIndex(of: ":") else { return note(entry.place, entry.key, .unsupported, "left out: no user:password") }
        let (username, password) = (String(entry.value[..<colon]), String(entry.value[entry.value.index(after: colon)...]))
        guard MailSystem.flaw(in: username, as: .text) == nil, !username.isEmpty, MailSystem.flaw(in: password, as: .secret) == nil else {
            return note(entry.place, entry.key, .unsupported, "left out: the name or the password is empty or holds what no manifest may hold")
        }
        relayhost.username = located(username, entry.place)
        relayhost.password = located(.literal(password), entry.place)
        note("smtp_sasl_password_maps", .translated, "relayhost.username and relayhost.password, in clear: {file: PATH} keeps it out of the manifest")
    }

    // MARK: Names

    /// postconf(5) smtp_dns_support_level: `dnssec` asks the resolver for its judgement; `disabled` looks nothing up.
    mutating func importNames() {
        switch lowercasedASCII(value("smtp_dns_support_level")) {
        case "dnssec": note("smtp_dns_support_level", .translated, "dns.dnssec: \(system.dns.validation.value.rawValue), which is the default")
        case "enabled": note("smtp_dns_support_level", .harmless, "names are looked up in the DNS, and validated where that can be")
        default: break
        }
    }

    // MARK: Limits

    mutating func importLimits() {
        setSize("message_size_limit", \.messageSize, "limits.message_size")
        // local(8) and virtual(8) have a limit each.
        let isVirtual = isSet("virtual_mailbox_limit") || !mailboxes.isEmpty && !isSet("mailbox_size_limit")
        setSize(isVirtual ? "virtual_mailbox_limit" : "mailbox_size_limit", \.mailboxSize, "limits.mailbox_size")
        setCount("smtpd_recipient_limit", \.recipientsPerMessage, "limits.recipients_per_message")
        setCount("smtpd_client_connection_count_limit", \.connectionsPerClient, "limits.connections_per_client")
        if isSet("default_process_limit") { setCount("default_process_limit", \.connections, "limits.connections") }
        importRates()
        importExemptClients()
        if isSet("smtpd_timeout") {
            // `${stress?{10}:{300}}s` is the default, which says what limits.connections does.
            let text = value("smtpd_timeout")
            if let seconds = Importer.seconds(text, unit: "s"), (1...52 * 7 * 86_400).contains(seconds) {
                system.limits.timeout = located(.seconds(seconds), place(of: "smtpd_timeout"))
                note("smtpd_timeout", .translated, "limits.timeout: \(text)")
            } else {
                note("smtpd_timeout", .unsupported, "\(text) is no time")
            }
        }
        let (message, mailbox) = (system.limits.messageSize.value, system.limits.mailboxSize.value)
        if mailbox != 0, mailbox < message {
            system.limits.mailboxSize = located(message, place(of: "mailbox_size_limit"))
            noteDefault("mailbox_size_limit", .changed, "limits.mailbox_size: \(message); a mailbox has to hold the largest message")
        }
    }

    private mutating func importRates() {
        let rates: [(String, WritableKeyPath<MailSystem.Limits, Located<Int>?>, String)] = [
            ("smtpd_client_connection_rate_limit", \.connectionRate, "limits.connection_rate"),
            ("smtpd_client_message_rate_limit", \.messageRate, "limits.message_rate"),
            ("smtpd_client_recipient_rate_limit", \.recipientRate, "limits.recipient_rate"),
        ]
        for (parameter, path, key) in rates {
            guard let number = Int(value(parameter)), number > 0 else {
                note(parameter, .standard, "no limit")
                continue
            }
            // anvil(8) counts per this unit.
            let unit = Importer.seconds(value("anvil_rate_time_unit"), unit: "s") ?? 60
            let perMinute = max(1, number * 60 / max(1, unit))
            guard perMinute <= 1_000_000 else {
                note(parameter, .changed, "no limit: more in a minute than a manifest can say")
                continue
            }
            system.limits[keyPath: path] = located(perMinute, place(of: parameter))
            note(parameter, .translated, "\(key): \(perMinute)")
        }
        note("anvil_rate_time_unit", .translated, "limits are per minute")
    }

    private mutating func importExemptClients() {
        if let networks = hosts("smtpd_client_event_limit_exceptions", "limits.exempt") { system.limits.exempt = networks }
    }

    /// A list of clients, where main.cf has it.
    private mutating func hosts(_ parameter: String, _ key: String) -> Located<[Network]>? {
        guard isSet(parameter) else { return nil }
        var networks: [Network] = []
        for element in list(parameter) { addNetworks(element, place(of: parameter), &networks) }
        note(parameter, .translated, key)
        return located(networks, place(of: parameter))
    }

    // MARK: smtpd

    mutating func importServerRules() {
        if let networks = hosts("smtpd_authorized_xclient_hosts", "smtpd.xclient") { system.smtpd.xclient = networks }
        if let networks = hosts("smtpd_authorized_xforward_hosts", "smtpd.xforward") { system.smtpd.xforward = networks }
        if isSet("smtpd_peername_lookup") {
            system.smtpd.lookUpNames = located(isYes("smtpd_peername_lookup"), place(of: "smtpd_peername_lookup"))
            note("smtpd_peername_lookup", .translated, "smtpd.lookup_names")
        }
        guard isSet("fast_flush_domains") else { return }
        var domains: [Domain] = []
        for word in list("fast_flush_domains") {
            guard MailSystem.flaw(in: word, as: .domain) == nil else {
                note(mainPath, settings["fast_flush_domains"]?.line, "fast_flush_domains, \(word)", .unsupported, "left out of smtpd.etrn_domains: it is no single domain")
                continue
            }
            let domain = Domain(valid: word)
            if !domains.contains(domain) { domains.append(domain) }
        }
        system.smtpd.etrnDomains = located(domains, place(of: "fast_flush_domains"))
        note("fast_flush_domains", .translated, "smtpd.etrn_domains")
    }

    private mutating func setSize(_ parameter: String, _ path: WritableKeyPath<MailSystem.Limits, Located<Int>>, _ key: String) {
        guard let octets = Int(value(parameter)), octets >= 0 else { return note(parameter, .unsupported, "it is no number of octets") }
        if octets == 0, parameter == "message_size_limit" {
            system.limits[keyPath: path] = located(1 << 40, place(of: parameter))
            return note(parameter, .changed, "\(key): 1TiB; a manifest has a limit")
        }
        guard octets <= 1 << 53 else { return note(parameter, .unsupported, "it is more than a manifest can say") }
        system.limits[keyPath: path] = located(octets, place(of: parameter))
        note(parameter, .translated, "\(key): \(octets)")
    }

    private mutating func setCount(_ parameter: String, _ path: WritableKeyPath<MailSystem.Limits, Located<Int>>, _ key: String) {
        guard let number = Int(value(parameter)), number >= 0 else { return note(parameter, .unsupported, "it is no number") }
        let most = 1_000_000
        system.limits[keyPath: path] = located(number == 0 ? most : min(number, most), place(of: parameter))
        if number == 0 || number > most {
            note(parameter, .changed, "\(key): \(most); a manifest has a limit")
        } else {
            note(parameter, .translated, "\(key): \(number)")
        }
    }

    // MARK: Queue

    mutating func importQueue() {
        setDuration("maximal_queue_lifetime", \.lifetime, "queue.lifetime", unit: "d")
        setDuration("bounce_queue_lifetime", \.bounceLifetime, "queue.bounce_lifetime", unit: "d")
        setDuration("minimal_backoff_time", \.retryMinimum, "queue.retry.minimum", unit: "s")
        setDuration("maximal_backoff_time", \.retryMaximum, "queue.retry.maximum", unit: "s")
        if system.queue.retryMinimum.value > system.queue.retryMaximum.value {
            system.queue.retryMinimum = system.queue.retryMaximum
            note("minimal_backoff_time", .changed, "queue.retry.minimum: as the maximum, which is shorter")
        }
        guard isSet("queue_minfree") else { return }
        guard let octets = Int(value("queue_minfree")), (0...1 << 53).contains(octets) else { return note("queue_minfree", .unsupported, "it is no number of octets") }
        system.queue.minimumFree = located(octets, place(of: "queue_minfree"))
        note("queue_minfree", .translated, "queue.minimum_free: \(octets)")
    }

    /// Only where main.cf says so: Postfix's own times are near enough to the manifest's.
    private mutating func setDuration(_ parameter: String, _ path: WritableKeyPath<MailSystem.Queue, Located<Duration>>, _ key: String, unit: Character) {
        guard isSet(parameter) else { return }
        let text = value(parameter)
        guard let seconds = Importer.seconds(text, unit: unit) else { return note(parameter, .unsupported, "\(text) is no time") }
        let bounded = min(max(seconds, 1), 52 * 7 * 86_400)
        system.queue[keyPath: path] = located(.seconds(bounded), place(of: parameter))
        if bounded == seconds { note(parameter, .translated, "\(key): \(text)") } else { note(parameter, .changed, "\(key): \(bounded)s is what a manifest can say") }
    }

    /// postconf(5): a number and s, m, h, d or w.
    static func seconds(_ text: String, unit: Character) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        let rest = text.dropFirst(digits.count)
        guard let number = Int(digits), rest.count <= 1 else { return nil }
        let units: [Character: Int] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400]
        guard let factor = units[Character(String(rest.first ?? unit).lowercased())] else { return nil }
        let (seconds, isTooMuch) = number.multipliedReportingOverflow(by: factor)
        return isTooMuch ? nil : seconds
    }
}
