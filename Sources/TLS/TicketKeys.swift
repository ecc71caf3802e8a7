// The keys of session tickets (RFC 5077, RFC 8446 §4.6.1), shared by all contexts of a server: a client resumes its session whatever name
// it asks for, and after the certificates were loaded anew.
//
// A ticket's secrecy ends with its key's, so keys are short-lived: whoever owns this calls `rotate` now and then. The last key still
// opens tickets, which are then replaced. No key is ever written anywhere.

internal import COpenSSL
internal import NIOConcurrencyHelpers

package final class TicketKeys: Sendable {
    private struct Key {
        var name = TicketKeys.octets(16)
        var cipher = TicketKeys.octets(32)
        var mac = TicketKeys.octets(32)
    }

    private struct Keys {
        var current = Key()
        var last: Key?
    }

    private let keys = NIOLockedValueBox(Keys())

    package init() {}

    /// From now on tickets are sealed with a new key, and only those of the one before it still open.
    package func rotate() {
        let new = Key()
        keys.withLockedValue { keys in
            keys.last = keys.current
            keys.current = new
        }
    }

    private static func octets(_ count: Int) -> [UInt8] {
        var octets = [UInt8](repeating: 0, count: count)
        guard RAND_bytes(&octets, CInt(count)) == 1 else { fatalError("no random octets") }
        return octets
    }

    /// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1: done; 2: done, and the ticket is to be replaced; 0: no such key; -1: failed.
    fileprivate func prepare(
        name: UnsafeMutablePointer<UInt8>, vector: UnsafeMutablePointer<UInt8>, cipher: OpaquePointer?, mac: OpaquePointer?, seals: Bool
    ) -> CInt {
        keys.withLockedValue { keys in
            if seals {
                name.update(from: keys.current.name, count: 16)
                guard RAND_bytes(vector, 16) == 1, EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nil, keys.current.cipher, vector) == 1,
                    valija_set_ticket_mac(mac, &keys.current.mac, 32) == 1
                else { return -1 }
                return 1
            }
            let isCurrent = keys.current.name.withUnsafeBytes { CRYPTO_memcmp($0.baseAddress, name, 16) == 0 }
            guard var key = isCurrent ? keys.current : keys.last, CRYPTO_memcmp(key.name, name, 16) == 0 else { return 0 }
            guard valija_set_ticket_mac(mac, &key.mac, 32) == 1, EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nil, key.cipher, vector) == 1 else {
                return -1
            }
            return isCurrent ? 1 : 2
        }
    }

    /// `context` keeps no reference: whoever owns it keeps one to these keys.
    func serve(_ context: OpaquePointer) {
        SSL_CTX_set_ex_data(context, TicketKeys.slot, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { session, name, vector, cipher, mac, seals in
            guard let name, let vector, let pointer = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(session), TicketKeys.slot) else { return -1 }
            return Unmanaged<TicketKeys>.fromOpaque(pointer).takeUnretainedValue()
                .prepare(name: name, vector: vector, cipher: cipher, mac: mac, seals: seals == 1)
        }
    }

    private static let slot = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL_CTX, 0, nil, nil, nil, nil)
}
