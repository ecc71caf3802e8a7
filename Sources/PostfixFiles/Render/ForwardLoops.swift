// Forwards that lead back to where they began. To Valija two users may forward to each other and keep copies; in an
// alias table, which is where forwards stand for Postfix, that is a loop: local(8) delivers to both and then
// sends the sender a report of failure. So the target that closes such a loop is found here, to be left out with a note.

internal import MailSyntax
internal import Manifest

struct ForwardLoops {
    private struct Link: Hashable {
        let user: String
        let target: String
    }

    /// Names in lower case, and the names that their mail goes on to; not those that name themselves.
    private var next: [String: [String]] = [:]
    private var closing: Set<Link> = []

    /// Every loop of a valid manifest passes a user who keeps a copy, so no link of an alias needs to be cut.
    init(_ plan: RenderPlan) {
        let users = plan.system.users.filter { !$0.forward.isEmpty }
        guard users.contains(where: \.keepCopy) else { return }
        for alias in plan.system.aliases { next[lowercasedASCII(alias.name.value)] = alias.targets.compactMap { plan.localKey(of: $0.value) } }
        for user in users { next[lowercasedASCII(user.name.value), default: []] += user.forward.compactMap { plan.localKey(of: $0.value) } }
        for name in next.keys { next[name]!.removeAll { $0 == name } }
        for user in users where user.keepCopy {
            let name = lowercasedASCII(user.name.value)
            for target in user.forward.compactMap({ plan.localKey(of: $0.value) }) where target != name && leads(from: target, to: name) {
                closing.insert(Link(user: name, target: target))
                next[name]!.removeAll { $0 == target }
            }
        }
    }

    /// True if mail for `user` that goes on to `target` would come back.
    func isClosed(by target: String, of user: MailSystem.User) -> Bool {
        closing.contains(Link(user: lowercasedASCII(user.name.value), target: target))
    }

    private func leads(from start: String, to name: String) -> Bool {
        var seen: Set<String> = [start]
        var open = [start]
        while let current = open.popLast() {
            if current == name { return true }
            for target in next[current] ?? [] where seen.insert(target).inserted { open.append(target) }
        }
        return false
    }
}

extension RenderPlan {
    /// The key of the alias or user that `target` finds in the alias table; nil: it leads elsewhere.
    func localKey(of target: MailSystem.Target) -> String? {
        let key: String
        switch target {
        case .name(let name): key = lowercasedASCII(name)
        case .address(let address):
            guard system.localDomains.contains(where: { $0.name.value == address.domain }) else { return nil }
            key = address.localKey
        case .file, .command, .include: return nil
        }
        if names.contains(key) { return key }
        guard let delimiter = system.addressExtension.value, let end = key.firstIndex(of: delimiter), end > key.startIndex else { return key }
        return String(key[..<end])
    }
}
