// A message between MAIL and its end, as the shell of a session knows it. Of its connection's event loop.

internal import MailQueue
internal import MailSyntax
internal import Policy
internal import Routing
internal import SMTP

final class Transaction {
    let configuration: SMTPService.Configuration
    var sender: Address?
    /// What XFORWARD said of it.
    let forwarded: ClientClaims?
    /// What RCPT led to, in the order of the envelope's recipients.
    var destinations: [[Destination]] = []
    var envelope: Envelope?
    var id: QueueID?
    var sink: ContentSink?
    var received = Timestamp(microseconds: 0)

    init(configuration: SMTPService.Configuration, sender: Address?, forwarded: ClientClaims?) {
        self.configuration = configuration
        self.sender = sender
        self.forwarded = forwarded
    }
}
