import DNS
import MailSyntax
import NIOCore
import NIOEmbedded
import NIOPosix
import Testing

@testable import Delivery

@Suite("Connections that wait for more")
struct ConnectionPoolTests {
    let pool = ConnectionPool()
    let key = ConnectionPool.Key(hop: NextHop("you.example")!, demand: TLSDemand(TLSPolicy.Rule(.may)))

    /// As one that comes back from its work.
    func connection() -> PooledConnection {
        let loop = EmbeddedEventLoop()
        let connection = SMTPConnection(
            Target(host: "mx.example", address: IPAddress("192.0.2.1")!, port: 25), key, nil, isKept: true,
            configuration: SMTPAgent.Configuration(hostname: Domain("me.example")!), pool: pool, threads: .singleton)
        return PooledConnection(eventLoop: loop, connection: NIOLoopBound(connection, eventLoop: loop), id: ObjectIdentifier(connection))
    }

    @Test("a connection is used again under the demand that it was made under, and no other")
    func demand() {
        let others = [
            TLSDemand(TLSPolicy.Rule(.may), minimum: .authenticated), TLSDemand(TLSPolicy.Rule(.encrypt)), TLSDemand(TLSPolicy.Rule(.verify)),
            TLSDemand(TLSPolicy.Rule(.verify, names: ["mx.example"])), TLSDemand(TLSPolicy.Rule(.none)), TLSDemand(TLSPolicy.Rule(.may), isImplicit: true),
        ]
        for _ in 1...2 { pool.begin(key, window: .hours(1)) }
        #expect(pool.put(connection(), for: key))
        for demand in others { #expect(pool.take(ConnectionPool.Key(hop: key.hop, demand: demand)) == nil) }
        #expect(pool.take(ConnectionPool.Key(hop: NextHop("me.example")!, demand: key.demand)) == nil)
        #expect(pool.take(key) != nil)
        #expect(pool.take(key) == nil)
    }

    @Test("it is kept after a batch that came soon after another, or while there is another, and else not")
    func traffic() {
        #expect(!pool.put(connection(), for: key))
        for (window, isKept) in [(TimeAmount.hours(1), false), (.hours(1), true), (.zero, false), (.hours(1), true)] {
            pool.begin(key, window: window)
            #expect(pool.put(connection(), for: key) == isKept)
            pool.end(key)
        }
        // Two side by side: the second is not alone when it is done either.
        pool.begin(key, window: .zero)
        pool.begin(key, window: .zero)
        #expect(pool.put(connection(), for: key))
        pool.end(key)
        #expect(pool.put(connection(), for: key))
        pool.end(key)
        pool.begin(key, window: .zero)
        #expect(!pool.put(connection(), for: key))
    }

    @Test("after the end none is kept")
    func end() {
        for _ in 1...2 { pool.begin(key, window: .hours(1)) }
        #expect(pool.put(connection(), for: key))
        #expect(pool.close().count == 1)
        #expect(!pool.put(connection(), for: key))
    }
}
