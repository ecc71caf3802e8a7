// Rendered files against those in `golden/`. With VALIJA_WRITE_GOLDEN=1 in the environment the tests write them
// instead: look at the diff before it is committed.

import Glibc
import Manifest
import MailSyntax
import PostfixFiles
import Testing

@Test("A manifest gives its golden files, no more, no fewer", arguments: manifests.map(\.name), RenderOptions.Accounts.allCases)
func goldenFiles(name: String, accounts: RenderOptions.Accounts) throws {
    let system = try #require(manifests.first { $0.name == name }).system
    let rendering = Rendering(system, options: RenderOptions(accounts: accounts), secrets: secret)
    let directory = "\(String(#filePath).split(separator: "/").dropLast().map { "/\($0)" }.joined())/golden/\(name)/\(accounts.rawValue)"
    if getenv("VALIJA_WRITE_GOLDEN") != nil { try OutputDirectory(directory).write(rendering.files, replacingForeign: true) }
    for file in rendering.files {
        let golden = try #require(contents(of: "\(directory)/\(file.name)"), "no \(directory)/\(file.name)")
        #expect(file.content == golden, "\(directory)/\(file.name)")
    }
    #expect(try OutputDirectory(directory).differences(from: rendering.files).filter { !$0.text.contains(": mode ") } == [])
    #expect(rendering.files.map(\.name).sorted() == names(in: directory))
}

@Test("The type of the tables changes their names in main.cf and brings a Makefile, nothing else", arguments: manifests.map(\.name))
func mapTypes(name: String) throws {
    let system = try #require(manifests.first { $0.name == name }).system
    for accounts in RenderOptions.Accounts.allCases {
        let text = Rendering(system, options: RenderOptions(accounts: accounts), secrets: secret)
        for maps in [RenderOptions.Maps.lmdb, .hash] {
            let other = Rendering(system, options: RenderOptions(accounts: accounts, maps: maps))
            #expect(Set(other.files.map(\.name)) == Set(text.files.map(\.name)).union(["Makefile"]))
            func settings(_ rendering: Rendering) -> [String: String] {
                Dictionary(uniqueKeysWithValues: rendering.parameters.map { ($0.name, $0.value) })
            }
            var expected = settings(text).mapValues { value in
                value.split(separator: " ", omittingEmptySubsequences: false).map { $0.hasPrefix("texthash:") ? "\(maps.rawValue):\($0.dropFirst(9))" : String($0) }
                    .joined(separator: " ")
            }
            // texthash is nothing that newaliases(1) could make.
            if let aliases = expected["alias_maps"] { expected["alias_database"] = aliases }
            #expect(settings(other) == expected)
        }
    }
}

@Test("The same manifest gives the same bytes", arguments: manifests.map(\.name))
func deterministic(name: String) throws {
    let system = try #require(manifests.first { $0.name == name }).system
    let first = Rendering(system)
    for _ in 0..<5 {
        let again = Rendering(system)
        #expect(again.files == first.files)
        #expect(again.notes == first.notes)
    }
}

@Test("What Postfix cannot express is said with the line that asks for it")
func notes() throws {
    let system = try #require(manifests.first { $0.name == "everything" }).system
    let shown = Rendering(system).notes.map { "\($0.position?.line ?? 0) \($0.path)" }
    #expect(
        shown == [
            "24 users.alice.quota", "59 limits.mailbox_size", "71 listen.health", "74 queue.directory", "80 logging.level",
        ])
}

@Test("An address that an alias table would take for a command or a file never gets there")
func noCommands() throws {
    let system = MailSystem.with {
        $0.domains = [domain("example.org", 1)]
        $0.users = [user("alice", 2, forward: ["|id@x.example", "\"/etc/passwd\"@x.example", "\":include:/etc/shadow\"@x.example"], keepCopy: true)]
        $0.aliases = [alias("a", 3, "\"|id > /tmp/x\"@x.example", "\"~root/x\"@x.example", "\":INCLUDE:/x\"@x.example", "\"\\\\\\\\alice\"@x.example", "alice")]
    }
    let rendering = Rendering(system)
    let aliases = try #require(rendering.files.first { $0.name == "aliases" }).content
    #expect(aliases.contains("\na\talice\n"))
    #expect(aliases.contains("\nalice\talice\n"))
    #expect(rendering.notes.count { $0.text.hasPrefix("left out") } == 7)
}

