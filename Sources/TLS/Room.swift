// TLS: OpenSSL through memory BIOs, as a channel handler for servers and clients.
//
// Contract of this room, which holds nothing yet: it turns certificates and keys (PEM files, chosen by SNI) and a
// peer's expectations (none, a name, DANE records) into a handler that a channel's pipeline takes first, and says
// of a finished handshake the protocol version, the cipher and who the peer proved to be. It decides nothing about
// mail: which level a next hop needs is `Delivery`'s, what a client may do after STARTTLS is `SMTP`'s.
