// Mail on its way out: routes by recipient and by sender, the fallback relay, how many deliveries at a time, time limits; and the
// LMTP server that keeps the mailboxes.

internal import MailSyntax
internal import Manifest

extension Importer {
    mutating func importDelivery() {
        importSenderRoutes()
        importFallback()
        count("default_destination_concurrency_limit", \.concurrency, "delivery.concurrency")
        count("initial_destination_concurrency", \.initialConcurrency, "delivery.initial_concurrency")
        count("default_destination_recipient_limit", \.recipientsPerMessage, "delivery.recipients_per_message")
        count("smtp_mx_address_limit", \.addressLimit, "delivery.mx_address_limit", most: 1000, zero: 0)
        count("smtp_mx_session_limit", \.sessionLimit, "delivery.mx_session_limit", most: 1000, zero: 0)
        importRateDelay()
        for (parameter, path, key) in [
            ("smtp_connect_timeout", \MailSystem.DeliveryTimeouts.connect, "connect"), ("smtp_helo_timeout", \.hello, "helo"),
            ("smtp_mail_timeout", \.mail, "mail"), ("smtp_rcpt_timeout", \.recipient, "rcpt"), ("smtp_data_init_timeout", \.data, "data_init"),
            ("smtp_data_xfer_timeout", \.block, "data_xfer"), ("smtp_data_done_timeout", \.endOfData, "data_done"),
        ] {
            guard isSet(parameter), let seconds = seconds(of: parameter) else { continue }
            system.delivery.timeouts[keyPath: path] = located(.seconds(seconds), place(of: parameter))
            note(parameter, .translated, "delivery.timeouts.\(key): \(seconds)s")
        }
    }

    /// `zero`: what stands for Postfix's 0, no limit; nil: `most`.
    private mutating func count(
        _ parameter: String, _ path: WritableKeyPath<MailSystem.Delivery, Located<Int>>, _ key: String, most: Int = 10_000, zero: Int? = nil
    ) {
        guard isSet(parameter) else { return }
        guard let number = Int(value(parameter)), number >= 0 else { return note(parameter, .unsupported, "it is no number") }
        let bounded = number == 0 ? zero ?? most : min(number, most)
        system.delivery[keyPath: path] = located(bounded, place(of: parameter))
        note(parameter, bounded == number ? .translated : .changed, "\(key): \(bounded)")
    }

    /// Nil, with a word in the report, where it is no time or none that a manifest can say.
    private mutating func seconds(of parameter: String) -> Int? {
        let text = value(parameter)
        guard let seconds = Importer.seconds(text, unit: "s"), (1...52 * 7 * 86_400).contains(seconds) else {
            note(parameter, .changed, "\(text) is no limit of time that a manifest can say; the default counts")
            return nil
        }
        return seconds
    }

    private mutating func importRateDelay() {
        let parameter = "default_destination_rate_delay"
        guard isSet(parameter), Importer.seconds(value(parameter), unit: "s") != 0, let seconds = seconds(of: parameter) else { return }
        system.delivery.rateDelay = located(.seconds(seconds), place(of: parameter))
        note(parameter, .translated, "delivery.rate_delay: \(seconds)s")
    }

    private mutating func importFallback() {
        let parameter = isSet("smtp_fallback_relay") ? "smtp_fallback_relay" : "fallback_relay"
        guard isSet(parameter) else { return }
        for text in list(parameter) {
            guard let hop = nextHop(text) else {
                note(parameter, .unsupported, "\(text) is no host that a manifest can name: write it as [host]:port")
                continue
            }
            system.delivery.fallbackRelays.append(located(hop, place(of: parameter)))
        }
        note(parameter, .translated, "delivery.fallback_relay")
    }

    private mutating func importSenderRoutes() {
        let parameter = "sender_dependent_relayhost_maps"
        var seen: Set<String> = []
        for entry in table(list(parameter), of: parameter).table.entries {
            let key = lowercasedASCII(entry.key)
            let pattern: MailSystem.RoutePattern? = key.hasPrefix("@") ? Domain(String(key.dropFirst())).map { .domain($0) } : Address(key).map { .address($0) }
            guard let pattern, seen.insert(key).inserted else {
                note(entry.place, entry.key, .unsupported, "left out of sender_routes: it is no address and no @domain")
                continue
            }
            // postconf(5): DUNNO goes on without a relayhost of the sender's own.
            if lowercasedASCII(entry.value) == "dunno" {
                note(entry.place, entry.key, .harmless, "this sender's mail goes as all other")
            } else if let hop = nextHop(entry.value) {
                system.senderRoutes.append(MailSystem.MailRoute(pattern: located(pattern, entry.place), hop: located(hop, entry.place)))
            } else {
                note(entry.place, entry.key, .unsupported, "\(entry.value) is no host that a manifest can name: write it as [host]:port")
            }
        }
        note(parameter, .translated, "sender_routes")
    }

    /// An entry of transport_maps for mail to the outside.
    mutating func importRoute(_ entry: LookupTable.Entry, _ hop: NextHop?) {
        let key = lowercasedASCII(entry.key)
        let pattern: MailSystem.RoutePattern? =
            if key.contains("@") {
                Address(key).map { .address($0) }
            } else if key.hasPrefix(".") {
                Domain(String(key.dropFirst())).map { .subdomains(of: $0) }
            } else {
                Domain(key).map { .domain($0) }
            }
        guard let pattern, MailSystem.flaw(in: pattern.domain?.text ?? "example.org", as: .domain) == nil else {
            return note(entry.place, entry.key, .unsupported, "left out of routes: it is no address and no domain")
        }
        guard !system.routes.contains(where: { $0.pattern.value == pattern }) else { return }
        system.routes.append(MailSystem.MailRoute(pattern: located(pattern, entry.place), hop: located(hop, entry.place)))
    }

    // MARK: Mailboxes elsewhere

    /// Mailboxes that a server such as Dovecot keeps, by LMTP.
    mutating func importMailboxServer() {
        let parameter = isSet("virtual_transport") && !mailboxDomains.isEmpty ? "virtual_transport" : "mailbox_transport"
        guard isSet(parameter), case .mail(let hop?) = transport(value(parameter)), hop.dialect == .lmtp else { return }
        system.mailboxes.via = located(hop, place(of: parameter))
        note(parameter, .translated, "mailboxes.via: \(hop)")
    }

    /// Where an LMTP server of Postfix's is: `unix:private/dovecot-lmtp` counts from queue_directory.
    func lmtpHop(_ text: String) -> NextHop? {
        guard text.hasPrefix("unix:"), !text.hasPrefix("unix:/") else { return nextHop("lmtp:\(text)") }
        let directory = (try? scope.value(of: "queue_directory")) ?? nil
        return nextHop("lmtp:unix:\(directory ?? "/var/spool/postfix")/\(text.dropFirst(5))")
    }
}
