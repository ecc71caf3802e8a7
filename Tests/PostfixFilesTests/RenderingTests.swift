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
    let rendering = Rendering(system, options: RenderOptions(accounts: accounts))
    let directory = "\(String(#filePath).split(separator: "/").dropLast().map { "/\($0)" }.joined())/golden/\(name)/\(accounts.rawValue)"
    if getenv("VALIJA_WRITE_GOLDEN") != nil { try OutputDirectory(directory).write(rendering.files, replacingForeign: true) }
    for file in rendering.files {
        let golden = try #require(contents(of: "\(directory)/\(file.name)"), "no \(directory)/\(file.name)")
        #expect(file.content == golden, "\(directory)/\(file.name)")
    }
    #expect(rendering.files.map(\.name).sorted() == names(in: directory))
}

@Test("The type of the tables changes their names in main.cf and brings a Makefile, nothing else", arguments: manifests.map(\.name))
func mapTypes(name: String) throws {
    let system = try #require(manifests.first { $0.name == name }).system
    for accounts in RenderOptions.Accounts.allCases {
        let text = Rendering(system, options: RenderOptions(accounts: accounts))
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
