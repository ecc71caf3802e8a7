// Texts in texts.

import MailSyntax
import Testing

struct TextSearchTests {
    @Test("a text includes what stands in it", arguments: [
        ("a.b", ".", true), ("ab", "ab", true), ("xab", "ab", true), ("aab", "ab", true), ("ab", "abc", false), ("", "a", false), ("grün", "ü", true),
    ])
    func includes(_ text: String, _ part: String, _ isIncluded: Bool) {
        #expect(text.includes(part) == isIncluded)
    }

    @Test("the parts are what stands between the separators, empty ones too", arguments: [
        ("a, b", ["a", "b"]), ("a", ["a"]), ("", [""]), (", ", ["", ""]), ("a, , b, ", ["a", "", "b", ""]), ("a,b", ["a,b"]),
    ])
    func parts(_ text: String, _ parts: [String]) {
        #expect(text.parts(between: ", ") == parts)
    }

    @Test("every occurrence is replaced", arguments: [("/home/${user}/$user", "/home/ann/$user"), ("${user}", "ann"), ("${use", "${use"), ("", "")])
    func replacement(_ text: String, _ result: String) {
        #expect(text.with("ann", insteadOf: "${user}") == result)
    }
}
