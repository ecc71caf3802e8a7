// The options of postconf.

import Manifest
import PostfixFiles
import Testing

@testable import valija

private func work(_ line: String) throws -> PostconfOptions.Work { try PostconfOptions(line.split(separator: " ").map(String.init)).work }

private func request(_ set: (inout PostconfListing.Request) -> Void) -> PostconfOptions.Work {
    var request = PostconfListing.Request()
    set(&request)
    return .show(request)
}

@Test("options are read as postconf reads them")
func postconfLines() throws {
    #expect(try work("") == request { _ in })
    #expect(try work("-n") == request { $0.which = .set })
    #expect(try work("-dh a b") == request { ($0.which, $0.hidesNames, $0.names) = (.defaults, true, ["a", "b"]) })
    #expect(try work("-nxf") == request { ($0.which, $0.evaluates, $0.folds) = (.set, true, true) })
    #expect(try work("-Mf smtp/inet") == request { ($0.subject, $0.folds, $0.names) = (.services, true, ["smtp/inet"]) })
    #expect(try work("-FH") == request { ($0.subject, $0.hidesValues) = (.fields, true) })
    #expect(try work("-P") == request { $0.subject = .serviceParameters })
    #expect(try work("-C user -o a=b=c") == request { ($0.classes, $0.overrides) = ([.user], ["a": "b=c"]) })
    #expect(try work("-m") == .mapTypes)
    #expect(try PostconfOptions(["-c", "/dir", "-n"]).directory == "/dir")
}

@Test("what would edit is known as such", arguments: ["-e myhostname=x", "myhostname=x", "-# myhostname", "-X myhostname"])
func edits(line: String) throws { #expect(try work(line) == .edit(["myhostname"])) }

@Test(
    "a wrong command line says what is wrong with it",
    arguments: [
        ("-Z", "invalid option -- 'Z'"), ("-Mh", "with option -M, do not specify -h"), ("-Fn", "with option -F, do not specify -n"), ("-dn", "specify one of -d -n"),
        ("-Mm", "specify one of -m -M"), ("-e", "-e requires name=value argument"), ("-C x", "unknown -C option value"), ("-o x", "invalid parameter override: x"),
        ("-b", "option -b is not supported here"),
    ])
func postconfFaults(line: String, want: String) {
    do throws(PostconfOptions.UsageError) {
        _ = try PostconfOptions(line.split(separator: " ").map(String.init))
        Issue.record("taken")
    } catch {
        #expect(error.text.hasPrefix(want))
    }
}

@Test("a parameter's key of the manifest is named by its declaration", arguments: [("myhostname", "hostname"), ("message_size_limit", "limits.message_size"), ("queue_minfree", "queue.minimum_free")])
func keysOfParameters(parameter: String, key: String) { #expect(ManifestReference.keys(forPostfix: parameter) == [key]) }
