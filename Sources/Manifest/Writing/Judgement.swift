// The reader's judgement for those who make a `MailSystem` of something else than a manifest: whether a word may stand
// in one, and what is wrong with a system as a whole. The same rules as for a text, by the same code.

internal import MailSyntax

extension MailSystem {
    /// Places in a manifest that take a word.
    package enum Place: Sendable { case hostname, domain, userName, aliasName, virtualLocalPart, target, aliasTarget, network, nextHop, secret, path, text }

    /// Why a word cannot stand at this place; nil if it can.
    /// As a manifest has it; nil if it is no SHA-256 fingerprint.
    package static func fingerprint(_ word: String) -> String? {
        let node = Node(content: .scalar(word, isPlain: false), span: Span(start: SourcePosition(line: 1, column: 1), endColumn: nil))
        var findings = Findings(file: "")
        return Syntax<String>.fingerprint.read(node, &findings)
    }

    package static func flaw(in word: String, as place: Place) -> String? {
        let node = Node(content: .scalar(word, isPlain: false), span: Span(start: SourcePosition(line: 1, column: 1), endColumn: nil))
        var findings = Findings(file: "")
        switch place {
        case .hostname: _ = Syntax<Domain>.hostname.read(node, &findings)
        case .domain: _ = Syntax<Domain>.domain.read(node, &findings)
        case .userName: _ = Syntax<String>.userName.read(node, &findings)
        case .aliasName: _ = Syntax<String>.aliasName.read(node, &findings)
        case .virtualLocalPart: _ = Syntax<String>.virtualLocalPart.read(node, &findings)
        case .target: _ = Syntax<Target>.target.read(node, &findings)
        case .aliasTarget: _ = Syntax<Target>.aliasTarget.read(node, &findings)
        case .network: _ = Syntax<Network>.network.read(node, &findings)
        case .nextHop: _ = Syntax<NextHop>.nextHop.read(node, &findings)
        case .secret: _ = Secret.syntax.read(node, &findings)
        case .path: _ = Syntax<String>.path.read(node, &findings)
        case .text: _ = Syntax<String>.text.read(node, &findings)
        }
        return findings.diagnostics.first { $0.severity == .error }?.message
    }

    /// What is wrong with the parts of this system together: targets that lead nowhere, loops, limits that conflict. Each
    /// diagnostic has the position that the part at fault has.
    package func diagnostics() -> [Diagnostic] {
        var findings = Findings(file: file)
        ManifestReader.judge(self, &findings)
        return findings.inOrder()
    }

    /// The system that says nothing but its name: every key has its default.
    package static let defaults: MailSystem = {
        guard let system = ManifestReader.read(text: Array("apiVersion: valija/v1\nhostname: mx.example.org\n".utf8), file: "").system else {
            preconditionFailure("the smallest manifest is not valid")
        }
        return system
    }()
}
