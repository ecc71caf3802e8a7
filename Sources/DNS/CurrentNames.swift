// The name service that a reload may replace. It decides nothing, and keeps nothing of what was asked.

package import MailSyntax
internal import NIOConcurrencyHelpers

/// The name service in force. A reload puts another in its place; whoever asks meanwhile gets an answer of either.
package final class CurrentNames: NameService {
    private let current: NIOLockedValueBox<any NameService>

    package init(_ names: any NameService) { current = NIOLockedValueBox(names) }

    package func replace(_ names: any NameService) { current.withLockedValue { $0 = names } }

    private var names: any NameService { current.withLockedValue { $0 } }

    package func addresses(of host: Domain) async -> Lookup<[IPAddress]> { await names.addresses(of: host) }
    package func mailExchangers(of domain: Domain) async -> Answer<MailExchange> { await names.mailExchangers(of: domain) }
    package func names(of address: IPAddress) async -> Lookup<[Domain]> { await names.names(of: address) }
    package func texts(of name: Domain) async -> Lookup<[[UInt8]]> { await names.texts(of: name) }
    package func services(of name: Domain) async -> Lookup<[ServiceLocation]> { await names.services(of: name) }
    package func certificateAssociations(of host: Domain, port: UInt16) async -> Lookup<CertificateAssociations> {
        await names.certificateAssociations(of: host, port: port)
    }
}
