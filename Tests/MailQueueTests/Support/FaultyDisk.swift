// A disk that counts, fails and loses power on command: a layer over SQLite's own file access (sqlite.org/vfs.html), made
// the default for this test process before the first spool opens. Files in directories that no test has set up
// pass through untouched.

import CSQLite
import Glibc
import NIOConcurrencyHelpers

final class FaultyDisk: Sendable {
    static let shared = FaultyDisk()

    struct Faults: Sendable {
        /// Writes fail as on a full disk.
        var isFull = false
        /// Syncs fail.
        var failsSyncs = false
        /// Called before a sync of the log, on the writer thread.
        var beforeLogSync: (@Sendable () -> Void)?
        /// Where to keep what a power cut would leave: each file as it was when it was last synced.
        var powerCutImage: String?
        fileprivate(set) var logSyncs = 0
    }

    private let faults = NIOLockedValueBox<[String: Faults]>([:])
    private let files = NIOLockedValueBox<[UInt: String]>([:])

    subscript(directory: String) -> Faults {
        get { faults.withLockedValue { $0[directory] ?? Faults() } }
        set { faults.withLockedValue { $0[directory] = newValue } }
    }

    private init() { Layer.install() }

    fileprivate func opened(_ file: UnsafeMutablePointer<sqlite3_file>, _ path: String) {
        files.withLockedValue { $0[UInt(bitPattern: file)] = path }
    }

    fileprivate func deleted(_ path: String) {
        let slash = path.lastIndex(of: "/")!
        if let image = self[String(path[..<slash])].powerCutImage { unlink("\(image)\(path[slash...])") }
    }

    fileprivate func closed(_ file: UnsafeMutablePointer<sqlite3_file>) {
        files.withLockedValue { _ = $0.removeValue(forKey: UInt(bitPattern: file)) }
    }

    private func path(_ file: UnsafeMutablePointer<sqlite3_file>) -> (directory: String, name: String) {
        let path = files.withLockedValue { $0[UInt(bitPattern: file)] } ?? "/"
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        return (String(path[..<slash]), String(path[path.index(after: slash)...]))
    }

    fileprivate func mayWrite(_ file: UnsafeMutablePointer<sqlite3_file>) -> Bool { !self[path(file).directory].isFull }

    fileprivate func sync(_ file: UnsafeMutablePointer<sqlite3_file>, _ perform: () -> CInt) -> CInt {
        let (directory, name) = path(file)
        let isLog = name.hasSuffix("-wal")
        if isLog { self[directory].beforeLogSync?() }
        guard !self[directory].failsSyncs else { return SQLITE_IOERR | (4 << 8) }  // SQLITE_IOERR_FSYNC
        let code = perform()
        if isLog { faults.withLockedValue { $0[directory, default: Faults()].logSyncs += 1 } }
        if code == SQLITE_OK, let image = self[directory].powerCutImage { copyFile("\(directory)/\(name)", to: "\(image)/\(name)") }
        return code
    }
}

/// The C side: functions without context, so what they need is global. Set up once, read only after that, but for
/// `patched`, which has a lock.
private enum Layer {
    nonisolated(unsafe) static var base: UnsafeMutablePointer<sqlite3_vfs>!
    /// The methods of a kind of file, and the same with ours in their place, by the address of the former.
    static let patched = NIOLockedValueBox<[UInt: UInt]>([:])
    static let original = NIOLockedValueBox<[UInt: UInt]>([:])

    static func install() {
        base = sqlite3_vfs_find(nil)
        let layer = UnsafeMutablePointer<sqlite3_vfs>.allocate(capacity: 1)
        layer.initialize(to: base.pointee)
        layer.pointee.pNext = nil
        layer.pointee.zName = UnsafePointer(strdup("faulty"))
        layer.pointee.xOpen = { _, name, file, flags, outFlags in
            let code = Layer.base.pointee.xOpen(Layer.base, name, file, flags, outFlags)
            if code == SQLITE_OK, let file, let name, let methods = file.pointee.pMethods {
                file.pointee.pMethods = Layer.patch(methods)
                FaultyDisk.shared.opened(file, String(cString: name))
            }
            return code
        }
        layer.pointee.xDelete = { _, name, syncsDirectory in
            let code = Layer.base.pointee.xDelete(Layer.base, name, syncsDirectory)
            // Durable with the next sync of the directory, which comes with the log's first: before any message.
            if code == SQLITE_OK, let name { FaultyDisk.shared.deleted(String(cString: name)) }
            return code
        }
        precondition(sqlite3_vfs_register(layer, 1) == SQLITE_OK)
    }

    static func patch(_ methods: UnsafePointer<sqlite3_io_methods>) -> UnsafePointer<sqlite3_io_methods> {
        let key = UInt(bitPattern: methods)
        if let known = patched.withLockedValue({ $0[key] }) { return UnsafePointer(bitPattern: known)! }
        let copy = UnsafeMutablePointer<sqlite3_io_methods>.allocate(capacity: 1)
        copy.initialize(to: methods.pointee)
        copy.pointee.xWrite = { file, bytes, count, offset in
            guard FaultyDisk.shared.mayWrite(file!) else { return SQLITE_FULL }
            return Layer.methods(file!).xWrite(file, bytes, count, offset)
        }
        copy.pointee.xSync = { file, flags in FaultyDisk.shared.sync(file!) { Layer.methods(file!).xSync(file, flags) } }
        copy.pointee.xClose = { file in
            FaultyDisk.shared.closed(file!)
            return Layer.methods(file!).xClose(file)
        }
        patched.withLockedValue { $0[key] = UInt(bitPattern: copy) }
        original.withLockedValue { $0[UInt(bitPattern: copy)] = key }
        return UnsafePointer(copy)
    }

    static func methods(_ file: UnsafeMutablePointer<sqlite3_file>) -> sqlite3_io_methods {
        let key = original.withLockedValue { $0[UInt(bitPattern: file.pointee.pMethods)]! }
        return UnsafePointer<sqlite3_io_methods>(bitPattern: key)!.pointee
    }
}
