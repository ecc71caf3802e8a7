// The lines of a file of Postfix's, as postconf(5), postmap(1) and aliases(5) read them: a line that begins with white space
// goes on with the one before; empty lines and lines whose first character is `#` are none, even between the parts of one.
//
// Octets, not text: a file need not be UTF-8. Pure.

package struct LogicalLines: Sendable {
    package struct Line: Hashable, Sendable {
        /// Of the first physical line, from 1.
        package let number: Int
        /// Without line ends; the white space that began a continuation is still there.
        package let text: ArraySlice<UInt8>
    }

    package private(set) var lines: [Line] = []
    /// What Postfix says of lines that continue nothing.
    package private(set) var complaints: [String] = []

    /// How much of a line a complaint shows.
    private static let longestShown = 30

    /// - Parameter name: of the file, for complaints.
    package init(_ text: [UInt8], name: String) {
        var pending: (number: Int, text: ArraySlice<UInt8>)?
        var number = 0
        for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            number += 1
            guard let start = line.firstIndex(where: { !isBlank($0) }), line[start] != UInt8(ascii: "#") else { continue }
            if start == line.startIndex {
                take(pending, name)
                pending = (number, line)
            } else if pending != nil {
                pending!.text += line
            } else {
                pending = (number, line)
            }
        }
        take(pending, name)
    }

    private mutating func take(_ line: (number: Int, text: ArraySlice<UInt8>)?, _ name: String) {
        guard let line else { return }
        if isBlank(line.text.first!) {
            let shown = String(decoding: line.text.prefix(LogicalLines.longestShown), as: UTF8.self)
            let dots = line.text.count > LogicalLines.longestShown ? "..." : ""
            complaints.append("\(name): logical line must not start with whitespace: \"\(shown)\(dots)\"")
        } else {
            lines.append(Line(number: line.number, text: line.text))
        }
    }
}

/// Without the white space at its ends.
func trimmed(_ text: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let start = text.drop(while: isBlank)
    return start[..<(start.lastIndex { !isBlank($0) }.map { $0 + 1 } ?? start.startIndex)]
}
