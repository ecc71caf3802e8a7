// What people write where a manifest is meant, by the marks that it leaves in a text: other formats' signs, templates that
// nobody filled in, and characters that word processors, chat programs and web pages put in the place of YAML's.

internal import MailSyntax

enum Slips {
    /// What most likely went wrong in a key, a value or a line that has been found wrong; nil where nothing stands out.
    static func hint(for text: String) -> String? {
        if let hint = hint(forValue: text) { return hint }
        if text.hasPrefix("<<<<<<<") || text.hasPrefix("=======") || text.hasPrefix(">>>>>>>") { return "git left the marks of a conflict here" }
        if text.hasPrefix("```") { return "remove the lines of ``` that were copied along" }
        if text.hasPrefix("//") || text.hasPrefix("/*") { return "a comment begins with #" }
        if let (key, rest) = assignment(text) { return "write a colon and a space: \(key): \(rest)" }
        return nil
    }

    /// As far as it can be told of a value, where a colon or a slash may be right.
    static func hint(forValue text: String) -> String? {
        if let hint = lookalike(in: text) { return hint }
        if text.includes("{{") || text.includes("{%") { return "a template's marks stand here: fill it in first" }
        let isVariable = text.includes("${") || text.hasPrefix("$") && !text.dropFirst().contains("$")
        return isVariable ? "a manifest knows no variables: write the value itself" : nil
    }

    /// `key:value`, which YAML takes for one word, and `key = value`, as other formats have it.
    private static func assignment(_ text: String) -> (key: String, value: String)? {
        let text = text.drop { $0 == " " }
        let key = text.prefix { $0.isASCII && $0.isLetter || $0 == "_" }
        guard !key.isEmpty else { return nil }
        let rest = text.dropFirst(key.count)
        let value: Substring
        if rest.hasPrefix(":"), let next = rest.dropFirst().first, next != " ", next != "/", next != ":" {
            value = rest.dropFirst()
        } else {
            let after = rest.drop { $0 == " " }
            guard after.hasPrefix("="), !after.hasPrefix("==") else { return nil }
            value = after.dropFirst().drop { $0 == " " }
        }
        let line = value.prefix { $0 != "\n" && $0 != "\r" && $0 != " " }
        guard !line.isEmpty, line.count <= 60 else { return nil }
        return (String(key), Secret.mayBeHeld(by: String(key)) ? "…" : String(line))
    }

    static func lookalike(in text: some StringProtocol) -> String? {
        guard text.utf8.contains(where: { $0 >= 0x80 }) else { return nil }
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x2018...0x201F, 0x00AB, 0x00BB, 0x2032, 0x2033, 0xFF02, 0xFF07:
                return "\(scalar) is a typographic quote; YAML's quotes are \" and '"
            case 0x00A0: return "a non-breaking space (U+00A0) stands in it; put an ordinary space"
            case 0x2002...0x200A, 0x202F, 0x205F, 0x3000: return "an unusual space (\(name(of: scalar))) stands in it; put an ordinary one"
            case 0x00AD, 0x200B...0x200F, 0x202A...0x202E, 0x2060...0x2069, 0xFEFF:
                return "an invisible character (\(name(of: scalar))) stands in it; remove it"
            case 0xFF1A: return "\(scalar) is a full-width colon (U+FF1A); YAML's is :"
            case 0xFF0C, 0x060C, 0x3001: return "\(scalar) is no comma of YAML's; put ,"
            case 0x2010...0x2015, 0x2212: return "\(scalar) is a dash (\(name(of: scalar))); put -"
            case 0xFF20: return "\(scalar) is a full-width at sign (U+FF20); put @"
            default: break
            }
        }
        return nil
    }

    static func name(of scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16, uppercase: true)
        return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
    }
}