@Test("A second rendering replaces the first, deletes what is no longer needed, and leaves other files alone")
func secondRendering() throws {
    let directory = try TemporaryDirectory()
    let output = OutputDirectory("\(directory.path)/deep/er")
    try output.write(Rendering(manifests[2].system).files)
    #expect(names(in: output.path) == ["NOTES", "aliases", "local_recipients", "mailbox_transport", "main.cf", "master.cf", "relay_recipients", "sysusers.conf", "tmpfiles.conf", "transport", "virtual"])
    try write("mine", to: "\(output.path)/notes.txt")
    let smaller = Rendering(manifests[0].system).files
    try output.write(smaller)
    #expect(names(in: output.path) == ["NOTES", "aliases", "local_recipients", "main.cf", "master.cf", "notes.txt", "sysusers.conf", "tmpfiles.conf"])
    #expect(contents(of: "\(output.path)/main.cf") == smaller[0].content)
    #expect(contents(of: "\(output.path)/notes.txt") == "mine")
}

@Test("A file that no rendering wrote stops everything before the first change, unless that is forced")
func foreignFile() throws {
    let directory = try TemporaryDirectory()
    let output = OutputDirectory(directory.path)
    try write("virtual stuff", to: "\(directory.path)/virtual")
    let files = Rendering(manifests[2].system).files
    #expect(throws: OutputDirectory.Failure.foreign(path: "\(directory.path)/virtual")) { try output.write(files) }
    #expect(names(in: directory.path) == ["virtual"])
    try output.write(Rendering(manifests[0].system).files)
    #expect(contents(of: "\(directory.path)/virtual") == "virtual stuff")
    try output.write(files, replacingForeign: true)
    #expect(contents(of: "\(directory.path)/virtual")?.hasPrefix(RenderedFile.mark) == true)
}

@Test("A directory that cannot be is said to be so")
func noDirectory() {
    #expect(throws: OutputDirectory.Failure.cannotCreate(path: "/proc/valija", errno: ENOENT)) { try OutputDirectory("/proc/valija").write([]) }
    #expect(throws: OutputDirectory.Failure.self) { try OutputDirectory("/dev/null").write(Rendering(manifests[0].system).files) }
}

