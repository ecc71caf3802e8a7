// libyaml's events → one tree of nodes with positions. Bounded: depth, nodes, and what references to anchors expand to.
//
// Does not judge what the tree says. YAML 1.1 as libyaml reads it, without tags other than `!!str` and second documents: a
// manifest needs none of them. The text has passed `SourceText`. Where the text stops being YAML, the entries of the top
// mapping that are whole by then are still a tree to judge, so that one slip does not hide the others before it.

internal import CYAML
internal import MailSyntax

/// What was read: nil where there is nothing to judge.
struct Composition {
    let root: Node?
    /// False where the text stops being YAML; `root` is what stands before that.
    let isWhole: Bool
}

struct Composer {
    /// The deepest key of a manifest lies at depth 6.
    static let deepest = 32
    /// Nodes of the text and of all expansions. A user with all keys takes about thirty, and so a hundred thousand of them three million.
    static let mostNodes = 5_000_000
    /// Nodes that references to anchors may add in sum, against references to references to references.
    static let largestExpansion = 1_000_000

    private struct Frame {
        let isMapping: Bool
        let span: Span
        let anchor: String?
        let weightBefore: Int
        var items: [Node] = []
        var entries: [Node.Entry] = []
        var key: Node?
        var merges = false
        /// Of the highest child.
        var height = 0
    }

    private struct Anchor {
        let node: Node
        /// Nodes in it, expanded ones too.
        let weight: Int
        let height: Int
        /// Marks the value of a key such as `password`: not to be shown where it might be wrong.
        var isSecret = false
    }

    private enum Stop: Error { case now }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let event = UnsafeMutablePointer<yaml_event_t>.allocate(capacity: 1)
    private var findings: Findings
    private let lines: (Int) -> String
    private var stack: [Frame] = []
    private var root: Node?
    private var anchors: [String: Anchor] = [:]
    /// The last text in quotes: where one is not closed, it ends at the next one's beginning.
    private var lastQuote: SyntaxFlaw.Quote?
    /// Nodes so far, expanded ones too.
    private var weight = 0
    private var expansion = 0

    /// The root of a document that is YAML as a whole; nil after an error or for an empty file.
    static func compose(_ bytes: [UInt8], _ findings: inout Findings) -> Node? {
        let composition = composition(of: bytes, &findings)
        return composition.isWhole ? composition.root : nil
    }

    static func composition(of bytes: [UInt8], _ findings: inout Findings) -> Composition {
        guard let text = SourceText.checked(bytes, &findings) else { return Composition(root: nil, isWhole: false) }
        var composer = Composer(findings) { number in
            let starts = SourceText.lineStarts(in: bytes)
            guard number >= 1, number <= starts.count else { return "" }
            let line = bytes[starts[number - 1]..<(number < starts.count ? starts[number] : bytes.count)]
            return line.count > DiagnosticRenderer.longestSourceLine ? "" : String(decoding: line, as: UTF8.self)
        }
        defer {
            composer.parser.deallocate()
            composer.event.deallocate()
        }
        let isWhole = text.withUnsafeBufferPointer { composer.run($0) }
        findings = composer.findings
        return Composition(root: composer.root, isWhole: isWhole)
    }

    private init(_ findings: Findings, lines: @escaping (Int) -> String) {
        self.findings = findings
        self.lines = lines
    }

    private mutating func run(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
        guard yaml_parser_initialize(parser) == 1 else {
            findings.error(.yamlSyntax, "no memory to read the file", at: nil)
            return false
        }
        defer { yaml_parser_delete(parser) }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        let empty: StaticString = ""
        yaml_parser_set_input_string(parser, text.baseAddress ?? empty.utf8Start, text.count)
        do {
            while try next() {}
        } catch {
            keepWhatIsWhole()
            return false
        }
        if root == nil {
            findings.error(.emptyManifest, "the file holds no manifest", at: nil, hint: "begin with: apiVersion: valija/v1; valija init writes a whole one")
        }
        return true
    }

    /// The entries of the top mapping before the one in which the text stops being YAML.
    private mutating func keepWhatIsWhole() {
        guard var top = stack.first, top.isMapping else { return }
        // Behind a value, it may be the value that is wrong: a quote that was not closed, text after a closed list.
        if stack.count == 1, top.key == nil, !top.entries.isEmpty { top.entries.removeLast() }
        root = Node(content: .mapping(entries(of: top)), span: top.span, isCut: true)
    }

