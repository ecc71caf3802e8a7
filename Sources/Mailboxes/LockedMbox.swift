// An mbox file open under both of its locks: the dot-lock, for whoever knows only that, and the file lock (fcntl(2)). Nobody
// who honours either changes the file meanwhile.

internal import MailSyntax

struct LockedMbox {
    let file: Descriptor
    /// The directory.
    let base: Descriptor
    private let dotLock: DotLock
    private let disk: any Disk

    /// Waits for other programs. `.extending` makes the file where it is missing.
    init(_ location: MailboxLocation, _ opening: Opening, disk: any Disk) throws(MailboxError) {
        self.disk = disk
        base = try openBase(location, disk)
        do throws(MailboxError) {
            dotLock = try DotLock(for: location.user, in: base, disk: disk)
        } catch {
            disk.close(base)
            throw error
        }
        do throws(MailboxError) {
            file = try LockedMbox.open(location.user, opening, base, disk)
        } catch {
            dotLock.release()
            disk.close(base)
            throw error
        }
    }

    func release() {
        disk.close(file)
        dotLock.release()
        disk.close(base)
    }

    private static func open(_ name: String, _ opening: Opening, _ base: Descriptor, _ disk: any Disk) throws(MailboxError) -> Descriptor {
        let file: Descriptor
        do throws(DiskError) {
            file = try disk.open(name, at: base, opening)
        } catch {
            throw error.isWrongKind ? .wrongKind : .disk(error)
        }
        do throws(MailboxError) {
            guard try onDisk({ () throws(DiskError) in try disk.status(of: file).kind == .file }) else { throw .wrongKind }
            try lock(file, disk)
            return file
        } catch {
            disk.close(file)
            throw error
        }
    }

    private static func lock(_ file: Descriptor, _ disk: any Disk) throws(MailboxError) {
        for attempt in 1... {
            if try onDisk({ () throws(DiskError) in try disk.lock(file) }) { return }
            if attempt == LockPatience.attempts { throw .locked(.fileLock) }
            disk.pause(LockPatience.pause)
        }
    }
}