@Test("Secrets stand in files for their owner alone, and nowhere else", arguments: RenderOptions.Accounts.allCases, RenderOptions.Maps.allCases)
func secretFiles(accounts: RenderOptions.Accounts, maps: RenderOptions.Maps) throws {
    let system = try #require(manifests.first { $0.name == "submission" }).system
    let rendering = Rendering(system, options: RenderOptions(accounts: accounts, maps: maps), secrets: secret)
    let secrets = ["s3cret", "$y$", "$2b$"]
    for file in rendering.files {
        let holdsSecret = secrets.contains { file.content.contains($0) }
        #expect(holdsSecret == ["sasl_passwd", "dovecot-users"].contains(file.name), "\(file.name)")
        #expect(file.isSecret == holdsSecret, "\(file.name)")
        // The database of the certificates' table holds their keys, and gets the table's mode.
        #expect(file.mode == (holdsSecret || file.name == "tls_certificates" ? 0o600 : 0o644), "\(file.name)")
    }
    for note in rendering.notes + rendering.unreadable { #expect(!secrets.contains { note.text.contains($0) }) }

    let directory = try TemporaryDirectory()
    let old = umask(0)
    defer { umask(old) }
    try OutputDirectory(directory.path).write(rendering.files)
    for file in rendering.files {
        var status = stat()
        #expect(stat("\(directory.path)/\(file.name)", &status) == 0 && status.st_mode & 0o777 == mode_t(file.mode), "\(file.name)")
    }
}

@Test("A secret that cannot be read leaves a comment in its place, and is said to be missing")
func unreadableSecrets() throws {
    let system = try #require(manifests.first { $0.name == "submission" }).system
    let rendering = Rendering(system)
    #expect(rendering.unreadable.map(\.path) == ["relayhost.password", "users.alice.password", "users.Bob.password", "users.carol.password"])
    for name in ["sasl_passwd", "dovecot-users"] {
        let file = try #require(rendering.files.first { $0.name == name })
        #expect(!file.isComplete && file.content.split(separator: "\n").allSatisfy { $0.hasPrefix("#") }, "\(file.content)")
    }
    let others = Rendering(system, secrets: secret).files.filter { !$0.isSecret }
    #expect(rendering.files.filter { !$0.isSecret } == others, "NOTES and all else are the same wherever they are rendered")
}

@Test("Secrets that a table could not hold are not written", arguments: ["", "ends with a blank ", "two\nlines", "tab at the end\t", "\u{7F}"])
func unfitSecrets(text: String) throws {
    let system = try #require(manifests.first { $0.name == "submission" }).system
    let rendering = Rendering(system) { _ throws(UnreadableSecret) in text }
    #expect(rendering.unreadable.count == 4)
    #expect(rendering.files.allSatisfy { text.isEmpty || !$0.content.contains(text) })
}

@Test("A directory is compared with what would be written there, secrets without showing them")
func comparing() throws {
    let directory = try TemporaryDirectory()
    let output = OutputDirectory("\(directory.path)/etc")
    let system = try #require(manifests.first { $0.name == "submission" }).system
    let files = Rendering(system, secrets: secret).files
    #expect(try output.differences(from: files).map(\.name) == RenderedFile.names.filter { name in files.contains { $0.name == name } }, "all are missing")
    #expect(try output.differences(from: files).allSatisfy { !$0.text.contains("s3cret") && !$0.text.contains("$y$") })
    try output.write(files)
    try write("mine", to: "\(output.path)/notes.txt")
    #expect(try output.differences(from: files) == [])

    let other = Rendering(system) { _ throws(UnreadableSecret) in "changed" }.files
    let shown = try output.differences(from: other)
    #expect(shown.map(\.name) == ["sasl_passwd", "dovecot-users"])
    #expect(shown.first?.text == "\(output.path)/sasl_passwd: differs; it holds secrets and is not shown\n")
    #expect(try output.differences(from: Rendering(system).files) == [], "a secret that is not at hand is not compared")

    chmod("\(output.path)/sasl_passwd", 0o644)
    #expect(try output.differences(from: files).map(\.text) == ["\(output.path)/sasl_passwd: mode 644, not 600\n"])
    chmod("\(output.path)/sasl_passwd", 0o600)

    let fewer = files.filter { !["sasl_passwd", "tls_policy"].contains($0.name) }
    #expect(try output.differences(from: fewer).map(\.name) == ["tls_policy", "sasl_passwd"])
    #expect(try output.differences(from: fewer).allSatisfy { !$0.text.contains("s3cret") })
    try write("somebody's", to: "\(output.path)/tls_policy")
    #expect(try output.differences(from: fewer).map(\.name) == ["sasl_passwd"], "others' files are not ours to miss")

    #expect(unlink("\(output.path)/NOTES") == 0)
    try write(try #require(contents(of: "\(output.path)/main.cf")).replacing("myorigin = example.org", with: "myorigin = example.net"), to: "\(output.path)/main.cf")
    let changed = try output.differences(from: files)
    #expect(changed.map(\.name) == ["main.cf", "tls_policy", "NOTES"])
    #expect(
        changed[0].text.split(separator: "\n").filter { !$0.hasPrefix("@@ ") }.joined(separator: "\n") == """
            --- \(output.path)/main.cf
            +++ \(output.path)/main.cf (rendered)
             myhostname = mx.example.org
             
             # mail.yaml:3 origin
            -myorigin = example.net
            +myorigin = example.org
             
             # mail.yaml:5 domains.example.org
             mydestination = example.org
            """)
}

@Test("What postmap made of a table goes with it")
func databases() throws {
    let directory = try TemporaryDirectory()
    let output = OutputDirectory(directory.path)
    let system = try #require(manifests.first { $0.name == "submission" }).system
    let files = Rendering(system, secrets: secret).files
    try output.write(files)
    for name in ["sasl_passwd.db", "virtual.db"] { try write("", to: "\(directory.path)/\(name)") }
    try output.write(files.filter { $0.name != "sasl_passwd" })
    #expect(names(in: directory.path).filter { $0.hasSuffix(".db") } == ["virtual.db"])
}

@Test("A file that cannot be written leaves the directory as it was")
func failedWrite() throws {
    let directory = try TemporaryDirectory()
    let output = OutputDirectory(directory.path)
    let before = Rendering(manifests[0].system).files
    try output.write(before)
    // A directory where the last file is to be staged.
    let last = Rendering(manifests[2].system).files
    mkdir("\(directory.path)/.NOTES.\(getpid())", 0o755)
    #expect(throws: OutputDirectory.Failure.self) { try output.write(last) }
    #expect(try output.differences(from: before) == [])
    #expect(names(in: directory.path) == before.map(\.name).sorted())
}
