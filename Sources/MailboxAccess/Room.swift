// MailboxAccess: POP3 (RFC 1939) and IMAP (RFC 9051) on the mailboxes.
//
// Contract of this room, which holds nothing yet: sessions that have logged in through `Accounts` read and change
// what `Mailboxes` stores, and nothing else: no routing, no queue. Protocol state machines do no I/O of their own.
