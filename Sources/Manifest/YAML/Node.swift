// A YAML document as a tree in which each node knows where it stood in the text.

struct Node: Sendable {
    enum Content: Sendable {
        /// `isPlain`: written without quotes, so that YAML 1.1 may see more than text in it (`no`, `~`).
        case scalar(String, isPlain: Bool)
        case sequence([Node])
        /// In the order of the text, duplicates and all; what a merge key (`<<`) brings in stands in its place.
        case mapping([Entry])
        /// What the text means here cannot be known, and that has been reported: readers take it for absent, in silence.
        case unknown
    }

    struct Entry: Sendable {
        let key: Node
        let value: Node
    }

    let content: Content
    let span: Span
    /// The text stops being YAML before this mapping ends: what is missing from it may follow.
    var isCut = false

    /// Nothing was written, or one of YAML 1.1's words for it (<https://yaml.org/type/null.html>).
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content, text.utf8.count <= 4 else { return false }
        return switch text {
        case "", "~", "null", "Null", "NULL": true
        default: false
        }
    }

    var isUnknown: Bool { if case .unknown = content { true } else { false } }

    var isMapping: Bool { if case .mapping = content { true } else { false } }

    /// `{{ name }}`: to YAML a mapping in a mapping's key.
    var isTemplateMark: Bool { if case .mapping(let entries) = content { entries.first?.key.isMapping == true } else { false } }

    static let templateHint = "a template's {{ }} stands here: fill it in first"

    /// YAML 1.1's merge key (<https://yaml.org/type/merge.html>).
    var isMergeKey: Bool {
        guard case .scalar(let text, isPlain: true) = content, text.utf8.count == 2 else { return false }
        return text == "<<"
    }

    /// What an error message calls it.
    var kindName: String {
        switch content {
        case _ where isNull: "nothing"
        case .scalar(let text, _): quoted(text)
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .unknown: "something else"
        }
    }
}
