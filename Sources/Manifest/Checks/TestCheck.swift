// Do the tests of a manifest name what there is? A test that speaks of a user who does not exist would fail with less to say.

internal import MailSyntax

enum TestCheck {
    static func run(_ system: MailSystem, _ book: AddressBook, _ findings: inout Findings) {
        guard !system.tests.isEmpty else { return }
        let users = Set(system.users.map { lowercasedASCII($0.name.value) })
        for test in system.tests {
            if let login = test.login, !users.contains(lowercasedASCII(login.value)) {
                findings.error(
                    .danglingTarget, "\(quoted(login.value)) is no user, and only users log in", at: login.span,
                    hint: findings.suggestions.hint(for: login.value, among: system.users.map(\.name.value)))
            }
            guard case .reaches(let ends) = test.expectation.value else { continue }
            for end in ends { check(end, users, system, book, &findings) }
        }
    }

    private static func check(
        _ end: Located<MailSystem.Target>, _ users: Set<String>, _ system: MailSystem, _ book: AddressBook, _ findings: inout Findings
    ) {
        switch end.value {
        case .name(let name) where users.contains(lowercasedASCII(name)): break
        case .name(let name):
            if let alias = system.aliases.first(where: { lowercasedASCII($0.name.value) == lowercasedASCII(name) }) {
                let targets = alias.targets.map { "\($0.value)" }.joined(separator: ", ")
                findings.error(
                    .invalidValue, "\(quoted(name)) is an alias, and mail ends in a mailbox or elsewhere", at: end.span, hint: "it leads to: \(targets)")
            } else {
                findings.error(
                    .danglingTarget, "\(quoted(name)) is no user", at: end.span,
                    hint: findings.suggestions.hint(for: name, among: system.users.map(\.name.value)))
            }
        case .file, .command, .include: break
        case .address(let address):
            switch book.step(.address(address), from: nil) {
            case .outside: break
            case .to(.user(let number)):
                findings.error(
                    .invalidValue, "\(quoted("\(address)")) is an address of this server, and its mail ends with a user", at: end.span,
                    hint: "did you mean \(quoted(system.users[number].name.value))?")
            case .to:
                findings.error(
                    .invalidValue, "\(quoted("\(address)")) is an address of this server, and leads on", at: end.span, hint: "name where its mail ends")
            case .nowhere:
                findings.error(
                    .danglingTarget, "\(quoted("\(address)")) is in a domain of this server and does not exist there", at: end.span,
                    hint: "name the user, or the address elsewhere, where the mail ends")
            }
        }
    }
}
