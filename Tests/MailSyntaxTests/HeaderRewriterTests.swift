// Headers in, headers out: what is rewritten, what is left alone, what is added, whole and in pieces.

import MailSyntax
import Testing

struct RewrittenHeader: Sendable, CustomTestStringConvertible {
    let input: String
    let output: String
    var testDescription: String { input }

    init(_ input: String, _ output: String) { (self.input, self.output) = (input, output) }
}

/// `old.example` becomes `new.example`; bare addresses get a domain.
private let moved: @Sendable (HeaderRewriter.Role, BareAddress) -> Address? = { role, address in
    guard let domain = address.domain else { return address.qualified(with: Domain("origin.example")!) }
    guard domain == Domain("old.example")! else { return nil }
    return Address(localPart: address.localPart, domain: Domain(role == .sender ? "sender.example" : "new.example")!)
}

/// Feeds `text` in pieces of `size` octets.
private func rewritten(_ text: String, size: Int, completion: HeaderRewriter.Completion? = nil) -> String {
    var rewriter = HeaderRewriter(completion: completion, rewrite: moved)
    var (rest, output): ([UInt8], [UInt8]) = ([], [])
    let octets = Array(text.utf8)
    var index = 0
    repeat {
        let next = min(index + size, octets.count)
        let piece = rest + octets[index..<next]
        index = next
        let result = piece.withUnsafeBytes { rewriter.scan($0, isLast: index == octets.count) }
        var done = 0
        for edit in result.edits {
            output += piece[done..<edit.range.lowerBound] + edit.octets
            done = edit.range.upperBound
        }
        output += piece[done..<result.end]
        rest = Array(piece[result.end...])
    } while index < octets.count
    return String(decoding: output + rest, as: UTF8.self)
}

@Test(
    "addresses of the header are exchanged, and all around them stays",
    arguments: [
        RewrittenHeader("To: a@old.example\r\n\r\nTo: a@old.example\r\n", "To: a@new.example\r\n\r\nTo: a@old.example\r\n"),
        RewrittenHeader("from:   A B <a@old.example>  (c@old.example)\r\n\r\n", "from:   A B <a@sender.example>  (c@old.example)\r\n\r\n"),
        RewrittenHeader(
            "Cc: \"x@old.example, y\" <a@old.example>,\r\n\tb@other.example,\r\n c@old.example\r\n\r\n",
            "Cc: \"x@old.example, y\" <a@new.example>,\r\n\tb@other.example,\r\n c@new.example\r\n\r\n"),
        RewrittenHeader("To: Team: a@old.example, B <b@old.example>;\r\n\r\n", "To: Team: a@new.example, B <b@new.example>;\r\n\r\n"),
        RewrittenHeader("Sender: root\r\n\r\n", "Sender: root@origin.example\r\n\r\n"),
        RewrittenHeader("From: root (Cron Daemon)\r\n\r\n", "From: root@origin.example (Cron Daemon)\r\n\r\n"),
        RewrittenHeader("To: \"john smith\"@old.example\r\n\r\n", "To: \"john smith\"@new.example\r\n\r\n"),
        RewrittenHeader("To: a (x) @ (y) old . example, b\r\n\r\n", "To: a@new.example, b@origin.example\r\n\r\n"),
        RewrittenHeader("To: <@relay.example:a@old.example>\r\n\r\n", "To: <@relay.example:a@new.example>\r\n\r\n"),
        RewrittenHeader("Resent-To: a@old.example\r\nX-To: a@old.example\r\nTo : a@old.example\r\n\r\n",
            "Resent-To: a@new.example\r\nX-To: a@old.example\r\nTo : a@new.example\r\n\r\n"),
        RewrittenHeader("To: =?utf-8?q?B=C3=BCcher?= <a@old.example>\n\nbody\n", "To: =?utf-8?q?B=C3=BCcher?= <a@new.example>\n\nbody\n"),
        RewrittenHeader("To: Bücher <ü@old.example>\r\n\r\n", "To: Bücher <ü@new.example>\r\n\r\n"),
        RewrittenHeader("To: a@old.example", "To: a@new.example"),
        RewrittenHeader("", ""),
        RewrittenHeader("\r\nTo: a@old.example\r\n", "\r\nTo: a@old.example\r\n"),
    ])
