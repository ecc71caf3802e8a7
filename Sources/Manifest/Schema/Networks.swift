// The clients that may relay: blocks of addresses, and how wide they may be. There is no open relay by construction.

internal import MailSyntax

extension Syntax where Value == Network {
    /// The widest private blocks there are: 10.0.0.0/8 (RFC 1918) and fc00::/7 (RFC 4193). What is wider holds strangers.
    static var shortestPrefix: (v4: Int, v6: Int) { (8, 7) }

    static var network: Syntax { .word(
        Word(
            name: "network", noun: "a network", forms: "an address or a block of them, such as 192.0.2.7, 10.0.0.0/8 or \"fd00::/8\"",
            json: [("type", .string("string"))])
    ) { text throws(Flaw) in
        let network: Network
        do throws(Network.Flaw) {
            network = try Network(parsing: text)
        } catch {
            switch error {
            case .notAnAddress: throw Flaw("\(quoted(text)) is not a network")
            case .badPrefixLength: throw Flaw("\(quoted(text)) has no valid prefix length", hint: "0 to 32 for IPv4, 0 to 128 for IPv6")
            case .hostBitsSet(let corrected):
                throw Flaw("\(quoted(text)) has bits set beyond its prefix", hint: "did you mean \(corrected)?")
            }
        }
        guard !network.holdsStrangers else {
            throw Flaw(
                "\(text) lets strangers send mail through this server", code: .openRelay,
                hint: "name your own networks only, such as 10.0.0.0/8, 192.0.2.0/24 or \"2001:db8::/48\"")
        }
        return network
    } }
}

extension Syntax where Value == [Network] {
    static var networks: Syntax {
        Syntax<[Located<Network>]>.list(of: .network).then { list, _, findings in
            for network in list where network.value.isWide {
                findings.warning(
                    .wideNetwork, "\(network.value) is wide: whoever has an address in it may send mail through this server", at: network.span,
                    hint: "name only the networks that are yours")
            }
            return list.map(\.value)
        }
    }
}

extension Network {
    /// Of one organization or host by definition: RFC 1918, loopback, link-local, unique local (RFC 4193).
    private static let ownBlocks = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "169.254.0.0/16", "fc00::/7", "fe80::/10"]
        .compactMap { try? Network(parsing: $0) }
    /// RFC 6052: every IPv4 address there is, seen through a translator.
    private static let translated = try? Network(parsing: "64:ff9b::/96")

    private var isOwn: Bool { Network.ownBlocks.contains { $0.prefixLength <= prefixLength && $0.contains(base) } }

    /// Wider than anything that a registry gives to one organization today: IPv4 /8, IPv6 /20.
    fileprivate var holdsStrangers: Bool {
        if let translated = Network.translated, translated.contains(base), prefixLength < 96 + 8 { return true }
        return !isOwn && prefixLength < (base.isV6 ? 20 : 8)
    }

    /// Some organizations have that much; for most it is a slip.
    fileprivate var isWide: Bool { !isOwn && prefixLength < (base.isV6 ? 32 : 16) }
}