    /// Takes the next event. False at the end of the document.
    private mutating func next() throws -> Bool {
        guard yaml_parser_parse(parser, event) == 1 else {
            let flaw = SyntaxFlaw(parser.pointee, after: lastQuote, line: lines)
            findings.error(.yamlSyntax, flaw.message, at: flaw.span, hint: flaw.hint)
            throw Stop.now
        }
        defer { yaml_event_delete(event) }
        switch event.pointee.type {
        case YAML_STREAM_END_EVENT: return false
        case YAML_DOCUMENT_START_EVENT where root != nil:
            findings.error(
                .yamlFeature, "a second document starts here; a manifest is one", at: eventSpan, hint: "remove everything from \"---\" on")
            return false
        case YAML_SCALAR_EVENT: try add(scalar(), height: 0)
        case YAML_ALIAS_EVENT:
            let anchor = try referenced(text(event.pointee.data.alias.anchor))
            try add(anchor.node, height: anchor.height)
        case YAML_SEQUENCE_START_EVENT:
            let data = event.pointee.data.sequence_start
            try open(isMapping: false, anchor: data.anchor, tag: data.tag, usual: "tag:yaml.org,2002:seq")
        case YAML_MAPPING_START_EVENT:
            let data = event.pointee.data.mapping_start
            try open(isMapping: true, anchor: data.anchor, tag: data.tag, usual: "tag:yaml.org,2002:map")
        case YAML_SEQUENCE_END_EVENT, YAML_MAPPING_END_EVENT: try close()
        default: break
        }
        return true
    }

