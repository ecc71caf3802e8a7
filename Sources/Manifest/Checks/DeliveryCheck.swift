// Does the manifest allow the deliveries that its aliases ask for?

internal import MailSyntax

enum DeliveryCheck {
    static func run(_ system: MailSystem, _ findings: inout Findings) {
        let local = system.localDelivery
        for alias in system.aliases {
            for target in alias.targets {
                switch target.value {
                case .command where !local.commands.value.contains(.alias):
                    findings.error(
                        .conflictingValues, "mail may not be given to commands", at: target.span,
                        hint: "to allow it to aliases: local_delivery: {allow_mail_to_commands: [alias]}")
                case .file where !local.files.value.contains(.alias):
                    findings.error(
                        .conflictingValues, "mail may not be appended to files", at: target.span,
                        hint: "allow_mail_to_files under local_delivery leaves aliases out")
                default: break
                }
            }
        }
        for path in local.forwardPath.value {
            let rest = path.split(separator: "$", omittingEmptySubsequences: false).dropFirst()
            for part in rest {
                let name = part.hasPrefix("{") ? part.dropFirst().prefix { $0 != "}" } : part.prefix { $0.isLetter || $0 == "_" }
                guard name != "user", name != "extension" else { continue }
                findings.error(
                    .invalidValue, "\(quoted(path)): there is no $\(name)", at: local.forwardPath.span,
                    hint: name == "home" ? "accounts have no home directories here: write /home/$user/.forward, or wherever they lie" : "known are $user and $extension")
            }
            if !path.hasPrefix("/") { findings.error(.invalidValue, "\(quoted(path)) has to begin with /", at: local.forwardPath.span) }
        }
    }
}
