// What is wrong with a manifest, as a value: a stable code, the place, words that help. `DiagnosticRenderer` shows it.

/// One finding in a manifest.
package struct Diagnostic: Hashable, Sendable {
    package enum Severity: String, Sendable { case error, warning }

    package let code: Code
    package private(set) var severity: Severity
    /// A warning that `--strict` made an error of.
    package private(set) var isStrict = false
    /// One sentence without a full stop.
    package let message: String
    /// As the caller named it.
    package let file: String
    /// Nil: the file as a whole.
    package let position: SourcePosition?
    /// The column after the last one that is meant, where that is on the same line and known.
    package let endColumn: Int?
    package let hint: String?

    package init(
        _ code: Code, _ severity: Severity, _ message: String, file: String, at position: SourcePosition? = nil,
        endColumn: Int? = nil, hint: String? = nil
    ) {
        self.code = code
        self.severity = severity
        self.message = message
        self.file = file
        self.position = position
        self.endColumn = endColumn
        self.hint = hint
    }
}

extension Diagnostic {
    /// As `--strict` has it: an error in any case.
    package var strict: Diagnostic {
        guard severity == .warning else { return self }
        var result = self
        (result.severity, result.isStrict) = (.error, true)
        return result
    }

    /// The closed list of what can be wrong. Raw values are stable: scripts and editors rely on them.
    package enum Code: String, CaseIterable, Sendable {
        case unreadableFile = "unreadable-file"
        case tooLarge = "too-large"
        case notUTF8 = "not-utf8"
        case forbiddenCharacter = "forbidden-character"
        case yamlSyntax = "yaml-syntax"
        case yamlFeature = "yaml-feature"
        case tooDeep = "too-deep"
        case tooMuchExpansion = "too-much-expansion"
        case unknownAnchor = "unknown-anchor"
        case emptyManifest = "empty-manifest"
        case wrongType = "wrong-type"
        case ambiguousWord = "ambiguous-word"
        case unknownKey = "unknown-key"
        case duplicateKey = "duplicate-key"
        case missingKey = "missing-key"
        case misplacedKey = "misplaced-key"
        case notSupportedYet = "not-supported-yet"
        case invalidValue = "invalid-value"
        case outOfRange = "out-of-range"
        case conflictingValues = "conflicting-values"
        case duplicateEntry = "duplicate-entry"
        case overlappingDomains = "overlapping-domains"
        case danglingTarget = "dangling-target"
        case loop
        case unreachableUser = "unreachable-user"
        case shadowedUser = "shadowed-user"
        case openRelay = "open-relay"
        case wideNetwork = "wide-network"
        case plainSecret = "plain-secret"
        case noPostmaster = "no-postmaster"
        case noRecipients = "no-recipients"
        case noCertificate = "no-certificate"
        case badCertificate = "bad-certificate"
        case noEffect = "no-effect"
        case belowStandard = "below-standard"
        case failedTest = "failed-test"
        case needsRestart = "needs-restart"
        case cannotApply = "cannot-apply"
        case tooManyFindings = "too-many-findings"

        /// One sentence for the reference.
        package var meaning: String {
            switch self {
            case .unreadableFile: "The file cannot be read."
            case .tooLarge: "The file is larger than a manifest may be."
            case .notUTF8: "The file is not UTF-8 text."
            case .forbiddenCharacter: "A control character, or one that YAML takes for the end of a line."
            case .yamlSyntax: "The text is not YAML."
            case .yamlFeature: "YAML that a manifest does not use: tags, several documents."
            case .tooDeep: "Lists and mappings are nested deeper than any manifest needs."
            case .tooMuchExpansion: "References to anchors would blow the manifest up."
            case .unknownAnchor: "A reference such as `*name` to an anchor that does not exist, or that contains itself."
            case .emptyManifest: "The file holds no manifest."
            case .wrongType: "A list stands where a mapping is needed, a value is missing, or the like."
            case .ambiguousWord: "An unquoted word that YAML takes for a truth value, another number or nothing, where a name is needed."
            case .unknownKey: "No such key exists."
            case .duplicateKey: "The same key stands twice; names compare without case."
            case .missingKey: "A key that has to be there is not."
            case .misplacedKey: "The key exists but does not go with what stands beside it."
            case .notSupportedYet: "The key or value is planned; this version would not do what it says, so it refuses it."
            case .invalidValue: "The value does not have the form that the key needs."
            case .outOfRange: "The value is too small or too large."
            case .conflictingValues: "Two values contradict each other."
            case .duplicateEntry: "The same entry stands twice in a list."
            case .overlappingDomains: "The same domain stands twice; domains compare without case."
            case .danglingTarget: "A target that is no user, no alias and no address outside."
            case .loop: "Aliases, addresses or forwards that lead back to where they began."
            case .openRelay: "`networks` lets so much of the Internet in that strangers could send mail through this server."
            case .unreachableUser: "Users whom no address leads to, where no domain is local: nobody can send mail there."
            case .shadowedUser: "An alias has the name of a user without listing it: all mail for the name goes where the alias leads."
            case .wideNetwork: "`networks` lets more addresses in than one organization is likely to have."
            case .plainSecret: "A password that stands in the manifest: a warning where it has to be known, an error where its hash belongs."
            case .noPostmaster: "Nobody is named `postmaster`, or a domain has none of its own; RFC 5321 §4.5.1 wants that address to work."
            case .noRecipients: "A local domain without any user or alias."
            case .noCertificate: "Encryption without a certificate."
            case .badCertificate: "A certificate or its key is not usable: not PEM, expired, not a pair, or a key that others may read."
            case .noEffect: "The key has no effect where it stands."
            case .belowStandard: "The limit is lower than RFC 5321 §4.5.3.1 asks for."
            case .failedTest: "What `tests` says of the manifest is not so."
            case .needsRestart: "A reload cannot change this value; the server has to be started again."
            case .cannotApply: "A reload found that the system does not grant what the value asks for, such as a port that is in use."
            case .tooManyFindings: "There is more to say than is shown."
            }
        }
    }
}
