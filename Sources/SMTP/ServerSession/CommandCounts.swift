// How often each command was given in a session, and how often in vain: `ehlo=1 mail=1 rcpt=1/2 quit=1 commands=4/5`, as Postfix
// logs it at the end. Without allocation: each session has one.

package struct CommandCounts: Sendable, CustomStringConvertible {
    /// In the order of Postfix's log.
    private static let names = [
        "helo", "ehlo", "starttls", "auth", "mail", "rcpt", "data", "bdat", "rset", "noop", "vrfy", "etrn", "quit", "xclient", "xforward", "unknown", "help", "expn", "lhlo",
    ]

    private var given = SIMD32<UInt32>()
    private var refused = SIMD32<UInt32>()
    private var last: Int?
    private var isRefused = false

    package init() {}

    mutating func begin(_ verb: Verb) {
        let index = CommandCounts.index(verb)
        given[index] &+= 1
        last = index
        isRefused = false
    }

    /// The last command was in vain; said once or more.
    mutating func refuse() {
        guard let last, !isRefused else { return }
        isRefused = true
        refused[last] &+= 1
    }

    /// A message that was taken, or refused as a whole, is past its command.
    var lastCommand: String {
        guard let last else { return "CONNECT" }
        let name = CommandCounts.names[last]
        return ["data", "bdat"].contains(name) && !isRefused ? "END-OF-MESSAGE" : name.uppercased()
    }

    package var description: String {
        var parts: [String] = []
        for (index, name) in CommandCounts.names.enumerated() where given[index] > 0 {
            parts.append("\(name)=\(CommandCounts.ratio(given[index], refused[index]))")
        }
        let (all, inVain) = (given.wrappedSum(), refused.wrappedSum())
        parts.append("commands=\(all == 0 ? "0/0" : CommandCounts.ratio(all, inVain))")
        return parts.joined(separator: " ")
    }

    private static func ratio(_ given: UInt32, _ refused: UInt32) -> String { refused == 0 ? "\(given)" : "\(given &- refused)/\(given)" }

    private static func index(_ verb: Verb) -> Int {
        switch verb {
        case .helo: 0
        case .ehlo: 1
        case .starttls: 2
        case .auth: 3
        case .mail: 4
        case .rcpt: 5
        case .data: 6
        case .bdat: 7
        case .rset: 8
        case .noop: 9
        case .vrfy: 10
        case .etrn: 11
        case .quit: 12
        case .xclient: 13
        case .xforward: 14
        case .turn, .foreign, .unknown: 15
        case .help: 16
        case .expn: 17
        case .lhlo: 18
        }
    }
}
