// The rules of the house that a compiler does not know: which room may import which, and how files and types are named.
// SwiftPM refuses cycles only, and an import that is not declared can compile by luck.

import Testing

@Suite("Layers")
struct LayerTests {
    /// The layers of the design. A target imports what stands strictly below it: never upwards, never sideways.
    static let layers: [[String]] = [
        ["COpenSSL", "CYAML", "CUnbound", "CSQLite", "CCrypt", "CLMDB", "MailSyntax", "Telemetry"],
        ["Manifest", "SMTP", "DNS", "TLS", "Mailboxes", "LMDB"],
        ["Accounts", "PostfixFiles", "Routing", "MailQueue"],
        ["Policy"],
        ["SMTPServer", "Delivery", "MailboxAccess"],
        ["Appliance"],
        ["valija"],
    ]
    static let layer = Dictionary(uniqueKeysWithValues: layers.enumerated().flatMap { level, names in names.map { ($0, level) } })

    @Test("every target of Sources has a layer")
    func complete() {
        let targets = Set(SourceTree.files.map(\.target)).subtracting(["C"])
        #expect(targets.subtracting(LayerTests.layer.keys) == [])
        #expect(SourceTree.files.count > 20, "the sources were found")
    }

    @Test("no import points up or sideways")
    func arrows() {
        for file in SourceTree.files {
            guard let own = LayerTests.layer[file.target] else { continue }
            for (module, line) in file.imports {
                guard let other = LayerTests.layer[module] else { continue }
                #expect(other < own, "\(file.path):\(line): \(file.target) may not import \(module)")
            }
        }
    }

    @Test("the manifest is read by the appliance, the files for Postfix and the commands alone")
    func manifestReaders() {
        for file in SourceTree.files where !["PostfixFiles", "Appliance", "valija"].contains(file.target) {
            for (module, line) in file.imports where module == "Manifest" { Issue.record("\(file.path):\(line)") }
        }
    }

    @Test("what is pure knows no sockets")
    func purity() {
        for file in SourceTree.files where ["MailSyntax", "SMTP", "Manifest", "Routing", "Policy"].contains(file.target) {
            for (module, line) in file.imports where ["NIOPosix", "NIOHTTP1", "Dispatch"].contains(module) { Issue.record("\(file.path):\(line)") }
        }
    }

    @Test("nothing imports Foundation, which costs the static binary 40 MB")
    func noFoundation() {
        for file in SourceTree.files {
            for (module, line) in file.imports where module == "Foundation" { Issue.record("\(file.path):\(line)") }
        }
    }
}

@Suite("Habits")
struct HabitTests {
    @Test("no file has more than 500 lines")
    func length() {
        for file in SourceTree.files { #expect(file.text.utf8.count { $0 == 10 } <= 500, "\(file.path)") }
    }

    @Test("every file opens with a comment that says what it is for")
    func contract() {
        for file in SourceTree.files where file.name != "Package" { #expect(file.text.hasPrefix("//"), "\(file.path)") }
    }

    @Test("no file and no type has a name that says nothing")
    func names() {
        let empty = ["Utils", "Utilities", "Util", "Common", "Helpers", "Helper", "Manager", "Core", "Misc"]
        for file in SourceTree.files {
            for folder in file.path.split(separator: "/").dropLast() { #expect(!empty.contains(String(folder)), "\(file.path)") }
            #expect(!empty.contains { file.name.hasSuffix($0) }, "\(file.path)")
            for (type, line) in file.types { #expect(!empty.contains { type.hasSuffix($0) }, "\(file.path):\(line): \(type)") }
        }
    }

    @Test("no type is named like its module, which would hide the module")
    func moduleNames() {
        for file in SourceTree.files {
            for (type, line) in file.types { #expect(type != file.target, "\(file.path):\(line)") }
        }
    }

    @Test("nothing is public: this is an application")
    func access() {
        for file in SourceTree.files {
            for (number, line) in file.lines.enumerated() {
                let words = line.split(separator: " ")
                #expect(words.first != "public" && words.first != "open", "\(file.path):\(number + 1)")
            }
        }
    }
}
