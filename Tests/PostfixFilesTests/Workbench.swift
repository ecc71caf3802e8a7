// Files and foreign programs for the tests of this target.

import Glibc

final class TemporaryDirectory {
    let path: String

    struct Failed: Error { let errno: Int32 }

    init() throws {
        var template = Array("/tmp/valija-postfix.XXXXXX\0".utf8CString.dropLast())
        guard mkdtemp(&template) != nil else { throw Failed(errno: errno) }
        path = template.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        // Postfix's daemons run as other users.
        chmod(path, 0o755)
    }

    deinit { _ = run("/bin/rm", "-rf", path) }
}

func contents(of path: String) -> String? {
    guard let file = fopen(path, "r") else { return nil }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = fread(&chunk, 1, chunk.count, file)
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += chunk[..<count]
    }
}

func write(_ text: String, to path: String) throws {
    guard let file = fopen(path, "w") else { throw TemporaryDirectory.Failed(errno: errno) }
    fputs(text, file)
    fclose(file)
}

/// Sorted, without the hidden ones.
func names(in directory: String) -> [String] {
    guard let stream = opendir(directory) else { return [] }
    defer { closedir(stream) }
    var names: [String] = []
    while let entry = readdir(stream) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names.sorted()
}

struct Outcome {
    let status: Int32
    /// Standard output and standard error, as they came.
    let output: String
}

/// Runs a program to its end. Status 127: there is no such program.
func run(_ command: String...) -> Outcome { runArguments(command) }

func runArguments(_ command: [String]) -> Outcome {
    var ends: [Int32] = [0, 0]
    guard pipe(&ends) == 0 else { return Outcome(status: -1, output: "pipe: \(errno)") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
    defer { posix_spawn_file_actions_destroy(&actions) }
    var arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var process = pid_t()
    let error = posix_spawnp(&process, command[0], &actions, nil, &arguments, environ)
    close(ends[1])
    defer { close(ends[0]) }
    guard error == 0 else { return Outcome(status: 127, output: "\(command[0]): \(String(cString: strerror(error)))") }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65_536)
    while true {
        let count = read(ends[0], &chunk, chunk.count)
        if count > 0 { bytes += chunk[..<count] } else if count == 0 || errno != EINTR { break }
    }
    var status: Int32 = 0
    waitpid(process, &status, 0)
    return Outcome(status: status & 0x7F == 0 ? (status >> 8) & 0xFF : -1, output: String(decoding: bytes, as: UTF8.self))
}