func addresses(_ header: RewrittenHeader) {
    for size in [1, 2, 7, 4096] { #expect(rewritten(header.input, size: size) == header.output, "in pieces of \(size)") }
}

@Test(
    "what is no address by the grammar stays, and so does all behind what is no field",
    arguments: [
        "To: A B a@old.example\r\n\r\n", "To: a@old.example \"open\r\n\r\n", "To: <a@old.example\r\n\r\n", "To: <a@old.example> <b@old.example>\r\n\r\n",
        "To: a@old.example (open\r\n\r\n", "To: a..b@old.example\r\n\r\n", "Hello world\r\nTo: a@old.example\r\n\r\n", "To:\r\n\r\n",
        "Subject: a@old.example\r\n\r\n", "To: undisclosed-recipients:;\r\n\r\n", "To a@old.example\r\n\r\n", "From root Mon\r\nTo: a@old.example\r\n",
        "To: a@[192.0.2.1]\r\n\r\n",
    ])
func strictness(_ header: String) {
    for size in [1, 3, 4096] { #expect(rewritten(header, size: size) == header) }
}

private let completion = HeaderRewriter.Completion(
    from: Address("alice@example.org")!, date: Timestamp(microseconds: 1_764_000_000_000_000), messageID: "1@mx.example.org")
private let date = Timestamp(microseconds: 1_764_000_000_000_000).rfc5322

@Test(
    "missing fields come before the empty line",
    arguments: [
        RewrittenHeader("To: b\r\n\r\nbody\r\n", "To: b@origin.example\r\nMessage-ID: <1@mx.example.org>\r\nDate: \(date)\r\nFrom: alice@example.org\r\n\r\nbody\r\n"),
        RewrittenHeader("from: x@y.example\r\nDATE: now\r\n\r\n", "from: x@y.example\r\nDATE: now\r\nMessage-ID: <1@mx.example.org>\r\n\r\n"),
        RewrittenHeader("From: x@y.example\r\nDate: now\r\nMessage-Id: <a@b>\r\n\r\n", "From: x@y.example\r\nDate: now\r\nMessage-Id: <a@b>\r\n\r\n"),
        RewrittenHeader(
            "Resent-To: b@c.example\r\nDate: now\r\n\r\n",
            "Resent-To: b@c.example\r\nDate: now\r\nResent-Message-ID: <1@mx.example.org>\r\nResent-Date: \(date)\r\nResent-From: alice@example.org\r\n\r\n"),
        RewrittenHeader("just a body\r\n", "Message-ID: <1@mx.example.org>\r\nDate: \(date)\r\nFrom: alice@example.org\r\njust a body\r\n"),
    ])
func missingFields(_ header: RewrittenHeader) {
    for size in [1, 5, 4096] { #expect(rewritten(header.input, size: size, completion: completion) == header.output) }
}

@Test("a line that grows is folded before an address, and stays within RFC 5322's limit")
func longLines() {
    let line = "To: " + (0..<80).map { "a\($0)@old.example" }.joined(separator: ",")
    let output = rewritten(line + "\r\n\r\n", size: 4096)
    #expect(output.split(separator: "\r\n").allSatisfy { $0.utf8.count <= 998 })
    let (addresses, flaws) = AddressList.parse(String(output.dropFirst(3)))
    #expect(addresses.count == 80 && flaws.isEmpty && addresses.allSatisfy { $0.domain == Domain("new.example")! })
}

@Test("of a field without an end no more is kept than its limit, and it passes as it is")
func endlessField() {
    let long = "To: " + String(repeating: "a@old.example,\r\n ", count: 20_000) + "\r\n\r\n"
    #expect(rewritten(long, size: 65_536) == long)
}
