// Directories of tests, and what is copied between them.

import Glibc

/// A directory that is removed with everything in it when it is no longer held.
final class TemporaryDirectory: Sendable {
    let path: String

    init() {
        var template = Array("/tmp/valija-test-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { removeTree(path) }
}

func entries(_ path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) } }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

func removeTree(_ path: String) {
    if isDirectory(path) {
        for name in entries(path) { removeTree("\(path)/\(name)") }
        rmdir(path)
    } else {
        unlink(path)
    }
}

func readFile(_ path: String) -> [UInt8]? {
    let descriptor = open(path, O_RDONLY)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        guard count > 0 else { return bytes }
        bytes += chunk[..<count]
    }
}

func writeFile(_ path: String, _ bytes: [UInt8]) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    precondition(descriptor >= 0 && write(descriptor, bytes, bytes.count) == bytes.count)
    close(descriptor)
}

func copyFile(_ source: String, to target: String) { writeFile(target, readFile(source) ?? []) }

/// What another process would find if this one were killed now.
func crashImage(of path: String) -> TemporaryDirectory {
    let image = TemporaryDirectory()
    func copy(_ source: String, _ target: String) {
        for name in entries(source) {
            if isDirectory("\(source)/\(name)") {
                mkdir("\(target)/\(name)", 0o700)
                copy("\(source)/\(name)", "\(target)/\(name)")
            } else {
                copyFile("\(source)/\(name)", to: "\(target)/\(name)")
            }
        }
    }
    copy(path, image.path)
    return image
}

/// Runs a program to its end: its exit status and what it wrote to standard output.
func run(_ arguments: [String]) -> (status: CInt, output: String) {
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    let output = TemporaryDirectory()
    posix_spawn_file_actions_addopen(&actions, 1, "\(output.path)/out", O_WRONLY | O_CREAT, 0o600)
    var pid = pid_t()
    var argv: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
    defer { argv.forEach { free($0) } }
    guard posix_spawn(&pid, arguments[0], &actions, nil, &argv, environ) == 0 else { return (-1, "") }
    var status: CInt = 0
    waitpid(pid, &status, 0)
    return (status, String(decoding: readFile("\(output.path)/out") ?? [], as: UTF8.self))
}
