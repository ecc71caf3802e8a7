// OpenSSL's own explanation of what went wrong. Its errors lie in a queue of the thread: emptied before each call that matters,
// read at once after it.

internal import COpenSSL
internal import Glibc

/// All that the queue holds, and nothing is left in it: `no shared cipher`, `wrong version number`.
func takeOpenSSLReasons() -> String? {
    var reasons: [String] = []
    while true {
        var data: UnsafePointer<CChar>?
        var flags: CInt = 0
        let code = ERR_get_error_all(nil, nil, nil, &data, &flags)
        if code == 0 { break }
        guard reasons.count < 4 else { continue }
        var reason = ERR_reason_error_string(code).map { String(cString: $0) } ?? "error \(String(code, radix: 16))"
        // The text that goes with it: a file, a field. Never what the peer sent.
        if flags & ERR_TXT_STRING != 0, let data, data.pointee != 0 { reason += " (\(String(cString: data)))" }
        if !reasons.contains(reason) { reasons.append(reason) }
    }
    return reasons.isEmpty ? nil : reasons.joined(separator: "; ")
}

func systemReason(_ number: CInt) -> String { String(cString: strerror(number)) }
