// The header section of one MIME entity (RFC 2045 §3), as far as a change of its transfer encoding needs it.

struct EntityHeader: Sendable {
    enum Kind: Equatable, Sendable {
        case multipart(boundary: [UInt8], isDigest: Bool)
        /// message/rfc822 and message/global: a message with a header section of its own.
        case message
        /// RFC 2046 §5.2.2, §5.2.3: must not be encoded, whatever they hold.
        case fixed
        case text
        case other
    }

    enum Label: Equatable, Sendable { case none, sevenBit, eightBit, binary, encoded }

    /// Whole fields with their folded lines, each line with its end.
    private(set) var fields: [[UInt8]] = []
    private(set) var octets = 0
    private(set) var hasEightBit = false

    /// A header section of a part beyond it is no honest one.
    static let mostOctets = 64 * 1024

    mutating func add(line: [UInt8]) {
        octets += line.count
        hasEightBit = hasEightBit || line.contains { $0 >= 0x80 }
        if let first = line.first, first == UInt8(ascii: " ") || first == UInt8(ascii: "\t"), !fields.isEmpty {
            fields[fields.count - 1] += line
        } else {
            fields.append(line)
        }
    }

    func has(_ name: String) -> Bool { fields.contains { EntityHeader.body(of: $0, named: name) != nil } }

    var all: [UInt8] { fields.flatMap { $0 } }

    /// All fields but those of that name.
    func without(_ name: String) -> [UInt8] { fields.filter { EntityHeader.body(of: $0, named: name) == nil }.flatMap { $0 } }

    ///     encoding := "Content-Transfer-Encoding" ":" mechanism       ; RFC 2045 §6.1
    var label: Label {
        guard let value = value(of: "content-transfer-encoding") else { return .none }
        switch EntityHeader.token(in: value[...]) {
        case "", "7bit": return .sevenBit
        case "8bit": return .eightBit
        case "binary": return .binary
        default: return .encoded
        }
    }

    /// `isMessageByDefault`: a part of a digest (RFC 2046 §5.1.5).
    func kind(isMessageByDefault: Bool) -> Kind {
        guard let value = value(of: "content-type") else { return isMessageByDefault ? .message : .text }
        let type = EntityHeader.token(in: value[...])
        if type.hasPrefix("multipart/") {
            guard let boundary = EntityHeader.parameter("boundary", in: value), !boundary.isEmpty else { return .text }
            return .multipart(boundary: boundary, isDigest: type == "multipart/digest")
        }
        switch type {
        case "message/rfc822", "message/global": return .message
        case "message/partial", "message/external-body": return .fixed
        default: return type.hasPrefix("text/") || type.hasPrefix("message/") ? .text : .other
        }
    }

    private func value(of name: String) -> [UInt8]? {
        for field in fields { if let body = EntityHeader.body(of: field, named: name) { return EntityHeader.withoutComments(body) } }
        return nil
    }

    private static func body(of field: [UInt8], named name: String) -> ArraySlice<UInt8>? {
        let name = name.utf8
        guard field.count > name.count, zip(field, name).allSatisfy({ lower($0) == $1 }) else { return nil }
        let rest = field.dropFirst(name.count).drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return rest.first == UInt8(ascii: ":") ? rest.dropFirst() : nil
    }

    private static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }
    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A }

    /// RFC 5322 §3.2.2: comments in parentheses, nested, mean nothing.
    private static func withoutComments(_ text: ArraySlice<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        var depth = 0
        var isQuoted = false
        var isEscaped = false
        for byte in text {
            defer { isEscaped = byte == UInt8(ascii: "\\") && !isEscaped }
            if isEscaped {
                if depth == 0 { result.append(byte) }
                continue
            }
            switch byte {
            case UInt8(ascii: "\"") where depth == 0: isQuoted.toggle()
            case UInt8(ascii: "(") where !isQuoted: depth += 1
            case UInt8(ascii: ")") where depth > 0:
                depth -= 1
                continue
            default: break
            }
            if depth == 0 { result.append(byte) }
        }
        return result
    }

    /// In lower case, up to a semicolon, without white space.
    private static func token(in text: ArraySlice<UInt8>) -> String {
        String(decoding: text.prefix { $0 != UInt8(ascii: ";") }.filter { !isSpace($0) }.map(lower), as: UTF8.self)
    }

    ///     parameter := attribute "=" ( token / quoted-string )        ; RFC 2045 §5.1
    private static func parameter(_ name: String, in text: [UInt8]) -> [UInt8]? {
        var rest = text[...]
        while let semicolon = rest.firstIndex(of: UInt8(ascii: ";")) {
            rest = rest[(semicolon + 1)...].drop(while: isSpace)
            let attribute = rest.prefix { $0 != UInt8(ascii: "=") && $0 != UInt8(ascii: ";") }
            guard attribute.endIndex < rest.endIndex, rest[attribute.endIndex] == UInt8(ascii: "=") else { continue }
            var value = rest[(attribute.endIndex + 1)...].drop(while: isSpace)
            var result: [UInt8] = []
            if value.first == UInt8(ascii: "\"") {
                value = value.dropFirst()
                while let byte = value.popFirst(), byte != UInt8(ascii: "\"") {
                    if byte == UInt8(ascii: "\\"), let escaped = value.popFirst() { result.append(escaped) } else { result.append(byte) }
                }
            } else {
                result = Array(value.prefix { $0 != UInt8(ascii: ";") && !isSpace($0) })
            }
            if attribute.filter({ !isSpace($0) }).map(lower).elementsEqual(name.utf8) { return result }
            rest = value
        }
        return nil
    }
}
