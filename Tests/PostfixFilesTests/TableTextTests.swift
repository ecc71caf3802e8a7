// Tables as text. The wanted entries and complaints are those of Postfix 3.7's postmap and postalias.

import Testing

@testable import PostfixFiles

private func read(_ text: String, _ syntax: TableText.Syntax) -> (entries: [String], complaints: [String]) {
    let table = TableText(Array(text.utf8), name: "file", syntax: syntax)
    return (table.entries.map { "\(String(decoding: $0.key, as: UTF8.self))=\(String(decoding: $0.value, as: UTF8.self))" }, table.complaints)
}

@Test(
    "a map has a key, white space and a value a line",
    arguments: [
        ("a@b  c, d\n", ["a@b=c, d"]),
        ("a\tb", ["a=b"]),
        ("# no\n\n  # no\na b\n", ["a=b"]),
        ("a b\n c\n# no\n\td  \n", ["a=b c\td"]),
        (#""a b" c"# + "\n", [#""a b"=c"#]),
        (#"a\ b c"# + "\n", [#"a\ b=c"#]),
        ("A B\r\n", ["A=B"]),
        ("a b\na c\n", ["a=b", "a=c"]),
    ])
func maps(text: String, want: [String]) {
    let read = read(text, .map)
    #expect(read.entries == want)
    #expect(read.complaints == [])
}

@Test(
    "what is no entry is left out with Postfix's own complaint",
    arguments: [
        ("a\n", TableText.Syntax.map, ["file, line 1: expected format: key whitespace value"], []),
        ("a\n", .textHash, ["file, line 1: expected format: key whitespace value -- ignoring this line"], []),
        ("x y\n\"a b\n", .map, ["file, line 2: unbalanced '\"' in '\"a b' -- ignoring this line"], ["x=y"]),
        ("a: b\n", .map, ["file, line 1: record is in \"key: value\" format; is this an alias file?"], ["a:=b"]),
        (" a b\nc d\n", .map, ["file: logical line must not start with whitespace: \" a b\""], ["c=d"]),
        ("a b\n\nc\n", .aliases, ["file, line 1: need name:value pair", "file, line 3: need name:value pair"], []),
        ("a@b: c\n", .aliases, ["file, line 1: name must be local"], []),
        ("a:\n", .aliases, ["file, line 1: need name:value pair"], []),
        ("a, b: c\n", .aliases, ["file, line 1: need name:value pair"], []),
    ])
func complaints(text: String, syntax: TableText.Syntax, want: [String], entries: [String]) {
    let read = read(text, syntax)
    #expect(read.complaints == want)
    #expect(read.entries == entries)
}

@Test(
    "aliases are written as they will be read again",
    arguments: [
        ("one: a", "one=a"),
        (#"two: "a b"@c.org, <x@y.org>, Foo Bar <q@z.org> (comment)"#, #"two="a b"@c.org, <x@y.org>, Foo Bar <q@z.org>(comment)"#),
        ("three :   spaced ,  list ,x", "three=spaced, list, x"),
        (#""q n": "x\"y""#, #"q n="x\"y""#),
        (
            #"pipe: "|/usr/bin/vacation root", |/bin/plain, "/var/x y", /var/z, :include:/l/ist"#,
            #"pipe="|/usr/bin/vacation root", |/bin/plain, "/var/x y", /var/z, :include:/l/ist"#
        ),
        (#"fo.ur: \nn, a%b, a!b , ~x"#, "fo.ur=nn, a%b, a!b, ~x"),
        (#"five: """#, #"five="""#),
        ("seven: group: a, b;", "seven=group:a, b;"),
        ("eight: a..b, [1.2.3.4], x@[1.2.3.4]", "eight=a..b, [1.2.3.4], x@[1.2.3.4]"),
        ("nine:\n cont1,\n cont2", "nine=cont1, cont2"),
        ("eleven: a,,b,", "eleven=a, , b, "),
        ("f (c) f: foo", "f (c) f=foo"),
        ("ÄLF: x", "ÄLF=x"),
    ])
func aliases(text: String, want: String) {
    let read = read(text, .aliases)
    #expect(read.entries == [want])
    #expect(read.complaints == [])
}

@Test("a line that is not UTF-8 is left out, unless that is not to be looked at")
func encodings() {
    let text = [UInt8(ascii: "a"), 0xE4, UInt8(ascii: " "), UInt8(ascii: "b"), UInt8(ascii: "\n")]
    let checked = TableText(text, name: "file", syntax: .map)
    #expect(checked.entries.isEmpty)
    #expect(checked.complaints.count == 1)
    #expect(TableText(text, name: "file", syntax: .map, refusesOtherThanUTF8: false).entries.map(\.key) == [[UInt8(ascii: "a"), 0xE4]])
}

@Test(
    "keys compare without case, beyond ASCII too",
    arguments: [("Alice@Example.ORG", "alice@example.org"), ("ÄLF", "älf"), ("Straße", "strasse"), ("ΣΑΣ", "σασ"), ("ı", "ı"), ("a\u{FFFD}", "a\u{FFFD}")])
func folding(key: String, want: String) {
    #expect(String(decoding: TableKey.folded(Array(key.utf8)), as: UTF8.self) == want)
}
