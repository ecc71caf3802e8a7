// What senders and the postmaster are told: `reports`.

internal import MailSyntax
internal import Manifest

extension Importer {
    mutating func importReports() {
        importDelayWarning()
        if isSet("bounce_size_limit") {
            if let octets = Int(value("bounce_size_limit")), octets > 0 {
                let bounded = min(octets, 10 << 20)
                system.reports.returnedSize = located(bounded, place(of: "bounce_size_limit"))
                note("bounce_size_limit", bounded == octets ? .translated : .changed, "reports.returned_size: \(bounded)")
            } else {
                note("bounce_size_limit", .unsupported, "it is no number of octets")
            }
        }
        if isSet("default_verp_delimiters") {
            let text = value("default_verp_delimiters")
            if let verp = VERP(delimiters: text) {
                system.reports.verpDelimiters = located(verp, place(of: "default_verp_delimiters"))
                note("default_verp_delimiters", .translated, "reports.verp_delimiters: \"\(text)\"")
            } else {
                note("default_verp_delimiters", .unsupported, "delimiters are two of the characters - = +")
            }
        }
        if isSet("smtpd_authorized_verp_clients") {
            let isSame = value("smtpd_authorized_verp_clients") == value("mynetworks")
            note("smtpd_authorized_verp_clients", isSame ? .translated : .changed, "clients in networks may ask for VERP")
        }
        importNotices()
    }

    private mutating func importDelayWarning() {
        guard isSet("delay_warning_time") else { return }
        let text = value("delay_warning_time")
        guard let seconds = Importer.seconds(text, unit: "h") else { return note("delay_warning_time", .unsupported, "\(text) is no time") }
        if seconds == 0 { return note("delay_warning_time", .translated, "nobody is told of delays, as without reports.delay_warning") }
        system.reports.delayWarning = located(.seconds(min(seconds, 52 * 7 * 86_400)), place(of: "delay_warning_time"))
        note("delay_warning_time", .translated, "reports.delay_warning: \(text)")
    }

    private mutating func importNotices() {
        guard isSet("notify_classes") else { return }
        let classes = list("notify_classes").map { lowercasedASCII($0) }
        let keys: [(String, String, String, WritableKeyPath<MailSystem.Reports, Located<MailSystem.Target>?>)] = [
            ("bounce", "bounce_notice_recipient", "bounce_notice", \.bounceNotice),
            ("2bounce", "2bounce_notice_recipient", "double_bounce_notice", \.doubleBounceNotice),
            ("delay", "delay_notice_recipient", "delay_notice", \.delayNotice),
        ]
        var kept: [String] = []
        for (name, parameter, key, path) in keys where classes.contains(name) {
            let text = value(parameter)
            let target: MailSystem.Target? = if let address = Address(text) { .address(address) } else { BareAddress(text).map { .name($0.localPart) } }
            guard let target else {
                note(parameter, .unsupported, "\(text) is no address")
                continue
            }
            system.reports[keyPath: path] = located(target, place(of: isSet(parameter) ? parameter : "notify_classes"))
            if isSet(parameter) { note(parameter, .translated, "reports.\(key): \(text)") }
            kept.append("reports.\(key)")
        }
        let others = classes.filter { name in !keys.contains { $0.0 == name } }
        var text = kept.isEmpty ? "no notices" : kept.joined(separator: ", ")
        if !others.isEmpty { text += "; of \(others.joined(separator: ", ")) the log tells" }
        note("notify_classes", others.isEmpty ? .translated : .changed, text)
    }
}
