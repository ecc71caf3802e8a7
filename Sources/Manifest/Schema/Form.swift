// What may stand in a manifest, as data: for error messages, the JSON Schema and the reference. `Syntax` pairs a form
// with the function that reads it, so that neither can say something that the other does not do.

/// A kind of scalar.
struct Word: Sendable {
    /// As the reference's type column names it.
    let name: String
    /// With its article, for messages: `a size`.
    let noun: String
    /// Which forms are valid, for hints and the reference.
    let forms: String
    /// What the JSON Schema says of it.
    let json: [(String, JSON)]
    /// Nothing of its text may be shown.
    var isSecret = false
}

indirect enum Form: Sendable {
    case word(Word)
    case list(Form)
    case oneOrMany(Form)
    case either(Form, Form)
    /// A mapping with these keys.
    case section([Declaration])
    /// A mapping whose keys the user names.
    case table(name: Word, entry: Form)
    /// Of a planned key, whose value is not judged.
    case anything(String)
}

/// What is said about one key: all but its Swift type.
struct Declaration: Sendable {
    enum Status: Sendable {
        case supported
        /// Refused; the sentence says what to do.
        case planned(advice: String)
    }

    let name: String
    let form: Form
    /// Manifest text, read by the key's own syntax.
    let fallback: String?
    /// Where the default is not a value: `the hostname`.
    let fallbackNote: String?
    let isRequired: Bool
    /// Manifest text; a test reads it by the key's own syntax.
    let example: String?
    /// The Postfix parameter of the same meaning.
    let postfix: String?
    /// One sentence.
    let meaning: String
    let status: Status

    var isPlanned: Bool { if case .planned = status { true } else { false } }
}

protocol Declared: Sendable {
    var declaration: Declaration { get }
}

/// Why a scalar is not what it should be.
struct Flaw: Error {
    let code: Diagnostic.Code
    let message: String
    let hint: String?

    init(_ message: String, code: Diagnostic.Code = .invalidValue, hint: String? = nil) {
        self.code = code
        self.message = message
        self.hint = hint
    }
}
