// libyaml's events → one tree of nodes with positions. Bounded: depth, and what references to anchors expand to.
//
// Does not judge what the tree says. YAML 1.1 as libyaml reads it, without tags other than `!!str`, merge keys (`<<`) and
// second documents: a manifest needs none of them. The text has passed `SourceText`.

internal import CYAML

struct Composer {
    /// The deepest key of a manifest lies at depth 6.
    static let deepest = 32
    /// Nodes that references to anchors may add in sum, against references to references to references.
    static let largestExpansion = 1_000_000

    private struct Frame {
        var children: [Node] = []
        let isMapping: Bool
        let span: Span
        let anchor: String?
        let weightBefore: Int
    }

    private enum Stop: Error { case now }

    private let parser = UnsafeMutablePointer<yaml_parser_t>.allocate(capacity: 1)
    private let event = UnsafeMutablePointer<yaml_event_t>.allocate(capacity: 1)
    private var findings: Findings
    private let lines: (Int) -> String
    private var stack: [Frame] = []
    private var root: Node?
    private var anchors: [String: (node: Node, weight: Int)] = [:]
    /// Nodes so far, expanded ones too.
    private var weight = 0
    private var expansion = 0

    /// The root of the document; nil after an error or for an empty file.
    static func compose(_ bytes: [UInt8], _ findings: inout Findings) -> Node? {
        guard let text = SourceText.checked(bytes, &findings) else { return nil }
        var composer = Composer(findings) { number in
            let starts = SourceText.lineStarts(in: bytes)
            guard number >= 1, number <= starts.count else { return "" }
            return String(decoding: bytes[starts[number - 1]..<(number < starts.count ? starts[number] : bytes.count)], as: UTF8.self)
        }
        defer {
            composer.parser.deallocate()
            composer.event.deallocate()
        }
        let root = text.withUnsafeBufferPointer { composer.run($0) }
        findings = composer.findings
        return root
    }

    private init(_ findings: Findings, lines: @escaping (Int) -> String) {
        self.findings = findings
        self.lines = lines
    }

    private mutating func run(_ text: UnsafeBufferPointer<UInt8>) -> Node? {
        guard yaml_parser_initialize(parser) == 1 else {
            findings.error(.yamlSyntax, "no memory to read the file", at: nil)
            return nil
        }
        defer { yaml_parser_delete(parser) }
        yaml_parser_set_encoding(parser, YAML_UTF8_ENCODING)
        let empty: StaticString = ""
        yaml_parser_set_input_string(parser, text.baseAddress ?? empty.utf8Start, text.count)
        do {
            while try next() {}
        } catch {
            return nil
        }
        if root == nil { findings.error(.emptyManifest, "the file holds no manifest", at: nil, hint: "begin with: apiVersion: valija/v1") }
        return root
    }

