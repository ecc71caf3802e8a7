// The part of a mail system that is about mail on its way out.

package import MailSyntax

extension MailSystem {
    /// Whose mail goes another way than all the rest.
    package struct MailRoute: Sendable {
        package var pattern: Located<RoutePattern>
        /// Nil: by MX records.
        package var hop: Located<NextHop?>

        package init(pattern: Located<RoutePattern>, hop: Located<NextHop?>) {
            self.pattern = pattern
            self.hop = hop
        }
    }

    package enum RoutePattern: Hashable, Sendable, CustomStringConvertible {
        case address(Address)
        case domain(Domain)
        case subdomains(of: Domain)

        package var domain: Domain? {
            switch self {
            case .address(let address): address.domain
            case .domain(let domain): domain
            case .subdomains: nil
            }
        }

        /// As a key of transport(5).
        package var description: String {
            switch self {
            case .address(let address): lowercasedASCII(address.description)
            case .domain(let domain): domain.key
            case .subdomains(let domain): ".\(domain.key)"
            }
        }
    }

    /// How other servers are treated.
    package struct Delivery: Sendable {
        /// Deliveries at a time to one destination.
        package var concurrency: Located<Int>
        package var initialConcurrency: Located<Int>
        /// Between two messages to one destination; nil: none.
        package var rateDelay: Located<Duration>?
        package var recipientsPerMessage: Located<Int>
        /// Addresses that one delivery tries, and servers that a message is offered to; 0: no limit.
        package var addressLimit: Located<Int>
        package var sessionLimit: Located<Int>
        package var fallbackRelays: [Located<NextHop>]
        package var timeouts: DeliveryTimeouts
    }

    package struct DeliveryTimeouts: Sendable {
        package var connect: Located<Duration>
        /// The greeting, and the reply to EHLO.
        package var hello: Located<Duration>
        package var mail: Located<Duration>
        package var recipient: Located<Duration>
        package var data: Located<Duration>
        package var block: Located<Duration>
        package var endOfData: Located<Duration>
    }
}
