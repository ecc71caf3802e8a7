// The sections `rewriting` and `local_delivery` of a manifest that is written.

internal import MailSyntax

extension ManifestWriter {
    static func rewriting(_ rewriting: MailSystem.Rewriting, _ fallback: MailSystem.Rewriting) -> YAMLItem {
        func words<Word: RawRepresentable & Equatable>(_ words: Located<[Word]>, _ fallback: Located<[Word]>) -> YAMLItem? where Word.RawValue == String {
            unless(words.value, fallback.value) { .list($0.map { .text($0.rawValue) }) }
        }
        let domains = rewriting.masqueradeDomains.map { YAMLItem.text(($0.value.isExempt ? "!" : "") + $0.value.domain.text) }
        return .mapping([
            ("canonical", table(rewriting.canonical.entries)), ("canonical_classes", words(rewriting.canonical.classes, fallback.canonical.classes)),
            ("sender_canonical", table(rewriting.senderCanonical.entries)),
            ("sender_canonical_classes", words(rewriting.senderCanonical.classes, fallback.senderCanonical.classes)),
            ("recipient_canonical", table(rewriting.recipientCanonical.entries)),
            ("recipient_canonical_classes", words(rewriting.recipientCanonical.classes, fallback.recipientCanonical.classes)),
            ("generic", table(rewriting.generic)), ("propagate_extensions", words(rewriting.extended, fallback.extended)),
            ("masquerade_domains", domains.isEmpty ? nil : .list(domains)),
            ("masquerade_exceptions", rewriting.masqueradeExceptions.isEmpty ? nil : .list(rewriting.masqueradeExceptions.map { .text($0.value) })),
            ("masquerade_classes", words(rewriting.masqueradeClasses, fallback.masqueradeClasses)),
            ("local_header_clients", words(rewriting.clients, fallback.clients)),
            ("remote_header_domain", rewriting.remoteHeaderDomain.map { .text($0.value.text) }),
            ("always_add_missing_headers", rewriting.alwaysAddsMissingHeaders.value ? .plain("true") : nil),
            ("sender_bcc", table(rewriting.senderBCC)), ("recipient_bcc", table(rewriting.recipientBCC)),
            ("always_bcc", rewriting.alwaysBCC.map { .text($0.value.description) }), ("srs", rewriting.srs.map(srs)),
        ])
    }

    private static func table(_ entries: [MailSystem.Rewriting.Entry]) -> YAMLItem? {
        entries.isEmpty ? nil : .mapping(entries.map { ($0.pattern.value.description, .text($0.result.value.description)) })
    }

    private static func srs(_ srs: MailSystem.Rewriting.SenderRewriting) -> YAMLItem {
        let secrets = srs.secrets.map { secret($0.value) }
        return .mapping([("domain", .text(srs.domain.value.text)), ("secret", secrets.count == 1 ? secrets[0] : .list(secrets))])
    }

    static func localDelivery(_ local: MailSystem.LocalDelivery, _ fallback: MailSystem.LocalDelivery) -> YAMLItem {
        func words(_ words: Located<[MailSystem.LocalDelivery.Source]>, _ fallback: Located<[MailSystem.LocalDelivery.Source]>) -> YAMLItem? {
            unless(words.value, fallback.value) { .list($0.map { .text($0.rawValue) }) }
        }
        return .mapping([
            ("allow_mail_to_commands", words(local.commands, fallback.commands)), ("allow_mail_to_files", words(local.files, fallback.files)),
            ("command_time_limit", unless(local.commandTimeLimit.value, fallback.commandTimeLimit.value) { .plain(duration($0)) }),
            ("command_concurrency", unless(local.commandConcurrency.value, fallback.commandConcurrency.value) { .plain(String($0)) }),
            ("forward_path", local.forwardPath.value.isEmpty ? nil : .list(local.forwardPath.value.map { .text($0) })),
        ])
    }
}