    private mutating func scalar() -> Node {
        let data = event.pointee.data.scalar
        let tag = text(data.tag)
        let isText = tag == "!" || tag == "tag:yaml.org,2002:str"
        if !tag.isEmpty, !isText { refuseTag(tag) }
        let span = span(ofScalarIn: data.style, isEmpty: data.length == 0)
        // What another program would make of `!vault` or `!include` is anyone's guess; YAML's own tags change nothing here.
        if tag.utf8.first == UInt8(ascii: "!"), !isText { return Node(content: .unknown, span: span) }
        let value = String(decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
        let node = Node(content: .scalar(value, isPlain: data.style == YAML_PLAIN_SCALAR_STYLE && !isText), span: span)
        if data.anchor != nil { anchors[text(data.anchor)] = Anchor(node: node, weight: 1, height: 0, isSecret: isInPlaceOfSecret) }
        return node
    }

    private mutating func span(ofScalarIn style: yaml_scalar_style_t, isEmpty: Bool) -> Span {
        let (start, end) = (event.pointee.start_mark, event.pointee.end_mark)
        if style == YAML_DOUBLE_QUOTED_SCALAR_STYLE || style == YAML_SINGLE_QUOTED_SCALAR_STYLE {
            lastQuote = SyntaxFlaw.Quote(start: Span(start, start), end: Span(end, end).start, isSingle: style == YAML_SINGLE_QUOTED_SCALAR_STYLE)
        }
        // `key:` with nothing after it: the key is what the reader should look at.
        if isEmpty, style == YAML_PLAIN_SCALAR_STYLE, let key = stack.last?.key { return key.span }
        return Span(start, end)
    }

    private mutating func referenced(_ name: String) throws -> Anchor {
        guard let anchor = anchors[name] else {
            let isOpen = stack.contains { $0.anchor == name }
            let nearest = findings.suggestions.nearest(to: name, among: anchors.keys.sorted())
            findings.error(
                .unknownAnchor, isOpen ? "the anchor &\(name) contains itself" : "there is no anchor &\(name) before this", at: eventSpan,
                hint: isOpen ? nil : nearest.map { "did you mean *\($0)?" } ?? "a text that begins with * needs quotes: \"*\(name)\"")
            return Anchor(node: Node(content: .unknown, span: eventSpan), weight: 1, height: 0)
        }
        expansion += anchor.weight
        weight += anchor.weight
        guard expansion <= Composer.largestExpansion else {
            findings.error(.tooMuchExpansion, "references to anchors expand to more than \(Composer.largestExpansion) values", at: eventSpan)
            throw Stop.now
        }
        try limitDepth(stack.count + anchor.height)
        if anchor.isSecret, !isInPlaceOfSecret {
            findings.error(.invalidValue, "&\(name) marks a secret, which has no place here", at: eventSpan)
            return Anchor(node: Node(content: .unknown, span: eventSpan), weight: 1, height: 0)
        }
        return anchor
    }

    private mutating func limitDepth(_ depth: Int) throws {
        guard depth > Composer.deepest else { return }
        findings.error(.tooDeep, "nested deeper than \(Composer.deepest) levels", at: eventSpan)
        throw Stop.now
    }

    private mutating func open(isMapping: Bool, anchor: UnsafePointer<UInt8>?, tag: UnsafePointer<UInt8>?, usual: String) throws {
        let tag = text(tag)
        if !tag.isEmpty, tag != "!", tag != usual { refuseTag(tag) }
        try limitDepth(stack.count + 1)
        let name = text(anchor)
        if !name.isEmpty { anchors[name] = nil }
        stack.append(Frame(isMapping: isMapping, span: eventSpan, anchor: name.isEmpty ? nil : name, weightBefore: weight))
        weight += 1
    }

    private mutating func close() throws {
        let frame = stack.removeLast()
        let content = frame.isMapping ? Node.Content.mapping(entries(of: frame)) : .sequence(frame.items)
        // A block ends where the next thing starts; only a flow that ends on its line has an end worth underlining.
        let end = event.pointee.end_mark
        let ends = event.pointee.start_mark.column != end.column && Int(end.line) + 1 == frame.span.start.line
        let node = Node(content: content, span: Span(start: frame.span.start, endColumn: ends ? Int(end.column) + 1 : nil))
        if let anchor = frame.anchor { anchors[anchor] = Anchor(node: node, weight: weight - frame.weightBefore, height: frame.height + 1) }
        try add(node, height: frame.height + 1)
    }

    private mutating func add(_ node: Node, height: Int) throws {
        weight += 1
        guard weight <= Composer.mostNodes else {
            findings.error(.tooLarge, "the file holds more than \(Composer.mostNodes) values", at: eventSpan)
            throw Stop.now
        }
        let top = stack.count - 1
        guard top >= 0 else {
            root = node
            return
        }
        if stack[top].height < height { stack[top].height = height }
        if !stack[top].isMapping {
            stack[top].items.append(node)
        } else if let key = stack[top].key {
            if key.isMergeKey { stack[top].merges = true }
            stack[top].entries.append(Node.Entry(key: key, value: node))
            stack[top].key = nil
        } else {
            stack[top].key = node
        }
    }

    /// True for the value of a key that may hold a secret.
    private var isInPlaceOfSecret: Bool {
        guard case .scalar(let name, _)? = stack.last?.key?.content else { return false }
        return Secret.mayBeHeld(by: name)
    }

    private mutating func refuseTag(_ tag: String) {
        let usual = "tag:yaml.org,2002:"
        let isUsual = tag.hasPrefix(usual)
        findings.error(
            .yamlFeature, "the tag \(quoted(isUsual ? "!!\(tag.dropFirst(usual.count))" : tag)) has no meaning in a manifest", at: eventSpan,
            hint: isUsual ? "remove the tag" : "a text that begins with ! needs quotes; a secret can be {file: PATH} or {env: NAME}")
    }

    private var eventSpan: Span { Span(event.pointee.start_mark, event.pointee.end_mark) }

    private func text(_ pointer: UnsafePointer<UInt8>?) -> String { pointer.map { String(cString: $0) } ?? "" }
    private func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String { pointer.map { String(cString: $0) } ?? "" }
}

extension Composer {
    /// A mapping's entries with what its merge key brings in: keys that stand here win, then those of the mapping that is named
    /// first. Each entry keeps the place where it was written.
    private mutating func entries(of frame: Frame) -> [Node.Entry] {
        guard frame.merges else { return frame.entries }
        var seen: Set<String> = []
        for entry in frame.entries {
            if case .scalar(let name, _) = entry.key.content { seen.insert(lowercasedASCII(name)) }
        }
        var result: [Node.Entry] = []
        var first: Node?
        for entry in frame.entries {
            guard entry.key.isMergeKey else {
                result.append(entry)
                continue
            }
            if let first {
                findings.error(
                    .duplicateKey, "\"<<\" stands twice; the first is at line \(first.span.start.line)", at: entry.key.span,
                    hint: "name several mappings in one list: <<: [*first, *second]")
                continue
            }
            first = entry.key
            for inherited in mergedEntries(entry.value) {
                if case .scalar(let name, _) = inherited.key.content, !seen.insert(lowercasedASCII(name)).inserted { continue }
                result.append(inherited)
            }
        }
        return result
    }

    /// The entries of the mapping or of the mappings that a merge key names, in their order.
    private mutating func mergedEntries(_ value: Node) -> [Node.Entry] {
        switch value.content {
        case .mapping(let entries): return entries
        case .unknown: return []
        case .sequence(let items):
            return items.flatMap { item -> [Node.Entry] in
                if case .mapping(let entries) = item.content { return entries }
                refuseMerge(of: item)
                return []
            }
        case .scalar:
            refuseMerge(of: value)
            return []
        }
    }

    private mutating func refuseMerge(of value: Node) {
        guard !value.isUnknown else { return }
        findings.error(
            .wrongType, "\"<<\" takes in the keys of mappings, and finds \(value.kindName)", at: value.span,
            hint: "mark a mapping with &name, and write <<: *name, or <<: [*one, *two]")
    }
}

extension Span {
    /// libyaml counts lines and columns from 0, columns in Unicode scalars.
    init(_ start: yaml_mark_t, _ end: yaml_mark_t) {
        self.init(
            start: SourcePosition(line: Int(start.line) + 1, column: Int(start.column) + 1),
            endColumn: end.line == start.line && end.column > start.column ? Int(end.column) + 1 : nil)
    }
}