    /// Takes the next event. False at the end of the text.
    private mutating func next() throws -> Bool {
        guard yaml_parser_parse(parser, event) == 1 else {
            let flaw = SyntaxFlaw(parser.pointee, line: lines)
            findings.error(.yamlSyntax, flaw.message, at: flaw.span, hint: flaw.hint)
            throw Stop.now
        }
        defer { yaml_event_delete(event) }
        switch event.pointee.type {
        case YAML_STREAM_END_EVENT: return false
        case YAML_DOCUMENT_START_EVENT:
            if root != nil {
                findings.error(
                    .yamlFeature, "a second document starts here; a manifest is one", at: eventSpan, hint: "remove everything from \"---\" on")
                throw Stop.now
            }
        case YAML_SCALAR_EVENT: try add(scalar())
        case YAML_ALIAS_EVENT: try add(referenced(text(event.pointee.data.alias.anchor)))
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

    private mutating func scalar() throws -> Node {
        let data = event.pointee.data.scalar
        let tag = text(data.tag)
        let isText = tag == "!" || tag == "tag:yaml.org,2002:str"
        if !tag.isEmpty, !isText { try refuseTag(tag) }
        let value = String(decoding: UnsafeBufferPointer(start: data.value, count: data.length), as: UTF8.self)
        let isPlain = data.style == YAML_PLAIN_SCALAR_STYLE && !isText
        if isPlain, value == "<<", stack.last?.isMapping == true, stack.last!.children.count.isMultiple(of: 2) {
            findings.error(.yamlFeature, "merge keys (<<) are not supported", at: eventSpan, hint: "write the keys out, or quote \"<<\"")
            throw Stop.now
        }
        var span = eventSpan
        // `key:` with nothing after it: the key is what the reader should look at.
        if isPlain, value.isEmpty, let frame = stack.last, frame.isMapping, let key = frame.children.last { span = key.span }
        let node = Node(content: .scalar(value, isPlain: isPlain), span: span)
        weight += 1
        remember(node, as: text(data.anchor), weight: 1)
        return node
    }

    private mutating func referenced(_ name: String) throws -> Node {
        guard let anchor = anchors[name] else {
            let isOpen = stack.contains { $0.anchor == name }
            findings.error(
                .unknownAnchor, isOpen ? "the anchor &\(name) contains itself" : "there is no anchor &\(name) before this", at: eventSpan,
                hint: isOpen ? nil : "a text that begins with * needs quotes: \"*\(name)\"")
            throw Stop.now
        }
        expansion += anchor.weight
        weight += anchor.weight
        guard expansion <= Composer.largestExpansion else {
            findings.error(.tooMuchExpansion, "references to anchors expand to more than \(Composer.largestExpansion) values", at: eventSpan)
            throw Stop.now
        }
        return anchor.node
    }

    private mutating func open(isMapping: Bool, anchor: UnsafePointer<UInt8>?, tag: UnsafePointer<UInt8>?, usual: String) throws {
        let tag = text(tag)
        if !tag.isEmpty, tag != "!", tag != usual { try refuseTag(tag) }
        guard stack.count < Composer.deepest else {
            findings.error(.tooDeep, "nested deeper than \(Composer.deepest) levels", at: eventSpan)
            throw Stop.now
        }
        let name = text(anchor)
        if !name.isEmpty { anchors[name] = nil }
        stack.append(Frame(isMapping: isMapping, span: eventSpan, anchor: name.isEmpty ? nil : name, weightBefore: weight))
        weight += 1
    }

    private mutating func close() throws {
        let frame = stack.removeLast()
        let content: Node.Content
        if frame.isMapping {
            content = .mapping(stride(from: 0, to: frame.children.count, by: 2).map { Node.Entry(key: frame.children[$0], value: frame.children[$0 + 1]) })
        } else {
            content = .sequence(frame.children)
        }
        // A block ends where the next thing starts; only a flow that ends on its line has an end worth underlining.
        let end = event.pointee.end_mark
        let ends = event.pointee.start_mark.column != end.column && Int(end.line) + 1 == frame.span.start.line
        let node = Node(content: content, span: Span(start: frame.span.start, endColumn: ends ? Int(end.column) + 1 : nil))
        if let anchor = frame.anchor { remember(node, as: anchor, weight: weight - frame.weightBefore) }
        try add(node)
    }

    private mutating func add(_ node: Node) throws {
        if stack.isEmpty { root = node } else { stack[stack.count - 1].children.append(node) }
    }

    private mutating func remember(_ node: Node, as anchor: String, weight: Int) {
        if !anchor.isEmpty { anchors[anchor] = (node, weight) }
    }

    private mutating func refuseTag(_ tag: String) throws -> Never {
        findings.error(.yamlFeature, "the tag \(quoted(tag)) has no meaning in a manifest", at: eventSpan, hint: "remove the tag")
        throw Stop.now
    }

    private var eventSpan: Span { Span(event.pointee.start_mark, event.pointee.end_mark) }

    private func text(_ pointer: UnsafePointer<UInt8>?) -> String { pointer.map { String(cString: $0) } ?? "" }
    private func text(_ pointer: UnsafeMutablePointer<UInt8>?) -> String { pointer.map { String(cString: $0) } ?? "" }
}

extension Span {
    /// libyaml counts lines and columns from 0, columns in Unicode scalars.
    init(_ start: yaml_mark_t, _ end: yaml_mark_t) {
        self.init(
            start: SourcePosition(line: Int(start.line) + 1, column: Int(start.column) + 1),
            endColumn: end.line == start.line && end.column > start.column ? Int(end.column) + 1 : nil)
    }
}
