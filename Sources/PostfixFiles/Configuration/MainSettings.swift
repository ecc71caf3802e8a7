// main.cf as it is written (postconf(5)): `name = value` lines. Nothing is evaluated; `ParameterScope` does that. Pure.

package struct MainSettings: Sendable {
    package struct Setting: Hashable, Sendable {
        package let name: String
        /// Without white space at its ends; where lines were joined, with that of the continuation.
        package let value: String
        /// From 1.
        package let line: Int
    }

    /// The first fault that keeps Postfix from reading on.
    package struct Flaw: Error, Hashable, Sendable {
        package let text: String
    }

    /// In the order of the file; of a name that is set twice, both.
    package private(set) var settings: [Setting] = []
    package private(set) var complaints: [String] = []

    /// - Parameter name: of the file, for complaints.
    package init(_ text: [UInt8], name: String) throws(Flaw) {
        let lines = LogicalLines(text, name: name)
        complaints = lines.complaints
        var values: [String: String] = [:]
        for line in lines.lines {
            guard let equals = line.text.firstIndex(of: UInt8(ascii: "=")) else {
                throw Flaw(text: "\(name), line \(line.number): missing '=' after attribute name: \"\(String(decoding: line.text, as: UTF8.self))\"")
            }
            let setting = Setting(name: word(line.text[..<equals]), value: word(line.text[(equals + 1)...]), line: line.number)
            guard !setting.name.isEmpty else {
                throw Flaw(text: "\(name), line \(line.number): missing attribute name: \"\(String(decoding: line.text, as: UTF8.self))\"")
            }
            if let old = values.updateValue(setting.value, forKey: setting.name) {
                complaints.append("\(name), line \(line.number): overriding earlier entry: \(setting.name)=\(old)")
            }
            settings.append(setting)
        }
    }

    /// What is in force: of a name that is set twice, the last.
    package var values: [String: String] { Dictionary(settings.map { ($0.name, $0.value) }) { $1 } }

    /// Names that a value refers to by `$name`, `${name}` or `$(name)`, also within others.
    package static func references(in value: String) -> [String] {
        let text = Array(value.utf8)
        var names: [String] = []
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "$") else {
                index += 1
                continue
            }
            index += 1
            if index < text.count, text[index] == UInt8(ascii: "$") {
                index += 1
                continue
            }
            if index < text.count, text[index] == UInt8(ascii: "{") || text[index] == UInt8(ascii: "(") { index += 1 }
            while index < text.count, isBlank(text[index]) { index += 1 }
            let start = index
            while index < text.count, isNameOctet(text[index]) { index += 1 }
            if index > start { names.append(String(decoding: text[start..<index], as: UTF8.self)) }
        }
        return names
    }

    private static func isNameOctet(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"): true
        default: false
        }
    }
}

private func word(_ text: ArraySlice<UInt8>) -> String { String(decoding: trimmed(text), as: UTF8.self) }
