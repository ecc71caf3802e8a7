// `postconf`: the parameters and services of Postfix that the manifest in force renders to, as Postfix's postconf prints them.
// `-c DIR` reads the main.cf and master.cf of a directory instead. Nothing is edited: the manifest is what there is to edit.

import Appliance
import Glibc
import Manifest
import PostfixFiles

enum Postconf {
    static func run(_ arguments: [String]) -> ExitStatus {
        if arguments == ["--help"] {
            print(help)
            return .ok
        }
        do {
            let options = try PostconfOptions(arguments)
            switch options.work {
            case .mapTypes: write(Array("lmdb\ntexthash\n".utf8), to: 1)
            case .lockTypes: write(Array("fcntl\ndotlock\n".utf8), to: 1)
            case .edit(let names): throw CommandError(status: .failure, text: editing(names, options.directory))
            case .show(let request): try show(request, options.directory)
            }
            return .ok
        } catch let error as PostconfOptions.UsageError {
            complain("postconf: fatal: \(error.text)")
        } catch let error as PostconfListing.Refusal {
            complain("postconf: fatal: \(error.text)")
        } catch let error as CommandError {
            complain("postconf: fatal: \(error.text)")
        } catch {
            complain("postconf: fatal: \(error)")
        }
        return .failure
    }

    private static let help = """
        \(PostconfOptions.usage)

        Prints Postfix's parameters as the manifest of the running appliance renders them, or those of DIR/main.cf (-c DIR).
        Without a name all of them; -n only those that are set, -d the defaults. It edits nothing: the manifest does.
        """

    private static func show(_ request: PostconfListing.Request, _ directory: String?) throws {
        let (main, master, place) = try configuration(directory)
        var host = [CChar](repeating: 0, count: Int(HOST_NAME_MAX) + 1)
        gethostname(&host, host.count - 1)
        let name = String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        do {
            let answer = try PostconfListing.answer(
                request, main: MainSettings(main, name: "\(place)/main.cf"), master: MasterEntries(master, name: "\(place)/master.cf"), directory: place,
                settings: place == defaultDirectory ? [:] : ["config_directory": place], host: .init(name: name, processID: getpid()))
            write(Array(answer.lines.joined().utf8), to: 1)
            for warning in answer.warnings { complain("postconf: warning: \(warning)") }
        } catch let flaw as MainSettings.Flaw {
            throw CommandError(status: .failure, text: flaw.text)
        } catch let flaw as MasterEntries.Flaw {
            throw CommandError(status: .failure, text: flaw.text)
        }
    }

    /// Postfix's own, in which the rendered files would be.
    private static let defaultDirectory = "/etc/postfix"

    /// The texts of main.cf and master.cf, and the directory that they are in, or would be.
    private static func configuration(_ directory: String?) throws -> (main: [UInt8], master: [UInt8], place: String) {
        let manifest = directory.map(manifestBehind)
        if let directory, access("\(directory)/main.cf", F_OK) == 0 || access(manifest!, F_OK) != 0 {
            do {
                return (try readFile("\(directory)/main.cf"), try readFile("\(directory)/master.cf"), directory)
            } catch let error as CommandError {
                throw CommandError(status: .failure, text: "open \(error.text)")
            }
        }
        let system = try manifest == nil ? manifestInForce() : loadManifest(manifest)
        let files = Rendering(system).files
        func text(_ name: String) -> [UInt8] { files.first { $0.name == name }.map { Array($0.content.utf8) } ?? [] }
        return (text("main.cf"), text("master.cf"), defaultDirectory)
    }

    /// What the running appliance goes by, which the file may have left behind; where none runs, the file.
    private static func manifestInForce() throws -> MailSystem {
        var answer: [UInt8] = []
        var status = 0
        do {
            let connection = try LocalConnection(unixSocket: ApplianceSockets.control(try applianceDirectory(nil)))
            connection.setTimeout(seconds: 10)
            status = try connection.request("GET", "/manifest") { answer += $1 }
        } catch let error as LocalClientError where error.kind != .broken {
            return try loadManifest(nil)
        }
        // Its name, since when, an empty line, its text.
        let parts = answer.split(separator: UInt8(ascii: "\n"), maxSplits: 3, omittingEmptySubsequences: false)
        guard status == 200, parts.count == 4, let system = ManifestReader.read(text: Array(parts[3]), file: String(decoding: parts[0], as: UTF8.self)).system else {
            throw CommandError(status: .failure, text: "the appliance does not say what manifest is in force")
        }
        return system
    }

    /// Where what was to be edited stands.
    private static func editing(_ names: [String], _ directory: String?) -> String {
        let keys = names.map { name in
            let keys = ManifestReference.keys(forPostfix: name)
            return keys.isEmpty ? "no key of it sets \(name)" : "\(name) is its \(keys.joined(separator: " or "))"
        }
        return "nothing is edited here: the manifest is the configuration; change \(manifestPath(nil)) (\(keys.joined(separator: "; "))) and reload it"
    }
}
