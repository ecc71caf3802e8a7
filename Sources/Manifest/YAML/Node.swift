// A YAML document as a tree in which each node knows where it stood in the text.

struct Node: Sendable {
    enum Content: Sendable {
        /// `isPlain`: written without quotes, so that YAML 1.1 may see more than text in it (`no`, `~`).
        case scalar(String, isPlain: Bool)
        case sequence([Node])
        /// In the order of the text, duplicates and all.
        case mapping([Entry])
    }

    struct Entry: Sendable {
        let key: Node
        let value: Node
    }

    let content: Content
    let span: Span

    /// Nothing was written, or one of YAML 1.1's words for it (<https://yaml.org/type/null.html>).
    var isNull: Bool {
        guard case .scalar(let text, isPlain: true) = content, text.utf8.count <= 4 else { return false }
        return switch text {
        case "", "~", "null", "Null", "NULL": true
        default: false
        }
    }

    /// What an error message calls it.
    var kindName: String {
        switch content {
        case _ where isNull: "nothing"
        case .scalar(let text, _): quoted(text)
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}
