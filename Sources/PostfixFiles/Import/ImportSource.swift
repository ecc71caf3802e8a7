// Where a configuration's files are. Reading is the caller's; the choice of paths is made here: a copy of /etc/postfix,
// taken from another machine, names its files by the paths that they had there.

package struct ImportSource {
    package enum Failure: Error, Hashable, Sendable {
        case missing
        /// The system's word for it.
        case unreadable(String)
        /// Larger than the caller reads.
        case tooLarge
    }

    /// The directory of main.cf, as the user named it, without a slash at its end.
    package let directory: String
    /// Where the file system of that machine begins; empty: at `/`.
    package let root: String
    private let reader: (String) -> Result<[UInt8], Failure>

    /// `root` nil: what stands before `/etc/postfix` in the directory's name, if it ends so.
    package init(directory: String, root: String? = nil, reader: @escaping (String) -> Result<[UInt8], Failure>) {
        let directory = directory.count > 1 && directory.hasSuffix("/") ? String(directory.dropLast()) : directory
        self.directory = directory
        self.root = root ?? (directory.hasSuffix(ImportSource.usual) ? String(directory.dropLast(ImportSource.usual.count)) : "")
        self.reader = reader
    }

    package static let usual = "/etc/postfix"

    /// True for the machine's own configuration, and for one whose root is known.
    var isInPlace: Bool { directory == root + ImportSource.usual }

    func read(_ path: String) -> Result<[UInt8], Failure> {
        // What follows a NUL would be another path to the system.
        path.utf8.contains(0) ? .failure(.missing) : reader(path)
    }

    /// Paths at which the file may be that the configuration calls `path`, the likeliest first.
    func candidates(for path: String) -> [String] {
        guard path.hasPrefix("/") else { return ["\(directory)/\(path)"] }
        var candidates: [String] = []
        for start in [directory, ImportSource.usual] where path.hasPrefix(start + "/") { candidates.append(directory + path.dropFirst(start.count)) }
        if isInPlace {
            candidates.append(root + path)
        } else {
            // A copy: its own files only, never those of the machine that it was copied to.
            candidates.append("\(directory)/\(path.split(separator: "/").last ?? "")")
            if !root.isEmpty { candidates.append(root + path) }
        }
        var seen: Set<String> = []
        return candidates.filter { seen.insert($0).inserted }
    }

    /// The first candidate that exists, or why there is none.
    func find(_ path: String) -> (path: String, content: Result<[UInt8], Failure>) {
        let candidates = candidates(for: path)
        for candidate in candidates {
            let content = read(candidate)
            if content != .failure(.missing) { return (candidate, content) }
        }
        return (candidates[0], .failure(.missing))
    }
}

extension ImportSource.Failure: CustomStringConvertible {
    package var description: String {
        switch self {
        case .missing: "there is no such file"
        case .unreadable(let why): "it cannot be read: \(why)"
        case .tooLarge: "it is too large to be what it should be"
        }
    }
}
