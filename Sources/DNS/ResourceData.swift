// The data of resource records in wire form, without compression (RFC 1035 §3.3, §4.1.2; RFC 3596 §2.2). Strict: what is
// too short, too long, or names what no host can be named, is no record.

package import MailSyntax

package enum ResourceData {
    /// RFC 1035 §3.2.2, RFC 3596 §2.1, RFC 2782, RFC 6698 §7.1.
    package enum RecordType: Int32, Sendable { case a = 1, ns = 2, cname = 5, ptr = 12, mx = 15, txt = 16, aaaa = 28, srv = 33, tlsa = 52 }

    package enum Exchanger: Hashable, Sendable {
        case host(MailExchanger)
        /// RFC 7505: the root as the exchanger.
        case null
    }

    package static func address(_ rdata: [UInt8], _ type: RecordType) -> IPAddress? {
        guard rdata.count == (type == .aaaa ? 16 : 4) else { return nil }
        return IPAddress(bytes: rdata)
    }

    ///     MX rdata = PREFERENCE (16 bits) EXCHANGE (domain-name)       ; RFC 1035 §3.3.9
    package static func mailExchanger(_ rdata: [UInt8]) -> Exchanger? {
        guard rdata.count >= 3 else { return nil }
        if rdata.count == 3, rdata[2] == 0 { return .null }
        guard let host = name(rdata[2...]) else { return nil }
        return .host(MailExchanger(preference: UInt16(rdata[0]) << 8 | UInt16(rdata[1]), host: host))
    }

    ///     PTR rdata = PTRDNAME (domain-name)                            ; RFC 1035 §3.3.12
    package static func pointer(_ rdata: [UInt8]) -> Domain? { name(rdata[...]) }

    ///     TXT rdata = 1*character-string                                ; RFC 1035 §3.3.14
    /// The strings, joined.
    package static func text(_ rdata: [UInt8]) -> [UInt8]? {
        var rest = rdata[...]
        var text: [UInt8] = []
        while let length = rest.popFirst() {
            guard rest.count >= Int(length) else { return nil }
            text += rest.prefix(Int(length))
            rest = rest.dropFirst(Int(length))
        }
        return rdata.isEmpty ? nil : text
    }

    ///     TLSA rdata = usage selector matching-type 1*data              ; RFC 6698 §2.1
    package static func certificateAssociation(_ rdata: [UInt8]) -> CertificateAssociations.Record? {
        guard rdata.count > 3 else { return nil }
        return CertificateAssociations.Record(usage: rdata[0], selector: rdata[1], matchingType: rdata[2], data: Array(rdata[3...]))
    }

    ///     SRV rdata = priority weight port (16 bits each) target            ; RFC 2782
    /// Nil for the root too: a service that is decidedly not there.
    package static func service(_ rdata: [UInt8]) -> ServiceLocation? {
        guard rdata.count > 6, let host = name(rdata[6...]) else { return nil }
        func number(_ offset: Int) -> UInt16 { UInt16(rdata[offset]) << 8 | UInt16(rdata[offset + 1]) }
        return ServiceLocation(priority: number(0), weight: number(2), port: number(4), host: host)
    }

    /// A domain name that fills `bytes` to the end. Nil for the root, for compression pointers (libunbound hands out none)
    /// and for labels that are no part of a host name: a label may hold a dot or a bracket, and must not become syntax.
    private static func name(_ bytes: ArraySlice<UInt8>) -> Domain? {
        guard bytes.count <= Domain.longest else { return nil }
        var rest = bytes
        var text: [UInt8] = []
        while let length = rest.popFirst(), length > 0 {
            guard length <= Domain.longestLabel, rest.count > Int(length) else { return nil }
            let label = rest.prefix(Int(length))
            guard label.allSatisfy({ $0 < 0x80 && $0 != UInt8(ascii: ".") }) else { return nil }
            if !text.isEmpty { text.append(UInt8(ascii: ".")) }
            text += label
            rest = rest.dropFirst(Int(length))
        }
        guard rest.isEmpty, bytes.last == 0, text.first != UInt8(ascii: "[") else { return nil }
        return Domain(String(decoding: text, as: UTF8.self))
    }
}

extension IPAddress {
    /// The name under which the reverse zone keeps the address (RFC 1035 §3.5, RFC 3596 §2.5).
    package var reverseName: String {
        guard isV6 else { return bytes.reversed().map { "\($0)." }.joined() + "in-addr.arpa." }
        return bytes.reversed().map { "\(String($0 & 15, radix: 16)).\(String($0 >> 4, radix: 16))." }.joined() + "ip6.arpa."
    }
}
